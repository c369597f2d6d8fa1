#include "raft/transport/internal/hub.h"

#include <utility>

namespace keelson::raft::transport {
namespace {

constexpr size_t kMaxPeers = 1024;
constexpr size_t kMaxTroubles = 8;  // texts remembered for each peer

}  // namespace

Hub::Hub(PeerTransport::Options options, TlsContexts tls)
    : options_(std::move(options)), tls_(std::move(tls)), loop_(options_.loop) {
  if (loop_ != nullptr) return;
  own_loop_ = std::make_unique<EventLoop>("raft-net");
  loop_ = own_loop_.get();
}

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
  disk_.Stop();
  if (own_loop_ != nullptr) {
    own_loop_->Stop();
  } else {
    loop_->Await([] {});  // What it was doing for us is over.
  }
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
