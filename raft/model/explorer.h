// Visits every state of a small group that the bounds allow, nearest first.
#ifndef KEELSON_RAFT_MODEL_EXPLORER_H_
#define KEELSON_RAFT_MODEL_EXPLORER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "raft/model/bounds.h"
#include "raft/model/catalog.h"
#include "raft/model/fingerprint.h"
#include "raft/model/world.h"

namespace keelson::raft::model {

struct Violation {
  std::string what;
  std::vector<std::string> trace;  // a line for each step from the start
};

struct Progress {
  uint64_t states = 0;       // distinct, up to renaming when symmetry is on
  uint64_t transitions = 0;  // steps taken from them
  unsigned depth = 0;        // steps from the start to the newest of them
  uint64_t frontier = 0;     // states whose steps have not been taken
  size_t members = 0;        // distinct states of one member
  size_t messages = 0;       // distinct messages
};

struct Result : Progress {
  bool finished = false;  // no state is left: everything within the bounds was visited
  std::optional<Violation> violation;
};

class Explorer {
 public:
  explicit Explorer(const Bounds& bounds);

  // Until a violation, the bound on states, or the end. `report` is called now and then.
  Result Run(const std::function<void(const Progress&)>& report);

  // What led to the step that is being taken, for a handler of failed checks in the core.
  [[nodiscard]] std::vector<std::string> TraceOfPresentStep();

 private:
  struct Action {
    Step step = Step::kDeliver;
    bool keep = false;    // a delivery that leaves the message: a duplicate
    bool drop = false;    // no delivery: the message is lost
    bool stall = false;   // what is to be written after it stays pending
    uint32_t number = 0;  // of the message, or the member's position
  };
  struct Origin {
    uint32_t parent = 0;
    uint32_t action = 0;  // encoded
  };

  static uint32_t Encode(const Action& action);
  static Action Decode(uint32_t code);

  [[nodiscard]] World First();
  void Expand(const World& world);
  void ExpandMember(const World& world, size_t position);
  void ExpandMessage(const World& world, MessageNumber number);
  // Takes one step and notes the state that it leads to, if it is new.
  void Take(const World& world, const Action& action);
  // As Take, and once more with a stalled disk where that makes a difference.
  void TakeBoth(const World& world, Action action);
  [[nodiscard]] size_t PositionOf(const Action& action) const;
  // Changes `world` by `action`; what is wrong, or nothing.
  std::string Perform(World& world, const Action& action);
  // Takes away what can never again change its receiver.
  void Discard(World& world, size_t changed, const Effect& effect);
  [[nodiscard]] bool Meaningless(const World& world, MessageNumber number);
  std::vector<std::string> TraceTo(uint32_t state, const Action& last);
  [[nodiscard]] std::string Describe(const Action& action, const World& before) const;
  [[nodiscard]] Progress Now() const;

  const Bounds bounds_;
  Catalog catalog_;
  absl::flat_hash_set<Fingerprint> seen_;
  std::vector<Origin> origins_;       // by state, in the order in which they were found
  std::vector<uint32_t> level_;       // packed worlds of this depth
  std::vector<uint32_t> next_level_;  // and of the next one
  uint64_t transitions_ = 0;
  unsigned depth_ = 0;
  uint64_t expanded_ = 0;
  uint32_t present_ = 0;  // the state whose steps are being taken
  Action action_;
  std::optional<Violation> violation_;
};

}  // namespace keelson::raft::model

#endif  // KEELSON_RAFT_MODEL_EXPLORER_H_
