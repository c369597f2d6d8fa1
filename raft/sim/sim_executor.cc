#include "raft/sim/sim_executor.h"

#include <algorithm>
#include <utility>

namespace keelson::raft::sim {
namespace {

absl::Duration Exponential(Random& random, absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      random.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

}  // namespace

SimExecutor::SimExecutor(SimWorld& world, Random random, const Options& options)
    : state_(world.Keep(std::make_shared<State>(world, random, options))) {}

void SimExecutor::Post(Task task) {
  if (!state_->world.spending()) return Push(state_, std::move(task));
  // Another thread's, which has worked for a while: what comes in until then is before it.
  state_->world.After(absl::ZeroDuration(), [state = state_, task = std::move(task)]() mutable {
    Push(state, std::move(task));
  });
}

void SimExecutor::PostAfter(absl::Duration delay, Task task) {
  if (state_->dead) return;
  state_->world.After(
      delay / state_->options.clock_rate,
      [state = state_, task = std::move(task)]() mutable { Push(state, std::move(task)); });
}

void SimExecutor::Kill() {
  state_->dead = true;
  // Moved out first: what a task holds may post again while it is destroyed.
  const std::deque<Task> dropped = std::move(state_->tasks);
  state_->tasks.clear();
}

void SimExecutor::PauseUntil(absl::Duration until) {
  state_->busy_until = std::max(state_->busy_until, until);
}

void SimExecutor::Push(State* state, Task task) {
  if (state->dead) return;
  state->tasks.push_back(std::move(task));
  Schedule(state);
}

void SimExecutor::Schedule(State* state) {
  if (state->scheduled || state->tasks.empty()) return;
  state->scheduled = true;
  absl::Duration wait = std::max(state->busy_until - state->world.now(), absl::ZeroDuration());
  wait += Exponential(state->random, state->options.mean_delay);
  if (state->options.stall > 0 && state->random.Bernoulli(state->options.stall)) {
    wait += Exponential(state->random, state->options.stall_delay);
  }
  state->world.After(wait, [state] { Run(state); });
}

void SimExecutor::Run(State* state) {
  state->scheduled = false;
  if (state->dead || state->tasks.empty()) return;
  // A pause may have begun after the run was scheduled.
  if (state->busy_until > state->world.now()) return Schedule(state);
  const Task task = std::move(state->tasks.front());
  state->tasks.pop_front();
  if (state->options.ran != nullptr) ++*state->options.ran;
  task();
  if (state->dead) return;
  state->busy_until = std::max(state->busy_until, state->world.now());
  Schedule(state);
}

}  // namespace keelson::raft::sim
