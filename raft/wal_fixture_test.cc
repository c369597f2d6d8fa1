// Logs and snapshots that this version has written, stored in testdata/v1. Every later version must
// read them; as long as this one is the latest, it also writes the same bytes.
//
// To store those of a new version beside them: KEELSON_FIXTURES=DIR wal_fixture_test "[.store]".
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/internal/wal_repair.h"
#include "raft/snapshot_store.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft {
namespace {

const std::string kStored = "raft/testdata/v1";
constexpr Identity kOwner = {.cluster_id = 0xfeedc0de, .node_id = 3};
constexpr uint64_t kFileBytes = 1 << 20;

Wal::Options WalOptions() { return {.segment_bytes = 8192, .incarnation = 0x1122334455667788}; }

SnapshotMetadata Simple(Index index, Term term) {
  SnapshotMetadata at{.index = index, .term = term, .conf_state = {}};
  at.conf_state.voters = {1, 2, 3};
  return at;
}

SnapshotMetadata Joint(Index index, Term term) {
  SnapshotMetadata at{.index = index, .term = term, .conf_state = {}};
  at.conf_state = {.voters = {1, 3, 4},
                   .learners = {9},
                   .voters_outgoing = {1, 2, 3},
                   .learners_next = {2},
                   .auto_leave = true};
  return at;
}

Entry MakeEntry(Index index, Term term, const std::string& data, EntryType type) {
  return {.term = term, .index = index, .type = type, .data = Payload(data)};
}

std::vector<Entry> SomeEntries() {
  return {MakeEntry(1, 1, "", EntryType::kNormal), MakeEntry(2, 1, "hello", EntryType::kNormal),
          MakeEntry(3, 1, std::string(3500, 'x'), EntryType::kNormal),
          MakeEntry(4, 2, std::string("\x08\x01", 2), EntryType::kConfChange),
          MakeEntry(5, 2, "", EntryType::kConfChangeV2)};
}

void Write(Wal& wal, const Wal::Batch& batch) {
  KEELSON_REQUIRE_OK(wal.Append(batch));
  KEELSON_REQUIRE_OK(wal.Sync());
}

std::unique_ptr<Wal> Open(FileSystem& fs, Wal::Recovered* recovered) {
  KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(fs, "wal", kOwner, WalOptions(), recovered));
  return wal;
}

// A first life: hard states of 24 bytes, all types of entries, a replaced tail, two segments.
void WriteFirstLife(FileSystem& fs) {
  KEELSON_REQUIRE_OK(Wal::Create(fs, "wal", kOwner, Simple(0, 0), WalOptions()));
  Wal::Recovered recovered;
  const auto wal = Open(fs, &recovered);
  const std::vector<Entry> entries = SomeEntries();
  Write(*wal, {.entries = std::span(entries).first(2),
               .hard_state = HardState{.term = 1, .vote = 2, .commit = 1}});
  Write(*wal,
        {.entries = std::vector<Entry>{MakeEntry(3, 1, "to be replaced", EntryType::kNormal)}});
  Write(*wal, {.entries = std::span(entries).subspan(2),
               .hard_state = HardState{.term = 2, .vote = 0, .commit = 4}});
}

// A later life: hard states of 40 bytes, both flags, a log that starts over, a compaction.
void WriteLaterLife(FileSystem& fs) {
  WriteFirstLife(fs);
  const std::vector<Entry> entries = SomeEntries();
  KEELSON_REQUIRE_OK(wal::StartOver(
      fs, "wal", kOwner,
      {.start = Simple(0, 0),
       .entries = {entries.begin(), entries.begin() + 2},
       .hard_state = {.term = 2, .vote = 0, .commit = 2, .incarnation = 77, .recovering = true}},
      WalOptions()));
  Wal::Recovered recovered;
  const auto wal = Open(fs, &recovered);
  Write(*wal, {.entries = std::vector<Entry>{MakeEntry(3, 3, "later", EntryType::kNormal)},
               .hard_state = HardState{
                   .term = 3, .vote = 1, .commit = 3, .incarnation = 77, .recovering = false}});
  KEELSON_REQUIRE_OK(wal->Compact(Joint(2, 1)));
}

// A log that a received snapshot has replaced.
void WriteReset(FileSystem& fs) {
  WriteFirstLife(fs);
  Wal::Recovered recovered;
  const auto wal = Open(fs, &recovered);
  Write(*wal, {.entries = std::vector<Entry>{MakeEntry(101, 8, "behind", EntryType::kNormal)},
               .hard_state = HardState{.term = 8, .vote = 1, .commit = 100},
               .snapshot = Joint(100, 7)});
}

void WriteSnapshot(FileSystem& fs) {
  KEELSON_ASSIGN_OR_FAIL(const auto store, SnapshotStore::Open(fs, "snap"));
  KEELSON_ASSIGN_OR_FAIL(const auto writer, store->Create(Joint(100, 7)));
  KEELSON_REQUIRE_OK(writer->Append("the state of the machine"));
  KEELSON_REQUIRE_OK(writer->Commit());
}

struct Fixture {
  std::string name;
  std::string dir;  // on the simulated disk
  std::function<void(FileSystem&)> write;
};

std::vector<Fixture> Fixtures() {
  return {{"wal-first-life", "wal", WriteFirstLife},
          {"wal-later-life", "wal", WriteLaterLife},
          {"wal-reset", "wal", WriteReset},
          {"snapshot", "snap", WriteSnapshot}};
}

// The files of a folder without the lock, by name. The zeros behind the last sector that holds
// anything are not stored.
std::map<std::string, std::string> Files(FileSystem& fs, const std::string& dir) {
  std::map<std::string, std::string> files;
  KEELSON_ASSIGN_OR_FAIL(const auto names, fs.List(dir));
  for (const std::string& name : names) {
    if (name == "lock") continue;
    KEELSON_ASSIGN_OR_FAIL(std::string bytes, ReadFile(fs, JoinPath(dir, name), kFileBytes));
    if (dir != "snap") {
      const size_t used = bytes.find_last_not_of('\0') + 1;
      bytes.resize((used + kSimSectorBytes - 1) / kSimSectorBytes * kSimSectorBytes);
    }
    files[name] = std::move(bytes);
  }
  return files;
}

std::map<std::string, std::string> StoredFiles(const std::string& name) {
  std::map<std::string, std::string> files;
  KEELSON_ASSIGN_OR_FAIL(const auto names, RealFileSystem().List(JoinPath(kStored, name)));
  for (const std::string& file : names) {
    KEELSON_ASSIGN_OR_FAIL(
        files[file],
        ReadFile(RealFileSystem(), JoinPath(JoinPath(kStored, name), file), kFileBytes));
  }
  REQUIRE_FALSE(files.empty());
  return files;
}

// A disk with the stored files in `dir`.
std::unique_ptr<SimFileSystem> DiskWith(const std::string& name, const std::string& dir) {
  auto fs = std::make_unique<SimFileSystem>(Random(1), SimFileSystem::Options{});
  KEELSON_REQUIRE_OK(fs->CreateDirectories(dir));
  for (const auto& [file, bytes] : StoredFiles(name)) {
    KEELSON_REQUIRE_OK(WriteFileAtomically(*fs, JoinPath(dir, file), bytes));
  }
  return fs;
}

TEST_CASE("A stored log of a first life is read", "[raft][wal][fixture]") {
  const auto fs = DiskWith("wal-first-life", "wal");
  Wal::Recovered recovered;
  const auto wal = Open(*fs, &recovered);
  CHECK(recovered.start == Simple(0, 0));
  CHECK(recovered.entries == SomeEntries());
  CHECK(recovered.hard_state == HardState{.term = 2, .vote = 0, .commit = 4});
  CHECK(recovered.torn_bytes == 0);
  CHECK(wal->GetStats().segments == 2);
  Write(*wal, {.entries = std::vector<Entry>{MakeEntry(6, 2, "more", EntryType::kNormal)}});
}

TEST_CASE("A stored log of a later life is read", "[raft][wal][fixture]") {
  const auto fs = DiskWith("wal-later-life", "wal");
  Wal::Recovered recovered;
  const auto wal = Open(*fs, &recovered);
  CHECK(recovered.start == Joint(2, 1));
  CHECK(recovered.entries == std::vector<Entry>{MakeEntry(3, 3, "later", EntryType::kNormal)});
  CHECK(recovered.hard_state ==
        HardState{.term = 3, .vote = 1, .commit = 3, .incarnation = 77, .recovering = false});
}

TEST_CASE("A stored log that a snapshot has replaced is read", "[raft][wal][fixture]") {
  const auto fs = DiskWith("wal-reset", "wal");
  Wal::Recovered recovered;
  const auto wal = Open(*fs, &recovered);
  CHECK(recovered.start == Joint(100, 7));
  CHECK(recovered.entries == std::vector<Entry>{MakeEntry(101, 8, "behind", EntryType::kNormal)});
  CHECK(recovered.hard_state == HardState{.term = 8, .vote = 1, .commit = 100});
}

TEST_CASE("A stored snapshot is read", "[raft][snapshot][fixture]") {
  const auto fs = DiskWith("snapshot", "snap");
  KEELSON_ASSIGN_OR_FAIL(const auto store, SnapshotStore::Open(*fs, "snap"));
  KEELSON_ASSIGN_OR_FAIL(const auto found, store->List());
  REQUIRE(found == std::vector<SnapshotMetadata>{Joint(100, 7)});
  KEELSON_ASSIGN_OR_FAIL(const auto reader, store->OpenSnapshot(100, 7));
  CHECK(reader->Next().value() == "the state of the machine");
  CHECK(reader->Next().value().empty());
}

TEST_CASE("What is written now is what is stored, byte for byte", "[raft][wal][fixture]") {
  for (const Fixture& fixture : Fixtures()) {
    INFO(fixture.name);
    SimFileSystem fs(Random(1), {});
    fixture.write(fs);
    CHECK((Files(fs, fixture.dir) == StoredFiles(fixture.name)));
  }
}

TEST_CASE("Stores the fixtures", "[.store]") {
  const char* root = std::getenv("KEELSON_FIXTURES");
  REQUIRE(root != nullptr);
  for (const Fixture& fixture : Fixtures()) {
    SimFileSystem fs(Random(1), {});
    fixture.write(fs);
    const std::string dir = JoinPath(root, fixture.name);
    KEELSON_REQUIRE_OK(RealFileSystem().CreateDirectories(dir));
    for (const auto& [name, bytes] : Files(fs, fixture.dir)) {
      KEELSON_REQUIRE_OK(WriteFileAtomically(RealFileSystem(), JoinPath(dir, name), bytes));
    }
  }
}

}  // namespace
}  // namespace keelson::raft
