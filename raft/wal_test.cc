#include "raft/wal.h"

#include <catch2/catch.hpp>

#include <optional>
#include <string>
#include <vector>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

using absl::StatusCode;

const std::string kFirstSegment = "wal/0000000000000001.wal";
const std::string kSecondSegment = "wal/0000000000000002.wal";

TEST_CASE("What was appended comes back after a reopen", "[raft][wal]") {
  auto fs = MakeDisk();
  const SnapshotMetadata start = {.index = 4,
                                  .term = 2,
                                  .conf_state = {.voters = {1, 2},
                                                 .learners = {9},
                                                 .voters_outgoing = {1, 3},
                                                 .learners_next = {3},
                                                 .auto_leave = true}};
  KEELSON_REQUIRE_OK(Wal::Create(*fs, kDir, kIdentity, start, SmallSegments()));
  Wal::Recovered recovered;
  std::vector<Entry> entries = MakeEntries(5, 8, 3, 10);
  entries[1].data = Payload();
  entries[2].type = EntryType::kConfChangeV2;
  entries[3].data = Payload(std::string(5000, 'L'));
  const HardState state = {.term = 3, .vote = 2, .commit = 6};
  {
    KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(*fs, kDir, kIdentity, SmallSegments(), &recovered));
    CHECK(recovered.start == start);
    CHECK(recovered.hard_state == HardState{.commit = 4});
    CHECK(recovered.entries.empty());
    AppendAndSync(*wal, {.entries = entries, .hard_state = state});
  }

  KEELSON_ASSIGN_OR_FAIL(recovered, Reopen(*fs));
  CHECK(recovered.start == start);
  CHECK(recovered.entries == entries);
  CHECK(recovered.hard_state == state);
  CHECK(recovered.torn_bytes == 0);
}

TEST_CASE("An entry at or before the last replaces the tail", "[raft][wal]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 6, 1, 8)});
    AppendAndSync(*wal, {.entries = MakeEntries(4, 5, 2, 8)});
  }

  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  std::vector<Entry> want = MakeEntries(1, 3, 1, 8);
  for (Entry& entry : MakeEntries(4, 5, 2, 8)) want.push_back(std::move(entry));
  CHECK(recovered.entries == want);
}

TEST_CASE("A received snapshot drops every entry and moves the start", "[raft][wal]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 6, 1, 8)});
    // The snapshot, entries after it and entries that it covers, in one batch.
    AppendAndSync(*wal, {.entries = MakeEntries(9, 12, 2, 8),
                         .hard_state = HardState{.term = 2, .commit = 10},
                         .snapshot = MakeStart(10, 2)});
  }

  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.start == MakeStart(10, 2));
  CHECK(recovered.entries == MakeEntries(11, 12, 2, 8));
  CHECK(recovered.hard_state == HardState{.term = 2, .commit = 10});
}

TEST_CASE("A log of many segments comes back whole", "[raft][wal][segment]") {
  auto fs = MakeDisk();
  const HardState state = {.term = 5, .vote = 3, .commit = 2};
  {
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 2, 1, 100), .hard_state = state});
    for (Index index = 3; index <= 100; ++index) {
      KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(index, index, 5, 300)}));
    }
    KEELSON_REQUIRE_OK(wal->Sync());
    CHECK(wal->GetStats().segments > 5);
  }

  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  REQUIRE(recovered.entries.size() == 100);
  CHECK(recovered.entries[99] == MakeEntries(100, 100, 5, 300)[0]);
  CHECK(recovered.hard_state == state);
}

TEST_CASE("A batch larger than a segment gets a segment of its size", "[raft][wal][segment]") {
  auto fs = MakeDisk();
  const std::vector<Entry> entries = MakeEntries(1, 3, 1, 50000);
  {
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = entries});
    AppendAndSync(*wal, {.entries = MakeEntries(4, 4, 1, 10)});
  }

  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  REQUIRE(recovered.entries.size() == 4);
  CHECK(recovered.entries[2] == entries[2]);
}

TEST_CASE("One sync covers all appends before it, and an idle log does none", "[raft][wal][sync]") {
  auto fs = MakeDisk();
  auto wal = NewLog(*fs);
  for (Index index = 1; index <= 5; ++index) {
    KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(index, index, 1, 10)}));
  }
  KEELSON_REQUIRE_OK(wal->Sync());
  KEELSON_REQUIRE_OK(wal->Sync());
  CHECK(wal->GetStats().syncs == 1);

  fs->PowerLoss();
  wal.reset();
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.entries.size() == 5);
}

TEST_CASE("Compaction removes whole segments and keeps what follows", "[raft][wal][compact]") {
  auto fs = MakeDisk();
  const HardState state = {.term = 1, .vote = 2, .commit = 90};
  {
    auto wal = NewLog(*fs);
    for (Index index = 1; index <= 100; ++index) {
      KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(index, index, 1, 300)}));
    }
    AppendAndSync(*wal, {.hard_state = state});
    const uint64_t segments = wal->GetStats().segments;

    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(90, 1)));

    CHECK(wal->GetStats().segments < segments / 2);
    KEELSON_ASSIGN_OR_FAIL(const bool first_is_there, fs->Exists(kFirstSegment));
    CHECK(!first_is_there);
  }
  fs->PowerLoss();  // Compact promises durability.

  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.start == MakeStart(90, 1));
  CHECK(recovered.entries == MakeEntries(91, 100, 1, 300));
  CHECK(recovered.hard_state == state);
}

TEST_CASE("Compaction to the last entry leaves an empty log that goes on", "[raft][wal][compact]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 3, 2, 10)});
    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(3, 2)));
    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(3, 2)));  // and again
  }
  {
    Wal::Recovered recovered;
    KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(*fs, kDir, kIdentity, SmallSegments(), &recovered));
    CHECK(recovered.entries.empty());
    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(3, 2)));
    AppendAndSync(*wal, {.entries = MakeEntries(4, 4, 2, 10)});
  }
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.start.index == 3);
  CHECK(recovered.entries == MakeEntries(4, 4, 2, 10));
}

TEST_CASE("Entries that replace a tail of removed segments are a whole log",
          "[raft][wal][compact]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs);
    // Segment 1 ends in the middle of the entries; segment 2 begins by replacing its tail.
    AppendAndSync(*wal, {.entries = MakeEntries(1, 10, 1, 300)});
    AppendAndSync(*wal, {.entries = MakeEntries(6, 12, 2, 600)});
    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(10, 2)));
    KEELSON_ASSIGN_OR_FAIL(const bool first_is_there, fs->Exists(kFirstSegment));
    REQUIRE(!first_is_there);
  }
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.start == MakeStart(10, 2));
  CHECK(recovered.entries == MakeEntries(11, 12, 2, 600));
}

TEST_CASE("A full disk refuses an append that needs a segment, then takes it",
          "[raft][wal][no-space]") {
  auto fs = MakeDisk();
  auto wal = NewLog(*fs);
  fs->SetCapacity(fs->used_bytes());
  Index next = 1;
  absl::Status status;
  for (; status.ok(); ++next) {
    REQUIRE(next < 100);
    status = wal->Append({.entries = MakeEntries(next, next, 1, 300)});
  }
  --next;  // the one that was refused
  KEELSON_CHECK_ERROR(status, StatusCode::kResourceExhausted, "make room for a log segment");
  KEELSON_ASSIGN_OR_FAIL(const auto names, fs->List(kDir));
  CHECK(names == std::vector<std::string>{"0000000000000001.wal", "lock"});

  SECTION("what was there before can still be synced, and compaction works") {
    KEELSON_REQUIRE_OK(wal->Sync());
    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(2, 1)));
  }
  SECTION("the same append works when there is space again") {
    fs->SetCapacity(0);
    AppendAndSync(*wal, {.entries = MakeEntries(next, next, 1, 300)});
    wal.reset();
    KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
    CHECK(recovered.entries == MakeEntries(1, next, 1, 300));
  }
}

TEST_CASE("Any failed write or sync stops the log for good", "[raft][wal][poison]") {
  struct Row {
    std::string name;
    SimOperation operation;
  };
  const auto row =
      GENERATE(values<Row>({{"write", SimOperation::kWrite}, {"sync", SimOperation::kSync}}));
  DYNAMIC_SECTION(row.name) {
    auto fs = MakeDisk();
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 1, 1, 10)});
    // A full disk reported by a write is no invitation to try again, either.
    fs->FailNext(row.operation, kFirstSegment, absl::ResourceExhaustedError("injected"));

    absl::Status status = wal->Append({.entries = MakeEntries(2, 2, 1, 10)});
    if (status.ok()) status = wal->Sync().status();

    KEELSON_CHECK_ERROR(status, StatusCode::kUnknown, "injected");
    KEELSON_CHECK_ERROR(wal->Sync(), StatusCode::kUnknown, "the log is stopped");
    KEELSON_CHECK_ERROR(wal->Append({.entries = MakeEntries(2, 2, 1, 10)}), StatusCode::kUnknown,
                        "the log is stopped");
    KEELSON_CHECK_ERROR(wal->Compact(MakeStart(1, 1)), StatusCode::kUnknown, "the log is stopped");
  }
}

TEST_CASE("A failure on the way to a new segment stops the log", "[raft][wal][poison]") {
  struct Row {
    std::string name;
    SimOperation operation;
    std::string path;
  };
  const auto row = GENERATE(values<Row>({{"sync of the old segment", SimOperation::kSync, "1.wal"},
                                         {"sync of the new segment", SimOperation::kSync, "next"},
                                         {"rename", SimOperation::kName, "0002.wal"},
                                         {"folder", SimOperation::kSyncDirectory, kDir}}));
  DYNAMIC_SECTION(row.name) {
    auto fs = MakeDisk();
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 1, 1, 10)});
    KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(2, 2, 1, 10)}));
    fs->FailNext(row.operation, row.path);

    KEELSON_CHECK_ERROR(wal->Append({.entries = MakeEntries(3, 3, 1, 9000)}), StatusCode::kUnknown,
                        "injected");
    KEELSON_CHECK_ERROR(wal->Sync(), StatusCode::kUnknown, "the log is stopped");

    wal.reset();
    fs->PowerLoss();
    KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
    CHECK(recovered.entries.size() >= 1);
    CHECK(recovered.entries.size() <= 2);
  }
}

TEST_CASE("A batch that does not fit the log is refused", "[raft][wal][validation]") {
  struct Row {
    std::string name;
    std::vector<Entry> entries;
    std::optional<HardState> hard_state;
    std::optional<SnapshotMetadata> snapshot;
  };
  const std::vector<Row> rows = {
      {"gap", MakeEntries(7, 7, 2, 4), {}, {}},
      {"gap inside", {MakeEntry(6, 2, "a"), MakeEntry(8, 2, "b")}, {}, {}},
      {"index goes back inside", {MakeEntry(6, 2, "a"), MakeEntry(6, 2, "b")}, {}, {}},
      {"term goes back", MakeEntries(6, 6, 1, 4), {}, {}},
      {"term goes back inside", {MakeEntry(6, 3, "a"), MakeEntry(7, 2, "b")}, {}, {}},
      {"index 2^63", MakeEntries(Index{1} << 63, Index{1} << 63, 2, 4), {}, {}},
      {"hard state term goes back", {}, HardState{.term = 1}, {}},
      {"commit past the end", {}, HardState{.term = 2, .commit = 6}, {}},
      {"snapshot before the start", {}, {}, MakeStart(1, 1)},
      {"gap after a snapshot", MakeEntries(12, 12, 3, 4), {}, MakeStart(10, 3)},
  };
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name) {
      auto fs = MakeDisk();
      auto wal = NewLog(*fs);
      AppendAndSync(*wal, {.entries = MakeEntries(1, 5, 2, 4), .hard_state = HardState{.term = 2}});
      KEELSON_REQUIRE_OK(wal->Compact(MakeStart(2, 2)));

      KEELSON_CHECK_ERROR(
          wal->Append(
              {.entries = row.entries, .hard_state = row.hard_state, .snapshot = row.snapshot}),
          StatusCode::kInvalidArgument, "");

      wal.reset();
      KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
      CHECK(recovered.entries == MakeEntries(3, 5, 2, 4));
    }
  }
}

TEST_CASE("Compaction outside the log is refused", "[raft][wal][compact]") {
  const SnapshotMetadata start =
      GENERATE(MakeStart(6, 2), MakeStart(1, 2), MakeStart(4, 1), MakeStart(4, 3));
  auto fs = MakeDisk();
  auto wal = NewLog(*fs);
  AppendAndSync(*wal, {.entries = MakeEntries(1, 5, 2, 4)});
  KEELSON_REQUIRE_OK(wal->Compact(MakeStart(2, 2)));

  KEELSON_CHECK_ERROR(wal->Compact(start), StatusCode::kInvalidArgument, "compaction to");
}

TEST_CASE("A log is made once and found afterwards", "[raft][wal][create]") {
  auto fs = MakeDisk();
  KEELSON_ASSIGN_OR_FAIL(bool exists, Wal::Exists(*fs, kDir));
  CHECK(!exists);
  Wal::Recovered recovered;
  KEELSON_CHECK_ERROR(Wal::Open(*fs, kDir, kIdentity, SmallSegments(), &recovered),
                      StatusCode::kNotFound, kDir);

  KEELSON_REQUIRE_OK(Wal::Create(*fs, kDir, kIdentity, MakeStart(0, 0), SmallSegments()));
  KEELSON_CHECK_ERROR(Wal::Create(*fs, kDir, kIdentity, MakeStart(0, 0), SmallSegments()),
                      StatusCode::kAlreadyExists, "'wal' holds a write-ahead log already");

  fs->PowerLoss();
  KEELSON_ASSIGN_OR_FAIL(exists, Wal::Exists(*fs, kDir));
  CHECK(exists);
}

TEST_CASE("Creation cut at any step leaves a whole log or none", "[raft][wal][create][crash]") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (uint64_t steps = 0; steps < 12; ++steps) {
      INFO("seed " << seed << " steps " << steps);
      auto fs = MakeDisk(seed);
      fs->CutPowerAfter(steps);
      const absl::Status created =
          Wal::Create(*fs, kDir, kIdentity, MakeStart(0, 0), SmallSegments());
      fs->PowerLoss();

      KEELSON_ASSIGN_OR_FAIL(const bool exists, Wal::Exists(*fs, kDir));
      if (created.ok()) REQUIRE(exists);
      if (!exists) {
        KEELSON_REQUIRE_OK(Wal::Create(*fs, kDir, kIdentity, MakeStart(0, 0), SmallSegments()));
      }
      KEELSON_REQUIRE_OK(Reopen(*fs));
    }
  }
}

TEST_CASE("A log that is open cannot be opened again", "[raft][wal][lock]") {
  auto fs = MakeDisk();
  auto wal = NewLog(*fs);
  KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kFailedPrecondition, "'wal'");
  wal.reset();
  KEELSON_REQUIRE_OK(Reopen(*fs));
}

TEST_CASE("A log of another cluster or node is refused by name", "[raft][wal][identity]") {
  auto fs = MakeDisk();
  NewLog(*fs).reset();
  Wal::Recovered recovered;
  KEELSON_CHECK_ERROR(Wal::Open(*fs, kDir, {.cluster_id = 0xc2, .node_id = 7}, {}, &recovered),
                      StatusCode::kFailedPrecondition,
                      "belongs to node 7 of cluster c1, not to node 7 of cluster c2");
  KEELSON_CHECK_ERROR(Wal::Open(*fs, kDir, {.cluster_id = 0xc1, .node_id = 8}, {}, &recovered),
                      StatusCode::kFailedPrecondition, "not to node 8 of cluster c1");
}

TEST_CASE("A missing segment is named", "[raft][wal][segment]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs);
    for (Index index = 1; index <= 60; ++index) {
      KEELSON_REQUIRE_OK(wal->Append({.entries = MakeEntries(index, index, 1, 300)}));
    }
    KEELSON_REQUIRE_OK(wal->Sync());
  }
  SECTION("in the middle") {
    KEELSON_REQUIRE_OK(fs->Remove(kSecondSegment));
    KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kDataLoss, "'" + kSecondSegment + "' is missing");
  }
  SECTION("at the front") {
    KEELSON_REQUIRE_OK(fs->Remove(kFirstSegment));
    KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kDataLoss, "entries [1, 10] are missing");
  }
  SECTION("under another name") {
    KEELSON_REQUIRE_OK(fs->Rename("wal/0000000000000003.wal", kSecondSegment));
    KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kDataLoss,
                        "'" + kSecondSegment + "' at 0: holds segment 0000000000000003.wal");
  }
}

TEST_CASE("A segment of another log is refused", "[raft][wal][identity]") {
  auto fs = MakeDisk();
  {
    auto wal = NewLog(*fs);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 30, 1, 300)});
    AppendAndSync(*wal, {.entries = MakeEntries(31, 31, 1, 9000)});
  }
  auto other = MakeDisk();
  Wal::Options options = SmallSegments();
  options.incarnation = 5;
  {
    auto wal = NewLog(*other, options);
    AppendAndSync(*wal, {.entries = MakeEntries(1, 30, 1, 300)});
    AppendAndSync(*wal, {.entries = MakeEntries(31, 31, 1, 9000)});
  }
  KEELSON_ASSIGN_OR_FAIL(const std::string foreign, ReadFile(*other, kSecondSegment, 1 << 20));
  KEELSON_REQUIRE_OK(WriteFileAtomically(*fs, kSecondSegment, foreign));

  KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kDataLoss,
                      "'" + kSecondSegment + "' at 0: is of another log");
}

TEST_CASE("An unreadable folder or file is an error that names it", "[raft][wal][open]") {
  auto fs = MakeDisk();
  NewLog(*fs).reset();
  fs->FailNext(SimOperation::kRead, kFirstSegment, absl::PermissionDeniedError("injected"));
  KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kPermissionDenied, "injected");
}

TEST_CASE("Without syncs nothing is claimed to be durable", "[raft][wal][sync]") {
  auto fs = MakeDisk();
  Wal::Options options = SmallSegments();
  options.unsafe_no_sync = true;
  auto wal = NewLog(*fs, options);
  for (Index index = 1; index <= 5; ++index) {
    AppendAndSync(*wal, {.entries = MakeEntries(index, index, 1, 10)});
  }
  CHECK(wal->GetStats().syncs == 0);
  wal.reset();
  fs->PowerLoss();
  KEELSON_REQUIRE_OK(Reopen(*fs));  // Whatever is left, it is a torn tail and not corruption.
}

}  // namespace
}  // namespace keelson::raft
