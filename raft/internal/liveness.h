// Which other hosts live, for the groups that sleep and do not find out by themselves.
#ifndef KEELSON_RAFT_INTERNAL_LIVENESS_H_
#define KEELSON_RAFT_INTERNAL_LIVENESS_H_

#include <map>
#include <vector>

#include "absl/time/time.h"
#include "raft/types.h"

namespace keelson::raft {

// Pure: time comes in, monotonic. A single-threaded value.
class Liveness {
 public:
  // A host that says nothing for `limit` is silent. Check is called every `interval` or so.
  Liveness(absl::Duration limit, absl::Duration interval) : limit_(limit), interval_(interval) {}

  // From now on `peer` is watched. It is given the time of the limit to say something.
  void Add(NodeId peer, absl::Duration now) { hosts_.try_emplace(peer, Host{now}); }
  // `peer` said something; it is watched if it was not.
  void Heard(NodeId peer, absl::Duration now);

  // Those that are silent now. A pause of this process itself, seen by the late call, counts for
  // nobody.
  std::vector<NodeId> Check(absl::Duration now);

  [[nodiscard]] std::vector<NodeId> peers() const;
  // How often a host fell silent.
  [[nodiscard]] uint64_t lost() const { return lost_; }

 private:
  struct Host {
    absl::Duration heard;
    bool silent = false;
  };

  const absl::Duration limit_;
  const absl::Duration interval_;
  absl::Duration checked_ = -absl::InfiniteDuration();
  std::map<NodeId, Host> hosts_;
  uint64_t lost_ = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_LIVENESS_H_
