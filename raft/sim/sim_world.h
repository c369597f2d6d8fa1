// Virtual time: one queue of events, ordered by (time, order of scheduling), run by one
// thread. Nothing here sleeps; time jumps to the next event.
//
//   SimWorld world(seed);
//   world.After(absl::Milliseconds(5), [&] { ... });
//   while (world.now() < absl::Seconds(1) && world.Step()) {}
//   world.trace_hash();  // equal for equal seeds
//
// Chance comes from named streams of the seed, so that a draw added in one part of the
// simulation does not shift another.
#ifndef KEELSON_RAFT_SIM_SIM_WORLD_H_
#define KEELSON_RAFT_SIM_SIM_WORLD_H_

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/random.h"

namespace keelson::raft::sim {

// Single-threaded.
class SimWorld {
 public:
  explicit SimWorld(uint64_t seed) : root_(seed) {}
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // Virtual time since the start. Inside an event it includes what the event has spent so far.
  [[nodiscard]] absl::Duration now() const { return absl::Nanoseconds(now_ + spent_); }

  // Runs `event` once, `delay` after now().
  void After(absl::Duration delay, std::function<void()> event);

  // The running event takes this much time: what it schedules from here on is that much later.
  void Spend(absl::Duration time) { spent_ += absl::ToInt64Nanoseconds(time); }

  // True when the running event has spent time.
  [[nodiscard]] bool spending() const { return spent_ > 0; }

  // Runs the next event. False when there is none.
  bool Step();
  [[nodiscard]] uint64_t steps() const { return steps_; }

  [[nodiscard]] Random Stream(std::string_view label) const { return root_.Stream(label); }

  // Notes what happened: `what` and the numbers go into the trace hash, and to standard error
  // when tracing is on.
  void Trace(std::string_view what, std::span<const uint64_t> numbers);
  void Trace(std::string_view what, std::initializer_list<uint64_t> numbers) {
    Trace(what, std::span<const uint64_t>(numbers.begin(), numbers.size()));
  }
  void SetTracing(bool on) { tracing_ = on; }
  // Hears what is traced, with the time in nanoseconds.
  using Recorder =
      std::function<void(int64_t time, std::string_view what, std::span<const uint64_t> numbers)>;
  void SetRecorder(Recorder recorder) { recorder_ = std::move(recorder); }
  [[nodiscard]] bool tracing() const { return tracing_; }
  [[nodiscard]] uint64_t trace_hash() const { return trace_hash_; }

 private:
  struct Event {
    int64_t time = 0;
    uint64_t sequence = 0;
    std::function<void()> run;
  };
  static bool Later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
  }

  const Random root_;
  int64_t now_ = 0;    // nanoseconds, start of the running event
  int64_t spent_ = 0;  // by the running event
  uint64_t sequence_ = 0;
  uint64_t steps_ = 0;
  std::vector<Event> queue_;  // a heap by Later
  bool tracing_ = false;
  Recorder recorder_;
  uint64_t trace_hash_ = 0xcbf29ce484222325u;
};

// The clock of one machine. Its rate differs from true time: 1.01 is one percent fast.
class SimClock final : public Clock {
 public:
  SimClock(const SimWorld& world, double rate) : world_(world), rate_(rate) {}

  absl::Time Now() override {
    return absl::FromUnixSeconds(1'700'000'000) + wall_offset_ + Monotonic();
  }
  absl::Duration Monotonic() override { return shown_ + Advance(); }

  [[nodiscard]] double rate() const { return rate_; }
  // From now on it runs at `rate`; 0 stops it, as while the machine is suspended.
  void SetRate(double rate) {
    shown_ += Advance();
    since_ = world_.now();
    rate_ = rate;
  }
  void JumpWallClock(absl::Duration offset) { wall_offset_ += offset; }

 private:
  [[nodiscard]] absl::Duration Advance() const { return (world_.now() - since_) * rate_; }

  const SimWorld& world_;
  double rate_;
  absl::Duration shown_;  // at since_
  absl::Duration since_;
  absl::Duration wall_offset_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_WORLD_H_
