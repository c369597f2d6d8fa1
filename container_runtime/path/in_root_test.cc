// Both ways to resolve a path, by openat2 and by a walk, against real folders; no privilege is needed.
#include "container_runtime/path/in_root.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/unique_fd.h"

namespace keelson::container {
namespace {

namespace fs = std::filesystem;

// The real kernel, without openat2 when told so.
class MaybeOld final : public Kernel {
 public:
  explicit MaybeOld(bool old) : old_(old) {}
  long Call(long number, long a, long b, long c, long d, long e, long f) override {
    if (old_ && number == SYS_openat2) return -ENOSYS;
    return RealKernel().Call(number, a, b, c, d, e, f);
  }

 private:
  const bool old_;
};

// A root with something outside of it.
struct Tree {
  Tree() {
    const char* tmp = std::getenv("TEST_TMPDIR");
    std::string pattern = std::string(tmp == nullptr ? "/tmp" : tmp) + "/in-root-XXXXXX";
    base = ::mkdtemp(pattern.data());
    root = base / "root";
    fs::create_directories(root / "dir/sub");
    fs::create_directories(base / "outside");
    std::ofstream(root / "dir/file") << "inside";
    std::ofstream(base / "outside/file") << "outside";
    fd.Reset(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~Tree() { fs::remove_all(base); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void Link(const std::string& name, const std::string& target) const {
    fs::create_symlink(target, root / name);
  }
  // Where `descriptor` leads, relative to the base.
  [[nodiscard]] std::string PathOf(int descriptor) const {
    return fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor))
        .string()
        .substr(base.string().size());
  }
  // The path found, or "errno N".
  std::string Open(Kernel& kernel, const std::string& path, Make make = Make::kNothing) const {
    const UniqueFd found(OpenInRoot(kernel, fd.get(), path.c_str(), make));
    return Shown(found.get());
  }
  [[nodiscard]] std::string Shown(int descriptor) const {
    return descriptor < 0 ? "errno " + std::to_string(-descriptor) : PathOf(descriptor);
  }

  fs::path base, root;
  UniqueFd fd;
};

std::string Errno(int number) { return "errno " + std::to_string(number); }

TEST_CASE("A path never leaves the root", "[container][path]") {
  const bool old = GENERATE(false, true);
  MaybeOld kernel(old);
  const Tree tree;
  tree.Link("up", "../../../../outside");
  tree.Link("absolute", tree.base.string() + "/outside");
  tree.Link("slash", "/dir");
  tree.Link("dir/back", "../../../dir/sub");
  tree.Link("chain", "slash/back");
  tree.Link("loop", "loop");

  DYNAMIC_SECTION("openat2 is " << (old ? "missing" : "there")) {
    CHECK(tree.Open(kernel, "/") == "/root");
    CHECK(tree.Open(kernel, "dir/file") == "/root/dir/file");
    CHECK(tree.Open(kernel, "/dir/./sub/../file") == "/root/dir/file");
    CHECK(tree.Open(kernel, "../../../..") == "/root");
    CHECK(tree.Open(kernel, "../outside") == Errno(ENOENT));
    CHECK(tree.Open(kernel, "up") == Errno(ENOENT));
    CHECK(tree.Open(kernel, "absolute/file") == Errno(ENOENT));
    CHECK(tree.Open(kernel, "slash") == "/root/dir");
    CHECK(tree.Open(kernel, "chain") == "/root/dir/sub");
    CHECK(tree.Open(kernel, "loop") == Errno(ELOOP));
    CHECK(tree.Open(kernel, "dir/file/x") == Errno(ENOTDIR));
    CHECK(tree.Open(kernel, std::string(5000, 'a')) == Errno(ENAMETOOLONG));
  }
}

TEST_CASE("Where symlinks are forbidden none is followed", "[container][path]") {
  MaybeOld kernel(GENERATE(false, true));
  const Tree tree;
  tree.Link("link", "dir");

  const UniqueFd plain(OpenInRootNoSymlinks(kernel, tree.fd.get(), "dir/sub"));
  CHECK(tree.Shown(plain.get()) == "/root/dir/sub");
  CHECK(OpenInRootNoSymlinks(kernel, tree.fd.get(), "link") == -ELOOP);
  CHECK(OpenInRootNoSymlinks(kernel, tree.fd.get(), "link/sub") == -ELOOP);
}

TEST_CASE("Magic links of procfs are not followed", "[container][path]") {
  MaybeOld kernel(GENERATE(false, true));
  const UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));

  for (const char* path : {"self/exe", "self/root", "self/cwd", "self/fd/0"}) {
    CHECK(OpenInRoot(kernel, proc.get(), path) == -ELOOP);
  }
  CHECK(UniqueFd(OpenInRoot(kernel, proc.get(), "self/status")).ok());
}

TEST_CASE("Missing targets are made inside the root", "[container][path]") {
  const bool old = GENERATE(false, true);
  MaybeOld kernel(old);
  const Tree tree;
  tree.Link("out", tree.base.string() + "/outside");
  tree.Link("run", "var/run");
  tree.Link("to-file", "/new/made-file");

  DYNAMIC_SECTION("openat2 is " << (old ? "missing" : "there")) {
    CHECK(tree.Open(kernel, "/a/b/c", Make::kDirectory) == "/root/a/b/c");
    CHECK(tree.Open(kernel, "a/b/file", Make::kFile) == "/root/a/b/file");
    CHECK(tree.Open(kernel, "run/x", Make::kDirectory) == "/root/var/run/x");
    CHECK(tree.Open(kernel, "out/new", Make::kDirectory) ==
          "/root" + tree.base.string() + "/outside/new");
    CHECK(tree.Open(kernel, "to-file", Make::kFile) == "/root/new/made-file");
    CHECK(tree.Open(kernel, "dir", Make::kFile) == Errno(EISDIR));
    CHECK(tree.Open(kernel, "dir/file", Make::kDirectory) == Errno(ENOTDIR));
    CHECK(tree.Open(kernel, "dir/file/x", Make::kDirectory) == Errno(ENOTDIR));
    CHECK_FALSE(fs::exists(tree.base / "outside/new"));
  }
}

TEST_CASE("The parent of a path is opened and the last name told", "[container][path]") {
  const Tree tree;
  const char* name = nullptr;
  const UniqueFd parent(OpenParentInRoot(RealKernel(), tree.fd.get(), "/dir/new/node", &name));

  CHECK(tree.Shown(parent.get()) == "/root/dir/new");
  CHECK(std::string(name) == "node");
  for (const char* path : {"/", "", "..", "a/.."}) {
    CHECK(OpenParentInRoot(RealKernel(), tree.fd.get(), path, &name) == -EINVAL);
  }
}

}  // namespace
}  // namespace keelson::container
