#include "kvstore/server/watch_stream.h"

#include <iterator>
#include <utility>

#include "kvstore/server/watch_hub.h"

namespace keelson::kvstore {

using etcdserverpb::WatchRequest;

WatchStream::Item WatchStream::ReadyItem(std::string bytes) {
  Item item;
  item.cost = bytes.size();
  item.bytes = std::move(bytes);
  return item;
}

void WatchStream::Handle(const WatchRequest& request) {
  switch (request.request_union_case()) {
    case WatchRequest::kCreateRequest:
      hub_->Create(shared_from_this(), request.create_request());
      break;
    case WatchRequest::kCancelRequest:
      hub_->Cancel(shared_from_this(), request.cancel_request().watch_id());
      break;
    case WatchRequest::kProgressRequest:
      hub_->RequestProgress(shared_from_this());
      break;
    case WatchRequest::REQUEST_UNION_NOT_SET:
      break;  // A kind of request that came later than we did: ignored, as etcd
              // does.
  }
}

void WatchStream::Answer(const etcdserverpb::WatchResponse& response) {
  hub_->Answer(shared_from_this(), response);
}

std::optional<std::string> WatchStream::Next() {
  Item item;
  bool made_room = false;
  {
    absl::MutexLock lock(&mu_);
    if (queue_.empty()) {
      idle_ = true;
      return std::nullopt;
    }
    item = std::move(queue_.front());
    queue_.pop_front();
    queued_cost_ -= item.cost;
    if (wants_room_ && HasRoom()) {
      wants_room_ = false;
      made_room = true;
    }
  }
  if (made_room) hub_->PostCatchUp(shared_from_this());
  return item.change == nullptr ? std::move(item.bytes) : Encode(std::move(item));
}

std::string WatchStream::Encode(Item item) {
  const EncodedEvents& events = item.prev_kv ? item.change->WithPrevious() : item.change->Plain();
  std::string head = item.change->head();
  AppendWatchId(item.watch_id, &head);
  if (!item.fragment) return EncodeResponse(head, events, item.indices);
  std::vector<std::string> pieces =
      EncodeFragments(head, events, item.indices, hub_->options_.fragment_bytes);
  absl::MutexLock lock(&mu_);
  for (size_t i = pieces.size(); i > 1; --i) {
    queue_.push_front(ReadyItem(std::move(pieces[i - 1])));
    queued_cost_ += queue_.front().cost;
  }
  return std::move(pieces.front());
}

bool WatchStream::Crowded() const {
  absl::MutexLock lock(&mu_);
  return queue_.size() >= 2 * hub_->options_.queue_responses;
}

void WatchStream::Close() {
  Silence();
  hub_->CloseStream(shared_from_this());
}

bool WatchStream::Full() const {
  return queue_.size() >= hub_->options_.queue_responses ||
         queued_cost_ >= hub_->options_.queue_bytes;
}

bool WatchStream::HasRoom() const {
  return queue_.size() <= hub_->options_.queue_responses / 2 &&
         queued_cost_ <= hub_->options_.queue_bytes / 2;
}

bool WatchStream::WaitForRoom() {
  absl::MutexLock lock(&mu_);
  wants_room_ = Full();
  return wants_room_;
}

WatchStream::Pushed WatchStream::Push(Item item, bool bounded) {
  absl::MutexLock lock(&mu_);
  if (silenced_) return Pushed::kQueued;
  if (bounded && Full()) return Pushed::kFull;
  queued_cost_ += item.cost;
  queue_.push_back(std::move(item));
  return std::exchange(idle_, false) ? Pushed::kQueuedAndWake : Pushed::kQueued;
}

void WatchStream::Silence() {
  absl::MutexLock lock(&mu_);
  silenced_ = true;
  queue_.clear();
  queued_cost_ = 0;
  wants_room_ = false;
}

}  // namespace keelson::kvstore
