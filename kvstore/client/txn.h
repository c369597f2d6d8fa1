// Puts a transaction together.
//
//   // Move the job, if it is still free and we still hold the lock.
//   client.Txn(TxnBuilder()
//                  .If(Exists("jobs/free/7"))
//                  .If(lock.IsOwner())
//                  .Then(DeleteOf("jobs/free/7"))
//                  .Then(PutOf("jobs/mine/7", "host-3", session.lease()))
//                  .Else(RangeOf("jobs/mine/7"))
//                  .Build());
//
// All conditions must hold; without any the first branch is taken. Operations are done in the order
// given, and are answered in it. A branch may hold transactions.
//
// Threading: a value.
#ifndef KEELSON_KVSTORE_CLIENT_TXN_H_
#define KEELSON_KVSTORE_CLIENT_TXN_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "kvstore/api/rpc.pb.h"

namespace keelson::kvstore {

// ---- Conditions, each that something of one key equals something ----

// A key that does not exist has revisions and version 0, no value and no lease. ModRevisionIs is in
// client.h.
etcdserverpb::Compare CreateRevisionIs(std::string_view key, int64_t revision);
etcdserverpb::Compare VersionIs(std::string_view key, int64_t version);
// Never holds for a key that does not exist.
etcdserverpb::Compare ValueIs(std::string_view key, std::string_view value);
etcdserverpb::Compare LeaseIs(std::string_view key, int64_t lease);
etcdserverpb::Compare Exists(std::string_view key);
etcdserverpb::Compare Missing(std::string_view key);

// The same condition with another relation than equality: what is stored is not, is less than, is
// greater than what was given.
etcdserverpb::Compare Not(etcdserverpb::Compare condition);
etcdserverpb::Compare Less(etcdserverpb::Compare condition);
etcdserverpb::Compare Greater(etcdserverpb::Compare condition);
// For all keys that begin with the condition's. Holds when there are none.
etcdserverpb::Compare ForPrefix(etcdserverpb::Compare condition);

// ---- Transactions ----

class TxnBuilder {
 public:
  TxnBuilder& If(etcdserverpb::Compare condition) {
    *request_.add_compare() = std::move(condition);
    return *this;
  }
  // Operations are Range-, Put- and DeleteRangeRequests, TxnRequests and TxnBuilders.
  template <typename Operation>
  TxnBuilder& Then(const Operation& operation) {
    Set(request_.add_success(), operation);
    return *this;
  }
  template <typename Operation>
  TxnBuilder& Else(const Operation& operation) {
    Set(request_.add_failure(), operation);
    return *this;
  }
  [[nodiscard]] const etcdserverpb::TxnRequest& Build() const { return request_; }

 private:
  using Op = etcdserverpb::RequestOp;
  static void Set(Op* op, const etcdserverpb::RangeRequest& r) { *op->mutable_request_range() = r; }
  static void Set(Op* op, const etcdserverpb::PutRequest& r) { *op->mutable_request_put() = r; }
  static void Set(Op* op, const etcdserverpb::DeleteRangeRequest& r) {
    *op->mutable_request_delete_range() = r;
  }
  static void Set(Op* op, const etcdserverpb::TxnRequest& r) { *op->mutable_request_txn() = r; }
  static void Set(Op* op, const TxnBuilder& b) { *op->mutable_request_txn() = b.request_; }

  etcdserverpb::TxnRequest request_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_TXN_H_
