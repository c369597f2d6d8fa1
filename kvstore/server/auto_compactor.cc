#include "kvstore/server/auto_compactor.h"

#include <algorithm>

namespace keelson::kvstore {
namespace {

// As etcd has them.
constexpr int kSamplesPerPeriod = 10;
constexpr absl::Duration kLongestInterval = absl::Hours(1);
constexpr absl::Duration kRevisionInterval = absl::Minutes(5);

}  // namespace

void AutoCompactor::Reset() {
  seen_.clear();
  next_sample_.reset();
  next_compaction_.reset();
}

std::optional<int64_t> AutoCompactor::Tick(absl::Duration now, int64_t revision) {
  if (options_.keep_time > absl::ZeroDuration()) return ByTime(now, revision);
  if (options_.keep_revisions > 0) return ByRevisions(now, revision);
  return std::nullopt;
}

std::optional<int64_t> AutoCompactor::IfNew(int64_t revision) {
  if (revision <= last_) return std::nullopt;
  last_ = revision;
  return revision;
}

std::optional<int64_t> AutoCompactor::ByTime(absl::Duration now, int64_t revision) {
  const absl::Duration interval = std::min(options_.keep_time, kLongestInterval);
  if (next_sample_.has_value() && now < *next_sample_) return std::nullopt;
  next_sample_ = now + interval / kSamplesPerPeriod;
  seen_.emplace_back(now, revision);
  // The newest sample that is old enough is what may go.
  while (seen_.size() > 1 && seen_[1].first <= now - options_.keep_time) seen_.pop_front();
  if (seen_.front().first > now - options_.keep_time) return std::nullopt;
  if (next_compaction_.has_value() && now < *next_compaction_) return std::nullopt;
  next_compaction_ = now + interval;
  return IfNew(seen_.front().second);
}

std::optional<int64_t> AutoCompactor::ByRevisions(absl::Duration now, int64_t revision) {
  if (!next_compaction_.has_value()) next_compaction_ = now + kRevisionInterval;
  if (now < *next_compaction_) return std::nullopt;
  next_compaction_ = now + kRevisionInterval;
  return IfNew(revision - options_.keep_revisions);
}

}  // namespace keelson::kvstore
