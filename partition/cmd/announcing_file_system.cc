#include "partition/cmd/announcing_file_system.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

// What a dry run writes to.
class NowhereFile final : public File {
 public:
  absl::Status WriteAt(uint64_t /*offset*/, std::string_view /*data*/) override {
    return absl::OkStatus();
  }
  absl::Status WriteAt(uint64_t /*offset*/, std::span<const std::string_view> /*pieces*/) override {
    return absl::OkStatus();
  }
  absl::StatusOr<size_t> ReadAt(uint64_t /*offset*/, std::span<char> /*buffer*/) const override {
    return size_t{0};
  }
  absl::StatusOr<uint64_t> Size() const override { return uint64_t{0}; }
  absl::Status SyncData() override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t /*size*/) override { return absl::OkStatus(); }
  absl::Status Allocate(uint64_t /*offset*/, uint64_t /*length*/) override {
    return absl::OkStatus();
  }
};

}  // namespace

void AnnouncingFileSystem::Say(const std::string& change) {
  changes_.push_back(change);
  if (context_.json()) return;
  absl::FPrintF(stderr, "%s%s\n", context_.dry_run ? "would " : "", change);
}

absl::StatusOr<std::unique_ptr<File>> AnnouncingFileSystem::Open(const std::string& path,
                                                                 const OpenOptions& options) {
  if (!options.write) return fs_.Open(path, options);
  Say(absl::StrCat("write '", path, "'"));
  if (context_.dry_run) return std::make_unique<NowhereFile>();
  return fs_.Open(path, options);
}

absl::Status AnnouncingFileSystem::Rename(const std::string& from, const std::string& to) {
  Say(absl::StrCat("rename '", from, "' to '", to, "'"));
  return context_.dry_run ? absl::OkStatus() : fs_.Rename(from, to);
}

absl::Status AnnouncingFileSystem::Remove(const std::string& path) {
  Say(absl::StrCat("remove '", path, "'"));
  return context_.dry_run ? absl::OkStatus() : fs_.Remove(path);
}

absl::Status AnnouncingFileSystem::CreateDirectories(const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs_.Exists(path));
  if (exists) return absl::OkStatus();
  Say(absl::StrCat("make folder '", path, "'"));
  return context_.dry_run ? absl::OkStatus() : fs_.CreateDirectories(path);
}

absl::StatusOr<std::vector<std::string>> AnnouncingFileSystem::List(const std::string& path) {
  return fs_.List(path);
}

absl::StatusOr<bool> AnnouncingFileSystem::Exists(const std::string& path) {
  return fs_.Exists(path);
}

absl::Status AnnouncingFileSystem::SyncDirectory(const std::string& path) {
  return context_.dry_run ? absl::OkStatus() : fs_.SyncDirectory(path);
}

absl::StatusOr<std::unique_ptr<FileLock>> AnnouncingFileSystem::Lock(const std::string& path) {
  return fs_.Lock(path);
}

absl::StatusOr<SpaceInfo> AnnouncingFileSystem::Space(const std::string& path) {
  return fs_.Space(path);
}

}  // namespace keelson::partition
