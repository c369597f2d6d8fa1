#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/cgroup/device_bpf.h"

namespace keelson::container {
namespace {

constexpr mode_t kFolderMode = 0755;

int ReadAll(int fd, std::string* text) {
  text->clear();
  char buffer[8192];
  while (true) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    if (n == 0) return 0;
    text->append(buffer, static_cast<size_t>(n));
  }
}

// What is at `path` below `parent` and in its file system, without symbolic links on the way.
int OpenBelow(int parent, const std::string& path, int flags) {
  open_how how = {};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  const long fd = ::syscall(SYS_openat2, parent, path.c_str(), &how, sizeof how);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

// openat(2) one component at a time: for kernels before 5.6, and where a filter hides openat2.
int OpenByComponents(int parent, const std::string& path) {
  UniqueFd current;
  size_t begin = 0;
  int fd = parent;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    if (name == "..") return -EXDEV;
    const int next = ::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return -errno;
    current.Reset(next);
    fd = next;
  }
  return current.ok() ? current.Release() : -ENOENT;
}

class Real final : public CgroupSystem {
 public:
  int OpenRoot(const std::string& mount_point) override {
    const int fd = ::open(mount_point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
  }

  int OpenFolder(int parent, const std::string& path) override {
    const int fd = OpenBelow(parent, path, O_RDONLY | O_DIRECTORY);
    if (fd != -ENOSYS && fd != -EPERM) return fd;
    return OpenByComponents(parent, path);
  }

  int OpenFile(int folder, const std::string& file, int flags) override {
    const size_t slash = file.rfind('/');
    if (slash == std::string::npos) {
      const int fd = ::openat(folder, file.c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
      return fd < 0 ? -errno : fd;
    }
    const int fd = OpenBelow(folder, file, flags);
    if (fd != -ENOSYS && fd != -EPERM) return fd;
    const UniqueFd above(OpenByComponents(folder, file.substr(0, slash)));
    return above.ok() ? OpenFile(above.get(), file.substr(slash + 1), flags) : above.get();
  }

  int MakeFolder(int parent, const std::string& name) override {
    return ::mkdirat(parent, name.c_str(), kFolderMode) < 0 ? -errno : 0;
  }

  int RemoveFolder(int parent, const std::string& name) override {
    return ::unlinkat(parent, name.c_str(), AT_REMOVEDIR) < 0 ? -errno : 0;
  }

  int Read(int folder, const std::string& file, std::string* text) override {
    const UniqueFd fd(::openat(folder, file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    return fd.ok() ? ReadAll(fd.get(), text) : -errno;
  }

  int Write(int folder, const std::string& file, std::string_view value) override {
    const UniqueFd fd(::openat(folder, file.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.ok()) return -errno;
    ssize_t n = 0;
    do {
      n = ::write(fd.get(), value.data(), value.size());
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
  }

  int ListFolders(int folder, std::vector<std::string>* names) override {
    // A descriptor of its own: the position of `folder` is shared with whoever has a copy.
    const int fd = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
    if (dir == nullptr) {
      const int error = errno;
      (void)::close(fd);
      return -error;
    }
    names->clear();
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) return -errno;
      const std::string name = entry->d_name;
      if (entry->d_type == DT_DIR && name != "." && name != "..") names->push_back(name);
    }
  }

  int WaitUntil(int folder, const std::string& file, absl::Duration limit,
                bool (*done)(const std::string&)) override {
    const UniqueFd fd(::openat(folder, file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.ok()) return -errno;
    const absl::Duration end = Monotonic() + limit;
    std::string text;
    while (true) {
      if (::lseek(fd.get(), 0, SEEK_SET) < 0) return -errno;
      if (const int error = ReadAll(fd.get(), &text); error != 0) return error;
      if (done(text)) return 0;
      const absl::Duration left = end - Monotonic();
      if (left <= absl::ZeroDuration()) return -ETIMEDOUT;
      // kernfs announces a change since the last read as POLLPRI.
      pollfd p = {.fd = fd.get(), .events = POLLPRI, .revents = 0};
      const auto ms = absl::ToInt64Milliseconds(left) + 1;
      if (::poll(&p, 1, static_cast<int>(std::min<int64_t>(ms, 60'000))) < 0 && errno != EINTR) {
        return -errno;
      }
    }
  }

  int Chown(int folder, const std::string& file, uid_t uid, gid_t gid) override {
    const int flags = AT_SYMLINK_NOFOLLOW | (file.empty() ? AT_EMPTY_PATH : 0);
    return ::fchownat(folder, file.c_str(), uid, gid, flags) < 0 ? -errno : 0;
  }

  int Kill(pid_t pid, int signal) override { return ::kill(pid, signal) < 0 ? -errno : 0; }

  int ReadProcessCgroups(pid_t pid, std::string* text) override {
    const std::string path = absl::StrCat("/proc/", pid, "/cgroup");
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return fd.ok() ? ReadAll(fd.get(), text) : -errno;
  }

  absl::Status AttachDevices(int folder, const std::vector<bpf_insn>& program) override {
    return AttachDeviceProgram(folder, program);
  }

  absl::Duration Monotonic() override {
    timespec now = {};
    (void)::clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail for this clock
    return absl::DurationFromTimespec(now);
  }

  void Sleep(absl::Duration duration) override { absl::SleepFor(duration); }
};

}  // namespace

CgroupSystem& RealCgroupSystem() {
  static Real* const system = new Real;
  return *system;
}

}  // namespace keelson::container
