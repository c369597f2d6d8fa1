// The state machine's rules, on every engine (reference kvstore.md sections 3 to 5 and 7).
#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "google/protobuf/text_format.h"
#include "kvstore/errors.h"
#include "kvstore/state_machine.h"
#include "kvstore/store_image.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::CompactionResponse;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::LeaseGrantResponse;
using etcdserverpb::LeaseRevokeResponse;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using testing::CompactCommand;
using testing::EngineKind;
using testing::GrantCommand;
using testing::kAll;
using testing::MakeDelete;
using testing::MakePut;
using testing::MakeRange;
using testing::RevokeCommand;
using testing::ToCommand;
using testing::World;

EngineKind AnyEngine() { return GENERATE(EngineKind::kMemory, EngineKind::kRocksDb); }

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

TxnRequest ParseTxn(const std::string& text) { return Parse<TxnRequest>(text); }

std::string Keys(const RangeResponse& response) {
  std::string out;
  for (const mvccpb::KeyValue& pair : response.kvs()) out += pair.key() + " ";
  return out;
}

// "PUT a@3", "DELETE a@4" of a history.
std::string Events(const std::vector<Store::Change>& changes) {
  std::string out;
  for (const Store::Change& change : changes) {
    for (const mvccpb::Event& event : change.events) {
      out += (event.type() == mvccpb::Event::PUT ? "+" : "-") + event.kv().key() + "@" +
             std::to_string(event.kv().mod_revision());
      if (event.has_prev_kv()) out += "(" + event.prev_kv().value() + ")";
      out += " ";
    }
  }
  return out;
}

std::string History(const World& world, int64_t from, bool prev_kv = false) {
  KEELSON_ASSIGN_OR_FAIL(const Store::History history,
                         world.machine->store().ReadHistory({std::string(kAll), std::string(kAll)},
                                                            from, prev_kv, 1000, 1 << 20));
  return Events(history.changes);
}

// kvstore.md 3.2, 3.3.
TEST_CASE("A new store is at revision 1 and each changing command adds one", "[kvstore][mvcc]") {
  World world(AnyEngine());
  CHECK(world.kv->store().Revision() == 1);
  CHECK(world.kv->store().CompactedRevision() == -1);

  CHECK(world.kv->Put("a", "1") == 2);
  CHECK(world.kv->Put("b", "1") == 3);
  CHECK(world.kv->Put("a", "2") == 4);
  CHECK(world.kv->Delete("nothing") == 0);
  CHECK(world.kv->store().Revision() == 4);
  CHECK(world.kv->Range(MakeRange("a")).kvs(0).version() == 2);
  CHECK(world.kv->Range(MakeRange("a")).kvs(0).create_revision() == 2);
  CHECK(world.kv->Delete("a") == 1);
  CHECK(world.kv->store().Revision() == 5);
  CHECK(world.kv->Put("a", "3") == 6);

  const RangeResponse response = world.kv->Range(MakeRange("a"));
  REQUIRE(response.kvs_size() == 1);
  CHECK(response.kvs(0).create_revision() == 6);
  CHECK(response.kvs(0).version() == 1);
  CHECK(world.kv->Dump(4) == "a=2 b=1");
  CHECK(world.kv->Dump(5) == "b=1");
}

// kvstore.md 3.4: bounds; 3.1: keys are any bytes.
TEST_CASE("Ranges are bytewise and half open", "[kvstore][range]") {
  World world(AnyEngine());
  const std::string zero("\0", 1);
  for (const std::string& key : {zero, zero + zero, std::string("a"), "a" + zero, "a" + zero + "b",
                                 std::string("aa"), std::string("\xff")}) {
    world.kv->Put(key, "v");
  }

  CHECK(world.kv->Range(MakeRange("a", "b")).count() == 4);
  CHECK(world.kv->Range(MakeRange("a", "a" + zero)).count() == 1);
  CHECK(world.kv->Range(MakeRange("a" + zero, "aa")).count() == 2);
  CHECK(world.kv->Range(MakeRange("aa", zero)).count() == 2);
  CHECK(world.kv->Range(MakeRange(zero, zero)).count() == 7);
  CHECK(world.kv->Range(MakeRange("b", "a")).count() == 0);
  CHECK(world.kv->Range(MakeRange("a" + zero)).count() == 1);
  CHECK(world.kv->Delete("b", "a") == 0);
  CHECK(world.kv->Delete("a", "aa") == 3);
}

// kvstore.md 3.7 and trap 1.
TEST_CASE("A historic read carries the current revision", "[kvstore][range]") {
  World world(AnyEngine());
  world.kv->Put("a", "old");
  world.kv->Put("a", "new");

  RangeRequest request = MakeRange("a");
  request.set_revision(2);
  const RangeResponse response = world.kv->Range(request);
  CHECK(response.kvs(0).value() == "old");
  CHECK(response.header().revision() == 3);
  request.set_revision(-7);
  CHECK(world.kv->Range(request).kvs(0).value() == "new");
  request.set_revision(4);
  CHECK(world.kv->RangeError(request) == errors::FutureRevision());
  CHECK(world.kv->RangeError(MakeRange("")) == errors::EmptyKey());
}

// kvstore.md 3.8 to 3.12, traps 2 and 3.
TEST_CASE("Filters come before the limit and leave the count alone", "[kvstore][range]") {
  World world(AnyEngine());
  world.kv->Put("a", "3");  // 2
  world.kv->Put("b", "1");  // 3
  world.kv->Put("c", "2");  // 4
  world.kv->Put("d", "2");  // 5
  world.kv->Put("b", "1");  // 6, version 2
  struct Row {
    std::string request;
    std::string keys;
    bool more;
  };
  const Row row = GENERATE(values<Row>({
      {"", "a b c d ", false},
      {"limit: 4", "a b c d ", false},
      {"limit: 3", "a b c ", true},
      {"limit: -1", "a b c d ", false},
      {"min_mod_revision: 4 limit: 2", "b c ", true},
      {"min_mod_revision: 4 limit: 3", "b c d ", false},
      {"max_mod_revision: 4", "a c ", false},
      {"min_create_revision: 3 max_create_revision: 4", "b c ", false},
      {"sort_order: DESCEND limit: 1", "d ", true},
      {"sort_target: VALUE", "b c d a ", false},
      {"sort_target: VALUE sort_order: DESCEND", "a c d b ", false},
      {"sort_target: MOD limit: 3", "a c d ", true},
      {"sort_target: CREATE sort_order: DESCEND limit: 2", "d c ", true},
      {"sort_target: VERSION sort_order: DESCEND limit: 1", "b ", true},
      {"sort_target: VALUE keys_only: true limit: 1", "b ", true},
      {"count_only: true limit: 1 min_mod_revision: 6", "", false},
  }));
  INFO(row.request);

  RangeRequest request = Parse<RangeRequest>(row.request);
  request.set_key("a");
  request.set_range_end("z");
  const RangeResponse response = world.kv->Range(request);

  CHECK(Keys(response) == row.keys);
  CHECK(response.more() == row.more);
  CHECK(response.count() == 4);
  for (const mvccpb::KeyValue& pair : response.kvs()) {
    CHECK(pair.value().empty() == request.keys_only());
    CHECK(pair.mod_revision() != 0);
  }
}

// kvstore.md 3.14, 3.15.
TEST_CASE("A put can keep the value or the lease of an existing key", "[kvstore][put]") {
  World world(AnyEngine());
  world.kv->Do<LeaseGrantResponse>(GrantCommand(7, 60));
  const auto put = [&](const std::string& text) {
    return world.kv->Apply(ToCommand(Parse<etcdserverpb::PutRequest>(text)));
  };

  CHECK(put("key: 'a' ignore_value: true").status == errors::KeyNotFound());
  CHECK(put("key: 'a' ignore_lease: true").status == errors::KeyNotFound());
  CHECK(put("key: 'a' lease: 8").status == errors::LeaseNotFound());
  CHECK(put("key: 'a' ignore_value: true lease: 8").status == errors::LeaseNotFound());
  CHECK(world.kv->store().Revision() == 1);
  CHECK(put("key: 'a' value: 'x' lease: 7").status.ok());
  CHECK(put("key: 'a' value: 'y' ignore_lease: true").status.ok());
  CHECK(world.kv->store().LeaseKeys(7) == std::vector<std::string>{"a"});
  const CommandResult last = put("key: 'a' ignore_value: true prev_kv: true");

  const PutResponse& response = std::get<PutResponse>(last.response);
  CHECK(response.prev_kv().value() == "y");
  CHECK(response.prev_kv().lease() == 7);
  CHECK(response.header().revision() == 4);
  const mvccpb::KeyValue pair = world.kv->Range(MakeRange("a")).kvs(0);
  CHECK(pair.value() == "y");
  CHECK(pair.lease() == 0);
  CHECK(pair.version() == 3);
  CHECK(world.kv->store().LeaseKeys(7).empty());
}

TEST_CASE("A deletion tells what it removed, in order of keys", "[kvstore][delete]") {
  World world(AnyEngine());
  world.kv->Put("b", "1");
  world.kv->Put("a", "2");
  world.kv->Put("c", "3");
  auto request = MakeDelete("a", "c");
  request.set_prev_kv(true);
  const auto response = world.kv->Do<DeleteRangeResponse>(ToCommand(request));
  CHECK(response.deleted() == 2);
  REQUIRE(response.prev_kvs_size() == 2);
  CHECK(response.prev_kvs(0).key() == "a");
  CHECK(response.prev_kvs(1).value() == "1");
  CHECK(response.header().revision() == 5);
  CHECK(world.kv->Do<DeleteRangeResponse>(ToCommand(request)).header().revision() == 5);
}

// kvstore.md 4.3, traps 4 and 5. State: a (two versions, value "m", lease 7), b (one, "z").
TEST_CASE("Comparisons read missing keys as zero, except for values", "[kvstore][txn]") {
  World world(AnyEngine());
  world.kv->Do<LeaseGrantResponse>(GrantCommand(7, 60));
  world.kv->Put("a", "l");
  world.kv->Put("a", "m", 7);
  world.kv->Put("b", "z");
  struct Row {
    std::string compares;
    bool want;
  };
  const Row row = GENERATE(values<Row>({
      {"", true},
      {"compare{key:'a' target:VERSION version:2}", true},
      {"compare{key:'a' target:CREATE create_revision:2}", true},
      {"compare{key:'a' target:MOD result:GREATER mod_revision:2}", true},
      {"compare{key:'a' target:MOD result:LESS mod_revision:3}", false},
      {"compare{key:'a' target:LEASE lease:7}", true},
      {"compare{key:'a' target:VALUE value:'m'}", true},
      {"compare{key:'a' target:VALUE result:LESS value:'n'}", true},
      {"compare{key:'a' target:VALUE result:GREATER value:'lz'}", true},
      {"compare{key:'a' target:VALUE result:NOT_EQUAL value:'m'}", false},
      {"compare{key:'x' target:VALUE result:NOT_EQUAL value:'m'}", false},
      {"compare{key:'x' target:VALUE}", false},
      {"compare{key:'x' target:VERSION}", true},
      {"compare{key:'x' target:MOD result:LESS mod_revision:1}", true},
      {"compare{key:'x' target:LEASE result:NOT_EQUAL lease:7}", true},
      {"compare{key:'a' target:VERSION}", false},
      {"compare{key:'a' target:VERSION result:GREATER value:'9'}", true},
      {"compare{key:'a' range_end:'c' target:VERSION result:GREATER}", true},
      {"compare{key:'a' range_end:'c' target:VERSION version:2}", false},
      {"compare{key:'a' range_end:'\\000' target:VALUE result:GREATER value:'a'}", true},
      {"compare{key:'x' range_end:'z' target:CREATE}", true},
      {"compare{key:'x' range_end:'z' target:VALUE}", false},
      {"compare{key:'a' target:VERSION version:2} compare{key:'b' target:VERSION}", false},
  }));
  INFO(row.compares);
  const TxnRequest txn = ParseTxn(row.compares);

  CHECK(world.kv->Do<TxnResponse>(ToCommand(txn)).succeeded() == row.want);
  TxnResponse response;
  KEELSON_REQUIRE_OK(world.kv->store().ReadTxn(txn, &response));
  CHECK(response.succeeded() == row.want);
}

// kvstore.md 4.5, 4.7; headers as etcd 3.4.23 gives them.
TEST_CASE("A transaction has one revision and sees its own writes", "[kvstore][txn]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");  // 2
  world.kv->Put("b", "1");  // 3
  const TxnResponse response = world.kv->Do<TxnResponse>(ToCommand(ParseTxn(R"(
      success { request_range { key: 'a' } }
      success { request_put { key: 'a' value: '2' prev_kv: true } }
      success { request_range { key: 'a' range_end: 'z' } }
      success { request_range { key: 'a' revision: 2 } }
      success { request_delete_range { key: 'b' range_end: 'c' prev_kv: true } }
      success { request_txn { success { request_put { key: 'n' } }
                              success { request_range { key: 'n' count_only: true } } } })")));

  CHECK(response.succeeded());
  CHECK(response.header().revision() == 4);
  REQUIRE(response.responses_size() == 6);
  CHECK(response.responses(0).response_range().header().revision() == 3);
  CHECK(response.responses(0).response_range().kvs(0).value() == "1");
  CHECK(response.responses(1).response_put().prev_kv().value() == "1");
  CHECK(response.responses(1).response_put().header().revision() == 4);
  CHECK(response.responses(2).response_range().kvs(0).value() == "2");
  CHECK(response.responses(2).response_range().header().revision() == 4);
  CHECK(response.responses(3).response_range().kvs(0).value() == "1");
  CHECK(response.responses(4).response_delete_range().deleted() == 1);
  const TxnResponse& nested = response.responses(5).response_txn();
  CHECK(nested.has_header());
  CHECK(nested.header().revision() == 0);
  CHECK(nested.responses(1).response_range().count() == 1);
  CHECK(world.kv->store().Revision() == 4);
  CHECK(History(world, 4) == "+a@4 -b@4 +n@4 ");
}

TEST_CASE("Nested comparisons look at the state before the transaction", "[kvstore][txn]") {
  World world(AnyEngine());
  const TxnResponse response = world.kv->Do<TxnResponse>(ToCommand(ParseTxn(R"(
      success { request_put { key: 'a' } }
      success { request_txn { compare { key: 'a' target: VERSION version: 1 }
                              success { request_put { key: 'seen' } }
                              failure { request_put { key: 'unseen' } } } })")));
  CHECK_FALSE(response.responses(1).response_txn().succeeded());
  CHECK(world.kv->Dump() == "a= unseen=");
}

// kvstore.md 4.6; trap 6.
TEST_CASE("A transaction that fails changes nothing", "[kvstore][txn]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");
  world.kv->Put("a", "2");
  world.kv->Do<CompactionResponse>(CompactCommand(3));
  const std::string put = "success { request_put { key: 'new' } } ";
  const auto status = [&](const std::string& text) {
    return world.kv->Apply(ToCommand(ParseTxn(text))).status;
  };

  CHECK(status(put + "success{request_range{key:'a' revision:2}}") == errors::Compacted());
  CHECK(status(put + "success{request_range{key:'a' revision:4}}") == errors::FutureRevision());
  CHECK(status(put + "success{request_put{key:'x' lease:9}}") == errors::LeaseNotFound());
  CHECK(status(put + "success{request_put{key:'x' ignore_value:true lease:9}}") ==
        errors::KeyNotFound());
  CHECK(status(put + "success{request_txn{success{request_put{key:'x' ignore_lease:true}}}}") ==
        errors::KeyNotFound());
  CHECK(status(put + put) == errors::DuplicateKey());
  CHECK(status(put + "failure{request_range{key:'a' revision:2}}").ok());
  CHECK(world.kv->Dump() == "a=2 new=");
  CHECK(status("success{request_delete_range{key:'zz'}}").ok());
  CHECK(world.kv->store().Revision() == 4);
}

// kvstore.md 5.1, 5.2; traps 11, 12 and 13.
TEST_CASE("A compaction cuts history below its revision and nothing above", "[kvstore][compact]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");  // 2
  world.kv->Put("b", "1");  // 3
  world.kv->Put("a", "2");  // 4
  world.kv->Delete("b");    // 5
  world.kv->Put("a", "3");  // 6
  const bool physical = GENERATE(true, false);

  CHECK(world.kv->Apply(CompactCommand(7)).status == errors::FutureRevision());
  // etcd takes the first compaction to 0 as one: until then its compacted revision is -1.
  CHECK(world.kv->Apply(CompactCommand(0)).status.ok());
  CHECK(world.kv->Apply(CompactCommand(0)).status == errors::Compacted());
  const auto response = world.kv->Do<CompactionResponse>(CompactCommand(5, physical));
  CHECK(response.header().revision() == 6);
  CHECK(world.kv->Apply(CompactCommand(5)).status == errors::Compacted());
  CHECK(world.kv->Apply(CompactCommand(4)).status == errors::Compacted());

  CHECK(world.kv->store().CompactedRevision() == 5);
  CHECK(world.kv->Dump(5) == "a=2");
  CHECK(world.kv->Dump(6) == "a=3");
  RangeRequest below = MakeRange("a");
  below.set_revision(4);
  CHECK(world.kv->RangeError(below) == errors::Compacted());
  CHECK(world.kv->store().GetAt("a", 4).status() == errors::Compacted());
  CHECK(History(world, 5, true) == "-b@5 +a@6(2) ");
  CHECK(world.kv->store()
            .ReadHistory({std::string(kAll), std::string(kAll)}, 4, false, 10, 1000)
            .status() == errors::Compacted());

  world.kv->Do<CompactionResponse>(CompactCommand(6, true));
  CHECK(world.kv->Dump(6) == "a=3");
  CHECK(History(world, 6, true) == "+a@6 ");
  CHECK(world.kv->Put("b", "again") == 7);
  CHECK(world.kv->Range(MakeRange("b")).kvs(0).version() == 1);
}

// As of etcd 3.6.
TEST_CASE("A hash is taken from the compacted revision on", "[kvstore][compact][hash]") {
  World world(AnyEngine());
  world.kv->Put("a", "1");            // 2
  world.kv->Put("b", "1");            // 3
  world.kv->Delete("b");              // 4
  world.kv->Put("a", "2");            // 5
  const int64_t at = GENERATE(3, 4);  // the second is that of a deletion
  world.kv->Do<CompactionResponse>(CompactCommand(at, GENERATE(true, false)));

  KEELSON_ASSIGN_OR_FAIL(const auto image, world.kv->store().TakeImage());
  const auto hash = image->HashKeys(at);
  KEELSON_REQUIRE_OK(hash);
  CHECK(*hash != *image->HashKeys(5));
  CHECK(image->HashKeys(at - 1).status() == errors::Compacted());
  CHECK(image->HashKeys(6).status() == errors::FutureRevision());
}

TEST_CASE("A compaction frees what nobody can read", "[kvstore][compact]") {
  World world(EngineKind::kMemory);
  for (int n = 0; n < 50; ++n) world.kv->Put("hot", std::to_string(n));
  world.kv->Put("gone", "1");
  world.kv->Delete("gone");
  world.kv->Put("last", "1");
  CHECK(world.kv->store().GetSizes().rows == 53);
  world.kv->Do<CompactionResponse>(CompactCommand(world.kv->store().Revision()));
  CHECK(world.kv->store().GetSizes().rows == 2);
  CHECK(world.kv->Dump() == "hot=49 last=1");
}

TEST_CASE("History is cut between revisions, by count and by size", "[kvstore][history]") {
  World world(AnyEngine());
  world.kv->Do<TxnResponse>(
      ToCommand(ParseTxn("success{request_put{key:'a'}} success{request_put{key:'b'}}")));  // 2
  world.kv->Put("x", "1");                                                                  // 3
  world.kv->Put("b", "2");                                                                  // 4
  const Store& store = world.kv->store();

  KEELSON_ASSIGN_OR_FAIL(const Store::History one, store.ReadHistory({"a", "c"}, 0, true, 1, 999));
  CHECK(Events(one.changes) == "+a@2 +b@2 ");
  CHECK(one.next_revision == 3);
  KEELSON_ASSIGN_OR_FAIL(const Store::History tiny, store.ReadHistory({"a", "c"}, 2, true, 9, 1));
  CHECK(Events(tiny.changes) == "+a@2 +b@2 ");
  KEELSON_ASSIGN_OR_FAIL(const Store::History rest, store.ReadHistory({"a", "c"}, 3, true, 9, 999));
  CHECK(Events(rest.changes) == "+b@4() ");
  CHECK(rest.next_revision == 5);
  KEELSON_ASSIGN_OR_FAIL(const Store::History none, store.ReadHistory({"b", ""}, 9, true, 9, 999));
  CHECK(none.changes.empty());
  CHECK(none.next_revision == 9);
}

// A nested put before a deletion in a later sibling is the one way to change a key twice.
TEST_CASE("A key put and deleted in one transaction leaves nothing", "[kvstore][txn]") {
  World world(AnyEngine());
  world.kv->Put("q", "old");
  world.kv->Do<TxnResponse>(
      ToCommand(ParseTxn("success{request_txn{success{request_put{key:'q' value:'new'}}}}"
                         "success{request_txn{success{request_delete_range{key:'q'}}}}")));
  CHECK(world.kv->Dump() == "");
  CHECK(History(world, 3, true) == "+q@3(old) -q@3(old) ");
  world.kv->Do<CompactionResponse>(CompactCommand(3, true));
  CHECK(History(world, 3, true) == "+q@3 -q@3 ");
  CHECK(world.kv->Put("q", "back") == 4);
  CHECK(world.kv->Range(MakeRange("q")).kvs(0).version() == 1);
}

// kvstore.md 7.1 to 7.3; trap 8.
TEST_CASE("Revoking a lease deletes its keys at one revision, by key", "[kvstore][lease]") {
  World world(AnyEngine());
  CHECK(world.kv->Apply(GrantCommand(0, 5)).status == errors::LeaseNotFound());
  CHECK(world.kv->Apply(GrantCommand(1, 9'000'000'001)).status == errors::LeaseTtlTooLarge());
  CHECK(world.kv->Do<LeaseGrantResponse>(GrantCommand(-1, 60)).ttl() == 60);
  CHECK(world.kv->Apply(GrantCommand(-1, 60)).status == errors::LeaseExists());
  world.kv->Do<LeaseGrantResponse>(GrantCommand(2, 60));
  CHECK(world.kv->store().Revision() == 1);
  world.kv->Put("c", "", -1);
  world.kv->Put("a", "", -1);
  world.kv->Put("b", "", -1);
  world.kv->Put("other", "", 2);
  world.kv->Put("a", "", 2);   // moves
  world.kv->Delete("c");       // detaches
  world.kv->Put("c", "", -1);  // attaches again
  CHECK(world.kv->store().LeaseKeys(-1) == std::vector<std::string>{"b", "c"});
  CHECK(world.kv->store().LeaseTtl(2) == 60);
  CHECK(world.kv->store().LeaseTtl(3) == 0);

  CHECK(world.kv->Apply(RevokeCommand(3)).status == errors::LeaseNotFound());
  const int64_t before = world.kv->store().Revision();
  const auto response = world.kv->Do<LeaseRevokeResponse>(RevokeCommand(-1));
  CHECK(response.header().revision() == before + 1);
  CHECK(History(world, before + 1) ==
        "-b@" + std::to_string(before + 1) + " -c@" + std::to_string(before + 1) + " ");
  CHECK(world.kv->Apply(RevokeCommand(-1)).status == errors::LeaseNotFound());
  CHECK(world.kv->Dump() == "a= other=");
  world.kv->Do<LeaseGrantResponse>(GrantCommand(4, 60));
  CHECK(world.kv->Do<LeaseRevokeResponse>(RevokeCommand(4)).header().revision() == before + 1);
  REQUIRE(world.kv->store().Leases().size() == 1);
}

TEST_CASE("Leases, checkpoints and members survive with what was flushed", "[kvstore][restart]") {
  World world(AnyEngine());
  world.kv->Do<LeaseGrantResponse>(GrantCommand(5, 100));
  world.kv->Put("k", "v", 5);
  world.kv->Apply(
      Parse<Command>("lease_checkpoint{checkpoints{ID:5 remaining_TTL:40} "
                     "checkpoints{ID:6 remaining_TTL:1}}"));
  world.kv->Apply(Parse<Command>("member_attributes{id:9 name:'n' client_urls:'http://x'}"));
  KEELSON_REQUIRE_OK(world.machine->Flush());
  world.kv->Put("k", "lost");
  world.kv->Do<LeaseRevokeResponse>(RevokeCommand(5));
  world.Crash();

  CHECK(world.machine->Applied().index == 4);
  CHECK(world.machine->Applied().conf_state.voters == std::vector<raft::NodeId>{1, 2, 3});
  const std::vector<Store::LeaseInfo> leases = world.kv->store().Leases();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].granted_ttl_seconds == 100);
  CHECK(leases[0].remaining_ttl_seconds == 40);
  CHECK(world.kv->store().LeaseKeys(5) == std::vector<std::string>{"k"});
  REQUIRE(world.kv->store().Members().size() == 1);
  CHECK(world.kv->store().Members()[0].name == "n");
  CHECK(world.kv->store().Members()[0].client_urls == std::vector<std::string>{"http://x"});
  CHECK(world.kv->Dump() == "k=v");
  CHECK(world.kv->store().Revision() == 2);
}

TEST_CASE("A batch is applied in order and heard in order", "[kvstore][apply]") {
  World world(AnyEngine());
  std::vector<Command> commands;
  commands.push_back(GrantCommand(3, 60));
  commands.push_back(ToCommand(MakePut("a", "1", 3)));
  commands.push_back(
      ToCommand(ParseTxn("compare{key:'a' target:VALUE value:'1'} "
                         "success{request_put{key:'a' value:'2' prev_kv:true}}")));
  commands.push_back(ToCommand(MakePut("x", "", 99)));
  commands.push_back(ToCommand(ParseTxn("success{request_range{key:'a' revision:2}}")));
  commands.push_back(RevokeCommand(3));
  commands.push_back(CompactCommand(3));
  commands.push_back(ToCommand(ParseTxn("success{request_range{key:'a' revision:2}}")));
  KEELSON_ASSIGN_OR_FAIL(const auto results, world.kv->Apply(std::move(commands)));

  REQUIRE(results.size() == 8);
  CHECK(std::get<TxnResponse>(results[2].response).succeeded());
  CHECK(std::get<TxnResponse>(results[2].response).responses(0).response_put().prev_kv().value() ==
        "1");
  CHECK(results[3].status == errors::LeaseNotFound());
  CHECK(std::get<TxnResponse>(results[4].response).responses(0).response_range().kvs(0).value() ==
        "1");
  CHECK(results[5].status.ok());
  CHECK(results[7].status == errors::Compacted());
  CHECK(world.listener.calls == "CLR");
  CHECK(Events(world.listener.changes) == "+a@2 +a@3 ");
  REQUIRE(world.listener.leases.size() == 2);
  CHECK(world.listener.leases[1].kind == ApplyListener::LeaseChange::Kind::kRevoked);
  CHECK(world.kv->Dump() == "a=2");
}

TEST_CASE("Whoever does not wait gets no result and the same state", "[kvstore][apply]") {
  World world(AnyEngine());
  World other(EngineKind::kMemory);
  other.listener.waiting = false;
  for (World* each : {&world, &other}) {
    KEELSON_REQUIRE_OK(each->kv->Apply(std::vector<Command>{
        ToCommand(MakePut("a", "1")),
        ToCommand(ParseTxn("success{request_range{key:'a' revision:9}}"
                           "success{request_put{key:'b'}}")),
        ToCommand(ParseTxn("success{request_range{key:'a'}} success{request_put{key:'c'}}")),
        ToCommand(MakeDelete("a")),
    }));
  }
  CHECK(other.listener.results.empty());
  CHECK(other.listener.calls == "C");
  CHECK(other.kv->Dump() == world.kv->Dump());
  CHECK(other.kv->store().Revision() == world.kv->store().Revision());
}

TEST_CASE("Commands that cannot be read are skipped, with an error", "[kvstore][apply]") {
  World world(AnyEngine());
  const auto apply = [&](std::string bytes, raft::EntryType type = raft::EntryType::kNormal) {
    raft::SnapshotMetadata after = world.kv->last();
    const raft::Entry entry{.term = after.term,
                            .index = ++after.index,
                            .type = type,
                            .data = raft::Payload(std::move(bytes))};
    KEELSON_REQUIRE_OK(world.machine->Apply({&entry, 1}, after));
    world.kv->set_last(after);
  };
  apply("");
  apply("not a command at all");
  apply("\x08\x05\xff\xff");       // request 5, then nonsense
  apply("\x08\x06\xfa\x3f\x01x");  // request 6, an operation of the future
  apply("whatever", raft::EntryType::kConfChange);

  CHECK(world.kv->store().Revision() == 1);
  CHECK(world.machine->Applied().index == 5);
  REQUIRE(world.listener.results.count(6) == 1);
  CHECK(world.listener.results[6].status.code() == absl::StatusCode::kUnimplemented);
  REQUIRE(world.listener.results.count(5) == 1);
  CHECK(world.listener.results[5].status.code() == absl::StatusCode::kInvalidArgument);
  for (const char* invalid : {"put{}", "delete_range{}", "txn{success{}}", "lease_grant{}",
                              "put{key:'a' value:'b' ignore_value:true}",
                              "txn{success{request_range{key:'a' sort_order:DESCEND}} "
                              "success{request_put{}}}"}) {
    CHECK_FALSE(world.kv->Apply(Parse<Command>(invalid)).status.ok());
  }
  CHECK(world.kv->store().Revision() == 1);
}

TEST_CASE("Applied tells the initial membership until something is applied", "[kvstore][restart]") {
  testing::RecordingListener listener;
  StateMachine::Options options;
  options.initial_conf_state.voters = {4, 5};
  const auto machine = StateMachine::OpenInMemory(options, &listener);
  CHECK(machine->Applied().index == 0);
  CHECK(machine->Applied().conf_state.voters == std::vector<raft::NodeId>{4, 5});
}

TEST_CASE("A snapshot replaces everything, and old readers are not disturbed",
          "[kvstore][snapshot]") {
  World source(AnyEngine());
  source.kv->Do<LeaseGrantResponse>(GrantCommand(5, 100));
  source.kv->Put("a", "1", 5);
  source.kv->Put("a", "2", 5);
  KEELSON_ASSIGN_OR_FAIL(const auto capture, source.machine->Capture());
  source.kv->Put("a", "later");
  testing::MemorySnapshotWriter writer;
  KEELSON_REQUIRE_OK(capture->WriteTo(writer));

  World target(AnyEngine());
  target.kv->Put("old", "1");
  raft::SnapshotMetadata metadata = capture->metadata();
  CHECK(metadata.index == 3);
  metadata.conf_state.learners = {9};
  testing::MemorySnapshotReader reader(writer.bytes(), metadata);
  KEELSON_REQUIRE_OK(target.machine->Restore(reader, metadata));

  CHECK(target.listener.calls == "CRS");
  CHECK(target.kv->Dump() == "a=2");
  CHECK(target.kv->Dump(2) == "a=1");
  CHECK(target.kv->store().LeaseKeys(5) == std::vector<std::string>{"a"});
  CHECK(History(target, 1, true) == "+a@2 +a@3(1) ");
  target.Crash();  // durable without a flush
  CHECK(target.machine->Applied() == metadata);
  CHECK(target.kv->Dump() == "a=2");
}

TEST_CASE("A damaged snapshot is refused and changes nothing", "[kvstore][snapshot]") {
  World source(EngineKind::kMemory);
  source.kv->Put("a", "1");
  KEELSON_ASSIGN_OR_FAIL(const auto capture, source.machine->Capture());
  testing::MemorySnapshotWriter writer;
  KEELSON_REQUIRE_OK(capture->WriteTo(writer));
  World target(AnyEngine());
  target.kv->Put("old", "1");
  const auto restore = [&](const std::string& bytes) {
    testing::MemorySnapshotReader reader(bytes, capture->metadata(), 7);
    return target.machine->Restore(reader, capture->metadata());
  };

  const size_t whole = writer.bytes().size();
  for (const size_t size : {size_t{0}, size_t{5}, size_t{12}, whole / 2, whole - 1}) {
    INFO("cut to " << size << " of " << whole);
    KEELSON_CHECK_ERROR(restore(writer.bytes().substr(0, size)), absl::StatusCode::kDataLoss, "");
  }
  KEELSON_CHECK_ERROR(restore(writer.bytes() + "x"), absl::StatusCode::kDataLoss, "follow");
  KEELSON_CHECK_ERROR(restore("something else entirely"), absl::StatusCode::kDataLoss, "byte");
  CHECK(target.kv->Dump() == "old=1");
  target.kv->Put("old", "2");
  KEELSON_REQUIRE_OK(restore(writer.bytes()));
  CHECK(target.kv->Dump() == "a=1");
}

}  // namespace
}  // namespace keelson::kvstore
