#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kvstore/errors.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using Operations = google::protobuf::RepeatedPtrField<RequestOp>;

absl::Status CheckShape(const TxnRequest& txn, size_t max_operations);

absl::Status CheckOperation(const RequestOp& op, size_t max_operations) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      return ValidateRange(op.request_range());
    case RequestOp::kRequestPut:
      return ValidatePut(op.request_put());
    case RequestOp::kRequestDeleteRange:
      return ValidateDeleteRange(op.request_delete_range());
    case RequestOp::kRequestTxn:
      return CheckShape(op.request_txn(), max_operations);
    case RequestOp::REQUEST_NOT_SET:
      break;
  }
  return errors::KeyNotFound();
}

// Everything but duplicates. Nesting is as deep as protobuf parses: 100 messages.
absl::Status CheckShape(const TxnRequest& txn, size_t max_operations) {
  const auto count =
      static_cast<size_t>(std::max({txn.compare_size(), txn.success_size(), txn.failure_size()}));
  if (count > max_operations) return errors::TooManyOps();
  for (const Compare& compare : txn.compare()) {
    if (compare.key().empty()) return errors::EmptyKey();
  }
  for (const Operations* branch : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *branch) {
      KEELSON_RETURN_IF_ERROR(CheckOperation(op, max_operations - count));
    }
  }
  return absl::OkStatus();
}

// What a branch may change.
struct Writes {
  std::set<std::string_view> puts;
  std::vector<const DeleteRangeRequest*> deletes;
};

// A deletion of everything from a key on is not looked through: etcd takes its end "\0" for a key
// here, and so lets a put of what it deletes pass.
bool Covers(const DeleteRangeRequest& range, std::string_view key) {
  if (range.range_end().empty()) return key == range.key();
  return key >= range.key() && key < range.range_end();
}

// Adds a put of `key` to `writes`; DuplicateKey if one of that key, or a deletion that covers
// it, is there already.
absl::Status AddPut(std::string_view key, Writes* writes) {
  const bool deleted =
      std::any_of(writes->deletes.begin(), writes->deletes.end(),
                  [&](const DeleteRangeRequest* range) { return Covers(*range, key); });
  if (deleted || !writes->puts.insert(key).second) return errors::DuplicateKey();
  return absl::OkStatus();
}

absl::Status CollectWrites(const Operations& branch, Writes* writes);

// Only one branch of a nested transaction runs: both may put the same key.
absl::Status CollectNestedWrites(const TxnRequest& txn, Writes* writes) {
  Writes success;
  Writes failure;
  KEELSON_RETURN_IF_ERROR(CollectWrites(txn.success(), &success));
  KEELSON_RETURN_IF_ERROR(CollectWrites(txn.failure(), &failure));
  for (const std::string_view key : success.puts) KEELSON_RETURN_IF_ERROR(AddPut(key, writes));
  for (const std::string_view key : failure.puts) {
    if (success.puts.count(key) == 0) KEELSON_RETURN_IF_ERROR(AddPut(key, writes));
  }
  for (const Writes* nested : {&success, &failure}) {
    writes->deletes.insert(writes->deletes.end(), nested->deletes.begin(), nested->deletes.end());
  }
  return absl::OkStatus();
}

// Deletions of the level count wherever they stand; those of nested transactions count for
// what comes after them and for the puts of the level. So etcd 3.4 to 3.7 do: a nested put
// before a deletion in a later sibling passes.
absl::Status CollectWrites(const Operations& branch, Writes* writes) {
  for (const RequestOp& op : branch) {
    if (op.has_request_delete_range()) writes->deletes.push_back(&op.request_delete_range());
  }
  for (const RequestOp& op : branch) {
    if (op.has_request_txn()) {
      KEELSON_RETURN_IF_ERROR(CollectNestedWrites(op.request_txn(), writes));
    }
  }
  for (const RequestOp& op : branch) {
    if (op.has_request_put()) KEELSON_RETURN_IF_ERROR(AddPut(op.request_put().key(), writes));
  }
  return absl::OkStatus();
}

// True if some operation, nested ones included, satisfies `predicate`.
bool AnyOperation(const TxnRequest& txn, const std::function<bool(const RequestOp&)>& predicate) {
  for (const Operations* branch : {&txn.success(), &txn.failure()}) {
    for (const RequestOp& op : *branch) {
      if (predicate(op)) return true;
      if (op.has_request_txn() && AnyOperation(op.request_txn(), predicate)) return true;
    }
  }
  return false;
}

}  // namespace

absl::Status ValidateRange(const RangeRequest& request) {
  if (request.key().empty()) return errors::EmptyKey();
  if (!RangeRequest::SortOrder_IsValid(request.sort_order()) ||
      !RangeRequest::SortTarget_IsValid(request.sort_target())) {
    return errors::InvalidSortOption();
  }
  return absl::OkStatus();
}

absl::Status ValidateStreamedRange(const RangeRequest& request) {
  if (request.sort_order() == RangeRequest::DESCEND || request.sort_target() != RangeRequest::KEY) {
    return absl::UnimplementedError("RangeStream does not support custom sort orders");
  }
  if (request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
      request.min_create_revision() != 0 || request.max_create_revision() != 0) {
    return absl::UnimplementedError("RangeStream does not support revision filters");
  }
  return absl::OkStatus();
}

absl::Status ValidatePut(const PutRequest& request) {
  if (request.key().empty()) return errors::EmptyKey();
  if (request.ignore_value() && !request.value().empty()) return errors::ValueProvided();
  if (request.ignore_lease() && request.lease() != 0) return errors::LeaseProvided();
  return absl::OkStatus();
}

absl::Status ValidateDeleteRange(const DeleteRangeRequest& request) {
  return request.key().empty() ? errors::EmptyKey() : absl::OkStatus();
}

absl::Status ValidateTxn(const TxnRequest& request, size_t max_txn_ops) {
  KEELSON_RETURN_IF_ERROR(CheckShape(request, max_txn_ops));
  for (const Operations* branch : {&request.success(), &request.failure()}) {
    if (branch->size() == 1 && !branch->at(0).has_request_txn()) continue;  // the usual case
    Writes writes;
    KEELSON_RETURN_IF_ERROR(CollectWrites(*branch, &writes));
  }
  return absl::OkStatus();
}

bool IsReadOnly(const TxnRequest& request) {
  return !AnyOperation(request, [](const RequestOp& op) { return !op.has_request_range(); });
}

bool IsSerializable(const TxnRequest& request) {
  return !AnyOperation(request, [](const RequestOp& op) {
    return op.has_request_range() && !op.request_range().serializable();
  });
}

bool HasPut(const TxnRequest& request) {
  return AnyOperation(request, [](const RequestOp& op) { return op.has_request_put(); });
}

}  // namespace keelson::kvstore
