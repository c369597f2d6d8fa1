#include "kvstore/server/command_codec.h"

#include <catch2/catch.hpp>

using namespace keelson::kvstore;

// The naive twin builds the Command and serializes it.
TEST_CASE("Commands are encoded as protobuf would", "[kvstore][command]") {
  const uint64_t id = GENERATE(uint64_t{1}, uint64_t{300}, ~uint64_t{0});
  Command command;
  command.set_request_id(id);
  SECTION("put") {
    auto* const put = command.mutable_put();
    put->set_key("k");
    put->set_value(std::string(1000, 'v'));
    put->set_lease(-5);
    CHECK(EncodeCommand(id, *put) == command.SerializeAsString());
  }
  SECTION("an empty operation") {
    (void)command.mutable_delete_range();
    CHECK(EncodeCommand(id, command.delete_range()) == command.SerializeAsString());
  }
  SECTION("txn") {
    auto* const txn = command.mutable_txn();
    txn->add_compare()->set_key("a");
    txn->add_success()->mutable_request_put()->set_key("b");
    CHECK(EncodeCommand(id, *txn) == command.SerializeAsString());
  }
  SECTION("compaction") {
    command.mutable_compaction()->set_revision(7);
    CHECK(EncodeCommand(id, command.compaction()) == command.SerializeAsString());
  }
  SECTION("lease grant") {
    command.mutable_lease_grant()->set_ttl(7);
    CHECK(EncodeCommand(id, command.lease_grant()) == command.SerializeAsString());
  }
  SECTION("lease revoke") {
    command.mutable_lease_revoke()->set_id(7);
    CHECK(EncodeCommand(id, command.lease_revoke()) == command.SerializeAsString());
  }
  SECTION("member attributes") {
    command.mutable_member_attributes()->set_name("m");
    CHECK(EncodeCommand(id, command.member_attributes()) == command.SerializeAsString());
  }
}

// kvstore.md 3.17.
TEST_CASE("The cost of a transaction is that of its dearer branch", "[kvstore][command]") {
  etcdserverpb::PutRequest put;
  put.set_key("abc");
  put.set_value("de");
  CHECK(EstimatedBytes(put) == 261);
  etcdserverpb::TxnRequest txn;
  *txn.add_success()->mutable_request_put() = put;
  txn.add_success()->mutable_request_delete_range()->set_key("x");
  CHECK(EstimatedBytes(txn) == 261);
  *txn.add_failure()->mutable_request_put() = put;
  *txn.add_failure()->mutable_request_txn()->add_success()->mutable_request_put() = put;
  CHECK(EstimatedBytes(txn) == 522);
}
