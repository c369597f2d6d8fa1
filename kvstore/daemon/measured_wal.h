// A Wal that tells how long its syncs take, under etcd's metric names.
#ifndef KEELSON_KVSTORE_DAEMON_MEASURED_WAL_H_
#define KEELSON_KVSTORE_DAEMON_MEASURED_WAL_H_

#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/metrics.h"
#include "raft/wal.h"

namespace keelson::kvstore {

class MeasuredWal final : public raft::Wal {
 public:
  // `clock` and `metrics` are borrowed and outlive the log.
  MeasuredWal(std::unique_ptr<raft::Wal> wal, Clock* clock, MetricRegistry* metrics)
      : wal_(std::move(wal)),
        clock_(clock),
        sync_seconds_(metrics->GetHistogram("etcd_disk_wal_fsync_duration_seconds",
                                            "Time of syncs of the log.",
                                            ExponentialBuckets(0.001, 2, 14))) {}

  absl::Status Append(const Batch& batch) override { return wal_->Append(batch); }

  absl::StatusOr<raft::SyncToken> Sync() override {
    const absl::Duration begin = clock_->Monotonic();
    absl::StatusOr<raft::SyncToken> token = wal_->Sync();
    sync_seconds_.Observe(absl::ToDoubleSeconds(clock_->Monotonic() - begin));
    return token;
  }

  absl::Status Compact(const raft::SnapshotMetadata& start) override {
    return wal_->Compact(start);
  }
  [[nodiscard]] Stats GetStats() const override { return wal_->GetStats(); }

 private:
  const std::unique_ptr<raft::Wal> wal_;
  Clock* const clock_;
  Histogram& sync_seconds_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_MEASURED_WAL_H_
