// The window and the progress of a peer (raft.md section 6).
#include "raft/internal/progress.h"

#include <catch2/catch.hpp>

#include <deque>

#include "base/random.h"

namespace keelson::raft::internal {
namespace {

Progress Make(Index match, Index next, uint64_t window = 4) {
  return Progress(match, next, Inflights(window, 0), false, true);
}

TEST_CASE("A window is full by count or by bytes", "[raft][inflights]") {
  Inflights by_count(2, 0);
  by_count.Add(1, 1000);
  CHECK_FALSE(by_count.Full());
  by_count.Add(2, 1000);
  CHECK(by_count.Full());

  Inflights by_bytes(100, 10);
  by_bytes.Add(1, 9);
  CHECK_FALSE(by_bytes.Full());
  by_bytes.Add(2, 500);  // The limit is soft: one message may pass it.
  CHECK(by_bytes.Full());
  by_bytes.FreeThrough(2);
  CHECK_FALSE(by_bytes.Full());
}

TEST_CASE("Freeing an index frees all Apps up to it and no other", "[raft][inflights]") {
  Inflights window(10, 0);
  for (Index i = 1; i <= 5; ++i) window.Add(i * 10, 1);
  window.FreeThrough(9);
  CHECK(window.count() == 5);
  window.FreeThrough(30);
  CHECK(window.count() == 2);
  window.FreeThrough(35);
  CHECK(window.count() == 2);
  window.FreeThrough(1000);
  CHECK(window.count() == 0);
}

TEST_CASE("The ring behaves like a queue at any point of wrapping", "[raft][inflights]") {
  Random random(7);
  Inflights window(16, 64);
  std::deque<std::pair<Index, uint64_t>> twin;
  uint64_t twin_bytes = 0;
  Index next = 1;
  for (int i = 0; i < 20000; ++i) {
    if (!window.Full() && random.Bernoulli(0.6)) {
      const uint64_t bytes = random.Below(12);
      window.Add(next, bytes);
      twin.emplace_back(next++, bytes);
      twin_bytes += bytes;
    } else {
      const Index through = next - std::min<Index>(next, random.Below(20));
      window.FreeThrough(through);
      while (!twin.empty() && twin.front().first <= through) {
        twin_bytes -= twin.front().second;
        twin.pop_front();
      }
    }
    REQUIRE(window.count() == twin.size());
    REQUIRE(window.Full() == (twin.size() == 16 || twin_bytes >= 64));
  }
}

TEST_CASE("A probing peer gets one App at a time", "[raft][progress]") {
  Progress progress = Make(0, 5);
  CHECK_FALSE(progress.IsPaused());
  progress.SentEntries(0, 0);
  CHECK_FALSE(progress.IsPaused());  // An empty App costs nothing.
  progress.SentEntries(2, 2);
  CHECK(progress.IsPaused());
  CHECK(progress.next() == 5);  // Not optimistic.
}

TEST_CASE("A replicating peer gets Apps until the window is full", "[raft][progress]") {
  Progress progress = Make(4, 5, 2);
  progress.BecomeReplicate();
  progress.SentEntries(3, 3);
  CHECK(progress.next() == 8);
  CHECK_FALSE(progress.IsPaused());
  progress.SentEntries(1, 1);
  CHECK(progress.IsPaused());
  CHECK(progress.MaybeUpdate(7));
  progress.FreeInflights(7);
  CHECK_FALSE(progress.IsPaused());
  CHECK_FALSE(progress.window_full());
}

TEST_CASE("Acknowledgements never move match back", "[raft][progress]") {
  Progress progress = Make(5, 9);
  CHECK_FALSE(progress.MaybeUpdate(5));
  CHECK_FALSE(progress.MaybeUpdate(3));
  CHECK(progress.match() == 5);
  CHECK(progress.MaybeUpdate(7));
  CHECK(progress.next() == 9);
  CHECK(progress.MaybeUpdate(20));
  CHECK(progress.next() == 21);
}

TEST_CASE("A refusal moves next back only when it answers what was asked", "[raft][progress]") {
  struct Row {
    const char* name;
    ProgressState state;
    Index match, next, rejected, hint;
    bool want;
    Index want_next;
  };
  const Row row = GENERATE(values<Row>({
      {"replicate, late", ProgressState::kReplicate, 5, 10, 5, 5, false, 10},
      {"replicate, later still", ProgressState::kReplicate, 5, 10, 4, 4, false, 10},
      {"replicate, genuine", ProgressState::kReplicate, 5, 10, 9, 9, true, 6},
      {"probe, answers an older probe", ProgressState::kProbe, 0, 10, 8, 8, false, 10},
      {"probe, by one", ProgressState::kProbe, 0, 10, 9, 9, true, 9},
      {"probe, to the hint", ProgressState::kProbe, 0, 10, 9, 2, true, 3},
      {"probe, hint 0", ProgressState::kProbe, 0, 10, 9, 0, true, 1},
      {"probe, never to match", ProgressState::kProbe, 4, 10, 9, 0, true, 5},
  }));
  DYNAMIC_SECTION(row.name) {
    Progress progress = Make(row.match, row.next);
    if (row.state == ProgressState::kReplicate) {
      progress.BecomeReplicate();
      progress.SentEntries(row.next - row.match - 1, 0);
    }
    CHECK(progress.MaybeDecreaseTo(row.rejected, row.hint) == row.want);
    CHECK(progress.next() == row.want_next);
    CHECK(progress.match() < progress.next());
  }
}

TEST_CASE("A snapshot that was sent is the base of the next probe, unless it failed",
          "[raft][progress]") {
  Progress progress = Make(1, 2);
  progress.BecomeSnapshot(10);
  CHECK(progress.IsPaused());
  CHECK(progress.next() == 11);
  SECTION("sent") {
    progress.BecomeProbe();
    CHECK(progress.next() == 11);
  }
  SECTION("failed") {
    progress.ForgetPendingSnapshot();
    progress.BecomeProbe();
    CHECK(progress.next() == 2);
  }
  CHECK(progress.ToStatus(3).pending_snapshot == 0);
}

TEST_CASE("A peer can be told of a newer commit once, and only as far as it was sent entries",
          "[raft][progress]") {
  Progress progress = Make(5, 6);
  progress.BecomeReplicate();
  progress.SentEntries(2, 2);  // Up to 7.
  progress.SentCommit(5);
  CHECK(progress.CanBumpCommit(6));
  CHECK_FALSE(progress.CanBumpCommit(5));
  progress.SentCommit(7);
  CHECK_FALSE(progress.CanBumpCommit(9));  // It has been told of all that it holds.
}

}  // namespace
}  // namespace keelson::raft::internal
