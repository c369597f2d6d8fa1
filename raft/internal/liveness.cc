#include "raft/internal/liveness.h"

namespace keelson::raft {

void Liveness::Heard(NodeId peer, absl::Duration now) {
  Host& host = hosts_[peer];
  host.heard = now;
  host.silent = false;
}

std::vector<NodeId> Liveness::Check(absl::Duration now) {
  // Who stood still heard nobody.
  if (checked_ != -absl::InfiniteDuration() && now - checked_ > 2 * interval_) {
    const absl::Duration pause = now - checked_ - interval_;
    for (auto& [peer, host] : hosts_) {
      if (host.heard < now - pause) host.heard += pause;
    }
  }
  checked_ = now;
  std::vector<NodeId> silent;
  for (auto& [peer, host] : hosts_) {
    if (now - host.heard < limit_) continue;
    if (!host.silent) ++lost_;
    host.silent = true;
    silent.push_back(peer);
  }
  return silent;
}

std::vector<NodeId> Liveness::peers() const {
  std::vector<NodeId> peers;
  peers.reserve(hosts_.size());
  for (const auto& [peer, host] : hosts_) peers.push_back(peer);
  return peers;
}

}  // namespace keelson::raft
