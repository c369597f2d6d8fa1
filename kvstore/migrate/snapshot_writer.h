// Writes a store as a snapshot that etcd's tools restore.
#ifndef KEELSON_KVSTORE_MIGRATE_SNAPSHOT_WRITER_H_
#define KEELSON_KVSTORE_MIGRATE_SNAPSHOT_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "kvstore/migrate/digest.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore {

// A file that becomes `path` when it is whole. Takes a database and the SHA-256 behind it, in
// pieces.
// Dropping it before Complete removes what was written.
class SnapshotWriter {
 public:
  // Writes "<path>.part", which is replaced if it is there. `fs` is borrowed.
  static absl::StatusOr<std::unique_ptr<SnapshotWriter>> Create(FileSystem& fs,
                                                                const std::string& path);
  ~SnapshotWriter();

  absl::Status Append(std::string_view piece);
  // Makes the file durable under its name. DATA_LOSS when the last 32 bytes are not the SHA-256 of
  // those before.
  absl::Status Complete();

  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  SnapshotWriter(FileSystem& fs, const std::string& path) : fs_(fs), path_(path) {}

  FileSystem& fs_;
  const std::string path_;
  std::unique_ptr<File> file_;
  uint64_t bytes_ = 0;
  std::string tail_;  // the last bytes, which may be the digest
  Sha256 digest_;
};

// Writes `image` to `path`. `progress` gets the bytes written and those that there will be.
absl::Status WriteSnapshotFile(FileSystem& fs, const StoreImage& image, const std::string& path,
                               absl::FunctionRef<void(uint64_t done, uint64_t total)> progress);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_SNAPSHOT_WRITER_H_
