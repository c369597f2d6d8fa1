// What becomes of a member after damage or loss, case by case of docs/decisions/0011.
#include "raft/member_storage.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

using absl::StatusCode;

const std::string kFirst = "wal/0000000000000001.wal";
const std::string kSecond = "wal/0000000000000002.wal";
constexpr Term kTerm = 2;

SnapshotMetadata At(Index index, Term term, std::vector<NodeId> voters = {1, 7, 9}) {
  SnapshotMetadata at{.index = index, .term = term, .conf_state = {}};
  at.conf_state.voters = std::move(voters);
  return at;
}

class Listener final : public Observer {
 public:
  void On(NodeId self, const Event& event) override {
    const auto* repaired = std::get_if<event::StorageRepaired>(&event);
    REQUIRE(repaired != nullptr);
    CHECK(self == kIdentity.node_id);
    heard.push_back(absl::StrCat(std::string(repaired->what), " kept ", repaired->kept, " known ",
                                 repaired->known));
  }
  std::vector<std::string> heard;
};

MemberStorageOptions OptionsOf(uint64_t seed = 1) {
  return {.wal_dir = kDir,
          .snapshot_dir = "snap",
          .identity = kIdentity,
          .wal = SmallSegments(8192),
          .random = Random(seed)};
}

absl::StatusOr<MemberStorage> OpenAt(FileSystem& fs, const SnapshotMetadata& at,
                                     MemberStorageOptions options = OptionsOf()) {
  return OpenMemberStorage(fs, options, at);
}

// A log that holds entries 1 to 12 in three segments, each entry synced alone; committed up to 11.
std::unique_ptr<SimFileSystem> Disk() {
  auto fs = MakeDisk();
  auto options = SmallSegments(8192);
  KEELSON_REQUIRE_OK(Wal::Create(*fs, kDir, kIdentity, At(0, 0), options));
  Wal::Recovered recovered;
  KEELSON_ASSIGN_OR_FAIL(auto wal, Wal::Open(*fs, kDir, kIdentity, options, &recovered));
  for (Index index = 1; index <= 12; ++index) {
    AppendAndSync(*wal, {.entries = MakeEntries(index, index, kTerm, 700),
                         .hard_state = HardState{.term = kTerm, .vote = 1, .commit = index - 1}});
  }
  return fs;
}

void AddSnapshot(FileSystem& fs, const SnapshotMetadata& metadata) {
  KEELSON_ASSIGN_OR_FAIL(const auto store, SnapshotStore::Open(fs, "snap"));
  KEELSON_ASSIGN_OR_FAIL(const auto writer, store->Create(metadata));
  KEELSON_REQUIRE_OK(writer->Append("the state"));
  KEELSON_REQUIRE_OK(writer->Commit());
}

// Damages the record of the log whose payload begins with `text`.
void DamageRecord(SimFileSystem& fs, const std::string& text) {
  KEELSON_ASSIGN_OR_FAIL(const auto names, fs.List(kDir));
  for (const std::string& name : names) {
    const std::string path = JoinPath(kDir, name);
    KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(fs, path, 1 << 20));
    const size_t place = bytes.find(text);
    if (place == std::string::npos) continue;
    KEELSON_REQUIRE_OK(fs.FlipBit(path, place, 0));
    return;
  }
  FAIL("no record " << text);
}

void DamageSnapshot(SimFileSystem& fs, const std::string& name) {
  const std::string path = "snap/" + name;
  const size_t at = ReadFile(fs, path, 1 << 20)->find("the state");
  KEELSON_REQUIRE_OK(fs.FlipBit(path, at, 2));
}

// What the rest of the world must find after a loss, now and after each restart.
void CheckRecovers(FileSystem& fs, const MemberStorage& storage, const SnapshotMetadata& at) {
  REQUIRE(storage.loss.has_value());
  CHECK(storage.recovered.hard_state.recovering);
  CHECK(storage.recovered.hard_state.incarnation == storage.loss->incarnation);
  CHECK(storage.loss->incarnation != 0);
  const HardState before = storage.recovered.hard_state;
  const std::vector<Entry> entries = storage.recovered.entries;
  const_cast<MemberStorage&>(storage).wal.reset();
  KEELSON_ASSIGN_OR_FAIL(const auto again, OpenAt(fs, at, OptionsOf(2)));
  CHECK_FALSE(again.loss.has_value());
  CHECK(again.recovered.hard_state == before);
  CHECK(again.recovered.entries == entries);
}

TEST_CASE("Without damage nothing is lost", "[raft][repair]") {
  auto fs = Disk();
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(5, kTerm)));
  CHECK_FALSE(storage.loss.has_value());
  CHECK(storage.recovered.entries.size() == 12);
  CHECK_FALSE(storage.recovered.hard_state.recovering);
}

TEST_CASE("Damage behind what is applied keeps the log before it", "[raft][repair]") {
  auto fs = Disk();
  KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 3000, 1));
  Listener listener;
  auto options = OptionsOf();
  options.observer = &listener;
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(3, kTerm), options));

  const std::vector<Entry>& kept = storage.recovered.entries;
  CHECK(storage.recovered.start.index == 0);
  REQUIRE(kept.size() > 4);
  REQUIRE(kept.size() < 12);
  CHECK(kept == MakeEntries(1, kept.size(), kTerm, 700));
  CHECK(storage.recovered.hard_state.term == kTerm);
  CHECK(storage.recovered.hard_state.commit >= kept.size() - 1);
  CHECK(storage.recovered.hard_state.commit <= kept.size());
  CHECK(storage.recovered.moved_aside.size() == 3);
  REQUIRE(listener.heard.size() == 1);
  CHECK(absl::StartsWith(listener.heard[0], "'" + kSecond + "' at "));
  CHECK(absl::EndsWith(listener.heard[0], absl::StrCat(" kept ", kept.size(), " known 12")));
  CheckRecovers(*fs, storage, At(3, kTerm));
}

TEST_CASE("Damage before what is applied leaves an empty log after it", "[raft][repair]") {
  auto fs = Disk();
  KEELSON_REQUIRE_OK(fs->FlipBit(kFirst, 3000, 1));
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(10, kTerm)));
  CHECK(storage.recovered.start == At(10, kTerm));
  CHECK(storage.recovered.entries.empty());
  CHECK(storage.recovered.hard_state.commit == 10);
  CHECK(storage.loss->kept == 10);
  CHECK(storage.loss->known == 12);
  CheckRecovers(*fs, storage, At(10, kTerm));
}

TEST_CASE("Entries from before a tail was replaced are not kept", "[raft][repair]") {
  auto fs = Disk();
  {
    Wal::Recovered recovered;
    KEELSON_ASSIGN_OR_FAIL(auto wal,
                           Wal::Open(*fs, kDir, kIdentity, SmallSegments(8192), &recovered));
    AppendAndSync(*wal, {.entries = MakeEntries(12, 12, 3, 500),
                         .hard_state = HardState{.term = 3, .vote = 0, .commit = 12}});
    AppendAndSync(*wal, {.entries = MakeEntries(13, 13, 3, 500)});
  }
  // The record of the new entry 12 is damaged: before it stands the old one.
  DamageRecord(*fs, "e12t3.");

  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(12, 3)));
  CHECK(storage.recovered.entries.empty());
  CHECK(storage.recovered.start == At(12, 3));
  CHECK(storage.recovered.hard_state.term == 3);
  CheckRecovers(*fs, storage, At(12, 3));
}

TEST_CASE("A log of which nothing can be read begins after what is applied", "[raft][repair]") {
  auto fs = Disk();
  SECTION("its head is damaged") { KEELSON_REQUIRE_OK(fs->FlipBit(kFirst, 60, 1)); }
  SECTION("its start is damaged") { KEELSON_REQUIRE_OK(fs->FlipBit(kFirst, 130, 1)); }
  SECTION("its oldest segment is gone") { KEELSON_REQUIRE_OK(fs->Remove(kFirst)); }
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(6, kTerm)));
  CHECK(storage.recovered.start == At(6, kTerm));
  CHECK(storage.recovered.entries.empty());
  CHECK(storage.recovered.hard_state.term == kTerm);
  CheckRecovers(*fs, storage, At(6, kTerm));
}

TEST_CASE("A damaged hard state and a missing segment are losses, too", "[raft][repair]") {
  auto fs = Disk();
  SECTION("hard state in the head") {
    // Behind the head (96 bytes) and the start record.
    KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 96 + 96 + 40, 1));
  }
  SECTION("missing segment") { KEELSON_REQUIRE_OK(fs->Remove(kSecond)); }
  SECTION("head of a later segment") { KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 60, 1)); }
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(2, kTerm)));
  CHECK(storage.recovered.entries.size() >= 4);
  CHECK(storage.recovered.entries.size() < 9);
  CheckRecovers(*fs, storage, At(2, kTerm));
}

TEST_CASE("A whole log that ends before what is applied has lost something", "[raft][repair]") {
  auto fs = Disk();
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(20, 4)));
  CHECK(storage.recovered.start == At(20, 4));
  CHECK(storage.recovered.hard_state.term == 4);
  CHECK(storage.recovered.hard_state.vote == kNoNode);  // Of an earlier term.
  CheckRecovers(*fs, storage, At(20, 4));
}

// A log that was told to start after a received snapshot, which the machine has not loaded yet.
std::unique_ptr<SimFileSystem> DiskAfterSnapshot(Index index) {
  auto fs = Disk();
  AddSnapshot(*fs, At(index, 3));
  Wal::Recovered recovered;
  KEELSON_ASSIGN_OR_FAIL(auto wal,
                         Wal::Open(*fs, kDir, kIdentity, SmallSegments(8192), &recovered));
  AppendAndSync(*wal, {.hard_state = HardState{.term = 3, .vote = 0, .commit = index},
                       .snapshot = At(index, 3)});
  AppendAndSync(*wal, {.entries = MakeEntries(index + 1, index + 2, 3, 100)});
  AppendAndSync(*wal, {.entries = MakeEntries(index + 3, index + 3, 3, 100)});
  return fs;
}

TEST_CASE("A damaged snapshot that the log relies on is moved aside", "[raft][repair][snapshot]") {
  auto fs = DiskAfterSnapshot(40);
  const std::string name = "0000000000000003-0000000000000028.snap";
  DamageSnapshot(*fs, name);
  SECTION("an older one takes its place") {
    AddSnapshot(*fs, At(30, 3));
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(10, kTerm)));
    CHECK(storage.recovered.start == At(30, 3));
    CHECK(storage.recovered.entries.empty());
    CHECK(fs->Exists("snap/" + name + ".damaged").value());
    CHECK_FALSE(fs->Exists("snap/" + name).value());
    CheckRecovers(*fs, storage, At(10, kTerm));
  }
  SECTION("there is none that leads further than the machine") {
    AddSnapshot(*fs, At(9, kTerm));
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(10, kTerm)));
    CHECK(storage.recovered.start == At(10, kTerm));
    CHECK(storage.recovered.entries.empty());
    CheckRecovers(*fs, storage, At(10, kTerm));
  }
  SECTION("it is missing altogether") {
    KEELSON_REQUIRE_OK(fs->Remove("snap/" + name));
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(10, kTerm)));
    CHECK(storage.recovered.start == At(10, kTerm));
    CheckRecovers(*fs, storage, At(10, kTerm));
  }
  SECTION("a machine that has loaded it does not need it") {
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(40, 3)));
    CHECK_FALSE(storage.loss.has_value());
    CHECK(storage.recovered.entries.size() == 3);
  }
}

TEST_CASE("A damaged log keeps the entries behind a good snapshot", "[raft][repair][snapshot]") {
  auto fs = DiskAfterSnapshot(40);
  DamageRecord(*fs, "e43t3.");
  KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(10, kTerm)));
  CHECK(storage.recovered.start == At(40, 3));
  CHECK(storage.recovered.entries == MakeEntries(41, 42, 3, 100));
  CheckRecovers(*fs, storage, At(10, kTerm));
}

TEST_CASE("A member that its group cannot do without refuses, and says what is lost",
          "[raft][repair]") {
  auto fs = Disk();
  KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 3000, 1));
  const uint64_t hash = fs->StateHash();
  const auto voters = GENERATE(std::vector<NodeId>{7}, std::vector<NodeId>{1, 7});
  const auto storage = OpenAt(*fs, At(3, kTerm, voters));
  KEELSON_CHECK_ERROR(storage, StatusCode::kDataLoss, absl::StrCat("'", kSecond, "' at "));
  KEELSON_CHECK_ERROR(storage, StatusCode::kDataLoss, " to 12 at least");
  KEELSON_CHECK_ERROR(storage, StatusCode::kDataLoss, "no majority");
  CHECK(fs->StateHash() == hash);
}

TEST_CASE("Repair can be turned off", "[raft][repair]") {
  auto fs = Disk();
  KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 3000, 1));
  auto options = OptionsOf();
  options.repair = false;
  KEELSON_CHECK_ERROR(OpenAt(*fs, At(3, kTerm), options), StatusCode::kDataLoss, " to 12 at least");
}

TEST_CASE("A group can do without a member when the others are a majority", "[raft][repair]") {
  CHECK(CanDoWithout({.voters = {1, 2, 3}}, 1));
  CHECK(CanDoWithout({.voters = {1, 2, 3, 4}}, 1));
  CHECK(CanDoWithout({.voters = {1, 2}}, 3));
  CHECK(CanDoWithout({.voters = {1}, .learners = {2}}, 2));
  CHECK(CanDoWithout({}, 1));
  CHECK_FALSE(CanDoWithout({.voters = {1}}, 1));
  CHECK_FALSE(CanDoWithout({.voters = {1, 2}}, 1));
  CHECK_FALSE(CanDoWithout({.voters = {1, 2, 3}, .voters_outgoing = {1, 2}}, 1));
}

TEST_CASE("A folder without a log means what the caller says", "[raft][repair][wipe]") {
  auto fs = MakeDisk();
  auto options = OptionsOf();
  SECTION("a new member") {
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(0, 0), options));
    CHECK(storage.is_new);
    CHECK_FALSE(storage.loss.has_value());
    CHECK(storage.recovered.hard_state == HardState{});
    CHECK(storage.recovered.start == At(0, 0));
  }
  SECTION("a new member cannot have a state") {
    KEELSON_CHECK_ERROR(OpenAt(*fs, At(5, 1), options), StatusCode::kFailedPrecondition,
                        "is at entry 5");
    CHECK_FALSE(Wal::Exists(*fs, kDir).value());
  }
  SECTION("a member that lost everything") {
    options.without_log = WithoutLog::kLostEverything;
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(0, 0), options));
    CHECK(storage.is_new);
    CHECK(storage.recovered.start == At(0, 0));
    CheckRecovers(*fs, storage, At(0, 0));
  }
  SECTION("a member that lost its log and kept its state") {
    options.without_log = WithoutLog::kLostEverything;
    KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(5, 1), options));
    CHECK(storage.recovered.start == At(5, 1));
    CheckRecovers(*fs, storage, At(5, 1));
  }
  SECTION("the only member cannot come back from nothing") {
    options.without_log = WithoutLog::kLostEverything;
    KEELSON_CHECK_ERROR(OpenAt(*fs, At(0, 0, {7}), options), StatusCode::kDataLoss, "no majority");
    CHECK_FALSE(Wal::Exists(*fs, kDir).value());
  }
  SECTION("refused") {
    options.without_log = WithoutLog::kRefuse;
    KEELSON_CHECK_ERROR(OpenAt(*fs, At(0, 0), options), StatusCode::kNotFound, "no write-ahead");
  }
}

TEST_CASE("Each loss is a new life", "[raft][repair]") {
  auto fs = Disk();
  KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 3000, 1));
  KEELSON_ASSIGN_OR_FAIL(auto first, OpenAt(*fs, At(3, kTerm), OptionsOf(1)));
  first.wal.reset();
  KEELSON_REQUIRE_OK(fs->FlipBit("wal/0000000000000004.wal", 3000, 1));
  KEELSON_ASSIGN_OR_FAIL(const auto second, OpenAt(*fs, At(2, kTerm), OptionsOf(2)));
  REQUIRE(second.loss.has_value());
  CHECK(second.loss->incarnation != first.loss->incarnation);
  CheckRecovers(*fs, second, At(2, kTerm));
}

TEST_CASE("Whatever bit flips, a member starts as it was or knows that it lost something",
          "[raft][repair]") {
  auto fs = Disk();
  KEELSON_ASSIGN_OR_FAIL(const auto names, fs->List(kDir));
  KEELSON_ASSIGN_OR_FAIL(const auto before, Reopen(*fs, SmallSegments(8192)));
  uint64_t losses = 0;
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, ".wal")) continue;
    for (uint64_t offset = 0; offset < 8192; offset += 11) {
      INFO(name << " at " << offset);
      auto copy = CopyDisk(*fs);
      KEELSON_REQUIRE_OK(copy->FlipBit(JoinPath(kDir, name), offset, static_cast<int>(offset % 8)));
      KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*copy, At(3, kTerm)));
      const Wal::Recovered& now = storage.recovered;
      if (!storage.loss.has_value()) {
        REQUIRE(now.entries == before.entries);
        REQUIRE(now.hard_state == before.hard_state);
        continue;
      }
      ++losses;
      REQUIRE(now.hard_state.recovering);
      REQUIRE(now.start.index + now.entries.size() < 12 + 1);
      REQUIRE(now.hard_state.commit >= 3);
    }
  }
  CHECK(losses > 500);
}

TEST_CASE("A power cut anywhere in a repair ends in a repair", "[raft][repair][crash]") {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    for (uint64_t operations = 0; operations < 16; ++operations) {
      INFO("seed " << seed << " operations " << operations);
      auto fs = MakeDisk(seed);
      {
        auto written = Disk();
        KEELSON_REQUIRE_OK(fs->CreateDirectories(kDir));
        KEELSON_ASSIGN_OR_FAIL(const auto names, written->List(kDir));
        for (const std::string& name : names) {
          const std::string path = JoinPath(kDir, name);
          KEELSON_REQUIRE_OK(
              WriteFileAtomically(*fs, path, ReadFile(*written, path, 1 << 20).value()));
        }
      }
      KEELSON_REQUIRE_OK(fs->FlipBit(kSecond, 3000, 1));
      fs->CutPowerAfter(operations);
      (void)OpenAt(*fs, At(3, kTerm), OptionsOf(seed));
      fs->PowerLoss();
      KEELSON_ASSIGN_OR_FAIL(const auto storage, OpenAt(*fs, At(3, kTerm), OptionsOf(seed + 100)));
      REQUIRE(storage.recovered.hard_state.recovering);
      REQUIRE(storage.recovered.hard_state.incarnation != 0);
      REQUIRE(storage.recovered.entries.size() > 4);
      REQUIRE(storage.recovered.entries.size() < 12);
    }
  }
}

}  // namespace
}  // namespace keelson::raft
