#include "base/file_system.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson {
namespace {

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status WriteDurably(FileSystem& fs, const std::string& path, std::string_view contents) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                           fs.Open(path, {.write = true, .create = true, .truncate = true}));
  KEELSON_RETURN_IF_ERROR(file->WriteAt(0, contents));
  return file->SyncData();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path, uint64_t limit) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  KEELSON_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  // The size is only a hint: files of /proc say 0, and a file may grow while we read.
  constexpr uint64_t kStep = 4096;
  std::string contents;
  while (true) {
    const uint64_t have = contents.size();
    const uint64_t want = std::max(size > have ? size - have : 0, kStep);
    const uint64_t room = limit - have;
    // One byte above the limit tells a file that is too large from one that just fits.
    const uint64_t step = room < want ? room + 1 : want;
    contents.resize(have + step);
    KEELSON_ASSIGN_OR_RETURN(const size_t got,
                             file->ReadAt(have, std::span<char>(contents.data() + have, step)));
    contents.resize(have + got);
    if (contents.size() > limit) {
      return absl::ResourceExhaustedError(
          absl::StrCat("read '", path, "': larger than ", limit, " bytes"));
    }
    if (got < step) return contents;
  }
}

absl::Status WriteFileAtomically(FileSystem& fs, const std::string& path,
                                 std::string_view contents) {
  const std::string temporary = path + ".tmp";
  absl::Status status = WriteDurably(fs, temporary, contents);
  if (status.ok()) status = fs.Rename(temporary, path);
  if (!status.ok()) {
    (void)fs.Remove(temporary);  // Best effort: the next write of `path` replaces it.
    return status;
  }
  return fs.SyncDirectory(DirectoryOf(path));
}

std::string JoinPath(std::string_view dir, std::string_view name) {
  std::string path(dir);
  if (!path.empty() && path.back() != '/') path.push_back('/');
  return path.append(name);
}

}  // namespace keelson
