#include "raft/sim/conduct.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace keelson::raft::sim {
namespace {

Entry MakeEntry(Index index, Term term) {
  return {.term = term, .index = index, .type = EntryType::kNormal, .data = Payload("x")};
}

// One node whose disk is driven by hand.
class Watched {
 public:
  Watched() { checker.AddDisk(1, &disk); }

  void HandOver(Index first, Index last) {
    const TraceEvent step = trace::AppendHandedOver{.first = first, .last = last};
    conduct.OnEvent(1, step);
  }
  void Write(const std::vector<Entry>& entries) {
    disk.pending_tails.push_back(entries.front().index);
    REQUIRE(disk.written.Append(entries));
    conduct.OnWritten(1);
  }
  void TakeForStable(Index index, Term term) {
    const TraceEvent step = trace::EntriesStable{.index = index, .term = term};
    conduct.OnEvent(1, step);
  }
  [[nodiscard]] std::string Found() const {
    return checker.violation().has_value() ? checker.violation()->invariant : "";
  }

  DiskLog disk;
  Invariants checker;
  Conduct conduct{checker};
};

TEST_CASE("I10: what is taken for durable is on the disk, and stays there",
          "[raft][sim][invariants]") {
  Watched w;
  w.HandOver(1, 2);
  w.Write({MakeEntry(1, 1), MakeEntry(2, 1)});
  SECTION("durable: fine, also with more to come behind it, and with a state alone") {
    w.disk.MarkSynced();
    w.HandOver(3, 3);
    w.HandOver(0, 0);
    w.TakeForStable(2, 1);
    CHECK(w.Found().empty());
  }
  SECTION("compacted since: fine") {
    w.disk.MarkSynced();
    w.disk.durable.Compact(2);
    w.TakeForStable(1, 1);
    CHECK(w.Found().empty());
  }
  SECTION("not synced") {
    w.TakeForStable(2, 1);
    CHECK(w.Found() == "I10");
  }
  SECTION("of another term") {
    w.disk.MarkSynced();
    w.TakeForStable(2, 2);
    CHECK(w.Found() == "I10");
  }
  SECTION("about to be replaced") {
    w.disk.MarkSynced();
    w.HandOver(2, 2);
    w.TakeForStable(1, 1);
    CHECK(w.Found().empty());
    w.TakeForStable(2, 1);
    CHECK(w.Found() == "I10");
  }
  SECTION("replaced, which is not durable yet") {
    w.disk.MarkSynced();
    w.HandOver(2, 2);
    w.Write({MakeEntry(2, 2)});
    w.TakeForStable(2, 1);
    CHECK(w.Found() == "I10");
  }
  SECTION("what an earlier life was to write is forgotten") {
    w.disk.MarkSynced();
    w.HandOver(1, 2);
    w.conduct.OnStarted(1);
    w.TakeForStable(2, 1);
    CHECK(w.Found().empty());
  }
}

}  // namespace
}  // namespace keelson::raft::sim
