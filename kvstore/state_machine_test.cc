// The state machine's rules, on every engine (reference kvstore.md sections 3 to 5 and 7).
#include <catch2/catch.hpp>

#include <memory>
#include <string>

#include "base/testing/status_matchers.h"
#include "kvstore/state_machine.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::CompactionResponse;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::LeaseGrantResponse;
using etcdserverpb::LeaseRevokeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using testing::kAll;
using testing::MakeDelete;
using testing::MakePut;
using testing::MakeRange;
using testing::ToCommand;

using testing::EngineKind;
using testing::World;

// kvstore.md 3.2, 3.3.
TEST_CASE("A new store is at revision 1 and each changing command adds one", "[kvstore][mvcc]") {
  World world(GENERATE(EngineKind::kMemory, EngineKind::kRocksDb));
  CHECK(world.kv->store().Revision() == 1);
  CHECK(world.kv->store().CompactedRevision() == 0);

  CHECK(world.kv->Put("a", "1") == 2);
  CHECK(world.kv->Put("b", "1") == 3);
  CHECK(world.kv->Put("a", "2") == 4);
  CHECK(world.kv->Delete("nothing") == 0);
  CHECK(world.kv->store().Revision() == 4);
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

}  // namespace
}  // namespace keelson::kvstore
