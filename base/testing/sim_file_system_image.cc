#include "base/testing/sim_file_system_image.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson {
namespace {

constexpr uint64_t kSector = 512;

uint64_t SectorFloor(uint64_t offset) { return offset - offset % kSector; }
uint64_t SectorCeil(uint64_t offset) { return SectorFloor(offset + kSector - 1); }

// How a whole file fares. With many changes pending, fates drawn one by one would hardly ever
// agree, but "nothing arrived" and "everything arrived" are the common real outcomes.
enum class Outcome { kAllLost, kAllKept, kMixed };

Outcome DrawOutcome(Random& random) {
  switch (random.Below(4)) {
    case 0:
      return Outcome::kAllLost;
    case 1:
      return Outcome::kAllKept;
    default:
      return Outcome::kMixed;
  }
}

}  // namespace

void SimFileImage::Change::CopyTo(std::string& image, uint64_t first, uint64_t count) const {
  const uint64_t from_data = first < data.size() ? std::min(count, data.size() - first) : 0;
  std::copy_n(data.begin() + static_cast<int64_t>(std::min<uint64_t>(first, data.size())),
              from_data, image.begin() + static_cast<int64_t>(offset + first));
  std::fill_n(image.begin() + static_cast<int64_t>(offset + first + from_data), count - from_data,
              '\0');
}

void SimFileImage::Write(uint64_t offset, std::string_view data) {
  if (data.empty()) return;
  const uint64_t end = offset + data.size();
  if (live_.size() < end) live_.resize(end);
  std::copy(data.begin(), data.end(), live_.begin() + static_cast<int64_t>(offset));
  const uint64_t first = SectorFloor(offset);
  const uint64_t last = std::min<uint64_t>(SectorCeil(end), live_.size());
  changes_.push_back({.offset = first,
                      .data = live_.substr(first, last - first),
                      .zeros = 0,
                      .size_after = live_.size()});
}

void SimFileImage::Resize(uint64_t size) {
  const uint64_t old_size = live_.size();
  if (size == old_size) return;
  live_.resize(size);
  Change change{.offset = SectorFloor(size), .data = {}, .zeros = 0, .size_after = size};
  if (size < old_size) {
    // What was cut off must not come back when the file grows again.
    change.data = live_.substr(change.offset);
    change.zeros = old_size - size;
  }
  changes_.push_back(std::move(change));
}

void SimFileImage::Sync() {
  for (const Change& change : changes_) {
    const uint64_t end = change.offset + change.length();
    if (durable_.size() < end) durable_.resize(end);
    change.CopyTo(durable_, 0, change.length());
    durable_.resize(change.size_after);
  }
  changes_.clear();
}

SimFileImage::Fates SimFileImage::Settle(Random& random) {
  Fates fates;
  if (changes_.empty()) return fates;
  const Outcome outcome = DrawOutcome(random);
  uint64_t size = durable_.size();
  uint64_t longest = size;
  for (const Change& change : changes_) {
    longest = std::max({longest, change.size_after, change.offset + change.length()});
  }
  if (outcome == Outcome::kAllKept) {
    size = changes_.back().size_after;
  } else if (outcome == Outcome::kMixed) {
    const uint64_t steps = random.Below(changes_.size() + 1);
    if (steps > 0) size = changes_[steps - 1].size_after;
  }

  durable_.resize(longest);
  for (const Change& change : changes_) {
    const uint64_t fate = outcome == Outcome::kAllLost   ? 0
                          : outcome == Outcome::kAllKept ? 1
                                                         : random.Below(3);
    fates.lost += fate == 0;
    fates.kept += fate == 1;
    fates.torn += fate == 2;
    if (fate == 0) continue;
    for (uint64_t at = 0; at < change.length(); at += kSector) {
      if (fate == 2 && random.Bernoulli(0.5)) continue;
      change.CopyTo(durable_, at, std::min(kSector, change.length() - at));
    }
  }
  durable_.resize(size);
  changes_.clear();
  return fates;
}

void SimFileImage::FlipBit(uint64_t offset, int bit) {
  KEELSON_CHECK(bit >= 0 && bit < 8) << "bit=" << bit;
  const char mask = static_cast<char>(1 << bit);
  if (offset < live_.size()) live_[offset] = static_cast<char>(live_[offset] ^ mask);
  if (offset < durable_.size()) durable_[offset] = static_cast<char>(durable_[offset] ^ mask);
}

}  // namespace keelson
