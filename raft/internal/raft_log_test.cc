// The log: what is kept, cut, committed and handed out (raft.md sections 1, 5, 11).
#include "raft/internal/raft_log.h"

#include <catch2/catch.hpp>

#include <limits>
#include <string>
#include <vector>

#include "raft/internal/unstable.h"
#include "raft/log_storage.h"

namespace keelson::raft::internal {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

Entry Make(Index index, Term term, const std::string& data = "") {
  Entry entry;
  entry.index = index;
  entry.term = term;
  entry.data = Payload(data);
  return entry;
}

std::vector<Entry> Range(Index first, const std::vector<Term>& terms) {
  std::vector<Entry> entries;
  for (const Term term : terms) entries.push_back(Make(first++, term));
  return entries;
}

std::vector<Term> Terms(const RaftLog& log) {
  std::vector<Term> terms;
  for (Index i = log.FirstIndex(); i <= log.LastIndex(); ++i) terms.push_back(*log.TermAt(i));
  return terms;
}

struct Counting final : Observer {
  void On(NodeId, const Event& event) override { last = event; }
  Event last;
};

TEST_CASE("An acknowledgement trims only what is still the same", "[raft][unstable]") {
  Unstable unstable(5);
  unstable.TruncateAndAppend(Range(5, {1, 1, 2}));
  CHECK(unstable.StableTo(8, 2) == Unstable::StableResult::kMissing);
  CHECK(unstable.StableTo(4, 1) == Unstable::StableResult::kMissing);
  CHECK(unstable.StableTo(6, 2) == Unstable::StableResult::kOtherTerm);
  CHECK(unstable.size() == 3);
  CHECK(unstable.StableTo(6, 1) == Unstable::StableResult::kTrimmed);
  CHECK(unstable.offset() == 7);
  CHECK(unstable.TermAt(7) == 2);
  CHECK_FALSE(unstable.TermAt(6).has_value());
}

TEST_CASE("Entries that were handed over and overwritten are handed over again",
          "[raft][unstable]") {
  Unstable unstable(5);
  unstable.TruncateAndAppend(Range(5, {1, 1, 1}));
  unstable.AcceptInProgress();
  CHECK(unstable.NextEntries().empty());

  SECTION("behind the offset") {
    CHECK(unstable.TruncateAndAppend(Range(6, {2})) == Unstable::AppendKind::kTruncated);
    REQUIRE(unstable.NextEntries().size() == 1);
    CHECK(unstable.NextEntries()[0] == Make(6, 2));
    CHECK(unstable.size() == 2);
  }
  SECTION("at the offset") {
    CHECK(unstable.TruncateAndAppend(Range(5, {2})) == Unstable::AppendKind::kReplaced);
    CHECK(unstable.NextEntries().size() == 1);
  }
  SECTION("before the offset, which is in the storage") {
    CHECK(unstable.TruncateAndAppend(Range(3, {2, 2})) == Unstable::AppendKind::kReplaced);
    CHECK(unstable.offset() == 3);
    CHECK(unstable.NextEntries().size() == 2);
  }
  SECTION("behind the end, which overwrites nothing") {
    CHECK(unstable.TruncateAndAppend(Range(8, {2})) == Unstable::AppendKind::kAppended);
    CHECK(unstable.NextEntries().size() == 1);
  }
}

TEST_CASE("A received snapshot replaces the tail until it is stable", "[raft][unstable]") {
  Unstable unstable(5);
  unstable.TruncateAndAppend(Range(5, {1, 1}));
  Snapshot snapshot;
  snapshot.metadata.index = 10;
  snapshot.metadata.term = 3;
  unstable.Restore(snapshot);
  CHECK(unstable.FirstIndex() == 11);
  CHECK(unstable.LastIndex() == 10);
  CHECK(unstable.TermAt(10) == 3);
  REQUIRE(unstable.NextSnapshot() != nullptr);
  unstable.AcceptInProgress();
  CHECK(unstable.NextSnapshot() == nullptr);
  unstable.StableSnapshotTo(9);
  CHECK(unstable.HasSnapshot());
  CHECK(unstable.StableTo(10, 3) == Unstable::StableResult::kCoveredBySnapshot);
  unstable.StableSnapshotTo(10);
  CHECK_FALSE(unstable.HasSnapshot());
}

// A log with stable entries 1:1 2:1 3:2 and unstable ones 4:2 5:3.
class Fixture {
 public:
  Fixture() : log_(1, Filled(storage_), kNoLimit, false, &observer_) {
    log_.Append(Range(4, {2, 3}));
  }

 protected:
  static const LogStorage& Filled(MemoryLog& storage) {
    storage.Append(Range(1, {1, 1, 2}));
    return storage;
  }

  Counting observer_;
  MemoryLog storage_;
  RaftLog log_;
};

TEST_CASE_METHOD(Fixture, "An App is taken from the first entry that is missing or differs",
                 "[raft][log]") {
  struct Row {
    const char* name;
    EntryId prev;
    std::vector<Term> terms;
    std::optional<Index> want;
    std::vector<Term> want_log;
  };
  const Row row = GENERATE(values<Row>({
      {"prev has another term", {9, 3}, {3}, std::nullopt, {1, 1, 2, 2, 3}},
      {"prev is past the end", {3, 6}, {3}, std::nullopt, {1, 1, 2, 2, 3}},
      {"nothing new at the end", {3, 5}, {}, 5, {1, 1, 2, 2, 3}},
      {"appended", {3, 5}, {4, 4}, 7, {1, 1, 2, 2, 3, 4, 4}},
      {"all present: nothing is cut", {1, 2}, {2, 2}, 4, {1, 1, 2, 2, 3}},
      {"present and more", {2, 4}, {3, 5}, 6, {1, 1, 2, 2, 3, 5}},
      {"conflict in the unstable tail", {2, 4}, {4}, 5, {1, 1, 2, 2, 4}},
      {"conflict in the storage", {1, 2}, {4}, 3, {1, 1, 4}},
      {"from the start of the log", {0, 0}, {1, 1}, 2, {1, 1, 2, 2, 3}},
  }));
  DYNAMIC_SECTION(row.name) {
    CHECK(log_.MaybeAppend(row.prev, Range(row.prev.index + 1, row.terms)) == row.want);
    CHECK(Terms(log_) == row.want_log);
  }
}

TEST_CASE_METHOD(Fixture, "A slice joins stable and unstable entries within the limit",
                 "[raft][log]") {
  const uint64_t one = EncodedBytes(Make(1, 1));
  CHECK(log_.Slice(1, 6, kNoLimit)->size() == 5);
  CHECK(log_.Slice(1, 6, 0)->size() == 1);  // Never none.
  CHECK(log_.Slice(1, 6, one)->size() == 1);
  CHECK(log_.Slice(1, 6, 2 * one)->size() == 2);
  CHECK(log_.Slice(1, 6, 4 * one)->size() == 4);
  CHECK(log_.Slice(3, 5, one)->size() == 1);
  CHECK(log_.Slice(4, 6, 0)->size() == 1);
  CHECK(log_.Slice(2, 2, kNoLimit)->empty());
  storage_.Compact(2);
  CHECK_FALSE(log_.Slice(2, 6, kNoLimit).has_value());
  CHECK(log_.TermAt(2) == 1);  // The boundary keeps its term.
  CHECK_FALSE(log_.TermAt(1).has_value());
}

TEST_CASE_METHOD(Fixture, "A candidate is up to date by last term, then by length", "[raft][log]") {
  CHECK(log_.IsUpToDate({3, 5}));
  CHECK(log_.IsUpToDate({3, 6}));
  CHECK(log_.IsUpToDate({4, 1}));
  CHECK_FALSE(log_.IsUpToDate({3, 4}));
  CHECK_FALSE(log_.IsUpToDate({2, 100}));
}

TEST_CASE_METHOD(Fixture, "A hint skips the entries that cannot match", "[raft][log]") {
  const auto find = [&](Index index, Term term) {
    const EntryId id = log_.FindConflictByTerm(index, term);
    return std::pair<Index, Term>(id.index, id.term);
  };
  CHECK(find(5, 3) == std::pair<Index, Term>(5, 3));
  CHECK(find(5, 2) == std::pair<Index, Term>(4, 2));
  CHECK(find(5, 1) == std::pair<Index, Term>(2, 1));
  CHECK(find(5, 0) == std::pair<Index, Term>(0, 0));
  storage_.Compact(3);
  CHECK(find(5, 1) == std::pair<Index, Term>(2, 0));  // Compacted: it may match.
}

TEST_CASE_METHOD(Fixture, "Only entries of the leader's term are committed by counting",
                 "[raft][log]") {
  CHECK_FALSE(log_.MaybeCommit({3, 4}));  // Entry 4 is of term 2.
  CHECK(log_.committed() == 0);
  CHECK(log_.MaybeCommit({3, 5}));
  CHECK(log_.committed() == 5);
  CHECK_FALSE(log_.MaybeCommit({3, 5}));
}

TEST_CASE_METHOD(Fixture, "A commit index beyond the log is cut and reported", "[raft][log]") {
  log_.CommitTo(9);
  CHECK(log_.committed() == 5);
  REQUIRE(std::holds_alternative<event::CommitBeyondLog>(observer_.last));
  CHECK(std::get<event::CommitBeyondLog>(observer_.last).commit == 9);
  CHECK(std::get<event::CommitBeyondLog>(observer_.last).last_index == 5);
  log_.CommitTo(2);
  CHECK(log_.committed() == 5);  // Never back.
}

TEST_CASE_METHOD(Fixture, "Committed entries are handed out once, and only durable ones",
                 "[raft][log]") {
  log_.CommitTo(5);
  std::vector<Entry> entries = log_.NextCommitted();
  REQUIRE(entries.size() == 3);  // 4 and 5 are not durable.
  log_.AcceptApplying(entries);
  CHECK_FALSE(log_.HasNextCommitted());
  log_.AcceptUnstable();
  storage_.Append(Range(4, {2, 3}));
  log_.StableTo({3, 5});
  entries = log_.NextCommitted();
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].index == 4);
  log_.AppliedTo(3);
  CHECK(log_.applied() == 3);
  CHECK(log_.applying() == 3);
}

TEST_CASE("A limit pauses the handing out until enough was applied", "[raft][log]") {
  MemoryLog storage;
  for (Index i = 1; i <= 4; ++i) storage.Append({Make(i, 1, std::string(10, 'x'))});
  const uint64_t one = EncodedBytes(Make(1, 1, std::string(10, 'x')));
  RaftLog log(1, storage, 2 * one, false, nullptr);
  log.Load(4, 0);
  const std::vector<Entry> first = log.NextCommitted();
  REQUIRE(first.size() == 2);
  log.AcceptApplying(first);
  CHECK_FALSE(log.HasNextCommitted());
  CHECK(log.AppliedTo(2) == 20);  // The payload bytes that this answered.
  CHECK(log.NextCommitted().size() == 2);
}

TEST_CASE("MemoryLog answers like a log on disk", "[raft][memory_log]") {
  SnapshotMetadata start;
  start.index = 10;
  start.term = 4;
  MemoryLog log(start);
  CHECK(log.FirstIndex() == 11);
  CHECK(log.LastIndex() == 10);
  CHECK(log.TermAt(10).value() == 4);
  CHECK(absl::IsOutOfRange(log.TermAt(9).status()));
  CHECK(absl::IsNotFound(log.TermAt(11).status()));
  CHECK(absl::IsUnavailable(log.LatestSnapshot().status()));

  log.Append(Range(9, {3, 4, 5, 5, 5}));  // 9 and 10 are before the start.
  CHECK(log.LastIndex() == 13);
  log.Append(Range(12, {6}));
  CHECK(log.LastIndex() == 12);
  CHECK(log.TermAt(12).value() == 6);
  CHECK(absl::IsOutOfRange(log.Entries(10, 12, kNoLimit).status()));
  CHECK(absl::IsNotFound(log.Entries(11, 14, kNoLimit).status()));
  CHECK(log.Entries(11, 13, 0).value().size() == 1);

  log.Compact(11);
  CHECK(log.FirstIndex() == 12);
  CHECK(log.TermAt(11).value() == 5);

  Snapshot old;
  old.metadata.index = 11;
  log.OfferSnapshot(old);
  CHECK(log.LatestSnapshot().ok());
  Snapshot snapshot;
  snapshot.metadata.index = 20;
  snapshot.metadata.term = 7;
  snapshot.metadata.conf_state.voters = {1, 2};
  log.Reset(snapshot);
  CHECK(log.FirstIndex() == 21);
  CHECK(log.TermAt(20).value() == 7);
  CHECK(log.InitialConfState().voters == std::vector<NodeId>{1, 2});
  CHECK(absl::IsUnavailable(log.LatestSnapshot().status()));  // The old one does not connect.
}

}  // namespace
}  // namespace keelson::raft::internal
