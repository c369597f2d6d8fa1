#include "raft/sim/sim_world.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

namespace keelson::raft::sim {

void SimWorld::After(absl::Duration delay, std::function<void()> event) {
  const int64_t wait = std::max<int64_t>(absl::ToInt64Nanoseconds(delay), 0);
  size_t slot = slots_.size();
  if (free_slots_.empty()) {
    slots_.push_back(std::move(event));
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[slot] = std::move(event);
  }
  queue_.push_back({now_ + spent_ + wait, sequence_++, slot});
  std::push_heap(queue_.begin(), queue_.end(), Later);
}

bool SimWorld::Step() {
  if (queue_.empty()) return false;
  std::pop_heap(queue_.begin(), queue_.end(), Later);
  const Event event = queue_.back();
  queue_.pop_back();
  const std::function<void()> run = std::exchange(slots_[event.slot], nullptr);
  free_slots_.push_back(event.slot);
  now_ = event.time;
  spent_ = 0;
  ++steps_;
  run();
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
  for (std::string_view rest = what; !rest.empty();) {
    uint64_t word = 0;  // its next eight characters
    const std::string_view part = rest.substr(0, sizeof(word));
    std::memcpy(&word, part.data(), part.size());
    rest.remove_prefix(part.size());
    mix(word);
  }
  for (const uint64_t number : numbers) mix(number);
  if (recorder_) recorder_(now_ + spent_, what, numbers);
  if (!tracing_) return;
  std::string line(what);
  for (const uint64_t number : numbers) line += ' ' + std::to_string(number);
  (void)std::fprintf(stderr, "%12.6f #%" PRIu64 " %s\n",  // A lost trace line harms nothing.
                     static_cast<double>(now_ + spent_) * 1e-9, steps_, line.c_str());
}

}  // namespace keelson::raft::sim
