// Bugs that etcd has had, as scenarios by the number of its issue: each fails where the bug is.
// docs/known_bugs.md lists them all, also those that are scenarios elsewhere.
#include <catch2/catch.hpp>

#include <string>
#include <utility>
#include <vector>

#include "base/testing/status_matchers.h"
#include "kvstore/errors.h"
#include "kvstore/state_machine.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::CompactionResponse;
using etcdserverpb::LeaseGrantResponse;
using etcdserverpb::TxnRequest;
using testing::CompactCommand;
using testing::EngineKind;
using testing::GrantCommand;
using testing::kAll;
using testing::MakeRange;
using testing::RevokeCommand;
using testing::ToCommand;
using testing::World;

EngineKind AnyEngine() { return GENERATE(EngineKind::kMemory, EngineKind::kRocksDb); }

// One entry of `term`, as the log of a cluster brings it.
void ApplyInTerm(World& world, Command command, uint64_t term) {
  raft::SnapshotMetadata after = world.kv->last();
  command.set_request_id(1'000'000 + after.index);
  after.term = term;
  const raft::Entry entry{.term = term,
                          .index = ++after.index,
                          .type = raft::EntryType::kNormal,
                          .data = raft::Payload(command.SerializeAsString())};
  REQUIRE(world.machine->Apply(std::vector{entry}, after).ok());
  world.kv->set_last(after);
}

// "revision type key" of what a watch of everything from `from` on is told.
std::vector<std::string> Told(const World& world, int64_t from) {
  const auto history =
      world.machine->store().ReadHistory({std::string(kAll), std::string(kAll)}, from,
                                         /*prev_kv=*/true, 1000, 1 << 20);
  if (!history.ok()) return {std::string(history.status().message())};
  std::vector<std::string> told;
  for (const Store::Change& change : history->changes) {
    for (const mvccpb::Event& event : change.events) {
      told.push_back(std::to_string(change.revision) +
                     (event.type() == mvccpb::Event::PUT ? " put " : " delete ") +
                     event.kv().key());
    }
  }
  return told;
}

TEST_CASE("13766: after a crash nothing is applied twice, wherever the crash came",
          "[kvstore][known_bug]") {
  World world(AnyEngine());
  for (int i = 0; i < 40; ++i) {
    world.kv->Put("key", std::to_string(i));
    if (i % 7 == 3) REQUIRE(world.machine->Flush().ok());
    if (i % 5 != 4) continue;
    world.Crash();
    // What survived says itself how far it has come: a revision for each entry after the first.
    const auto applied = static_cast<int64_t>(world.machine->Applied().index);
    CHECK(world.machine->store().Revision() == applied + 1);
  }
}

TEST_CASE("15247: a lease's end that was decided in another term is void", "[kvstore][known_bug]") {
  World world(AnyEngine());
  world.kv->Do<LeaseGrantResponse>(GrantCommand(7, 60));
  world.kv->Put("key", "value", 7);
  Command revoke = RevokeCommand(7);
  revoke.mutable_origin()->set_internal(true);
  revoke.mutable_origin()->set_term(3);
  ApplyInTerm(world, revoke, 4);
  CHECK(world.kv->Dump() == "key=value");
  CHECK(world.machine->store().LeaseTtl(7) == 60);
  ApplyInTerm(world, revoke, 3);
  CHECK(world.kv->Dump().empty());
}

TEST_CASE("17780: the revision does not go back when all that had it is compacted away",
          "[kvstore][known_bug]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");
  world.kv->Delete("a");
  world.kv->Put("b", "1");
  world.kv->Delete("b");
  world.kv->Do<CompactionResponse>(CompactCommand(5, /*physical=*/true));
  REQUIRE(world.machine->Flush().ok());
  world.Crash();
  CHECK(world.machine->store().Revision() == 5);
  CHECK(world.kv->Put("c", "1") == 6);
}

TEST_CASE("18089, 19179: a watch from the compacted revision on is told of a deletion at it",
          "[kvstore][known_bug]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");  // 2
  world.kv->Put("a", "2");  // 3
  world.kv->Delete("a");    // 4
  const bool again = GENERATE(false, true);
  if (again) world.kv->Put("a", "3");  // 5
  world.kv->Do<CompactionResponse>(CompactCommand(4, /*physical=*/true));
  std::vector<std::string> want = {"4 delete a"};
  if (again) want.emplace_back("5 put a");
  CHECK(Told(world, 4) == want);
  REQUIRE(world.machine->Flush().ok());
  world.Crash();
  CHECK(Told(world, 4) == want);
}

TEST_CASE("18667: a transaction that reads what is compacted changes nothing, whoever waits for it",
          "[kvstore][known_bug]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");
  world.kv->Put("a", "2");
  world.kv->Do<CompactionResponse>(CompactCommand(3));
  TxnRequest txn;
  *txn.add_success()->mutable_request_put() = testing::MakePut("b", "1");
  *txn.add_success()->mutable_request_range() = MakeRange("a");
  txn.mutable_success(1)->mutable_request_range()->set_revision(2);
  world.listener.waiting = GENERATE(false, true);
  const CommandResult result = world.kv->Apply(ToCommand(txn));
  if (world.listener.waiting) CHECK(result.status == errors::Compacted());
  CHECK(world.kv->Dump() == "a=2");
  CHECK(world.machine->store().Revision() == 3);
}

TEST_CASE("17247: each change of a transaction is told once", "[kvstore][known_bug]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");
  world.kv->Put("b", "1");
  TxnRequest txn;
  *txn.add_success()->mutable_request_delete_range() = testing::MakeDelete("a", "c");
  *txn.add_success()->mutable_request_delete_range() = testing::MakeDelete("a", "c");
  *txn.add_success()->mutable_request_put() = testing::MakePut("c", "1");
  world.listener.changes.clear();
  world.kv->Apply(ToCommand(txn));
  CHECK(Told(world, 4) == std::vector<std::string>{"4 delete a", "4 delete b", "4 put c"});
  REQUIRE(world.listener.changes.size() == 1);
  CHECK(world.listener.changes[0].events.size() == 3);
}

}  // namespace
}  // namespace keelson::kvstore
