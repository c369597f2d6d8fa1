#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/internal/shared_wal.h"
#include "raft/wal.h"

namespace keelson::raft {
namespace {

struct Result {
  int exit_code = -1;
  std::string output;  // both streams
};

Result Run(const std::string& arguments) {
  Result result;
  FILE* pipe = ::popen(("raft/cmd/wal " + arguments + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, pipe))
    result.output.append(buffer, n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

// A real log with three entries; the folder is emptied first.
std::string MakeLog(const std::string& name) {
  const char* tmp = std::getenv("TEST_TMPDIR");
  const std::string dir = JoinPath(tmp == nullptr ? "/tmp" : tmp, name);
  FileSystem& fs = RealFileSystem();
  if (const auto names = fs.List(dir); names.ok()) {
    for (const std::string& file : *names) KEELSON_REQUIRE_OK(fs.Remove(JoinPath(dir, file)));
  }
  const Identity identity = {.cluster_id = 0xc1, .node_id = 7};
  const Wal::Options options = {.segment_bytes = 16384};
  KEELSON_REQUIRE_OK(Wal::Create(fs, dir, identity, {}, options));
  Wal::Recovered recovered;
  KEELSON_ASSIGN_OR_FAIL(const auto wal, Wal::Open(fs, dir, identity, options, &recovered));
  for (Index index = 1; index <= 3; ++index) {
    const std::vector<Entry> entries = {{.term = 2, .index = index, .data = Payload("some data")}};
    KEELSON_REQUIRE_OK(
        wal->Append({.entries = entries, .hard_state = HardState{.term = 2, .vote = 7}}));
    KEELSON_REQUIRE_OK(wal->Sync());
  }
  return dir;
}

// In the place of what MakeLog left in `dir`, one log of groups 5, 6 and 7.
std::unique_ptr<SharedWal> MakeSharedLog(const std::string& dir) {
  FileSystem& fs = RealFileSystem();
  KEELSON_REQUIRE_OK(fs.Remove(JoinPath(dir, "0000000000000001.wal")));
  const Identity identity = {.cluster_id = 0xc1, .node_id = 7};
  const Wal::Options options = {.segment_bytes = 16384};
  KEELSON_REQUIRE_OK(SharedWal::Create(fs, dir, identity, options));
  SharedWal::Recovered recovered;
  KEELSON_ASSIGN_OR_FAIL(auto log, SharedWal::Open(fs, dir, identity, options, &recovered));
  for (const GroupId group : {5, 6, 7}) {
    KEELSON_REQUIRE_OK(log->AddGroup(group, {.conf_state = {.voters = {7, 8, 9}}}));
  }
  return log;
}

TEST_CASE("inspect, verify and dump read a log", "[raft][wal][cmd]") {
  const std::string dir = MakeLog("sound");

  const Result inspect = Run("inspect " + dir);
  CHECK(inspect.exit_code == 0);
  CHECK(inspect.output.find("node 7 of cluster c1") != std::string::npos);
  CHECK(inspect.output.find("entries    [1, 3]") != std::string::npos);

  const auto summary = nlohmann::json::parse(Run("inspect --json " + dir).output);
  CHECK(summary["last_index"] == 3);
  CHECK(summary["hard_state"]["vote"] == 7);
  CHECK(summary["segments"].size() == 1);

  const Result verify = Run("verify " + dir);
  CHECK(verify.exit_code == 0);
  CHECK(verify.output == "'" + dir + "' is sound: entries [1, 3], torn tail of 0 bytes\n");

  const Result dump = Run("dump " + dir);
  CHECK(dump.exit_code == 0);
  CHECK(dump.output.find("entry        synced=") != std::string::npos);
  CHECK(dump.output.find("index=3 term=2 entry_type=0 data_bytes=9") != std::string::npos);
  const Result lines = Run("dump --json " + dir);
  const auto first = nlohmann::json::parse(lines.output.substr(0, lines.output.find('\n')));
  CHECK(first["type"] == "segment-head");
}

TEST_CASE("verify names the damaged record and fails", "[raft][wal][cmd]") {
  const std::string dir = MakeLog("damaged");
  const std::string path = JoinPath(dir, "0000000000000001.wal");
  FileSystem& fs = RealFileSystem();
  KEELSON_ASSIGN_OR_FAIL(std::string bytes, ReadFile(fs, path, 1 << 20));
  bytes[bytes.find("some data")] ^= 1;
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, path, bytes));

  const Result verify = Run("verify " + dir);
  CHECK(verify.exit_code == 1);
  CHECK(verify.output.find("wal: '" + path + "' at ") == 0);
  CHECK(verify.output.find("a record is damaged") != std::string::npos);
  CHECK(Run("inspect " + dir).exit_code == 1);
}

TEST_CASE("repair --dry-run says what would be kept, and keeps its hands off", "[raft][wal][cmd]") {
  const std::string dir = MakeLog("repair");
  CHECK(Run("repair --dry-run " + dir).output == "'" + dir + "' is sound: nothing to repair\n");
  const std::string path = JoinPath(dir, "0000000000000001.wal");
  FileSystem& fs = RealFileSystem();
  KEELSON_ASSIGN_OR_FAIL(std::string bytes, ReadFile(fs, path, 1 << 20));
  bytes[bytes.find("some data", bytes.find("some data") + 1)] ^= 1;
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, path, bytes));

  const Result text = Run("repair --dry-run " + dir);
  CHECK(text.exit_code == 1);
  CHECK(text.output.find("damage     '" + path + "' at ") == 0);
  CHECK(text.output.find("kept       entries [1, 1] of term 2\n") != std::string::npos);
  CHECK(text.output.find("lost       entries 2 to 3 at least\n") != std::string::npos);

  const auto json = nlohmann::json::parse(Run("repair --dry-run --json " + dir).output);
  CHECK(json["damaged"] == true);
  CHECK(json["highest_entry"] == 3);
  CHECK(json["kept"]["last_index"] == 1);
  CHECK(json["kept"]["hard_state"]["vote"] == 7);
  CHECK(json["kept"]["hard_state"]["recovering"] == false);

  KEELSON_ASSIGN_OR_FAIL(const std::string after, ReadFile(fs, path, 1 << 20));
  CHECK(after == bytes);
  const Result without = Run("repair " + dir);
  CHECK(without.exit_code == 2);
  CHECK(without.output.find("--dry-run") != std::string::npos);
}

TEST_CASE("--help names every command", "[raft][wal][cmd]") {
  const Result help = Run("--help");
  CHECK(help.exit_code == 0);
  for (const char* command : {"inspect", "verify", "dump", "repair"}) {
    INFO(help.output);
    CHECK(help.output.find(command) != std::string::npos);
  }
  CHECK(Run("dump --help").output.find("--json") != std::string::npos);
}

TEST_CASE("inspect, verify and dump read a log that many groups share", "[raft][wal][cmd]") {
  const std::string dir = MakeLog("shared");
  FileSystem& fs = RealFileSystem();
  {
    const auto log = MakeSharedLog(dir);
    const std::vector<Entry> entries = {{.term = 2, .index = 1, .data = Payload("some data")}};
    KEELSON_REQUIRE_OK(log->Group(6)->Append(
        {.entries = entries, .hard_state = HardState{.term = 2, .vote = 8, .commit = 1}}));
    KEELSON_REQUIRE_OK(log->RemoveGroup(7));
    KEELSON_REQUIRE_OK(log->Sync());
  }

  const Result inspect = Run("inspect " + dir);
  CHECK(inspect.exit_code == 0);
  CHECK(inspect.output.find("group 6        entries [1, 1]  term 2 vote 8 commit 1\n") !=
        std::string::npos);
  CHECK(inspect.output.find("removed    groups 7 to 7\n") != std::string::npos);
  const auto summary = nlohmann::json::parse(Run("inspect --json " + dir).output);
  REQUIRE(summary["groups"].size() == 2);
  CHECK(summary["groups"][0]["group"] == 5);
  CHECK(summary["groups"][1]["last_index"] == 1);

  CHECK(Run("verify " + dir).output == "'" + dir + "' is sound: 2 groups, torn tail of 0 bytes\n");
  const Result dump = Run("dump " + dir);
  CHECK(dump.output.find(" group=6 index=1 term=2 entry_type=0 data_bytes=9") != std::string::npos);
  CHECK(dump.output.find("groups-removed") != std::string::npos);

  const std::string path = JoinPath(dir, "0000000000000001.wal");
  KEELSON_ASSIGN_OR_FAIL(std::string bytes, ReadFile(fs, path, 1 << 20));
  bytes[bytes.find("KEELWAL") + 20] ^= 1;
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, path, bytes));
  CHECK(Run("verify " + dir).exit_code == 1);
}

TEST_CASE("verify says what each group of a damaged log keeps and loses", "[raft][wal][cmd]") {
  const std::string dir = MakeLog("shared-damaged");
  FileSystem& fs = RealFileSystem();
  const std::string path = JoinPath(dir, "0000000000000001.wal");
  {
    const auto log = MakeSharedLog(dir);
    for (Index index = 1; index <= 3; ++index) {
      for (const GroupId group : {5, 6}) {
        const std::string data = "g" + std::to_string(group) + "i" + std::to_string(index) + "!";
        const std::vector<Entry> entries = {{.term = 2, .index = index, .data = Payload(data)}};
        KEELSON_REQUIRE_OK(log->Group(group)->Append(
            {.entries = entries, .hard_state = HardState{.term = 2, .vote = 8, .commit = 1}}));
        KEELSON_REQUIRE_OK(log->Sync());
      }
    }
    KEELSON_REQUIRE_OK(log->RemoveGroup(7));
    KEELSON_REQUIRE_OK(log->Sync());
  }
  KEELSON_ASSIGN_OR_FAIL(std::string bytes, ReadFile(fs, path, 1 << 20));

  SECTION("a payload: one group") {
    bytes[bytes.find("g6i2!")] ^= 1;
    KEELSON_REQUIRE_OK(WriteFileAtomically(fs, path, bytes));
    const Result text = Run("verify " + dir);
    INFO(text.output);
    CHECK(text.exit_code == 1);
    CHECK(text.output.find("a record is damaged") != std::string::npos);
    CHECK(text.output.find("group 5        keeps entries [1, 3] of term 2, loses nothing\n") !=
          std::string::npos);
    CHECK(text.output.find("group 6        keeps entries [1, 1] of term 2, "
                           "loses entries 2 to 3 at least\n") != std::string::npos);
    CHECK(text.output.find("removed    groups 7 to 7\n") != std::string::npos);
    CHECK(text.output.find("forgotten") == std::string::npos);

    const std::string output = Run("verify --json " + dir).output;
    const auto json = nlohmann::json::parse(
        output.substr(output.find('{'), output.rfind('}') - output.find('{') + 1));
    CHECK(json["sound"] == false);
    REQUIRE(json["groups"].size() == 2);
    CHECK(json["groups"][0]["lost"] == false);
    CHECK(json["groups"][0]["kept"]["last_index"] == 3);
    CHECK(json["groups"][1]["group"] == 6);
    CHECK(json["groups"][1]["lost"] == true);
    CHECK(json["groups"][1]["kept"]["last_index"] == 1);
    CHECK(json["groups"][1]["highest_entry"] == 3);
    CHECK(json["removed_groups"][0][0] == 7);
    CHECK(json["forgotten"] == false);
    CHECK(Run("inspect " + dir).output.find("keeps") == std::string::npos);
  }
  SECTION("a header: any group may have had records there") {
    bytes[bytes.find("g6i2!") - 56 + 9] ^= 1;
    KEELSON_REQUIRE_OK(WriteFileAtomically(fs, path, bytes));
    const Result text = Run("verify " + dir);
    INFO(text.output);
    CHECK(text.exit_code == 1);
    CHECK(text.output.find("group 5        keeps entries [1, 2] of term 2, "
                           "loses entries 3 to 3 at least\n") != std::string::npos);
    CHECK(text.output.find("forgotten ") != std::string::npos);
  }
}

TEST_CASE("Bad arguments are one line and exit code 2, a missing log is 1", "[raft][wal][cmd]") {
  for (const char* arguments : {"", "inspect", "frobnicate x", "verify --unknown x"}) {
    const Result result = Run(arguments);
    INFO(arguments << ": " << result.output);
    CHECK(result.exit_code == 2);
    CHECK(result.output.find("wal: ") == 0);
  }
  const Result missing = Run("inspect /nonexistent/folder");
  CHECK(missing.exit_code == 1);
  CHECK(missing.output.find("'/nonexistent/folder'") != std::string::npos);
  CHECK(Run("--help").exit_code == 0);
}

}  // namespace
}  // namespace keelson::raft
