#include "kvstore/server/space_guard.h"

#include <catch2/catch.hpp>

#include <map>

#include "kvstore/server/testing/fake_store.h"

using namespace keelson;
using namespace keelson::kvstore;

namespace {

// Only Space is asked of it.
class FakeSpace final : public FileSystem {
 public:
  std::map<std::string, SpaceInfo> spaces;

  absl::StatusOr<SpaceInfo> Space(const std::string& path) override {
    const auto found = spaces.find(path);
    if (found == spaces.end()) return absl::NotFoundError(path);
    return found->second;
  }
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string&, const OpenOptions&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Rename(const std::string&, const std::string&) override { return Never(); }
  absl::Status Remove(const std::string&) override { return Never(); }
  absl::Status CreateDirectories(const std::string&) override { return Never(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) override { return Never(); }
  absl::StatusOr<bool> Exists(const std::string&) override { return Never(); }
  absl::Status SyncDirectory(const std::string&) override { return Never(); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string&) override { return Never(); }

 private:
  static absl::Status Never() { return absl::UnimplementedError(""); }
};

struct Fixture {
  FakeSpace fs;
  FakeStore store;
  SpaceGuard guard{{.directories = {"wal", "db"}, .min_free_bytes = 100, .quota_bytes = 1000}, &fs};

  Fixture() {
    fs.spaces["wal"] = {.capacity_bytes = 10000, .free_bytes = 5000};
    fs.spaces["db"] = {.capacity_bytes = 10000, .free_bytes = 5000};
    guard.Check(store);
  }
  void SetFree(const std::string& directory, uint64_t bytes) {
    fs.spaces[directory].free_bytes = bytes;
    guard.Check(store);
  }
};

}  // namespace

TEST_CASE("Short space on either disk refuses writes until there is clearly more",
          "[kvstore][space]") {
  Fixture f;
  const std::string directory = GENERATE("wal", "db");
  CHECK(f.guard.Allows(10));

  f.SetFree(directory, 99);
  CHECK_FALSE(f.guard.Allows(10));
  CHECK(f.guard.Alarmed());

  f.SetFree(directory, 124);
  CHECK(f.guard.Alarmed());
  f.SetFree(directory, 125);
  CHECK_FALSE(f.guard.Alarmed());
}

TEST_CASE("On a small disk a tenth of it is enough", "[kvstore][space]") {
  Fixture f;
  f.fs.spaces["db"].capacity_bytes = 500;
  f.SetFree("db", 50);
  CHECK_FALSE(f.guard.Alarmed());
  f.SetFree("db", 49);
  CHECK(f.guard.Alarmed());
}

TEST_CASE("A disk that cannot be asked does not stop writes", "[kvstore][space]") {
  Fixture f;
  f.fs.spaces.clear();
  f.guard.Check(f.store);
  CHECK(f.guard.Allows(10));
}

TEST_CASE("The quota counts what a request adds", "[kvstore][space]") {
  Fixture f;
  f.store.SetDiskBytes(900);
  f.guard.Check(f.store);
  CHECK(f.guard.Allows(99));
  CHECK_FALSE(f.guard.Allows(100));
  CHECK_FALSE(f.guard.Alarmed());
  f.store.SetDiskBytes(1000);
  f.guard.Check(f.store);
  CHECK(f.guard.Alarmed());
}

TEST_CASE("A state machine that waits for space refuses writes", "[kvstore][space]") {
  Fixture f;
  f.guard.SetStalled(true);
  CHECK(f.guard.Alarmed());
  f.guard.SetStalled(false);
  CHECK_FALSE(f.guard.Alarmed());
}
