// The snapshots of one of many groups: a folder that exists only once there is one.
#ifndef KEELSON_RAFT_INTERNAL_LAZY_SNAPSHOT_STORE_H_
#define KEELSON_RAFT_INTERNAL_LAZY_SNAPSHOT_STORE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "raft/snapshot_store.h"

namespace keelson::raft {

// Thread-safe. Ten thousand groups would otherwise make as many folders, with a sync each, when most
// of them never write a snapshot.
class LazySnapshotStore final : public SnapshotStore {
 public:
  // `fs` is borrowed and outlives the store.
  LazySnapshotStore(FileSystem& fs, std::string dir) : fs_(fs), dir_(std::move(dir)) {}

  absl::StatusOr<std::unique_ptr<SnapshotWriter>> Create(const SnapshotMetadata& metadata) override;
  absl::StatusOr<std::unique_ptr<SnapshotReader>> OpenSnapshot(Index index, Term term) override;
  absl::StatusOr<std::vector<SnapshotMetadata>> List() override;
  absl::Status RemoveOld(size_t keep) override;

  // Removes the folder and all in it. From now on the store is empty and nothing can be created.
  absl::Status RemoveAll() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // The store of the folder; null when there is none and `create` is false.
  absl::StatusOr<SnapshotStore*> Get(bool create) ABSL_LOCKS_EXCLUDED(mu_);

  FileSystem& fs_;
  const std::string dir_;
  absl::Mutex mu_;
  bool removed_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<SnapshotStore> store_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_LAZY_SNAPSHOT_STORE_H_
