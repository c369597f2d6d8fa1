// Which requests are refused before they are proposed (kvstore.md 3.5, 3.14, 3.16, 4.1, 4.2).
#include <catch2/catch.hpp>

#include <string>

#include "google/protobuf/text_format.h"
#include "kvstore/errors.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore {
namespace {

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

TEST_CASE("A range needs a key and a known order", "[kvstore][validate]") {
  using etcdserverpb::RangeRequest;
  CHECK(ValidateRange(Parse<RangeRequest>("key: 'a'")).ok());
  CHECK(ValidateRange(Parse<RangeRequest>("key: 'b' range_end: 'a'")).ok());
  CHECK(ValidateRange(RangeRequest()) == errors::EmptyKey());
  RangeRequest request = Parse<RangeRequest>("key: 'a'");
  request.set_sort_order(static_cast<RangeRequest::SortOrder>(3));
  CHECK(ValidateRange(request) == errors::InvalidSortOption());
  request.clear_sort_order();
  request.set_sort_target(static_cast<RangeRequest::SortTarget>(-1));
  CHECK(ValidateRange(request) == errors::InvalidSortOption());
  request.clear_key();
  CHECK(ValidateRange(request) == errors::EmptyKey());
}

TEST_CASE("A put must not give what it asks to keep", "[kvstore][validate]") {
  using etcdserverpb::PutRequest;
  CHECK(ValidatePut(Parse<PutRequest>("key: 'a' value: 'v' lease: 3")).ok());
  CHECK(ValidatePut(Parse<PutRequest>("key: 'a' ignore_value: true lease: 3")).ok());
  CHECK(ValidatePut(Parse<PutRequest>("value: 'v'")) == errors::EmptyKey());
  CHECK(ValidatePut(Parse<PutRequest>("key: 'a' value: 'v' ignore_value: true")) ==
        errors::ValueProvided());
  CHECK(ValidatePut(Parse<PutRequest>("key: 'a' lease: -1 ignore_lease: true")) ==
        errors::LeaseProvided());
  CHECK(ValidateDeleteRange(Parse<etcdserverpb::DeleteRangeRequest>("range_end: 'a'")) ==
        errors::EmptyKey());
}

struct Row {
  std::string name;
  std::string txn;
  absl::Status want;
};

void CheckRows(const Row& row) {
  INFO(row.name);
  CHECK(ValidateTxn(Parse<etcdserverpb::TxnRequest>(row.txn), 3) == row.want);
}

// Checked against etcd 3.4.23 where the reference leaves room.
TEST_CASE("A transaction is checked as a whole", "[kvstore][validate][txn]") {
  const std::string put_a = "{ request_put { key: 'a' } }";
  const std::string del_a = "{ request_delete_range { key: 'a' } }";
  const std::string nest_put_a = "{ request_txn { success " + put_a + " } }";
  const std::string nest_del_a = "{ request_txn { success " + del_a + " } }";
  CheckRows(GENERATE_COPY(values<Row>({
      {"empty", "", absl::OkStatus()},
      {"three operations",
       "success {request_range{key:'a'}} success {request_range{key:'a'}} "
       "success {request_range{key:'a'}}",
       absl::OkStatus()},
      {"four operations",
       "failure {request_range{key:'a'}} failure {request_range{key:'a'}} "
       "failure {request_range{key:'a'}} failure {request_range{key:'a'}}",
       errors::TooManyOps()},
      {"four comparisons", "compare{key:'a'} compare{key:'a'} compare{key:'a'} compare{key:'a'}",
       errors::TooManyOps()},
      {"a nested level gets what is left",
       "success{request_txn{success{request_txn{success " + put_a + "}}}}", absl::OkStatus()},
      {"and no more",
       "success{request_txn{success{request_txn{success{request_txn{success " + put_a + "}}}}}}",
       errors::TooManyOps()},
      {"comparison without key", "compare { }", errors::EmptyKey()},
      {"operation without request", "success { }", errors::KeyNotFound()},
      {"bad operation in the branch that does not run", "failure { request_put { } }",
       errors::EmptyKey()},
      {"bad nested operation", "success{request_txn{failure{request_range{}}}}",
       errors::EmptyKey()},
      {"two puts", "success " + put_a + " success " + put_a, errors::DuplicateKey()},
      {"puts in both branches", "success " + put_a + " failure " + put_a, absl::OkStatus()},
      {"put, then delete", "success " + put_a + " success " + del_a, errors::DuplicateKey()},
      {"delete, then put", "success " + del_a + " success " + put_a, errors::DuplicateKey()},
      {"two deletes", "success " + del_a + " success " + del_a, absl::OkStatus()},
      {"put in a deleted range",
       "failure { request_delete_range { key: 'A' range_end: 'b' } } failure " + put_a,
       errors::DuplicateKey()},
      {"put at the end of a deleted range",
       "failure { request_delete_range { key: 'A' range_end: 'a' } } failure " + put_a,
       absl::OkStatus()},
      {"put behind the start of an open range, which etcd does not look through",
       "success { request_delete_range { key: 'A' range_end: '\\000' } } success " + put_a,
       absl::OkStatus()},
      {"nested put and put", "success " + nest_put_a + " success " + put_a, errors::DuplicateKey()},
      {"put and nested put", "success " + put_a + " success " + nest_put_a, errors::DuplicateKey()},
      {"nested put and delete beside it", "success " + nest_put_a + " success " + del_a,
       errors::DuplicateKey()},
      {"two nested puts", "success " + nest_put_a + " success " + nest_put_a,
       errors::DuplicateKey()},
      {"nested delete, then nested put", "success " + nest_del_a + " success " + nest_put_a,
       errors::DuplicateKey()},
      {"nested put, then nested delete", "success " + nest_put_a + " success " + nest_del_a,
       absl::OkStatus()},
      {"nested put in either branch",
       "success{request_txn{success " + put_a + " failure " + put_a + "}}", absl::OkStatus()},
      {"nested put in either branch and a put",
       "success{request_txn{success " + put_a + " failure " + put_a + "}} success " + put_a,
       errors::DuplicateKey()},
      {"nested put against nested delete of the other branch",
       "success{request_txn{success " + put_a + " failure " + del_a + "}}", absl::OkStatus()},
  })));
}

TEST_CASE("A transaction is read-only when it only compares and ranges", "[kvstore][validate]") {
  using etcdserverpb::TxnRequest;
  CHECK(IsReadOnly(TxnRequest()));
  CHECK(IsReadOnly(Parse<TxnRequest>("success{request_range{key:'a'}}")));
  CHECK_FALSE(IsReadOnly(Parse<TxnRequest>("failure{request_put{key:'a'}}")));
  CHECK_FALSE(IsReadOnly(Parse<TxnRequest>("success{request_delete_range{key:'a'}}")));
  CHECK_FALSE(IsReadOnly(Parse<TxnRequest>("success{request_txn{}}")));

  CHECK(
      IsSerializable(Parse<TxnRequest>("success{request_range{serializable:true}} "
                                       "failure{request_range{serializable:true}}")));
  CHECK_FALSE(IsSerializable(
      Parse<TxnRequest>("success{request_range{serializable:true}} failure{request_range{}}")));

  CHECK(HasPut(Parse<TxnRequest>("failure{request_put{}}")));
  CHECK(HasPut(Parse<TxnRequest>("success{request_txn{failure{request_put{}}}}")));
  CHECK_FALSE(HasPut(Parse<TxnRequest>("success{request_delete_range{key:'a'}}")));
}

TEST_CASE("A key range knows what lies in it", "[kvstore][store]") {
  const std::string zero("\0", 1);
  CHECK(KeyRange{"a", ""}.Contains("a"));
  CHECK_FALSE(KeyRange{"a", ""}.Contains("ab"));
  CHECK(KeyRange{"a", "c"}.Contains("a"));
  CHECK(KeyRange{"a", "c"}.Contains("b\xff"));
  CHECK_FALSE(KeyRange{"a", "c"}.Contains("c"));
  CHECK(KeyRange{"b", zero}.Contains("\xff"));
  CHECK_FALSE(KeyRange{"b", zero}.Contains("a"));
  CHECK(KeyRange{zero, zero}.Contains(zero));

  CHECK(KeyRange{"b", "a"}.Empty());
  CHECK(KeyRange{"a", "a"}.Empty());
  CHECK_FALSE(KeyRange{"a", ""}.Empty());
  CHECK_FALSE(KeyRange{"a", zero}.Empty());
}

}  // namespace
}  // namespace keelson::kvstore
