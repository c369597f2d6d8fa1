// Damage in the log that many groups share: which groups it concerns, and what is left of them.
#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "raft/internal/shared_wal.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

constexpr uint64_t kLife = 77;
constexpr uint64_t kSegmentBytes = 16384;
const std::string kFirst = JoinPath(kDir, "0000000000000001.wal");
const std::string kSecond = JoinPath(kDir, "0000000000000002.wal");
const std::string kThird = JoinPath(kDir, "0000000000000003.wal");

struct Opened {
  std::unique_ptr<SharedWal> log;
  SharedWal::Recovered recovered;
};

Opened Repair(FileSystem& fs) {
  Opened opened;
  KEELSON_ASSIGN_OR_FAIL(
      opened.log, SharedWal::OpenAndRepair(fs, kDir, kIdentity, SmallSegments(kSegmentBytes), kLife,
                                           &opened.recovered));
  return opened;
}

void Write(SharedWal& log, GroupId group, const std::vector<Entry>& entries) {
  KEELSON_REQUIRE_OK(log.Group(group)->Append(
      {.entries = entries,
       .hard_state =
           HardState{.term = entries.back().term, .vote = 1, .commit = entries.back().index - 1}}));
  KEELSON_REQUIRE_OK(log.Sync());
}

// The payload of entry `index` of `group`, whose text is in no other record.
Entry EntryOf(GroupId group, Index index, size_t bytes = 300) {
  std::string data = "g" + std::to_string(group) + "i" + std::to_string(index) + ".";
  data.resize(bytes, 'x');
  return MakeEntry(index, 1, std::move(data));
}

// Groups 1 to 3 write entries 1 to 6 in turn, each synced alone, into the first segment.
std::unique_ptr<SimFileSystem> Disk() {
  auto fs = MakeDisk();
  KEELSON_REQUIRE_OK(SharedWal::Create(*fs, kDir, kIdentity, SmallSegments(kSegmentBytes)));
  Opened opened = Repair(*fs);
  for (const GroupId group : {1, 2, 3}) {
    KEELSON_REQUIRE_OK(opened.log->AddGroup(group, MakeStart(0, 0)));
  }
  for (Index index = 1; index <= 5; ++index) {
    for (const GroupId group : {1, 2, 3}) Write(*opened.log, group, {EntryOf(group, index)});
  }
  REQUIRE(opened.log->GetStats().segments == 1);
  return fs;
}

size_t PlaceOf(FileSystem& fs, const std::string& path, const std::string& text) {
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(fs, path, 1 << 20));
  const size_t place = bytes.find(text);
  REQUIRE(place != std::string::npos);
  return place;
}

// Flips a bit in the payload of the record that holds `text`; or in its header.
void Damage(SimFileSystem& fs, const std::string& path, const std::string& text, bool header) {
  const size_t place = PlaceOf(fs, path, text);
  constexpr size_t kFromHeader = 32 + 24;  // to the data of an entry
  KEELSON_REQUIRE_OK(fs.FlipBit(path, header ? place - kFromHeader + 9 : place, 3));
}

std::set<GroupId> LostOf(const Opened& opened) {
  std::set<GroupId> lost;
  if (!opened.recovered.loss.has_value()) return lost;
  for (const auto& [id, group] : opened.recovered.loss->groups) lost.insert(id);
  return lost;
}

// Those that are lost say so, and no others; what they have is on disk.
void CheckStates(SimFileSystem& fs, Opened opened) {
  const std::set<GroupId> lost = LostOf(opened);
  for (const auto& [id, group] : opened.recovered.groups) {
    CHECK(group.hard_state.recovering == lost.contains(id));
    CHECK(group.hard_state.incarnation == (lost.contains(id) ? kLife : 0));
    CHECK(group.hard_state.commit <= group.start.index + group.entries.size());
  }
  const auto before = std::move(opened.recovered.groups);
  opened.log.reset();
  fs.PowerLoss();
  SharedWal::Recovered again;
  KEELSON_REQUIRE_OK(
      SharedWal::Open(fs, kDir, kIdentity, SmallSegments(kSegmentBytes), &again).status());
  CHECK_FALSE(again.loss.has_value());
  REQUIRE(again.groups.size() == before.size());
  for (const auto& [id, group] : before) {
    CHECK(again.groups[id].entries == group.entries);
    CHECK(again.groups[id].hard_state == group.hard_state);
    CHECK(again.groups[id].start == group.start);
  }
}

TEST_CASE("A damaged record whose header is sound is a loss of its group alone",
          "[raft][shared_wal][repair]") {
  const auto fs = Disk();
  Damage(*fs, kFirst, "g2i3.", false);

  Opened opened = Repair(*fs);

  CHECK(LostOf(opened) == std::set<GroupId>{2});
  CHECK_FALSE(opened.recovered.loss->forgotten);
  CHECK(opened.recovered.loss->what.find("0000000000000001.wal") != std::string::npos);
  CHECK(opened.recovered.loss->groups.at(2).kept == 2);
  CHECK(opened.recovered.loss->groups.at(2).known == 5);
  CHECK(opened.recovered.groups[1].entries.size() == 5);
  CHECK(opened.recovered.groups[2].entries == std::vector<Entry>{EntryOf(2, 1), EntryOf(2, 2)});
  CHECK(opened.recovered.groups[3].entries.size() == 5);
  CHECK(opened.recovered.moved_aside == std::vector<std::string>{kFirst + ".damaged"});
  CheckStates(*fs, std::move(opened));
}

TEST_CASE("A record whose header is damaged may have been of any group",
          "[raft][shared_wal][repair]") {
  const auto fs = Disk();
  Damage(*fs, kFirst, "g2i3.", true);

  Opened opened = Repair(*fs);

  CHECK(LostOf(opened) == std::set<GroupId>{1, 2, 3});
  CHECK(opened.recovered.loss->forgotten);
  CHECK(opened.recovered.groups[1].entries.size() == 3);
  CHECK(opened.recovered.groups[2].entries.size() == 2);
  CHECK(opened.recovered.groups[3].entries.size() == 2);
  CHECK(opened.recovered.loss->groups.at(3).known == 5);
  CheckStates(*fs, std::move(opened));
}

TEST_CASE("A group that begins behind the damage has lost nothing", "[raft][shared_wal][repair]") {
  const auto fs = Disk();
  {
    Opened opened = Repair(*fs);
    KEELSON_REQUIRE_OK(opened.log->AddGroup(4, MakeStart(0, 0)));
    Write(*opened.log, 4, {EntryOf(4, 1)});
    KEELSON_REQUIRE_OK(opened.log->RemoveGroup(3));
    KEELSON_REQUIRE_OK(opened.log->Sync());
  }
  Damage(*fs, kFirst, "g1i4.", true);

  Opened opened = Repair(*fs);

  CHECK(LostOf(opened) == std::set<GroupId>{1, 2});
  CHECK(opened.recovered.groups[4].entries == std::vector<Entry>{EntryOf(4, 1)});
  CHECK_FALSE(opened.recovered.groups.contains(3));
  CHECK(opened.log->WasRemoved(3));
  CheckStates(*fs, std::move(opened));
}

TEST_CASE("A group whose beginning is damaged is there, with nothing",
          "[raft][shared_wal][repair]") {
  const auto fs = Disk();
  // The heads of the groups follow that of the segment; each has 32 + 112 bytes and padding.
  const size_t second = PlaceOf(*fs, kFirst, "g1i1.") - 32 - 24 - 64;
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(*fs, kFirst, 1 << 20));
  size_t head = 96;
  std::vector<size_t> heads;
  while (head < second && heads.size() < 3) {
    heads.push_back(head);
    const auto size = static_cast<unsigned char>(bytes[head + 8]);
    head += (32 + size + 31) / 32 * 32;
  }
  REQUIRE(heads.size() == 3);
  KEELSON_REQUIRE_OK(fs->FlipBit(kFirst, heads[1] + 40, 1));

  Opened opened = Repair(*fs);

  CHECK(LostOf(opened) == std::set<GroupId>{2});
  CHECK(opened.recovered.groups[2].start == SnapshotMetadata());
  CHECK(opened.recovered.groups[2].entries.empty());
  CHECK(opened.recovered.loss->groups.at(2).known == 5);
  CheckStates(*fs, std::move(opened));
}

// Group 1 writes until there are three segments; group 2 has one entry in the first, group 3 none
// that it needs.
std::unique_ptr<SimFileSystem> ThreeSegments() {
  const auto fs = Disk();
  Opened opened = Repair(*fs);
  KEELSON_REQUIRE_OK(opened.log->Group(3)->Compact(MakeStart(5, 1)));
  for (Index index = 6; opened.log->GetStats().segments < 3; ++index) {
    Write(*opened.log, 1, {EntryOf(1, index, 1000)});
  }
  opened.log.reset();
  return CopyDisk(*fs);
}

TEST_CASE("The head of a later segment makes up for what a group without entries has lost",
          "[raft][shared_wal][repair]") {
  const auto fs = ThreeSegments();
  std::set<GroupId> lost = {1, 2};
  SECTION("a header") { Damage(*fs, kFirst, "g2i3.", true); }
  SECTION("the head of the first segment, and nothing of any group") {
    KEELSON_REQUIRE_OK(fs->FlipBit(kFirst, 40, 0));
    lost = {};
  }
  SECTION("the first segment is gone") { KEELSON_REQUIRE_OK(fs->Remove(kFirst)); }
  SECTION("the second segment is gone") { KEELSON_REQUIRE_OK(fs->Remove(kSecond)); }
  SECTION("the end of the first segment is gone") {
    KEELSON_ASSIGN_OR_FAIL(const auto file, fs->Open(kFirst, {.write = true}));
    const size_t place = PlaceOf(*fs, kFirst, "g1i5.") - 56;
    KEELSON_REQUIRE_OK(file->WriteAt(place, std::string(kSegmentBytes - place, '\0')));
  }

  Opened opened = Repair(*fs);

  CHECK(LostOf(opened) == lost);
  CHECK_FALSE(opened.recovered.loss->forgotten);
  CHECK(opened.recovered.groups[3].start.index == 5);
  CHECK(opened.recovered.groups[3].entries.empty());
  CheckStates(*fs, std::move(opened));
}

TEST_CASE("Damage in the last segment leaves open which groups there are",
          "[raft][shared_wal][repair]") {
  const auto fs = ThreeSegments();
  KEELSON_REQUIRE_OK(fs->FlipBit(kThird, 40, 0));
  Opened opened = Repair(*fs);
  CHECK(opened.recovered.loss->forgotten);
  CHECK(LostOf(opened) == std::set<GroupId>{1, 2});  // Group 3 is whole in its head.
  CheckStates(*fs, std::move(opened));
}

TEST_CASE("A log of which nothing can be read becomes an empty one", "[raft][shared_wal][repair]") {
  const auto fs = Disk();
  KEELSON_REQUIRE_OK(fs->FlipBit(kFirst, 40, 0));

  Opened opened = Repair(*fs);

  CHECK(opened.recovered.groups.empty());
  CHECK(opened.recovered.loss->forgotten);
  // A group that is known from elsewhere begins anew, and says that it has lost what it had.
  const HardState lost{.incarnation = kLife, .recovering = true};
  KEELSON_REQUIRE_OK(opened.log->BeginAnew(2, MakeStart(0, 0), lost));
  KEELSON_REQUIRE_OK(opened.log->Sync());
  CheckStates(*fs, {.log = std::move(opened.log),
                    .recovered = {.groups = {{2, {.hard_state = lost, .start = MakeStart(0, 0)}}},
                                  .loss = SharedWal::Loss{.groups = {{2, {}}}}}});
}

TEST_CASE("A group begins anew with a greater incarnation only", "[raft][shared_wal][repair]") {
  const auto fs = Disk();
  Opened opened = Repair(*fs);
  CHECK(opened.log->BeginAnew(2, MakeStart(3, 1), {.term = 9}).code() ==
        absl::StatusCode::kInvalidArgument);
  const HardState state{.term = 9, .commit = 3, .incarnation = 5, .recovering = true};

  KEELSON_REQUIRE_OK(opened.log->BeginAnew(2, MakeStart(3, 1), state));
  Write(*opened.log, 1, {EntryOf(1, 6)});
  KEELSON_REQUIRE_OK(opened.log->Group(2)->Append({.entries = MakeEntries(4, 5, 9, 40)}));
  KEELSON_REQUIRE_OK(opened.log->Sync());
  opened.log.reset();
  fs->PowerLoss();

  Opened again = Repair(*fs);
  CHECK_FALSE(again.recovered.loss.has_value());
  CHECK(again.recovered.groups[2].start == MakeStart(3, 1));
  CHECK(again.recovered.groups[2].entries == MakeEntries(4, 5, 9, 40));
  CHECK(again.recovered.groups[2].hard_state == state);
  CHECK(again.recovered.groups[1].entries.size() == 6);
}

TEST_CASE("A power cut anywhere in a repair ends in a repair", "[raft][shared_wal][repair]") {
  for (uint64_t operations = 0; operations < 14; ++operations) {
    INFO("after " << operations << " operations");
    const auto fs = Disk();
    Damage(*fs, kFirst, "g2i3.", false);
    fs->CutPowerAfter(operations);
    SharedWal::Recovered ignored;
    (void)SharedWal::OpenAndRepair(*fs, kDir, kIdentity, SmallSegments(kSegmentBytes), 5, &ignored);
    fs->PowerLoss();

    Opened opened = Repair(*fs);
    CHECK(opened.recovered.groups[2].hard_state.recovering);
    CHECK(opened.recovered.groups[2].entries.size() == 2);
    CHECK(opened.recovered.groups[1].entries.size() == 5);
    CHECK_FALSE(opened.recovered.groups[1].hard_state.recovering);
  }
}

// What a group has is what it had at some time, and all of it unless it says that it lost something.
TEST_CASE("Whatever bit flips, each group is as it was or knows that it lost something",
          "[raft][shared_wal][repair]") {
  const auto original = ThreeSegments();
  Opened sound = Repair(*original);
  REQUIRE_FALSE(sound.recovered.loss.has_value());
  sound.log.reset();
  Random random(9);
  uint64_t hit = 0;
  for (int i = 0; i < 1500; ++i) {
    const auto fs = CopyDisk(*original);
    const auto flip = fs->FlipRandomBit(".wal");
    REQUIRE(flip.has_value());
    INFO(flip->path << " at " << flip->offset << ", bit " << flip->bit);
    SharedWal::Recovered recovered;
    const auto log = SharedWal::OpenAndRepair(*fs, kDir, kIdentity, SmallSegments(kSegmentBytes),
                                              kLife, &recovered);
    KEELSON_REQUIRE_OK(log.status());
    hit += recovered.loss.has_value() ? 1 : 0;
    for (const auto& [id, whole] : sound.recovered.groups) {
      const auto found = recovered.groups.find(id);
      if (found == recovered.groups.end()) {
        REQUIRE(recovered.loss->forgotten);
        continue;
      }
      const Wal::Recovered& group = found->second;
      if (!group.hard_state.recovering) {
        REQUIRE(group.entries == whole.entries);
        REQUIRE(group.hard_state == whole.hard_state);
        continue;
      }
      REQUIRE(group.hard_state.term <= whole.hard_state.term);
      for (const Entry& entry : group.entries) {
        REQUIRE(entry.data.view() == EntryOf(id, entry.index, entry.data.size()).data.view());
      }
    }
  }
  CHECK(hit > 100);
}

}  // namespace
}  // namespace keelson::raft
