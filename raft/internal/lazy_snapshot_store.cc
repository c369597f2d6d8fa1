#include "raft/internal/lazy_snapshot_store.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::raft {

absl::StatusOr<SnapshotStore*> LazySnapshotStore::Get(bool create) {
  absl::MutexLock lock(&mu_);
  if (removed_) {
    if (create) return absl::FailedPreconditionError(absl::StrCat("'", dir_, "' was removed"));
    return nullptr;
  }
  if (store_ != nullptr) return store_.get();
  if (!create) {
    KEELSON_ASSIGN_OR_RETURN(const bool exists, fs_.Exists(dir_));
    if (!exists) return nullptr;
  }
  KEELSON_ASSIGN_OR_RETURN(store_, SnapshotStore::Open(fs_, dir_));
  return store_.get();
}

absl::StatusOr<std::unique_ptr<SnapshotWriter>> LazySnapshotStore::Create(
    const SnapshotMetadata& metadata) {
  KEELSON_ASSIGN_OR_RETURN(SnapshotStore * store, Get(true));
  return store->Create(metadata);
}

absl::StatusOr<std::unique_ptr<SnapshotReader>> LazySnapshotStore::OpenSnapshot(Index index,
                                                                                Term term) {
  KEELSON_ASSIGN_OR_RETURN(SnapshotStore * store, Get(false));
  if (store == nullptr) {
    return absl::NotFoundError(absl::StrCat("no snapshot of index ", index, " in '", dir_, "'"));
  }
  return store->OpenSnapshot(index, term);
}

absl::StatusOr<std::vector<SnapshotMetadata>> LazySnapshotStore::List() {
  KEELSON_ASSIGN_OR_RETURN(SnapshotStore * store, Get(false));
  if (store == nullptr) return std::vector<SnapshotMetadata>();
  return store->List();
}

absl::Status LazySnapshotStore::RemoveOld(size_t keep) {
  KEELSON_ASSIGN_OR_RETURN(SnapshotStore * store, Get(false));
  return store == nullptr ? absl::OkStatus() : store->RemoveOld(keep);
}

absl::Status LazySnapshotStore::RemoveAll() {
  absl::MutexLock lock(&mu_);
  removed_ = true;
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs_.Exists(dir_));
  if (!exists) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
  for (const std::string& name : names) {
    KEELSON_RETURN_IF_ERROR(fs_.Remove(JoinPath(dir_, name)));
  }
  return fs_.Remove(dir_);
}

}  // namespace keelson::raft
