// A space-time diagram of the end of a run, as one HTML file that a browser shows without any other:
// a lane for each member with its role and term, messages as arrows, faults, commits and what
// clients did; time runs downwards.
//
//   RunDiagram diagram({.steps = 4000});
//   const RunResult result = RunSeed({.seed = 7, .diagram = &diagram});
//   WriteFile("run.html", diagram.Html(result, ReplayCommand(options)));
#ifndef KEELSON_RAFT_SIM_RUN_DIAGRAM_H_
#define KEELSON_RAFT_SIM_RUN_DIAGRAM_H_

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "raft/node.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class RunDiagram {
 public:
  struct Options {
    // How many steps before the end are shown.
    uint64_t steps = 4000;
  };
  explicit RunDiagram(const Options& options) : options_(options) {}

  // What SimWorld::Trace was told, at `time` nanoseconds.
  void OnTrace(int64_t time, std::string_view what, std::span<const uint64_t> numbers);
  // After a step at `time`: where each node stands; nullptr for one that is down.
  void OnState(int64_t time, NodeId node, const Node::Snapshot* peek);
  // The step is over.
  void EndStep();

  struct Facts {
    std::string title;      // "seed 7"
    std::string violation;  // "I6: node 3 calls ..."; empty when nothing broke
    std::string replay;     // the command that shows the run again
    std::string swarm;      // what was drawn
    int64_t end = 0;        // nanoseconds
  };
  // The whole page. Deterministic.
  [[nodiscard]] std::string Html(const Facts& facts) const;

 private:
  struct Item {
    uint64_t step = 0;
    int64_t time = 0;
    std::string what;
    std::vector<uint64_t> numbers;
  };
  struct State {
    uint64_t step = 0;
    int64_t time = 0;
    NodeId node = kNoNode;
    int role = 0;  // as in raft::Role; -1: down
    Term term = 0;
    Index commit = 0;
  };

  [[nodiscard]] std::string Data(const Facts& facts) const;

  const Options options_;
  uint64_t step_ = 0;
  std::deque<Item> items_;
  std::deque<State> states_;        // changes
  std::map<NodeId, State> last_;    // of each node
  std::map<NodeId, State> before_;  // of each node, before states_
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_RUN_DIAGRAM_H_
