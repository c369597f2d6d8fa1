// The system's files behind FileSystem: plain POSIX calls, restarted when a signal interrupts.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file_system.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson {
namespace {

std::string Call(const char* name, const std::string& path) {
  return absl::StrCat(name, " '", path, "'");
}

std::string CallAt(const char* name, const std::string& path, uint64_t offset) {
  return absl::StrCat(name, " '", path, "' at ", offset);
}

// Repeats `call` while a signal interrupts it.
template <typename F>
auto Restart(F call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

class RealFile final : public File {
 public:
  RealFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  absl::Status WriteAt(uint64_t offset, std::string_view data) override {
    return WriteAt(offset, std::span<const std::string_view>(&data, 1));
  }

  absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
    size_t skip = 0;  // bytes of pieces[0] that are written already
    while (!pieces.empty()) {
      if (pieces.front().size() == skip) {
        pieces = pieces.subspan(1);
        skip = 0;
        continue;
      }
      KEELSON_ASSIGN_OR_RETURN(size_t written, WriteSome(offset, pieces, skip));
      offset += written;
      // Moves past whole pieces; a short write may end inside one.
      while (written > 0) {
        const size_t step = std::min(written, pieces.front().size() - skip);
        written -= step;
        skip += step;
        if (skip == pieces.front().size()) {
          pieces = pieces.subspan(1);
          skip = 0;
        }
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, std::span<char> buffer) const override {
    size_t done = 0;
    while (done < buffer.size()) {
      const ssize_t got = Restart([&] {
        return ::pread(fd_.get(), buffer.data() + done, buffer.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (got < 0) return ErrnoError(errno, CallAt("pread", path_, offset + done));
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  absl::StatusOr<uint64_t> Size() const override {
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) return ErrnoError(errno, Call("fstat", path_));
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status SyncData() override {
    // A sync that a signal interrupted has not failed, so going on is not the forbidden retry.
    if (Restart([&] { return ::fdatasync(fd_.get()); }) != 0) {
      return ErrnoError(errno, Call("fdatasync", path_));
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    if (Restart([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
      return ErrnoError(errno, CallAt("ftruncate", path_, size));
    }
    return absl::OkStatus();
  }

  absl::Status Allocate(uint64_t offset, uint64_t length) override {
    if (length == 0) return absl::OkStatus();
    const int result = Restart([&] {
      return ::fallocate(fd_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(length));
    });
    if (result == 0) return absl::OkStatus();
    if (errno != EOPNOTSUPP) return ErrnoError(errno, CallAt("fallocate", path_, offset));
    return WriteZeros(offset, length);
  }

 private:
  // One pwritev of as many pieces as one call takes. Bytes written, at least 1.
  absl::StatusOr<size_t> WriteSome(uint64_t offset, std::span<const std::string_view> pieces,
                                   size_t skip) {
    constexpr size_t kPieces = 64;
    std::array<iovec, kPieces> vectors;
    const size_t count = std::min(kPieces, pieces.size());
    for (size_t i = 0; i < count; ++i) {
      const std::string_view piece = i == 0 ? pieces[0].substr(skip) : pieces[i];
      vectors[i] = {const_cast<char*>(piece.data()), piece.size()};  // pwritev only reads it.
    }
    const ssize_t written = Restart([&] {
      return ::pwritev(fd_.get(), vectors.data(), static_cast<int>(count),
                       static_cast<off_t>(offset));
    });
    if (written < 0) return ErrnoError(errno, CallAt("pwrite", path_, offset));
    // Cannot happen for a regular file and a non-empty request; refuse to loop for ever.
    if (written == 0) return ErrnoError(EIO, CallAt("pwrite", path_, offset));
    return static_cast<size_t>(written);
  }

  // For file systems without fallocate: space behind the end is reserved by writing it.
  absl::Status WriteZeros(uint64_t offset, uint64_t length) {
    KEELSON_ASSIGN_OR_RETURN(const uint64_t size, Size());
    const std::string zeros(64 << 10, '\0');
    for (uint64_t at = std::max(size, offset); at < offset + length;) {
      const uint64_t step = std::min<uint64_t>(zeros.size(), offset + length - at);
      KEELSON_RETURN_IF_ERROR(WriteAt(at, std::string_view(zeros).substr(0, step)));
      at += step;
    }
    return absl::OkStatus();
  }

  const UniqueFd fd_;
  const std::string path_;
};

// Closing the descriptor releases the lock.
class RealFileLock final : public FileLock {
 public:
  explicit RealFileLock(UniqueFd fd) : fd_(std::move(fd)) {}

 private:
  const UniqueFd fd_;
};

absl::StatusOr<UniqueFd> OpenFd(const std::string& path, int flags) {
  const int fd = Restart([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0600); });
  if (fd < 0) return ErrnoError(errno, Call("open", path));
  return UniqueFd(fd);
}

// The folder that holds `path`, which does not end in '/'.
std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  const size_t last = path.find_last_not_of('/', slash);
  return last == std::string::npos ? "/" : path.substr(0, last + 1);
}

class SystemFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             const OpenOptions& options) override {
    int flags = options.write ? O_RDWR : O_RDONLY;
    if (options.write && options.create) flags |= O_CREAT;
    if (options.write && options.create && options.exclusive) flags |= O_EXCL;
    if (options.write && options.truncate) flags |= O_TRUNC;
    KEELSON_ASSIGN_OR_RETURN(UniqueFd fd, OpenFd(path, flags));
    return std::make_unique<RealFile>(std::move(fd), path);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) {
      return ErrnoError(errno, absl::StrCat("rename '", from, "' to '", to, "'"));
    }
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return absl::OkStatus();
    const int unlink_error = errno;
    if (unlink_error != EISDIR && unlink_error != EPERM) {
      return ErrnoError(unlink_error, Call("unlink", path));
    }
    if (::rmdir(path.c_str()) == 0) return absl::OkStatus();
    return errno == ENOTDIR ? ErrnoError(unlink_error, Call("unlink", path))
                            : ErrnoError(errno, Call("rmdir", path));
  }

  absl::Status CreateDirectories(const std::string& path) override {
    for (size_t end = 0; end < path.size();) {
      end = std::min(path.find('/', end + 1), path.size());
      const std::string prefix = path.substr(0, end);
      if (prefix == "/" || prefix.empty()) continue;
      if (::mkdir(prefix.c_str(), 0700) == 0) {
        absl::Status synced = SyncDirectory(ParentOf(prefix));
        if (synced.ok()) continue;
        (void)::rmdir(prefix.c_str());  // Who tries again is not to find it.
        return synced;
      }
      // EROFS and EACCES may come before EEXIST is noticed; what counts is what is there.
      const int error = errno;
      struct stat info {};
      if (::stat(prefix.c_str(), &info) != 0) return ErrnoError(error, Call("mkdir", prefix));
      if (!S_ISDIR(info.st_mode)) return ErrnoError(ENOTDIR, Call("mkdir", prefix));
      if (end < path.size()) continue;
      // Whoever may not read the folder above has not made this one.
      absl::Status synced = SyncDirectory(ParentOf(prefix));
      if (!synced.ok() && !absl::IsPermissionDenied(synced)) return synced;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
    if (dir == nullptr) return ErrnoError(errno, Call("opendir", path));
    std::vector<std::string> names;
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) break;
      const std::string name(entry->d_name);
      if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) return ErrnoError(errno, Call("readdir", path));
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<bool> Exists(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return ErrnoError(errno, Call("stat", path));
  }

  absl::Status SyncDirectory(const std::string& path) override {
    KEELSON_ASSIGN_OR_RETURN(const UniqueFd fd, OpenFd(path, O_RDONLY | O_DIRECTORY));
    if (Restart([&] { return ::fsync(fd.get()); }) != 0) {
      return ErrnoError(errno, Call("fsync", path));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    KEELSON_ASSIGN_OR_RETURN(UniqueFd fd, OpenFd(path, O_RDWR | O_CREAT));
    // An open-file-description lock also excludes a second holder in this process.
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
      if (errno == EAGAIN || errno == EACCES) {
        return absl::FailedPreconditionError(
            absl::StrCat("lock '", path, "': held by another process"));
      }
      return ErrnoError(errno, Call("lock", path));
    }
    return std::make_unique<RealFileLock>(std::move(fd));
  }

  absl::StatusOr<SpaceInfo> Space(const std::string& path) override {
    struct statvfs info {};
    if (Restart([&] { return ::statvfs(path.c_str(), &info); }) != 0) {
      return ErrnoError(errno, Call("statvfs", path));
    }
    const uint64_t unit = info.f_frsize;
    return SpaceInfo{.capacity_bytes = unit * info.f_blocks, .free_bytes = unit * info.f_bavail};
  }
};

}  // namespace

FileSystem& RealFileSystem() {
  static SystemFileSystem* fs = new SystemFileSystem;  // Never destroyed: usable during exit.
  return *fs;
}

}  // namespace keelson
