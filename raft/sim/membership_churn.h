// Which membership changes a simulated operator asks for. Pure.
#ifndef KEELSON_RAFT_SIM_MEMBERSHIP_CHURN_H_
#define KEELSON_RAFT_SIM_MEMBERSHIP_CHURN_H_

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "base/random.h"
#include "raft/sim/fault_counts.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class MembershipChurn {
 public:
  enum class Care : uint8_t {
    kNone,
    // No change takes a voter away without bringing another in its place, so that no membership, in
    // whatever order the changes come, has fewer voters than the first one: as an operator acts
    // while members are damaged.
    kKeepVoters,
  };
  // `ids` are all machines. Two ids always stay that were never removed, so that a membership
  // can be made of them.
  explicit MembershipChurn(std::vector<NodeId> ids, Care care = Care::kNone)
      : ids_(std::move(ids)), care_(care) {}

  // The next change, given what the membership seems to be and who seems to lead. It may make no
  // sense there: then it must be refused. Counts what it is into `counts`.
  ConfChange Draw(const ConfState& state, NodeId leader, Random& random, FaultCounts& counts);

 private:
  ConfChange DrawCareful(const ConfState& state, Random& random, FaultCounts& counts);
  void AddRandom(ConfChange& change, Random& random, FaultCounts& counts);
  void Remove(NodeId node, ConfChange& change);
  void Replace(const std::vector<NodeId>& old_nodes, const std::vector<NodeId>& new_nodes,
               ConfChange& change);
  // Machines that are no members and may become some.
  [[nodiscard]] std::vector<NodeId> Spares(const ConfState& state) const;
  [[nodiscard]] bool MayRetire(size_t nodes) const {
    return retired_.size() + nodes + 2 <= ids_.size();
  }

  const std::vector<NodeId> ids_;
  const Care care_;
  std::set<NodeId> retired_;      // a removal was proposed: ids never come back
  std::set<NodeId> substitutes_;  // with kKeepVoters: came for one that left, each for one only
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_MEMBERSHIP_CHURN_H_
