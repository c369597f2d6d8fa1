#include "raft/sim/sim_world.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <utility>

namespace keelson::raft::sim {

void SimWorld::After(absl::Duration delay, std::function<void()> event) {
  const int64_t wait = std::max<int64_t>(absl::ToInt64Nanoseconds(delay), 0);
  queue_.push_back({now_ + spent_ + wait, sequence_++, std::move(event)});
  std::push_heap(queue_.begin(), queue_.end(), Later);
}

bool SimWorld::Step() {
  if (queue_.empty()) return false;
  std::pop_heap(queue_.begin(), queue_.end(), Later);
  const Event event = std::move(queue_.back());
  queue_.pop_back();
  now_ = event.time;
  spent_ = 0;
  ++steps_;
  event.run();
  // What the event spent delays its own effects only, not the rest of the world.
  spent_ = 0;
  return true;
}

void SimWorld::Trace(std::string_view what, std::span<const uint64_t> numbers) {
  const auto mix = [this](uint64_t value) {
    trace_hash_ = (trace_hash_ ^ value) * 0x100000001b3u;
    trace_hash_ ^= trace_hash_ >> 29;
  };
  mix(static_cast<uint64_t>(now_ + spent_));
  for (const char c : what) mix(static_cast<unsigned char>(c));
  for (const uint64_t number : numbers) mix(number);
  if (recorder_) recorder_(now_ + spent_, what, numbers);
  if (!tracing_) return;
  std::string line(what);
  for (const uint64_t number : numbers) line += ' ' + std::to_string(number);
  (void)std::fprintf(stderr, "%12.6f #%" PRIu64 " %s\n",  // A lost trace line harms nothing.
                     static_cast<double>(now_ + spent_) * 1e-9, steps_, line.c_str());
}

}  // namespace keelson::raft::sim
