#include "kvstore/client/mirror.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

constexpr int64_t kPage = 1000;
constexpr absl::Duration kRetryPause = absl::Milliseconds(200);

struct Listing {
  int64_t revision = 0;
  RangeMirror::Pairs pairs;
};

// All keys as of one revision, in pages.
absl::StatusOr<Listing> List(Client& client, const std::string& prefix) {
  Listing listing;
  etcdserverpb::RangeRequest request = RangeOfPrefix(prefix);
  request.set_limit(kPage);
  while (true) {
    request.set_revision(listing.revision);
    KEELSON_ASSIGN_OR_RETURN(etcdserverpb::RangeResponse page, client.Range(request));
    if (listing.revision == 0) listing.revision = page.header().revision();
    for (mvccpb::KeyValue& pair : *page.mutable_kvs()) {
      std::string key = pair.key();
      listing.pairs.insert_or_assign(std::move(key), std::move(pair));
    }
    if (!page.more() || page.kvs().empty()) return listing;
    request.set_key(listing.pairs.rbegin()->first + '\0');
  }
}

// The events that lead from `from` to `to`.
std::vector<mvccpb::Event> Difference(const RangeMirror::Pairs& from,
                                      const RangeMirror::Pairs& to) {
  std::map<int64_t, std::vector<mvccpb::Event>> puts;
  std::vector<mvccpb::Event> events;
  for (const auto& [key, pair] : from) {
    if (to.contains(key)) continue;
    mvccpb::Event& event = events.emplace_back();
    event.set_type(mvccpb::Event::DELETE);
    event.mutable_kv()->set_key(key);
  }
  for (const auto& [key, pair] : to) {
    const auto known = from.find(key);
    if (known != from.end() && known->second.mod_revision() == pair.mod_revision()) continue;
    mvccpb::Event event;
    *event.mutable_kv() = pair;
    puts[pair.mod_revision()].push_back(std::move(event));
  }
  for (auto& [revision, group] : puts) {
    for (mvccpb::Event& event : group) events.push_back(std::move(event));
  }
  return events;
}

class MirrorImpl final : public RangeMirror {
 public:
  MirrorImpl(Client& client, std::string prefix, Callbacks callbacks)
      : client_(client), prefix_(std::move(prefix)), callbacks_(std::move(callbacks)) {}

  ~MirrorImpl() override {
    std::vector<std::unique_ptr<Watcher>> watchers;
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;  // From now on no watch is added.
      watchers.swap(watchers_);
    }
    watchers.clear();  // Waits for callbacks, which take the lock.
  }

  absl::Status Begin() {
    KEELSON_ASSIGN_OR_RETURN(Listing first, List(client_, prefix_));
    {
      absl::MutexLock lock(&mu_);
      pairs_ = first.pairs;
      revision_ = first.revision;
    }
    Follow(std::move(first));
    return absl::OkStatus();
  }

  [[nodiscard]] Pairs Copy() const override {
    absl::MutexLock lock(&mu_);
    return pairs_;
  }
  [[nodiscard]] std::optional<mvccpb::KeyValue> Get(const std::string& key) const override {
    absl::MutexLock lock(&mu_);
    const auto found = pairs_.find(key);
    if (found == pairs_.end()) return std::nullopt;
    return found->second;
  }
  [[nodiscard]] int64_t revision() const override {
    absl::MutexLock lock(&mu_);
    return revision_;
  }

 private:
  void Follow(std::optional<Listing> first);
  void OnResponse(const etcdserverpb::WatchResponse& response);
  void OnEnd(const absl::Status& status);
  // Tells of `events`, which lead to `pairs_`.
  void Tell(int64_t revision, std::vector<mvccpb::Event> events, bool listed);

  Client& client_;
  const std::string prefix_;
  const Callbacks callbacks_;
  bool told_ = false;  // of what there was at first; of the thread of the callbacks
  mutable absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Pairs pairs_ ABSL_GUARDED_BY(mu_);
  int64_t revision_ ABSL_GUARDED_BY(mu_) = 0;
  // The last one lives; a watch cannot be destroyed by its own callback.
  std::vector<std::unique_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mu_);
};

void MirrorImpl::Follow(std::optional<Listing> first) {
  etcdserverpb::WatchCreateRequest request;
  const etcdserverpb::RangeRequest range = RangeOfPrefix(prefix_);
  request.set_key(range.key());
  request.set_range_end(range.range_end());
  request.set_progress_notify(true);
  absl::MutexLock lock(&mu_);
  if (closed_) return;
  request.set_start_revision(revision_ + 1);
  WatchCallbacks callbacks;
  callbacks.on_response = [this](const auto& response) { OnResponse(response); };
  callbacks.on_end = [this](const absl::Status& status) { OnEnd(status); };
  if (first.has_value()) {
    // On the thread of the callbacks, and before any event.
    callbacks.on_created = [this, revision = first->revision](int64_t) {
      if (!std::exchange(told_, true)) Tell(revision, Difference({}, Copy()), true);
    };
  }
  watchers_.push_back(client_.Watch(request, std::move(callbacks)));
}

void MirrorImpl::OnResponse(const etcdserverpb::WatchResponse& response) {
  std::vector<mvccpb::Event> events(response.events().begin(), response.events().end());
  int64_t revision = response.header().revision();
  if (!events.empty()) revision = events.back().kv().mod_revision();
  {
    absl::MutexLock lock(&mu_);
    revision_ = std::max(revision_, revision);
    for (const mvccpb::Event& event : events) {
      if (event.type() == mvccpb::Event::DELETE) {
        pairs_.erase(event.kv().key());
      } else {
        pairs_.insert_or_assign(event.kv().key(), event.kv());
      }
    }
  }
  if (!events.empty()) Tell(revision, std::move(events), false);
}

void MirrorImpl::Tell(int64_t revision, std::vector<mvccpb::Event> events, bool listed) {
  if (!callbacks_.on_update) return;
  const Pairs pairs = Copy();
  callbacks_.on_update(
      {.revision = revision, .events = std::move(events), .listed = listed, .pairs = &pairs});
}

void MirrorImpl::OnEnd(const absl::Status& status) {
  if (CompactRevisionOf(status) == 0) {
    if (callbacks_.on_end) callbacks_.on_end(status);
    return;
  }
  while (true) {
    absl::StatusOr<Listing> listing = List(client_, prefix_);
    if (listing.ok()) {
      std::vector<mvccpb::Event> events;
      {
        absl::MutexLock lock(&mu_);
        events = Difference(std::exchange(told_, true) ? pairs_ : Pairs(), listing->pairs);
        pairs_ = std::move(listing->pairs);
        revision_ = listing->revision;
      }
      Tell(listing->revision, std::move(events), true);
      return Follow(std::nullopt);
    }
    if (absl::IsPermissionDenied(listing.status()) || absl::IsUnauthenticated(listing.status())) {
      if (callbacks_.on_end) callbacks_.on_end(listing.status());
      return;
    }
    absl::MutexLock lock(&mu_);
    (void)client_.Await(&mu_, absl::Condition(&closed_), kRetryPause);
    if (closed_) return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<RangeMirror>> RangeMirror::Start(Client& client, std::string prefix,
                                                                Callbacks callbacks) {
  auto mirror = std::make_unique<MirrorImpl>(client, std::move(prefix), std::move(callbacks));
  KEELSON_RETURN_IF_ERROR(mirror->Begin());
  return mirror;
}

}  // namespace keelson::kvstore
