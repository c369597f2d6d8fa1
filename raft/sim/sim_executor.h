// An Executor on virtual time: one simulated thread of one simulated process.
#ifndef KEELSON_RAFT_SIM_SIM_EXECUTOR_H_
#define KEELSON_RAFT_SIM_SIM_EXECUTOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "base/executor.h"
#include "base/random.h"
#include "raft/sim/sim_world.h"

namespace keelson::raft::sim {

// Runs tasks in order, one an event, each after a short random delay and not before the one
// before it is over (see SimWorld::Spend). After Kill nothing runs any more.
class SimExecutor final : public Executor {
 public:
  struct Options {
    // Mean wait of a ready task before it runs, exponentially distributed.
    absl::Duration mean_delay = absl::Microseconds(5);
    // With probability `stall`, an extra wait with mean `stall_delay`: a busy processor.
    double stall = 0;
    absl::Duration stall_delay = absl::Milliseconds(20);
    // Counts the tasks that have begun, those of other executors too; may be null. Borrowed until
    // Kill.
    uint64_t* ran = nullptr;
    double clock_rate = 1;  // delays of PostAfter are measured by a clock of this rate
  };

  // `world` is borrowed and outlives the executor.
  SimExecutor(SimWorld& world, Random random, const Options& options);
  ~SimExecutor() override { Kill(); }

  void Post(Task task) override;
  void PostAfter(absl::Duration delay, Task task) override;

  // Drops what waits and refuses what comes: the process is dead.
  void Kill();

  // Nothing runs before `until` (true time): the process is stopped (SIGSTOP).
  void PauseUntil(absl::Duration until);

  // No stalls from here on.
  void Calm() { state_->options.stall = 0; }

  // Delays of PostAfter count by a clock of this rate from now on; those under way stay as
  // they are.
  void SetClockRate(double rate) { state_->options.clock_rate = rate; }

  // When the running task, or the pause, will be over.
  [[nodiscard]] absl::Duration busy_until() const { return state_->busy_until; }
  [[nodiscard]] size_t waiting() const { return state_->tasks.size(); }

 private:
  // Events in the world's queue outlive the executor, and look at this.
  struct State {
    SimWorld& world;
    Random random;
    Options options;
    std::deque<Task> tasks;
    absl::Duration busy_until;
    bool scheduled = false;
    bool dead = false;

    State(SimWorld& the_world, const Random& the_random, const Options& the_options)
        : world(the_world), random(the_random), options(the_options) {}
  };
  static void Push(State* state, Task task);
  static void Schedule(State* state);
  static void Run(State* state);

  State* const state_;  // the world keeps it
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_EXECUTOR_H_
