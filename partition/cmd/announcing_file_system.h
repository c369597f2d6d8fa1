// A file system that says each change before it makes it, or instead of making it.
#ifndef KEELSON_PARTITION_CMD_ANNOUNCING_FILE_SYSTEM_H_
#define KEELSON_PARTITION_CMD_ANNOUNCING_FILE_SYSTEM_H_

#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "partition/cmd/verbs.h"

namespace keelson::partition {

// On stderr, or collected for the JSON answer. In a dry run nothing is changed: what is written
// goes nowhere, so that what a caller reads is always the state before.
class AnnouncingFileSystem final : public FileSystem {
 public:
  AnnouncingFileSystem(FileSystem& fs, const Context& context) : fs_(fs), context_(context) {}

  // "write '/efi/x'", "rename '/efi/x' to '/efi/y'", in order.
  [[nodiscard]] const std::vector<std::string>& changes() const { return changes_; }

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             const OpenOptions& options) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<SpaceInfo> Space(const std::string& path) override;

 private:
  void Say(const std::string& change);

  FileSystem& fs_;
  const Context& context_;
  std::vector<std::string> changes_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_ANNOUNCING_FILE_SYSTEM_H_
