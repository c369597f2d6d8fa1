// Which states of a cluster the runs of a campaign have been in, by a coarse view of each: it tells
// whether more seeds still reach anything new. Fed by the trace of a run.
#ifndef KEELSON_RAFT_SIM_COVERAGE_H_
#define KEELSON_RAFT_SIM_COVERAGE_H_

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "raft/types.h"

namespace keelson::raft::sim {

class Coverage {
 public:
  // A run begins: what the last one left does not count.
  void Begin();
  // What SimWorld::Trace was told.
  void OnTrace(std::string_view what, std::span<const uint64_t> numbers);

  // Kinds of an observer's events and steps, each by the role of the node that it happened to.
  [[nodiscard]] size_t events_by_role() const { return events_.size(); }
  // Counts of voters, outgoing voters, learners and next learners.
  [[nodiscard]] size_t membership_shapes() const { return shapes_.size(); }
  // Roles of all nodes (or that they are down), whether the network is whole, and the shape of
  // the membership.
  [[nodiscard]] size_t abstract_states() const { return states_.size(); }

 private:
  void NoteState();

  // The first four are those of Role.
  enum class View : uint8_t { kFollower, kCandidate, kLeader, kPreCandidate, kDown };
  std::map<NodeId, View> nodes_;
  bool partitioned_ = false;
  std::vector<size_t> shape_;
  std::set<std::pair<View, uint64_t>> events_;
  std::set<std::vector<size_t>> shapes_;
  std::set<std::vector<size_t>> states_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_COVERAGE_H_
