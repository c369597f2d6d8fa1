// Reading what is left of a damaged log, and replacing it (docs/decisions/0011).
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "raft/internal/wal_format.h"
#include "raft/internal/wal_repair.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

using absl::StatusCode;

std::string Segment(uint64_t sequence) { return JoinPath(kDir, wal::SegmentName(sequence)); }

std::vector<std::string> Names(FileSystem& fs) {
  KEELSON_ASSIGN_OR_FAIL(std::vector<std::string> names, fs.List(kDir));
  std::sort(names.begin(), names.end());
  std::erase(names, "lock");
  return names;
}

// Entries 1 to 12, four a segment, all but the last two synced alone.
std::unique_ptr<SimFileSystem> ThreeSegments() {
  auto fs = MakeDisk();
  auto wal = NewLog(*fs, SmallSegments(8192));
  for (Index index = 1; index <= 12; ++index) {
    AppendAndSync(*wal, {.entries = MakeEntries(index, index, 2, 700),
                         .hard_state = HardState{.term = 2, .vote = 3, .commit = index - 1}});
  }
  wal.reset();
  REQUIRE(Names(*fs) ==
          std::vector<std::string>{wal::SegmentName(1), wal::SegmentName(2), wal::SegmentName(3)});
  return fs;
}

wal::Restart SomeRestart() {
  return {.start = MakeStart(3, 2),
          .entries = MakeEntries(4, 9, 2, 3000),
          .hard_state = {.term = 5, .vote = 0, .commit = 7, .incarnation = 99, .recovering = true}};
}

TEST_CASE("What is left of a whole log is the log", "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  KEELSON_ASSIGN_OR_FAIL(const auto salvage, wal::ReadDamaged(*fs, kDir, kIdentity));
  CHECK(salvage.damage.ok());
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  REQUIRE(salvage.rest.has_value());
  CHECK(salvage.rest->entries == recovered.entries);
  CHECK(salvage.rest->hard_state == recovered.hard_state);
  CHECK(salvage.highest_entry == 12);
}

TEST_CASE("What is left of a damaged log ends before the damage, and the rest is known",
          "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  KEELSON_ASSIGN_OR_FAIL(const auto whole, Reopen(*fs));
  const uint64_t hash = fs->StateHash();
  const auto offset = GENERATE(uint64_t{40}, 150, 700, 2500, 3500);
  const auto segment = GENERATE(uint64_t{1}, 2, 3);
  INFO("segment " << segment << " offset " << offset);
  KEELSON_REQUIRE_OK(fs->FlipBit(Segment(segment), offset, 3));

  KEELSON_ASSIGN_OR_FAIL(const auto salvage, wal::ReadDamaged(*fs, kDir, kIdentity));

  KEELSON_CHECK_ERROR(salvage.damage, StatusCode::kDataLoss, "'wal/");
  KEELSON_CHECK_ERROR(Reopen(*fs), StatusCode::kDataLoss, std::string(salvage.damage.message()));
  if (segment > 1 || offset > 300) {
    REQUIRE(salvage.rest.has_value());
    const std::vector<Entry>& rest = salvage.rest->entries;
    REQUIRE(rest.size() < whole.entries.size());
    CHECK(std::equal(rest.begin(), rest.end(), whole.entries.begin()));
    CHECK(rest.size() >= 4 * (segment - 1));
    CHECK(salvage.rest->hard_state.commit <= rest.size());
    CHECK(salvage.highest_entry >= 11);  // Entry 12 may be the damaged one.
  } else {
    CHECK_FALSE(salvage.rest.has_value());
  }
  KEELSON_REQUIRE_OK(fs->FlipBit(Segment(segment), offset, 3));
  CHECK(fs->StateHash() == hash);  // Nothing was changed.
}

TEST_CASE("A missing segment ends what is left", "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  KEELSON_REQUIRE_OK(fs->Remove(Segment(2)));
  KEELSON_ASSIGN_OR_FAIL(const auto salvage, wal::ReadDamaged(*fs, kDir, kIdentity));
  KEELSON_CHECK_ERROR(salvage.damage, StatusCode::kDataLoss, "is missing between");
  REQUIRE(salvage.rest.has_value());
  CHECK(salvage.rest->entries.size() >= 4);
  CHECK(salvage.rest->entries.size() < 9);
  CHECK(salvage.highest_entry == 12);
}

TEST_CASE("Without the oldest segment what is left hangs in the air", "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  KEELSON_REQUIRE_OK(fs->Remove(Segment(1)));
  KEELSON_ASSIGN_OR_FAIL(const auto salvage, wal::ReadDamaged(*fs, kDir, kIdentity));
  KEELSON_CHECK_ERROR(salvage.damage, StatusCode::kDataLoss, "are missing");
  CHECK_FALSE(salvage.rest.has_value());
}

TEST_CASE("A log that starts over holds what it was given, and the old files stay",
          "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  KEELSON_ASSIGN_OR_FAIL(const std::string first, ReadFile(*fs, Segment(1), 1 << 20));
  const wal::Restart restart = SomeRestart();

  KEELSON_REQUIRE_OK(wal::StartOver(*fs, kDir, kIdentity, restart, SmallSegments()));
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));

  CHECK(recovered.start == restart.start);
  CHECK(recovered.entries == restart.entries);
  CHECK(recovered.hard_state == restart.hard_state);
  CHECK(recovered.torn_bytes == 0);
  CHECK(recovered.moved_aside == std::vector<std::string>{Segment(1) + ".damaged",
                                                          Segment(2) + ".damaged",
                                                          Segment(3) + ".damaged"});
  CHECK(Names(*fs) ==
        std::vector<std::string>{wal::SegmentName(1) + ".damaged", wal::SegmentName(2) + ".damaged",
                                 wal::SegmentName(3) + ".damaged", wal::SegmentName(4)});
  CHECK(ReadFile(*fs, Segment(1) + ".damaged", 1 << 20).value() == first);
  KEELSON_ASSIGN_OR_FAIL(const auto again, Reopen(*fs));
  CHECK(again.moved_aside.empty());
}

TEST_CASE("A log that has started over goes on like any other", "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  for (int round = 0; round < 2; ++round) {
    KEELSON_REQUIRE_OK(wal::StartOver(*fs, kDir, kIdentity, SomeRestart(), SmallSegments()));
    Wal::Recovered recovered;
    KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(*fs, kDir, kIdentity, SmallSegments(), &recovered));
    for (Index index = 10; index <= 20; ++index) {
      AppendAndSync(*wal, {.entries = MakeEntries(index, index, 5, 1500)});
    }
    KEELSON_REQUIRE_OK(wal->Compact(MakeStart(15, 5)));
    wal.reset();
    KEELSON_ASSIGN_OR_FAIL(const auto after, Reopen(*fs));
    CHECK(after.entries == MakeEntries(16, 20, 5, 1500));
    CHECK(after.hard_state.recovering);
  }
}

TEST_CASE("Where there is no log, starting over makes one", "[raft][wal][start_over]") {
  auto fs = MakeDisk();
  KEELSON_REQUIRE_OK(wal::StartOver(*fs, kDir, kIdentity, SomeRestart(), SmallSegments()));
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.hard_state == SomeRestart().hard_state);
  CHECK(recovered.moved_aside.empty());
}

TEST_CASE("A power cut while a log starts over leaves the old log or the new one",
          "[raft][wal][start_over][crash]") {
  uint64_t old_logs = 0;
  uint64_t new_logs = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (uint64_t operations = 0; operations < 14; ++operations) {
      INFO("seed " << seed << " operations " << operations);
      auto written = ThreeSegments();
      KEELSON_REQUIRE_OK(written->FlipBit(Segment(2), 2500, 1));
      auto fs = CopyDisk(*written);
      auto other = MakeDisk(seed);  // Its own fate for what is pending.
      for (const std::string& name : Names(*fs)) {
        KEELSON_REQUIRE_OK(other->CreateDirectories(kDir));
        const std::string path = JoinPath(kDir, name);
        KEELSON_REQUIRE_OK(WriteFileAtomically(*other, path, ReadFile(*fs, path, 1 << 20).value()));
      }
      other->CutPowerAfter(operations);
      const absl::Status done =
          wal::StartOver(*other, kDir, kIdentity, SomeRestart(), SmallSegments());
      if (done.ok()) (void)Reopen(*other);  // The power may fail in there.
      other->PowerLoss();

      const auto recovered = Reopen(*other);
      if (recovered.ok()) {
        REQUIRE(recovered->hard_state == SomeRestart().hard_state);
        REQUIRE(recovered->entries == SomeRestart().entries);
        ++new_logs;
      } else {
        REQUIRE_FALSE(done.ok());  // Once done it is durable.
        KEELSON_CHECK_ERROR(recovered, StatusCode::kDataLoss, "");
        ++old_logs;
      }
    }
  }
  CHECK(old_logs > 40);
  CHECK(new_logs > 40);
}

TEST_CASE("A full disk refuses a new log and leaves the old one", "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  fs->SetCapacity(fs->used_bytes() + 1000);
  KEELSON_CHECK_ERROR(wal::StartOver(*fs, kDir, kIdentity, SomeRestart(), SmallSegments()),
                      StatusCode::kResourceExhausted, "");
  KEELSON_ASSIGN_OR_FAIL(const auto recovered, Reopen(*fs));
  CHECK(recovered.entries.size() == 12);
}

TEST_CASE("Another member's log is not replaced by reading it", "[raft][wal][start_over]") {
  auto fs = ThreeSegments();
  KEELSON_CHECK_ERROR(wal::ReadDamaged(*fs, kDir, {.cluster_id = 0xc1, .node_id = 8}),
                      StatusCode::kFailedPrecondition, "belongs to node 7");
  KEELSON_CHECK_ERROR(wal::ReadDamaged(*fs, "none", kIdentity), StatusCode::kNotFound, "");
}

}  // namespace
}  // namespace keelson::raft
