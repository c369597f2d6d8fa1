// One suite of behaviour for the real and the simulated file system: what holds for the one
// must hold for the other, or the simulator proves nothing.
#include "base/file_system.h"

#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"

namespace keelson {
namespace {

// A fresh folder on either file system.
class World {
 public:
  explicit World(bool real) {
    if (real) {
      const char* base = std::getenv("TEST_TMPDIR");
      std::string path = absl::StrCat(base != nullptr ? base : "/tmp", "/fs-XXXXXX");
      REQUIRE(::mkdtemp(path.data()) != nullptr);
      dir_ = path;
      fs_ = &RealFileSystem();
    } else {
      sim_ = std::make_unique<SimFileSystem>(Random(1), SimFileSystem::Options{});
      dir_ = "root";
      fs_ = sim_.get();
      KEELSON_REQUIRE_OK(fs_->CreateDirectories(dir_));
    }
  }
  ~World() {
    if (sim_ == nullptr) RemoveTree(dir_);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  FileSystem& fs() { return *fs_; }
  [[nodiscard]] std::string Path(const std::string& name) const { return JoinPath(dir_, name); }

  std::unique_ptr<File> Make(const std::string& name) {
    auto file = fs_->Open(Path(name), {.write = true, .create = true});
    KEELSON_REQUIRE_OK(file.status());
    return std::move(file).value();
  }
  std::string Contents(const std::string& name) {
    auto contents = ReadFile(*fs_, Path(name), 1 << 20);
    KEELSON_REQUIRE_OK(contents.status());
    return std::move(contents).value();
  }

 private:
  void RemoveTree(const std::string& path) {
    const auto names = fs_->List(path);
    if (names.ok()) {
      for (const std::string& name : *names) RemoveTree(JoinPath(path, name));
    }
    (void)fs_->Remove(path);  // Best effort: the test runner clears the folder too.
  }

  std::unique_ptr<SimFileSystem> sim_;
  FileSystem* fs_ = nullptr;
  std::string dir_;
};

std::string Read(const File& file, uint64_t offset, size_t size) {
  std::string buffer(size, '?');
  const auto got = file.ReadAt(offset, std::span<char>(buffer.data(), buffer.size()));
  KEELSON_REQUIRE_OK(got.status());
  return buffer.substr(0, *got);
}

#define BOTH_FILE_SYSTEMS                  \
  const bool real = GENERATE(true, false); \
  INFO((real ? "real" : "simulated"));     \
  World world(real);                       \
  FileSystem& fs = world.fs();             \
  (void)fs

TEST_CASE("Written bytes are read back, short only at the end", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const auto file = world.Make("f");

  KEELSON_REQUIRE_OK(file->WriteAt(0, "hello world"));
  KEELSON_REQUIRE_OK(file->WriteAt(6, "there"));

  CHECK(Read(*file, 0, 5) == "hello");
  CHECK(Read(*file, 6, 100) == "there");
  CHECK(Read(*file, 11, 4).empty());
  CHECK(Read(*file, 1000, 4).empty());
  CHECK(Read(*file, 3, 0).empty());
  CHECK(file->Size().value() == 11);
}

TEST_CASE("A write behind the end leaves zeros between", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const auto file = world.Make("f");

  KEELSON_REQUIRE_OK(file->WriteAt(0, "a"));
  KEELSON_REQUIRE_OK(file->WriteAt(1000, "b"));

  CHECK(world.Contents("f") == "a" + std::string(999, '\0') + "b");
}

TEST_CASE("Pieces are written as one", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const auto file = world.Make("f");
  // More pieces than one system call takes, with empty ones at every awkward place.
  std::vector<std::string> parts = {"", "first", "", ""};
  for (int i = 0; i < 200; ++i)
    parts.push_back(std::string(static_cast<size_t>(i % 7), 'a' + i % 26));
  parts.emplace_back("");
  const std::vector<std::string_view> pieces(parts.begin(), parts.end());
  std::string want;
  for (const std::string& part : parts) want += part;

  KEELSON_REQUIRE_OK(file->WriteAt(3, pieces));

  CHECK(Read(*file, 3, want.size() + 10) == want);
  KEELSON_REQUIRE_OK(file->WriteAt(0, std::span<const std::string_view>()));
  KEELSON_REQUIRE_OK(file->WriteAt(0, ""));
  CHECK(file->Size().value() == want.size() + 3);
}

TEST_CASE("Truncate cuts, and growing again shows zeros", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const auto file = world.Make("f");
  KEELSON_REQUIRE_OK(file->WriteAt(0, "abcdef"));

  KEELSON_REQUIRE_OK(file->Truncate(2));
  CHECK(world.Contents("f") == "ab");
  KEELSON_REQUIRE_OK(file->Truncate(4));
  CHECK(world.Contents("f") == std::string("ab\0\0", 4));
}

TEST_CASE("Allocate extends the size and keeps the contents", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const auto file = world.Make("f");
  KEELSON_REQUIRE_OK(file->WriteAt(0, "abc"));

  KEELSON_REQUIRE_OK(file->Allocate(0, 5000));
  CHECK(file->Size().value() == 5000);
  KEELSON_REQUIRE_OK(file->Allocate(100, 50));
  KEELSON_REQUIRE_OK(file->Allocate(0, 0));

  CHECK(file->Size().value() == 5000);
  CHECK(world.Contents("f") == "abc" + std::string(4997, '\0'));
}

TEST_CASE("Open follows its options", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_CHECK_ERROR(fs.Open(world.Path("f"), {}), absl::StatusCode::kNotFound, "open '");
  KEELSON_CHECK_ERROR(fs.Open(world.Path("f"), {.write = true}), absl::StatusCode::kNotFound,
                      "/f'");
  KEELSON_CHECK_ERROR(fs.Open(world.Path("f"), {.create = true}), absl::StatusCode::kNotFound, "");
  KEELSON_CHECK_ERROR(fs.Open(world.Path("no/f"), {.write = true, .create = true}),
                      absl::StatusCode::kNotFound, "");

  KEELSON_REQUIRE_OK(world.Make("f")->WriteAt(0, "old"));
  KEELSON_REQUIRE_OK(fs.Open(world.Path("f"), {.write = true, .create = true}).status());
  CHECK(world.Contents("f") == "old");
  KEELSON_CHECK_ERROR(fs.Open(world.Path("f"), {.write = true, .create = true, .exclusive = true}),
                      absl::StatusCode::kAlreadyExists, "");
  KEELSON_REQUIRE_OK(fs.Open(world.Path("f"), {.truncate = true}).status());
  CHECK(world.Contents("f") == "old");  // truncate needs write
  KEELSON_REQUIRE_OK(fs.Open(world.Path("f"), {.write = true, .truncate = true}).status());
  CHECK(world.Contents("f").empty());
  KEELSON_CHECK_ERROR(fs.Open(world.Path("f/x"), {.write = true, .create = true}),
                      absl::StatusCode::kFailedPrecondition, "");
}

TEST_CASE("A file opened to read refuses writes", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(world.Make("f")->WriteAt(0, "abc"));
  KEELSON_ASSIGN_OR_FAIL(const auto file, fs.Open(world.Path("f"), {}));

  CHECK_FALSE(file->WriteAt(0, "x").ok());
  CHECK_FALSE(file->Truncate(0).ok());
  CHECK_FALSE(file->Allocate(0, 10).ok());
  CHECK(world.Contents("f") == "abc");
}

TEST_CASE("An open file is made with mode 0600", "[base][file_system]") {
  World world(true);
  (void)world.Make("f");
  KEELSON_REQUIRE_OK(world.fs().CreateDirectories(world.Path("d")));

  struct stat info {};
  REQUIRE(::stat(world.Path("f").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  REQUIRE(::stat(world.Path("d").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
}

TEST_CASE("Rename replaces the target; who has it open keeps the old file", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(world.Make("new")->WriteAt(0, "new"));
  const auto old = world.Make("f");
  KEELSON_REQUIRE_OK(old->WriteAt(0, "old"));

  KEELSON_REQUIRE_OK(fs.Rename(world.Path("new"), world.Path("f")));

  CHECK(world.Contents("f") == "new");
  CHECK(Read(*old, 0, 10) == "old");
  CHECK_FALSE(fs.Exists(world.Path("new")).value());
  KEELSON_CHECK_ERROR(fs.Rename(world.Path("gone"), world.Path("f")), absl::StatusCode::kNotFound,
                      "rename '");
  KEELSON_REQUIRE_OK(fs.Rename(world.Path("f"), world.Path("f")));
  CHECK(world.Contents("f") == "new");
}

TEST_CASE("Folders are renamed with what is in them", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("wal.tmp")));
  KEELSON_REQUIRE_OK(world.Make("wal.tmp/1")->WriteAt(0, "x"));
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("full")));
  (void)world.Make("full/1");
  (void)world.Make("file");

  CHECK_FALSE(fs.Rename(world.Path("wal.tmp"), world.Path("full")).ok());
  CHECK_FALSE(fs.Rename(world.Path("wal.tmp"), world.Path("file")).ok());
  CHECK_FALSE(fs.Rename(world.Path("file"), world.Path("full")).ok());
  CHECK_FALSE(fs.Rename(world.Path("wal.tmp"), world.Path("wal.tmp/in")).ok());
  KEELSON_REQUIRE_OK(fs.Rename(world.Path("wal.tmp"), world.Path("wal")));

  CHECK(world.Contents("wal/1") == "x");
  CHECK_FALSE(fs.Exists(world.Path("wal.tmp")).value());
}

TEST_CASE("Remove takes files and empty folders", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("d")));
  const auto file = world.Make("d/f");
  KEELSON_REQUIRE_OK(file->WriteAt(0, "still here"));

  KEELSON_CHECK_ERROR(fs.Remove(world.Path("d")), absl::StatusCode::kFailedPrecondition, "");
  KEELSON_REQUIRE_OK(fs.Remove(world.Path("d/f")));
  CHECK(Read(*file, 0, 100) == "still here");
  KEELSON_CHECK_ERROR(fs.Remove(world.Path("d/f")), absl::StatusCode::kNotFound, "unlink '");
  KEELSON_REQUIRE_OK(fs.Remove(world.Path("d")));
  CHECK_FALSE(fs.Exists(world.Path("d")).value());
}

TEST_CASE("CreateDirectories makes what is missing and is idempotent", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("a/b//c/")));
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("a/b/c")));
  KEELSON_REQUIRE_OK(fs.CreateDirectories("/"));
  CHECK(fs.Exists(world.Path("a/b/c")).value());

  (void)world.Make("file");
  CHECK_FALSE(fs.CreateDirectories(world.Path("file")).ok());
  CHECK_FALSE(fs.CreateDirectories(world.Path("file/below")).ok());
}

TEST_CASE("List gives sorted names", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  for (const char* name : {"zz", "a", "m.tmp", ".hidden"}) (void)world.Make(name);
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("k/inner")));

  CHECK(fs.List(world.Path("")).value() ==
        std::vector<std::string>{".hidden", "a", "k", "m.tmp", "zz"});
  KEELSON_CHECK_ERROR(fs.List(world.Path("none")), absl::StatusCode::kNotFound, "none");
  CHECK_FALSE(fs.List(world.Path("a")).ok());
}

TEST_CASE("Exists tells files and folders from nothing", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  (void)world.Make("f");

  CHECK(fs.Exists(world.Path("f")).value());
  CHECK(fs.Exists(world.Path("")).value());
  CHECK_FALSE(fs.Exists(world.Path("g")).value());
  CHECK_FALSE(fs.Exists(world.Path("f/x")).value());
  CHECK_FALSE(fs.Exists(world.Path("no/x")).value());
}

TEST_CASE("Syncs succeed on what exists only", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const auto file = world.Make("f");
  KEELSON_REQUIRE_OK(file->WriteAt(0, "x"));

  KEELSON_REQUIRE_OK(file->SyncData());
  KEELSON_REQUIRE_OK(fs.SyncDirectory(world.Path("")));
  KEELSON_CHECK_ERROR(fs.SyncDirectory(world.Path("none")), absl::StatusCode::kNotFound, "none");
  CHECK_FALSE(fs.SyncDirectory(world.Path("f")).ok());
}

TEST_CASE("A lock excludes the next holder until it is dropped", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_ASSIGN_OR_FAIL(auto lock, fs.Lock(world.Path("LOCK")));

  KEELSON_CHECK_ERROR(fs.Lock(world.Path("LOCK")), absl::StatusCode::kFailedPrecondition,
                      "held by another process");
  KEELSON_REQUIRE_OK(fs.Lock(world.Path("OTHER")).status());
  lock.reset();
  KEELSON_REQUIRE_OK(fs.Lock(world.Path("LOCK")).status());
  KEELSON_CHECK_ERROR(fs.Lock(world.Path("no/LOCK")), absl::StatusCode::kNotFound, "");
}

TEST_CASE("Space is what the file system has", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_ASSIGN_OR_FAIL(const SpaceInfo space, fs.Space(world.Path("")));
  CHECK(space.capacity_bytes > 0);
  CHECK(space.free_bytes <= space.capacity_bytes);
  KEELSON_CHECK_ERROR(fs.Space(world.Path("none/x")), absl::StatusCode::kNotFound, "");
}

TEST_CASE("An error names the operation, the path and the place", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(world.Make("f")->WriteAt(0, "abc"));
  KEELSON_ASSIGN_OR_FAIL(const auto file, fs.Open(world.Path("f"), {}));

  const std::string message(file->WriteAt(4096, "x").message());

  CHECK(message == absl::StrCat("pwrite '", world.Path("f"), "' at 4096: Bad file descriptor"));
}

TEST_CASE("ReadFile reads all and refuses what is above the limit", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  const std::string contents(10000, 'x');
  KEELSON_REQUIRE_OK(world.Make("f")->WriteAt(0, contents));
  (void)world.Make("empty");

  CHECK(ReadFile(fs, world.Path("f"), 10000).value() == contents);
  KEELSON_CHECK_ERROR(ReadFile(fs, world.Path("f"), 9999), absl::StatusCode::kResourceExhausted,
                      "larger than 9999 bytes");
  KEELSON_CHECK_ERROR(ReadFile(fs, world.Path("f"), 0), absl::StatusCode::kResourceExhausted, "");
  CHECK(ReadFile(fs, world.Path("empty"), 0).value().empty());
  KEELSON_CHECK_ERROR(ReadFile(fs, world.Path("none"), 10), absl::StatusCode::kNotFound, "none");
  CHECK_FALSE(ReadFile(fs, world.Path(""), 10).ok());
}

TEST_CASE("ReadFile reads files whose size is not told", "[base][file_system]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string status,
                         ReadFile(RealFileSystem(), "/proc/self/status", 1 << 20));
  CHECK(status.find("Name:") == 0);
}

TEST_CASE("WriteFileAtomically replaces the file and leaves no temporary", "[base][file_system]") {
  BOTH_FILE_SYSTEMS;
  KEELSON_REQUIRE_OK(world.Make("f.tmp")->WriteAt(0, "left over, and longer"));

  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, world.Path("f"), "one"));
  CHECK(world.Contents("f") == "one");
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, world.Path("f"), ""));
  CHECK(world.Contents("f").empty());
  CHECK(fs.List(world.Path("")).value() == std::vector<std::string>{"f"});

  CHECK_FALSE(WriteFileAtomically(fs, world.Path("no/f"), "x").ok());
  KEELSON_REQUIRE_OK(fs.CreateDirectories(world.Path("d")));
  CHECK_FALSE(WriteFileAtomically(fs, world.Path("d"), "x").ok());
  CHECK_FALSE(fs.Exists(world.Path("d.tmp")).value());
}

TEST_CASE("JoinPath puts one slash between", "[base][file_system]") {
  CHECK(JoinPath("dir", "name") == "dir/name");
  CHECK(JoinPath("dir/", "name") == "dir/name");
  CHECK(JoinPath("", "name") == "name");
  CHECK(JoinPath("/", "name") == "/name");
}

TEST_CASE("A full device is RESOURCE_EXHAUSTED", "[base][file_system]") {
  // /dev/full fails every write with ENOSPC.
  const auto file = RealFileSystem().Open("/dev/full", {.write = true});
  if (!file.ok()) {
    WARN("skipped: this machine has no /dev/full");
    return;
  }
  KEELSON_CHECK_ERROR((*file)->WriteAt(0, "x"), absl::StatusCode::kResourceExhausted,
                      "pwrite '/dev/full' at 0: ");
}

}  // namespace
}  // namespace keelson
