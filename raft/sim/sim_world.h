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

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/numeric/int128.h"
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

  // Events may refer to what comes back as long as the world lives.
  template <typename T>
  T* Keep(std::shared_ptr<T> object) {
    T* const kept = object.get();
    kept_.push_back(std::move(object));
    return kept;
  }

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
  // Small, since the heap moves them about: what runs waits in its slot.
  struct Event {
    int64_t time = 0;
    uint64_t sequence = 0;
    size_t slot = 0;
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
  std::vector<std::function<void()>> slots_;
  std::vector<size_t> free_slots_;
  std::vector<std::shared_ptr<void>> kept_;
  bool tracing_ = false;
  Recorder recorder_;
  uint64_t trace_hash_ = 0xcbf29ce484222325u;
};

// The clock of one machine. Its rate differs from true time: 1.01 is one percent fast.
class SimClock final : public Clock {
 public:
  SimClock(const SimWorld& world, double rate) : world_(world), rate_(rate), step_(Step(rate)) {}

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
    step_ = Step(rate);
  }
  void JumpWallClock(absl::Duration offset) { wall_offset_ += offset; }

 private:
  static constexpr int64_t kUnit = 1 << 30;
  static int64_t Step(double rate) { return std::llround(rate * kUnit); }
  [[nodiscard]] absl::Duration Advance() const {
    const auto time = static_cast<absl::int128>(absl::ToInt64Nanoseconds(world_.now() - since_));
    return absl::Nanoseconds(static_cast<int64_t>(time * step_ / kUnit));
  }

  const SimWorld& world_;
  double rate_;
  int64_t step_;          // the rate, in kUnit
  absl::Duration shown_;  // at since_
  absl::Duration since_;
  absl::Duration wall_offset_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_WORLD_H_
