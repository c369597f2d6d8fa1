// A process that writes a log on the real disk is killed by SIGKILL, again and again: what it had
// said to be durable is there afterwards, and nothing that it had not written. The page cache
// survives a kill, so this is about the log's own order of work and its recovery, not about syncs;
// wal_crash_test.cc is about those. A campaign: KEELSON_WAL_KILLS=200 bazel-bin/raft/wal_kill_test
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file_system.h"
#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

constexpr size_t kEntryBytes = 300;

// In the child, until it is killed: appends, syncs, says the last durable index. Compacts at times.
[[noreturn]] void WriteForEver(const std::string& dir, int report) {
  Wal::Recovered recovered;
  auto wal = Wal::Open(RealFileSystem(), dir, kIdentity, SmallSegments(1 << 16), &recovered);
  if (!wal.ok()) ::_exit(3);
  Index last = recovered.start.index + recovered.entries.size();
  while (true) {
    const Index count = 1 + last % 7;
    const auto entries = MakeEntries(last + 1, last + count, 1, kEntryBytes);
    if (!(*wal)->Append({.entries = entries, .hard_state = HardState{.term = 1}}).ok()) ::_exit(4);
    if (!(*wal)->Sync().ok()) ::_exit(5);
    last += count;
    if (::write(report, &last, sizeof(last)) != sizeof(last)) ::_exit(6);
    if (last % 500 < count && last > 400) {
      if (!(*wal)->Compact(MakeStart(last - 400, 1)).ok()) ::_exit(7);
    }
  }
}

// Lets a child write until it has acknowledged `count` times more, kills it, and returns the last
// index that it acknowledged.
Index KillAfter(const std::string& dir, uint64_t count, Index last) {
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) WriteForEver(dir, pipe[1]);
  (void)::close(pipe[1]);
  Index acknowledged = last;
  for (uint64_t i = 0; i < count; ++i) {
    REQUIRE(::read(pipe[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged));
  }
  REQUIRE(::kill(child, SIGKILL) == 0);
  // What it said before the signal came.
  while (::read(pipe[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged)) {
  }
  (void)::close(pipe[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  return acknowledged;
}

TEST_CASE("A killed writer loses nothing that it acknowledged", "[raft][wal][kill]") {
  const char* const wanted = std::getenv("KEELSON_WAL_KILLS");
  const uint64_t kills = wanted == nullptr ? 40 : std::strtoull(wanted, nullptr, 10);
  const char* const folder = std::getenv("TEST_TMPDIR");
  const std::string dir = std::string(folder == nullptr ? "/tmp" : folder) + "/wal_kill_test." +
                          std::to_string(::getpid());
  KEELSON_REQUIRE_OK(
      Wal::Create(RealFileSystem(), dir, kIdentity, MakeStart(0, 0), SmallSegments()));
  Random random(7);
  Index last = 0;

  for (uint64_t kill = 0; kill < kills; ++kill) {
    INFO("kill " << kill);
    last = KillAfter(dir, 1 + random.Below(60), last);
    Wal::Recovered recovered;
    KEELSON_REQUIRE_OK(
        Wal::Open(RealFileSystem(), dir, kIdentity, SmallSegments(1 << 16), &recovered).status());
    const Index found = recovered.start.index + recovered.entries.size();
    REQUIRE(found >= last);
    REQUIRE(found <= last + 7);  // The batch that was being written.
    REQUIRE(recovered.entries == MakeEntries(recovered.start.index + 1, found, 1, kEntryBytes));
    last = found;
  }

  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace keelson::raft
