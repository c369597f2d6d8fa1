#include "container_runtime/path/in_root.h"

#include <cerrno>
#include <climits>
#include <cstring>

#include "container_runtime/path/calls.h"

namespace keelson::container {
namespace {

// A rename anywhere on the machine may make one resolution end in EAGAIN; an attacker can keep
// renaming, so there is an end to it.
constexpr int kAgainMax = 128;
constexpr int kSymlinksMax = 40;  // as the kernel's MAXSYMLINKS
constexpr int kLevelsMax = 128;   // directories held open by a walk
constexpr unsigned kDirectoryMode = 0755;
constexpr unsigned kFileMode = 0644;

bool IsName(const char* name, size_t size, const char* wanted) {
  return size == std::strlen(wanted) && std::memcmp(name, wanted, size) == 0;
}

int Resolve(Kernel& kernel, int root, const char* path, uint64_t more) {
  for (int i = 0; i < kAgainMax; ++i) {
    const int fd = calls::Openat2(kernel, root, path, O_PATH | O_CLOEXEC,
                                  RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | more);
    if (fd != -EAGAIN && fd != -EINTR) return fd;
  }
  return -EAGAIN;
}

// Where a walk is: the directories entered, so that ".." goes back to the one we came from and not
// to wherever it has been moved meanwhile.
class Walk {
 public:
  Walk(Kernel& kernel, int root) : kernel_(kernel), root_(root) {}
  ~Walk() {
    while (depth_ > 0) Up();
  }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  [[nodiscard]] int here() const { return depth_ == 0 ? root_ : fds_[depth_ - 1]; }
  void Up() {
    if (depth_ > 0) (void)calls::Close(kernel_, fds_[--depth_]);
  }
  void ToRoot() {
    while (depth_ > 0) Up();
  }
  // Takes `fd` over.
  int Enter(int fd) {
    if (depth_ == kLevelsMax) {
      (void)calls::Close(kernel_, fd);
      return -ENAMETOOLONG;
    }
    fds_[depth_++] = fd;
    return 0;
  }
  // The descriptor of where we are, to be kept by the caller.
  int Take() {
    if (depth_ == 0) return calls::Openat(kernel_, root_, ".", O_PATH | O_CLOEXEC);
    return fds_[--depth_];
  }

 private:
  Kernel& kernel_;
  const int root_;
  int fds_[kLevelsMax];
  int depth_ = 0;
};

// Puts `link`, of `size` bytes, before the `rest` of a path inside `buffer` (PATH_MAX bytes).
int Prepend(char* buffer, const char* link, size_t size, const char* rest) {
  const size_t rest_size = std::strlen(rest);
  if (size + 1 + rest_size + 1 > PATH_MAX) return -ENAMETOOLONG;
  std::memmove(buffer + size + 1, rest, rest_size + 1);
  std::memcpy(buffer, link, size);
  buffer[size] = '/';
  return 0;
}

// procfs marks magic links by nothing but where they are; no link of procfs is followed but "self"
// and "thread-self" (which are plain), so the walk is stricter than openat2.
bool IsMagic(Kernel& kernel, int fd, const char* name, size_t size) {
  constexpr long kProcMagic = 0x9fa0;
  struct statfs fs = {};
  if (calls::Fstatfs(kernel, fd, &fs) < 0 || fs.f_type != kProcMagic) return false;
  return !IsName(name, size, "self") && !IsName(name, size, "thread-self");
}

// Enters `name`; a symlink is put before `*rest` inside `buffer` instead.
int Step(Kernel& kernel, Walk& walk, const char* name, size_t size, bool no_symlinks, char* buffer,
         const char** rest) {
  const int fd = calls::Openat(kernel, walk.here(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fd;
  struct stat status = {};
  int result = calls::Fstat(kernel, fd, &status);
  if (result < 0 || !S_ISLNK(status.st_mode)) {
    if (result >= 0) return walk.Enter(fd);
    (void)calls::Close(kernel, fd);
    return result;
  }
  char link[PATH_MAX];
  const long length = calls::Readlinkat(kernel, fd, "", link, sizeof(link));
  const bool magic = IsMagic(kernel, fd, name, size);
  (void)calls::Close(kernel, fd);
  if (no_symlinks || magic) return -ELOOP;
  if (length < 0) return static_cast<int>(length);
  if (length == 0) return -ENOENT;
  if (link[0] == '/') walk.ToRoot();
  result = Prepend(buffer, link, static_cast<size_t>(length), *rest);
  *rest = buffer;
  return result == 0 ? 1 : result;
}

int OpenExisting(Kernel& kernel, int root, const char* path, bool no_symlinks) {
  const int fd = Resolve(kernel, root, path, no_symlinks ? RESOLVE_NO_SYMLINKS : 0);
  if (fd != -ENOSYS && fd != -EPERM) return fd;
  return WalkInRoot(kernel, root, path, no_symlinks);
}

int CheckKind(Kernel& kernel, int fd, Make make) {
  if (fd < 0 || make == Make::kNothing) return fd;
  struct stat status = {};
  int result = calls::Fstat(kernel, fd, &status);
  if (result >= 0 && make == Make::kDirectory && !S_ISDIR(status.st_mode)) result = -ENOTDIR;
  if (result >= 0 && make == Make::kFile && S_ISDIR(status.st_mode)) result = -EISDIR;
  if (result >= 0) return fd;
  (void)calls::Close(kernel, fd);
  return result;
}

// A directory `name` (one component) in `dir`, made when missing.
int OpenOrMakeDirectory(Kernel& kernel, int dir, const char* name) {
  const int made = calls::Mkdirat(kernel, dir, name, kDirectoryMode);
  if (made < 0 && made != -EEXIST) return made;
  return calls::Openat(kernel, dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int OpenOrMakeFile(Kernel& kernel, int dir, const char* name) {
  const int made = calls::Openat(kernel, dir, name,
                                 O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, kFileMode);
  if (made < 0 && made != -EEXIST) return made;
  if (made >= 0) (void)calls::Close(kernel, made);
  const int fd = calls::Openat(kernel, dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fd;
  struct stat status = {};
  int result = calls::Fstat(kernel, fd, &status);
  // O_PATH opens a symlink itself, which is no place for a mount.
  if (result >= 0 && S_ISLNK(status.st_mode)) result = -ELOOP;
  if (result >= 0) return fd;
  (void)calls::Close(kernel, fd);
  return result;
}

// Splits the last component off `buffer` in place: the result is its name, `*parent` what is before.
char* SplitLast(char* buffer, const char** parent) {
  size_t size = std::strlen(buffer);
  while (size > 0 && buffer[size - 1] == '/') buffer[--size] = '\0';
  char* slash = std::strrchr(buffer, '/');
  if (slash == nullptr) {
    *parent = "/";
    return buffer;
  }
  *slash = '\0';
  *parent = buffer[0] == '\0' ? "/" : buffer;
  return slash + 1;
}

bool IsPlainName(const char* name) {
  return name[0] != '\0' && std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0;
}

// What the symlink `link` in directory `parent` names, as a path below the root.
int JoinLink(char* target, const char* parent, const char* link, size_t size) {
  const size_t above = link[0] == '/' ? 0 : std::strlen(parent);
  if (above + 1 + size + 1 > PATH_MAX) return -ENAMETOOLONG;
  std::memcpy(target, parent, above);
  target[above] = '/';
  std::memcpy(target + above + 1, link, size);
  target[above + 1 + size] = '\0';
  return 0;
}

int MakeMissing(Kernel& kernel, int root, char* path, Make make, int levels) {
  if (levels == 0) return -ENAMETOOLONG;
  const char* parent = nullptr;
  const char* name = SplitLast(path, &parent);
  if (!IsPlainName(name)) return -EINVAL;
  int dir = OpenExisting(kernel, root, parent, false);
  if (dir == -ENOENT) {
    char above[PATH_MAX];
    std::strcpy(above, parent);  // No longer than `path`, which has PATH_MAX bytes.
    dir = MakeMissing(kernel, root, above, Make::kDirectory, levels - 1);
  }
  if (dir < 0) return dir;
  int fd = make == Make::kFile ? OpenOrMakeFile(kernel, dir, name)
                               : OpenOrMakeDirectory(kernel, dir, name);
  // A symlink to what is not there yet, such as /var/run in an image without /run.
  char link[PATH_MAX];
  const long length = fd == -ENOTDIR || fd == -ELOOP || fd == -ENOENT
                          ? calls::Readlinkat(kernel, dir, name, link, sizeof(link))
                          : -EINVAL;
  (void)calls::Close(kernel, dir);
  if (length <= 0) return fd;
  char target[PATH_MAX];
  fd = JoinLink(target, parent, link, static_cast<size_t>(length));
  return fd < 0 ? fd : MakeMissing(kernel, root, target, make, levels - 1);
}

}  // namespace

int WalkInRoot(Kernel& kernel, int root, const char* path, bool no_symlinks) {
  char buffer[PATH_MAX];
  if (std::strlen(path) >= sizeof(buffer)) return -ENAMETOOLONG;
  const char* rest = path;
  int symlinks = 0;
  Walk walk(kernel, root);
  while (*rest != '\0') {
    while (*rest == '/') ++rest;
    const size_t size = std::strcspn(rest, "/");
    if (size > NAME_MAX) return -ENAMETOOLONG;
    char name[NAME_MAX + 1];
    std::memcpy(name, rest, size);
    name[size] = '\0';
    rest += size;
    if (size == 0 || IsName(name, size, ".")) continue;
    if (IsName(name, size, "..")) {
      walk.Up();
      continue;
    }
    const int result = Step(kernel, walk, name, size, no_symlinks, buffer, &rest);
    if (result < 0) return result;
    if (result > 0 && ++symlinks > kSymlinksMax) return -ELOOP;
  }
  return walk.Take();
}

int OpenInRoot(Kernel& kernel, int root, const char* path, Make make, bool* made) {
  const int fd = OpenExisting(kernel, root, path, false);
  if (fd != -ENOENT || make == Make::kNothing) return CheckKind(kernel, fd, make);
  char buffer[PATH_MAX];
  if (std::strlen(path) >= sizeof(buffer)) return -ENAMETOOLONG;
  std::strcpy(buffer, path);
  if (made != nullptr) *made = true;
  // Something that appears meanwhile is opened without following, so its kind counts.
  return CheckKind(kernel, MakeMissing(kernel, root, buffer, make, kLevelsMax / 4), make);
}

int OpenInRootNoSymlinks(Kernel& kernel, int root, const char* path) {
  return OpenExisting(kernel, root, path, true);
}

int OpenParentInRoot(Kernel& kernel, int root, const char* path, const char** name) {
  char buffer[PATH_MAX];
  if (std::strlen(path) >= sizeof(buffer)) return -ENAMETOOLONG;
  std::strcpy(buffer, path);
  const char* parent = nullptr;
  const char* last = SplitLast(buffer, &parent);
  if (!IsPlainName(last)) return -EINVAL;
  *name = path + (last - buffer);
  return OpenInRoot(kernel, root, parent, Make::kDirectory);
}

}  // namespace keelson::container
