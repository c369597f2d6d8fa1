#include "kvstore/server/watch_hub.h"

#include <algorithm>
#include <utility>

#include "base/random.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchResponse;

constexpr int64_t kNoWatchId = -1;
// etcd's texts; clients match on them.
constexpr char kEmptyRange[] = "mvcc: watcher range is empty";
constexpr char kDuplicateId[] = "mvcc: duplicate watch ID provided on the WatchStream";
constexpr char kCompacted[] = "mvcc: required revision has been compacted";

// A create request's range; an empty key means the smallest one.
KeyRange RangeOf(const WatchCreateRequest& request) {
  return {.key = request.key().empty() ? std::string(1, '\0') : request.key(),
          .range_end = request.range_end()};
}

bool IsEmptyRange(const KeyRange& range) {
  return !range.range_end.empty() && range.range_end != std::string_view("\0", 1) &&
         range.key >= range.range_end;
}

bool HasFilter(const WatchCreateRequest& request, WatchCreateRequest::FilterType filter) {
  return std::find(request.filters().begin(), request.filters().end(), filter) !=
         request.filters().end();
}

bool Wanted(const mvccpb::Event& event, bool no_put, bool no_delete) {
  return event.type() == mvccpb::Event::PUT ? !no_put : !no_delete;
}

}  // namespace

WatchHub::Wakes::~Wakes() {
  if (streams_.empty()) return;
  delivery_->Post([streams = std::move(streams_)] {
    for (const StreamPtr& stream : streams) {
      if (const std::shared_ptr<WatchWaker> waker = stream->waker_.lock()) waker->Wake();
    }
  });
}

WatchHub::WatchHub(const Options& options, Env env)
    : options_(options), env_(std::move(env)), published_(env_.store->Revision()) {}

WatchResponse WatchHub::Response(int64_t watch_id, int64_t revision) const {
  WatchResponse response;
  response.mutable_header()->set_cluster_id(options_.cluster_id);
  response.mutable_header()->set_member_id(options_.member_id);
  response.mutable_header()->set_revision(revision);
  response.mutable_header()->set_raft_term(env_.term());
  response.set_watch_id(watch_id);
  return response;
}

void WatchHub::PushAnswer(WatchStream& stream, std::string bytes, Wakes& wakes) {
  if (stream.Push(WatchStream::ReadyItem(std::move(bytes)), false) ==
      WatchStream::Pushed::kQueuedAndWake) {
    wakes.Add(stream.shared_from_this());
  }
}

// --- Streams and watchers ---

std::shared_ptr<WatchStream> WatchHub::Open(std::weak_ptr<WatchWaker> waker) {
  absl::MutexLock lock(&mu_);
  // Spreads the notifications of streams that were opened together.
  Random random = Random(streams_opened_++).Stream("progress");
  auto stream = std::make_shared<WatchStream>(this, std::move(waker), random.Unit() / 10);
  streams_.insert(stream);
  return stream;
}

void WatchHub::CloseStream(const StreamPtr& stream) {
  absl::MutexLock lock(&mu_);
  if (std::exchange(stream->closed_, true)) return;
  while (!stream->watchers_.empty()) Forget(*stream->watchers_.begin()->second);
  streams_.erase(stream);
}

std::string WatchHub::Refusal(const WatchStream& stream, const WatchCreateRequest& request) {
  if (IsEmptyRange(RangeOf(request))) return kEmptyRange;
  if (request.start_revision() < 0) return kCompacted;
  if (request.watch_id() != 0 && stream.watchers_.contains(request.watch_id())) {
    return kDuplicateId;
  }
  return "";
}

void WatchHub::Create(const StreamPtr& stream, const WatchCreateRequest& request) {
  Wakes wakes(env_.delivery);
  absl::MutexLock lock(&mu_);
  if (stream->closed_) return;
  const int64_t revision = env_.store->Revision();
  WatchResponse response = Response(kNoWatchId, revision);
  response.set_created(true);
  if (std::string refusal = Refusal(*stream, request); !refusal.empty()) {
    response.set_canceled(true);
    response.set_cancel_reason(std::move(refusal));
    PushAnswer(*stream, response.SerializeAsString(), wakes);
    return;
  }

  int64_t id = request.watch_id();
  if (id == 0) {
    while (stream->watchers_.contains(stream->next_id_)) ++stream->next_id_;
    id = stream->next_id_++;
  }
  auto owned = std::make_unique<Watcher>();
  Watcher& watcher = *owned;
  watcher.stream = stream.get();
  watcher.id = id;
  watcher.range = RangeOf(request);
  watcher.no_put = HasFilter(request, WatchCreateRequest::NOPUT);
  watcher.no_delete = HasFilter(request, WatchCreateRequest::NODELETE);
  watcher.prev_kv = request.prev_kv();
  watcher.progress_notify = request.progress_notify();
  watcher.fragment = request.fragment();
  watcher.start_revision = request.start_revision();
  watcher.incarnation = ++last_incarnation_;
  watcher.last_sent = env_.clock->Monotonic();
  stream->watchers_[id] = std::move(owned);
  ++watchers_;
  if (watcher.progress_notify) progress_watchers_[watcher.incarnation] = &watcher;

  // First of all the watcher's responses: it is in no list yet.
  response.set_watch_id(id);
  PushAnswer(*stream, response.SerializeAsString(), wakes);
  if (request.start_revision() == 0 || request.start_revision() > revision) {
    watcher.next_revision = request.start_revision() == 0 ? revision + 1 : request.start_revision();
    MakeLive(watcher);
  } else {
    MakeLagging(watcher, request.start_revision());
  }
}

void WatchHub::Cancel(const StreamPtr& stream, int64_t id) {
  Wakes wakes(env_.delivery);
  absl::MutexLock lock(&mu_);
  const auto found = stream->watchers_.find(id);
  if (found == stream->watchers_.end()) return;
  Forget(*found->second);
  WatchResponse response = Response(id, env_.store->Revision());
  response.set_canceled(true);
  PushAnswer(*stream, response.SerializeAsString(), wakes);
}

void WatchHub::Answer(const StreamPtr& stream, const WatchResponse& response) {
  Wakes wakes(env_.delivery);
  absl::MutexLock lock(&mu_);
  if (!stream->closed_) PushAnswer(*stream, response.SerializeAsString(), wakes);
}

void WatchHub::MakeLive(Watcher& watcher) {
  watcher.live = true;
  live_.Insert(watcher.range, &watcher);
}

void WatchHub::MakeLagging(Watcher& watcher, int64_t next_revision) {
  if (watcher.live) live_.Remove(watcher.range, &watcher);
  watcher.live = false;
  watcher.next_revision = next_revision;
  WatchStream& stream = *watcher.stream;
  stream.lagging_.push_back(watcher.id);
  ++lagging_;
  if (!std::exchange(stream.catching_up_, true)) PostCatchUp(stream.shared_from_this());
}

void WatchHub::Forget(Watcher& watcher) {
  WatchStream& stream = *watcher.stream;
  if (watcher.live) {
    live_.Remove(watcher.range, &watcher);
  } else {
    std::erase(stream.lagging_, watcher.id);
    --lagging_;
  }
  progress_watchers_.erase(watcher.incarnation);
  --watchers_;
  stream.watchers_.erase(watcher.id);  // destroys `watcher`
}

// --- Live changes ---

void WatchHub::Publish(std::vector<Store::Change> changes) {
  Wakes wakes(env_.delivery);
  absl::MutexLock lock(&mu_);
  for (Store::Change& change : changes) {
    published_ = std::max(published_, change.revision);
    if (live_.size() > 0) PublishOne(change, wakes);
  }
  AnswerProgress(wakes);
}

void WatchHub::Match(const Store::Change& change) {
  // Out of the guarded member for a while: clang cannot see that the lambda runs under mu_.
  std::vector<Watcher*> touched = std::move(touched_);
  touched.clear();
  for (uint32_t i = 0; i < change.events.size(); ++i) {
    const mvccpb::Event& event = change.events[i];
    live_.ForEachMatch(event.kv().key(), [&](Watcher* watcher) {
      // Below next_revision: read from history already, or before a start in
      // the future.
      if (change.revision < watcher->next_revision) return;
      if (!Wanted(event, watcher->no_put, watcher->no_delete)) return;
      if (watcher->matched.empty()) touched.push_back(watcher);
      watcher->matched.push_back(i);
    });
  }
  touched_ = std::move(touched);
}

void WatchHub::PublishOne(Store::Change& change, Wakes& wakes) {
  Match(change);
  if (touched_.empty()) return;
  const int64_t revision = change.revision;
  const absl::Duration now = env_.clock->Monotonic();
  const auto shared = std::make_shared<const PublishedChange>(
      std::move(change), Response(0, revision).SerializeAsString(), env_.store);
  for (Watcher* watcher : touched_) {
    WatchStream::Item item;
    item.change = shared;
    item.indices = std::move(watcher->matched);
    item.watch_id = watcher->id;
    item.prev_kv = watcher->prev_kv;
    item.fragment = watcher->fragment;
    item.cost = shared->approximate_bytes();
    watcher->matched.clear();
    const size_t count = item.indices.size();
    switch (watcher->stream->Push(std::move(item), true)) {
      case WatchStream::Pushed::kFull:
        MakeLagging(*watcher, revision);
        continue;
      case WatchStream::Pushed::kQueuedAndWake:
        wakes.Add(watcher->stream->shared_from_this());
        break;
      case WatchStream::Pushed::kQueued:
        break;
    }
    watcher->next_revision = revision + 1;
    watcher->last_sent = now;
    events_ += count;
  }
}

void WatchHub::Restored() {
  absl::MutexLock lock(&mu_);
  const int64_t next = published_ + 1;
  for (const StreamPtr& stream : streams_) {
    for (const auto& [id, watcher] : stream->watchers_) {
      // A start that lies in the future stays there.
      if (watcher->live && watcher->next_revision <= env_.store->Revision()) {
        MakeLagging(*watcher, std::max(watcher->next_revision, next));
      }
    }
  }
  published_ = std::max(published_, env_.store->Revision());
}

// --- Catching up ---

void WatchHub::PostCatchUp(const StreamPtr& stream) {
  env_.catch_up->Post([this, stream] { CatchUp(stream); });
}

void WatchHub::CatchUp(const StreamPtr& stream) {
  Watcher want;  // Copied under the lock, used without it.
  {
    absl::MutexLock lock(&mu_);
    if (stream->closed_ || stream->lagging_.empty()) {
      stream->catching_up_ = false;
      return;
    }
    if (stream->WaitForRoom()) return;  // Next posts this again.
    want = *stream->watchers_[stream->lagging_.front()];
  }
  Batch batch = ReadBatch(want);

  {
    Wakes wakes(env_.delivery);
    absl::MutexLock lock(&mu_);
    const auto found = stream->watchers_.find(want.id);
    // The watcher may be gone by now, or another one have taken its id.
    if (found != stream->watchers_.end() && found->second->incarnation == want.incarnation) {
      DeliverBatch(*found->second, std::move(batch), wakes);
    }
  }
  PostCatchUp(stream);
}

WatchHub::Batch WatchHub::ReadBatch(const Watcher& watcher) const {
  Batch batch;
  int64_t revision = env_.store->Revision();
  auto history = env_.store->ReadHistory(watcher.range, watcher.next_revision, watcher.prev_kv,
                                         options_.history_revisions, options_.history_bytes);
  batch.status = history.status();
  if (!history.ok()) return batch;

  batch.next_revision = history->next_revision;
  EncodedEvents events;
  EventIndices indices;
  for (const Store::Change& change : history->changes) {
    revision = std::max(revision, change.revision);
    for (const mvccpb::Event& event : change.events) {
      if (!Wanted(event, watcher.no_put, watcher.no_delete)) continue;
      indices.push_back(static_cast<uint32_t>(indices.size()));
      events.Append(event);
    }
  }
  batch.events = indices.size();
  if (indices.empty()) return batch;
  const std::string head = Response(watcher.id, revision).SerializeAsString();
  if (watcher.fragment) {
    batch.responses = EncodeFragments(head, events, indices, options_.fragment_bytes);
  } else {
    batch.responses.push_back(EncodeResponse(head, events, indices));
  }
  return batch;
}

void WatchHub::DeliverBatch(Watcher& watcher, Batch batch, Wakes& wakes) {
  WatchStream& stream = *watcher.stream;
  if (!batch.status.ok()) {
    // The header carries no revision here, as with etcd.
    WatchResponse response = Response(watcher.id, 0);
    response.set_canceled(true);
    if (absl::IsOutOfRange(batch.status)) {
      response.set_compact_revision(env_.store->CompactedRevision());
    } else {
      response.set_cancel_reason(std::string(batch.status.message()));
    }
    Forget(watcher);
    PushAnswer(stream, response.SerializeAsString(), wakes);
    return;
  }
  if (!batch.responses.empty()) watcher.last_sent = env_.clock->Monotonic();
  for (std::string& bytes : batch.responses) PushAnswer(stream, std::move(bytes), wakes);
  events_ += batch.events;
  watcher.next_revision = batch.next_revision;
  stream.lagging_.pop_front();  // It was the first, and only CatchUp takes from there.
  if (watcher.next_revision > published_) {
    --lagging_;
    MakeLive(watcher);
  } else {
    stream.lagging_.push_back(watcher.id);
  }
}

// --- Progress ---

bool WatchHub::HasBegun(const Watcher& watcher, int64_t revision) {
  return watcher.live && watcher.next_revision <= revision + 1 &&
         watcher.start_revision <= revision;
}

bool WatchHub::CaughtUp(const WatchStream& stream, int64_t revision) const {
  return std::all_of(stream.watchers_.begin(), stream.watchers_.end(),
                     [&](const auto& entry) { return HasBegun(*entry.second, revision); });
}

void WatchHub::RequestProgress(const StreamPtr& stream) {
  Wakes wakes(env_.delivery);
  absl::MutexLock lock(&mu_);
  // What a reader of this member may have seen already must be covered by the
  // answer.
  const int64_t target = env_.store->Revision();
  if (stream->closed_ || stream->watchers_.empty() || !CaughtUp(*stream, target)) return;
  if (stream->progress_target_ == 0) progress_requests_.push_back(stream);
  stream->progress_target_ = target;
  AnswerProgress(wakes);
}

void WatchHub::AnswerProgress(Wakes& wakes) {
  std::vector<StreamPtr> waiting;
  for (StreamPtr& stream : progress_requests_) {
    if (!stream->closed_ && stream->progress_target_ > published_) {
      waiting.push_back(std::move(stream));
      continue;
    }
    stream->progress_target_ = 0;
    if (!stream->closed_ && !stream->watchers_.empty() && CaughtUp(*stream, published_)) {
      PushAnswer(*stream, Response(kNoWatchId, published_).SerializeAsString(), wakes);
    }
  }
  progress_requests_ = std::move(waiting);
}

void WatchHub::Tick() {
  Wakes wakes(env_.delivery);
  absl::MutexLock lock(&mu_);
  const absl::Duration now = env_.clock->Monotonic();
  for (const auto& [incarnation, watcher] : progress_watchers_) {
    const absl::Duration interval =
        options_.progress_interval * (1 + watcher->stream->progress_jitter_);
    if (now - watcher->last_sent < interval) continue;
    if (!HasBegun(*watcher, published_)) continue;
    PushAnswer(*watcher->stream, Response(watcher->id, published_).SerializeAsString(), wakes);
    watcher->last_sent = now;
  }
}

WatchHub::Stats WatchHub::GetStats() const {
  absl::MutexLock lock(&mu_);
  return {
      .streams = streams_.size(), .watchers = watchers_, .lagging = lagging_, .events = events_};
}

}  // namespace keelson::kvstore
