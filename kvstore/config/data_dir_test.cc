#include "kvstore/config/data_dir.h"

#include <catch2/catch.hpp>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"

using namespace keelson;
using namespace keelson::kvstore;

namespace {

struct Fixture {
  SimFileSystem fs{Random(1), {}};

  void MakeFile(const std::string& path) {
    KEELSON_REQUIRE_OK(fs.CreateDirectories(path.substr(0, path.rfind('/'))));
    KEELSON_REQUIRE_OK(fs.Open(path, {.write = true, .create = true}));
  }
};

}  // namespace

TEST_CASE("The parts of a member lie in its data directory", "[kvstore][data_dir]") {
  const DataDir inside = DataDirAt("d", "");
  CHECK(inside.member == "d/member");
  CHECK(inside.wal == "d/member/wal");
  CHECK(inside.snapshots == "d/member/snap");
  CHECK(inside.database == "d/member/db");
  CHECK(DataDirAt("d", "elsewhere").wal == "elsewhere");
}

TEST_CASE("Nothing, an empty folder and our own are fine", "[kvstore][data_dir]") {
  Fixture f;
  SECTION("nothing") {}
  SECTION("empty") { KEELSON_REQUIRE_OK(f.fs.CreateDirectories("d")); }
  SECTION("certificates of its own") { f.MakeFile("d/fixtures/peer/cert.pem"); }
  SECTION("a mount point") { KEELSON_REQUIRE_OK(f.fs.CreateDirectories("d/lost+found")); }
  SECTION("ours") {
    f.MakeFile("d/member/wal/0000000000000001.wal");
    f.MakeFile("d/member/snap/1.snap");
    f.MakeFile("d/member/db/CURRENT");
  }
  SECTION("ours with the log elsewhere") { f.MakeFile("d/member/db/CURRENT"); }
  KEELSON_REQUIRE_OK(CheckDataDir(f.fs, "d"));
}

TEST_CASE("What is not ours is refused by name", "[kvstore][data_dir]") {
  Fixture f;
  std::string what;
  SECTION("etcd") {
    f.MakeFile("d/member/snap/db");
    f.MakeFile("d/member/wal/0000000000000000-0000000000000000.wal");
    what = "'d' belongs to etcd";
  }
  SECTION("a stray file") {
    f.MakeFile("d/notes.txt");
    what = "'d' holds 'notes.txt'";
  }
  SECTION("a stray file beside a member") {
    f.MakeFile("d/member/db/CURRENT");
    f.MakeFile("d/notes.txt");
    what = "'d' holds 'notes.txt'";
  }
  SECTION("a stray file inside a member") {
    f.MakeFile("d/member/notes.txt");
    what = "'d' holds 'member/notes.txt'";
  }
  KEELSON_CHECK_ERROR(CheckDataDir(f.fs, "d"), absl::StatusCode::kFailedPrecondition, what);
}
