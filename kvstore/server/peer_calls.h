// What members of a cluster ask each other, beside Raft.
#ifndef KEELSON_KVSTORE_SERVER_PEER_CALLS_H_
#define KEELSON_KVSTORE_SERVER_PEER_CALLS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/server/lease_forwarder.h"
#include "kvstore/store.h"
#include "raft/types.h"

namespace keelson::kvstore {

// The cluster as one member knows it.
struct ClusterDescription {
  uint64_t cluster_id = 0;
  std::vector<Store::MemberAttributes> members;   // as Store::Members
  raft::ConfState in_force;                       // Raft's membership
  std::vector<Store::MemberAttributes> founders;  // before the first entry of the log
};

// Thread-safe. `done` runs once, on any thread, with errors as for LeaseForwarder.
class PeerCalls : public LeaseForwarder {
 public:
  using Described = std::function<void(absl::StatusOr<ClusterDescription>)>;
  virtual void Describe(raft::NodeId peer, absl::Duration timeout, Described done) = 0;
  // Asks the leader to make a voter of the learner `id`, for `who`. Done when that is decided.
  virtual void Promote(raft::NodeId leader, uint64_t id, const Origin& who, absl::Duration timeout,
                       Done done) = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PEER_CALLS_H_
