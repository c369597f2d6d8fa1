#include "kvstore/internal/range_counts.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/status.h"
#include "kvstore/internal/codec.h"

namespace keelson::kvstore::internal {
namespace {

// By how many the live keys of `bounds` have grown after revision `from` until `until`; empty when
// that takes more than `steps` rows or the rows may have been swept away.
absl::StatusOr<std::optional<int64_t>> Growth(const Engine& engine,
                                              const std::atomic<int64_t>& compacted,
                                              const Bounds& bounds, int64_t from, int64_t until,
                                              int64_t steps) {
  Engine::IterateOptions options;
  EncodeLogRow({.main = until + 1, .sub = 0}, &options.upper_bound);
  const auto iterator = engine.NewIterator(Family::kLog, options);
  // Looked at once the iterator is there: it sees every later row, swept or not.
  if (from + 1 < compacted.load(std::memory_order_acquire)) return std::nullopt;

  int64_t growth = 0;
  std::string row;
  EncodeLogRow({.main = from + 1, .sub = 0}, &row);
  for (iterator->Seek(row); iterator->Valid(); iterator->Next()) {
    if (--steps < 0) return std::nullopt;
    LogValue change;
    if (!DecodeLogValue(iterator->value(), &change)) {
      return absl::DataLossError("a row of the change log cannot be read");
    }
    if (!bounds.Contains(change.user_key)) continue;
    if (change.deleted) {
      --growth;
    } else if (change.previous.main == 0) {
      ++growth;
    }
  }
  KEELSON_RETURN_IF_ERROR(iterator->status());
  return growth;
}

}  // namespace

absl::StatusOr<std::optional<int64_t>> RangeCounts::Find(const Engine& engine,
                                                         const std::atomic<int64_t>& compacted,
                                                         const Bounds& bounds, int64_t at) {
  const std::optional<Entry> known = Get(bounds);
  if (!known.has_value()) return std::nullopt;
  if (known->at == at) return known->count;
  // Every revision has a row of its own at least.
  if (std::abs(at - known->at) > known->count) return std::nullopt;
  KEELSON_ASSIGN_OR_RETURN(const std::optional<int64_t> growth,
                           Growth(engine, compacted, bounds, std::min(at, known->at),
                                  std::max(at, known->at), known->count));
  if (!growth.has_value()) return std::nullopt;
  const int64_t count = at > known->at ? known->count + *growth : known->count - *growth;
  if (at > known->at) Record(bounds, at, count);
  return count;
}

std::optional<RangeCounts::Entry> RangeCounts::Get(const Bounds& bounds) {
  const Range range(bounds.key, bounds.range_end);
  absl::MutexLock lock(&mu_);
  const auto found = by_range_.find(range);
  if (found == by_range_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.front();
}

void RangeCounts::Record(const Bounds& bounds, int64_t at, int64_t count) {
  if (count < kSmallest || bounds.OneKey()) return;
  Range range(bounds.key, bounds.range_end);
  absl::MutexLock lock(&mu_);
  if (const auto found = by_range_.find(range); found != by_range_.end()) {
    Entry& entry = *found->second;
    // Of readers that ran side by side, the one who saw the newest state is of most use.
    if (entry.at < at) {
      entry.at = at;
      entry.count = count;
    }
    entries_.splice(entries_.begin(), entries_, found->second);
    return;
  }
  entries_.push_front({.range = range, .at = at, .count = count});
  by_range_.emplace(std::move(range), entries_.begin());
  if (entries_.size() > capacity_) {
    by_range_.erase(entries_.back().range);
    entries_.pop_back();
  }
}

}  // namespace keelson::kvstore::internal
