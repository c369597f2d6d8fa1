#include "kvstore/migrate/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::kvstore {

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, absl::StrCat("stat '", path, "'"));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is not a file"));
  }
  if (info.st_size == 0) return MappedFile(std::string_view());
  const auto size = static_cast<size_t>(info.st_size);
  void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return ErrnoError(errno, absl::StrCat("map '", path, "'"));
  return MappedFile(std::string_view(static_cast<const char*>(at), size));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

void MappedFile::Forget() const {
  if (bytes_.empty()) return;
  ::madvise(const_cast<char*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

}  // namespace keelson::kvstore
