// What the tests of the write-ahead log share: a small log on a simulated disk.
#ifndef KEELSON_RAFT_TESTING_WAL_TESTING_H_
#define KEELSON_RAFT_TESTING_WAL_TESTING_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file_system.h"
#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/wal.h"

namespace keelson::raft {

inline constexpr char kDir[] = "wal";
inline constexpr Identity kIdentity = {.cluster_id = 0xc1, .node_id = 0x7};

inline Entry MakeEntry(Index index, Term term, std::string data) {
  return {.term = term, .index = index, .data = Payload(std::move(data))};
}

// Entries [first, last] of `term`, each with `bytes` bytes that name the entry.
inline std::vector<Entry> MakeEntries(Index first, Index last, Term term, size_t bytes) {
  std::vector<Entry> entries;
  for (Index index = first; index <= last; ++index) {
    std::string data = "e" + std::to_string(index) + "t" + std::to_string(term) + ".";
    while (data.size() < bytes) data.push_back(static_cast<char>('a' + (index + data.size()) % 26));
    entries.push_back(MakeEntry(index, term, std::move(data)));
  }
  return entries;
}

inline SnapshotMetadata MakeStart(Index index, Term term) {
  SnapshotMetadata start = {.index = index, .term = term, .conf_state = {}};
  start.conf_state.voters = {1, 2, 3};
  return start;
}

inline Wal::Options SmallSegments(uint64_t bytes = 8192) {
  return {.segment_bytes = bytes, .incarnation = 0x1234567890abcdef};
}

inline std::unique_ptr<SimFileSystem> MakeDisk(uint64_t seed = 1) {
  return std::make_unique<SimFileSystem>(Random(seed), SimFileSystem::Options{});
}

// A new log in kDir, opened.
inline std::unique_ptr<Wal> NewLog(FileSystem& fs, const Wal::Options& options = SmallSegments()) {
  KEELSON_REQUIRE_OK(Wal::Create(fs, kDir, kIdentity, MakeStart(0, 0), options));
  Wal::Recovered recovered;
  KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(fs, kDir, kIdentity, options, &recovered));
  return wal;
}

inline void AppendAndSync(Wal& wal, const Wal::Batch& batch) {
  KEELSON_REQUIRE_OK(wal.Append(batch));
  KEELSON_REQUIRE_OK(wal.Sync());
}

// Opens kDir, gives what was recovered, closes it.
inline absl::StatusOr<Wal::Recovered> Reopen(FileSystem& fs,
                                             const Wal::Options& options = SmallSegments()) {
  Wal::Recovered recovered;
  const auto wal = Wal::Open(fs, kDir, kIdentity, options, &recovered);
  if (!wal.ok()) return wal.status();
  return recovered;
}

// Copies all of kDir to a fresh disk, as after a clean shutdown.
inline std::unique_ptr<SimFileSystem> CopyDisk(FileSystem& from) {
  auto to = MakeDisk();
  KEELSON_REQUIRE_OK(to->CreateDirectories(kDir));
  KEELSON_ASSIGN_OR_FAIL(const auto names, from.List(kDir));
  for (const std::string& name : names) {
    const std::string path = JoinPath(kDir, name);
    KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(from, path, 1 << 30));
    KEELSON_ASSIGN_OR_FAIL(const auto file, to->Open(path, {.write = true, .create = true}));
    KEELSON_REQUIRE_OK(file->WriteAt(0, bytes));
    KEELSON_REQUIRE_OK(file->SyncData());
  }
  KEELSON_REQUIRE_OK(to->SyncDirectory(kDir));
  return to;
}

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_WAL_TESTING_H_
