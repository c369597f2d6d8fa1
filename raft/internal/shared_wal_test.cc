// The log that many groups share, on a simulated disk.
#include "raft/internal/shared_wal.h"

#include <catch2/catch.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

std::unique_ptr<SharedWal> OpenShared(FileSystem& fs, SharedWal::Recovered* recovered,
                                      const Wal::Options& options = SmallSegments()) {
  KEELSON_ASSIGN_OR_FAIL(auto log, SharedWal::Open(fs, kDir, kIdentity, options, recovered));
  return log;
}

// A new log with groups 1 to `groups`, opened.
std::unique_ptr<SharedWal> NewShared(FileSystem& fs, GroupId groups,
                                     const Wal::Options& options = SmallSegments()) {
  KEELSON_REQUIRE_OK(SharedWal::Create(fs, kDir, kIdentity, options));
  SharedWal::Recovered recovered;
  auto log = OpenShared(fs, &recovered, options);
  for (GroupId group = 1; group <= groups; ++group) {
    KEELSON_REQUIRE_OK(log->AddGroup(group, MakeStart(0, 0)));
  }
  KEELSON_REQUIRE_OK(log->Sync());
  return log;
}

void Append(SharedWal& log, GroupId group, const std::vector<Entry>& entries, Index commit) {
  KEELSON_REQUIRE_OK(log.Group(group)->Append(
      {.entries = entries,
       .hard_state = HardState{.term = entries.back().term, .vote = 1, .commit = commit}}));
}

// Entries of `group` until the log has `segments` of them.
Index FillSegments(SharedWal& log, GroupId group, Index next, uint64_t segments) {
  while (log.GetStats().segments < segments) {
    Append(log, group, MakeEntries(next, next, 1, 1000), next - 1);
    ++next;
  }
  KEELSON_REQUIRE_OK(log.Sync());
  return next;
}

TEST_CASE("Each group comes back from the shared log as it was left", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  {
    auto log = NewShared(*fs, 3);
    Append(*log, 1, MakeEntries(1, 3, 2, 100), 2);
    Append(*log, 2, MakeEntries(1, 5, 7, 50), 0);
    Append(*log, 1, MakeEntries(3, 4, 3, 100), 2);  // replaces entry 3
    KEELSON_REQUIRE_OK(log->Group(3)->Append({.snapshot = MakeStart(9, 4)}));
    KEELSON_REQUIRE_OK(log->Group(3)->Append({.entries = MakeEntries(10, 11, 4, 10)}));
    KEELSON_REQUIRE_OK(log->Sync());
  }
  fs->PowerLoss();

  SharedWal::Recovered recovered;
  auto log = OpenShared(*fs, &recovered);

  REQUIRE(recovered.groups.size() == 3);
  std::vector<Entry> first = MakeEntries(1, 2, 2, 100);
  for (Entry& entry : MakeEntries(3, 4, 3, 100)) first.push_back(entry);
  CHECK(recovered.groups[1].entries == first);
  CHECK(recovered.groups[1].hard_state == HardState{.term = 3, .vote = 1, .commit = 2});
  CHECK(recovered.groups[2].entries == MakeEntries(1, 5, 7, 50));
  CHECK(recovered.groups[3].start == MakeStart(9, 4));
  CHECK(recovered.groups[3].entries == MakeEntries(10, 11, 4, 10));
  CHECK(recovered.groups[3].hard_state.commit == 9);
}

TEST_CASE("One sync makes the batches of all groups durable", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  auto log = NewShared(*fs, 100, SmallSegments(1 << 20));
  const uint64_t before = log->GetStats().syncs;

  for (GroupId group = 1; group <= 100; ++group) {
    Append(*log, group, MakeEntries(1, 1, 1, 64), 0);
  }
  KEELSON_REQUIRE_OK(log->Group(17)->Sync());

  CHECK(log->GetStats().syncs == before + 1);
  log.reset();
  fs->PowerLoss();
  SharedWal::Recovered recovered;
  OpenShared(*fs, &recovered, SmallSegments(1 << 20));
  for (GroupId group = 1; group <= 100; ++group) CHECK(recovered.groups[group].entries.size() == 1);
}

TEST_CASE("A segment goes when no group needs an entry in it", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  auto log = NewShared(*fs, 4);
  Append(*log, 2, MakeEntries(1, 2, 1, 100), 2);
  Index next = FillSegments(*log, 1, 1, 4);

  // Group 1 no longer needs the old segments, but group 2 has its two entries in the first.
  KEELSON_REQUIRE_OK(log->Group(1)->Compact(MakeStart(next - 1, 1)));
  CHECK(log->GetStats().segments == 4);
  CHECK(log->GroupsPinning(2, 10) == std::vector<GroupId>{2});

  SECTION("a compaction short of the end does not free it") {
    KEELSON_REQUIRE_OK(log->Group(2)->Compact(MakeStart(1, 1)));
    CHECK(log->GetStats().segments == 4);
  }
  SECTION("a compaction to the end frees it and all others that nobody needs") {
    KEELSON_REQUIRE_OK(log->Group(2)->Compact(MakeStart(2, 1)));
    CHECK(log->GetStats().segments == 1);
    CHECK(log->GroupsPinning(1, 10).empty());
  }
  SECTION("the removal of the group frees it") {
    KEELSON_REQUIRE_OK(log->RemoveGroup(2));
    CHECK(log->GetStats().segments == 1);
  }
  SECTION("a snapshot from a leader frees it with the next compaction of anyone") {
    KEELSON_REQUIRE_OK(log->Group(2)->Append({.snapshot = MakeStart(50, 1)}));
    KEELSON_REQUIRE_OK(log->Group(1)->Compact(MakeStart(next - 1, 1)));
    CHECK(log->GetStats().segments == 1);
  }
  // Whatever is left is whole: groups 3 and 4, which never wrote, too.
  KEELSON_REQUIRE_OK(log->Sync());
  log.reset();
  fs->PowerLoss();
  SharedWal::Recovered recovered;
  log = OpenShared(*fs, &recovered);
  CHECK(recovered.groups[1].start.index == next - 1);
  CHECK(recovered.groups.contains(3));
  CHECK(recovered.groups.contains(4));
  // And what is needed is known again.
  Append(*log, 3, MakeEntries(1, 1, 1, 10), 1);
  next = FillSegments(*log, 1, next, log->GetStats().segments + 1);
  KEELSON_REQUIRE_OK(log->Group(1)->Compact(MakeStart(next - 1, 1)));
  CHECK(log->GroupsPinning(1, 10).back() == 3);
}

TEST_CASE("Pins of segments survive a restart", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  Index next = 0;
  {
    auto log = NewShared(*fs, 2);
    Append(*log, 2, MakeEntries(1, 2, 1, 100), 2);
    next = FillSegments(*log, 1, 1, 3);
  }
  SharedWal::Recovered recovered;
  auto log = OpenShared(*fs, &recovered);

  KEELSON_REQUIRE_OK(log->Group(1)->Compact(MakeStart(next - 1, 1)));
  CHECK(log->GetStats().segments == 3);
  KEELSON_REQUIRE_OK(log->Group(2)->Compact(MakeStart(2, 1)));
  CHECK(log->GetStats().segments == 1);
}

TEST_CASE("A removed group stays removed, and its id is refused", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  auto log = NewShared(*fs, 3);
  Append(*log, 2, MakeEntries(1, 2, 1, 100), 2);
  KEELSON_REQUIRE_OK(log->RemoveGroup(2));
  KEELSON_REQUIRE_OK(log->Sync());
  CHECK(log->Group(2) == nullptr);
  CHECK(log->RemoveGroup(2).code() == absl::StatusCode::kNotFound);

  // Even when the segments that knew the group are gone.
  const bool rolled = GENERATE(false, true);
  Index next = 1;
  if (rolled) {
    next = FillSegments(*log, 1, 1, 3);
    KEELSON_REQUIRE_OK(log->Group(1)->Compact(MakeStart(next - 1, 1)));
    REQUIRE(log->GetStats().segments == 1);
  }
  log.reset();
  fs->PowerLoss();
  SharedWal::Recovered recovered;
  log = OpenShared(*fs, &recovered);

  CHECK(recovered.groups.size() == 2);
  CHECK(log->WasRemoved(2));
  CHECK_FALSE(log->WasRemoved(1));
  CHECK(log->AddGroup(2, MakeStart(0, 0)).code() == absl::StatusCode::kFailedPrecondition);
  CHECK(log->AddGroup(1, MakeStart(0, 0)).code() == absl::StatusCode::kAlreadyExists);
  CHECK(log->AddGroup(0, MakeStart(0, 0)).code() == absl::StatusCode::kInvalidArgument);
  KEELSON_REQUIRE_OK(log->AddGroup(4, MakeStart(0, 0)));  // None of it was poison.
}

TEST_CASE("A log is opened only as what it is", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  Wal::Recovered one;
  SharedWal::Recovered many;

  SECTION("one group") {
    NewLog(*fs);
    CHECK(SharedWal::Open(*fs, kDir, kIdentity, SmallSegments(), &many).status().code() ==
          absl::StatusCode::kFailedPrecondition);
    CHECK(SharedWal::Create(*fs, kDir, kIdentity, SmallSegments()).code() ==
          absl::StatusCode::kAlreadyExists);
  }
  SECTION("many groups") {
    NewShared(*fs, 2);
    CHECK(Wal::Open(*fs, kDir, kIdentity, SmallSegments(), &one).status().code() ==
          absl::StatusCode::kFailedPrecondition);
    CHECK(SharedWal::Open(*fs, kDir, {.cluster_id = 1, .node_id = 7}, SmallSegments(), &many)
              .status()
              .code() == absl::StatusCode::kFailedPrecondition);
  }
}

TEST_CASE("Every group can be compacted on a full disk", "[raft][shared_wal]") {
  constexpr GroupId kGroups = 60;
  SimFileSystem::Options options;
  options.capacity_bytes = 100 << 10;
  SimFileSystem fs(Random(1), options);
  auto log = NewShared(fs, kGroups, SmallSegments(32 << 10));
  // Fill it up.
  std::vector<Index> last(kGroups + 1, 0);
  absl::Status status;
  for (GroupId group = 1; status.ok(); group = group % kGroups + 1) {
    const Index next = last[group] + 1;
    const auto entries = MakeEntries(next, next, 1, 200);
    status = log->Group(group)->Append(
        {.entries = entries, .hard_state = HardState{.term = 1, .vote = 1, .commit = next - 1}});
    if (status.ok()) last[group] = next;
  }
  REQUIRE(status.code() == absl::StatusCode::kResourceExhausted);
  KEELSON_REQUIRE_OK(log->Sync());

  for (GroupId group = 1; group <= kGroups; ++group) {
    KEELSON_REQUIRE_OK(log->Group(group)->Compact(MakeStart(last[group], last[group] > 0 ? 1 : 0)));
  }

  CHECK(log->GetStats().segments == 1);
  const auto entries = MakeEntries(last[1] + 1, last[1] + 1, 1, 200);
  KEELSON_REQUIRE_OK(log->Group(1)->Append({.entries = entries}));
}

TEST_CASE("A batch that does not fit a group poisons the whole log", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  auto log = NewShared(*fs, 2);
  const auto gap = MakeEntries(5, 5, 1, 10);

  const absl::Status refused = log->Group(1)->Append({.entries = gap});

  CHECK(refused.code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(refused.message()).find("group 1") != std::string::npos);
  CHECK_FALSE(log->Group(2)->Append({.entries = MakeEntries(1, 1, 1, 10)}).ok());
  CHECK_FALSE(log->Sync().ok());
}

TEST_CASE("Damage to a record that was durable is found", "[raft][shared_wal]") {
  const auto fs = MakeDisk();
  {
    auto log = NewShared(*fs, 2);
    for (Index index = 1; index <= 6; ++index) {
      Append(*log, 1 + index % 2, MakeEntries((index + 1) / 2, (index + 1) / 2, 1, 300), 0);
      KEELSON_REQUIRE_OK(log->Sync());
    }
  }
  const std::string path = JoinPath(kDir, "0000000000000001.wal");
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(*fs, path, 1 << 20));
  const size_t entry = bytes.find("e2t1.");
  REQUIRE(entry != std::string::npos);
  KEELSON_REQUIRE_OK(fs->FlipBit(path, entry, 3));

  SharedWal::Recovered recovered;
  const auto log = SharedWal::Open(*fs, kDir, kIdentity, SmallSegments(), &recovered);

  CHECK(log.status().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace keelson::raft
