#include "raft/transport/internal/hub.h"

#include <utility>

namespace keelson::raft::transport {
namespace {

constexpr size_t kMaxPeers = 1024;
constexpr size_t kMaxTroubles = 8;  // texts remembered for each peer

}  // namespace

void Hub::Open(MessageSink& sink) {
  sink_.store(&sink, std::memory_order_release);
  absl::MutexLock lock(&mu_);
  open_ = true;
}

Hub::Pass Hub::Enter() {
  absl::MutexLock lock(&mu_);
  if (!open_) return Pass();
  ++passes_;
  return Pass(this);
}

void Hub::Leave() {
  absl::MutexLock lock(&mu_);
  --passes_;
}

void Hub::Close() {
  absl::MutexLock lock(&mu_);
  open_ = false;
}

void Hub::WaitUntilEmpty() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &Hub::Empty));
}

void Hub::StopExecutors() {
  timers_.Stop();
  disk_.Stop();
}

std::shared_ptr<PeerCounters> Hub::Counters(NodeId peer) {
  absl::MutexLock lock(&mu_);
  if (counters_.size() >= kMaxPeers && !counters_.contains(peer)) peer = kNoNode;
  std::shared_ptr<PeerCounters>& counters = counters_[peer];
  if (counters == nullptr) counters = std::make_shared<PeerCounters>();
  return counters;
}

std::map<NodeId, std::shared_ptr<PeerCounters>> Hub::AllCounters() const {
  absl::MutexLock lock(&mu_);
  return counters_;
}

void Hub::Keep(std::shared_ptr<const void> object) {
  std::vector<std::shared_ptr<const void>> dropped;  // goes without the lock
  absl::MutexLock lock(&mu_);
  for (auto& kept : kept_) {
    if (kept.use_count() == 1) dropped.push_back(std::exchange(kept, nullptr));
  }
  std::erase(kept_, nullptr);
  kept_.push_back(std::move(object));
}

void Hub::Trouble(NodeId peer, const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (troubles_.size() >= kMaxPeers && !troubles_.contains(peer)) peer = kNoNode;
    std::set<std::string>& known = troubles_[peer];
    if (known.size() >= kMaxTroubles || !known.insert(std::string(status.message())).second) return;
  }
  if (options_.on_trouble) options_.on_trouble(peer, status);
}

void Hub::IsWell(NodeId peer) {
  absl::MutexLock lock(&mu_);
  troubles_.erase(peer);
}

}  // namespace keelson::raft::transport
