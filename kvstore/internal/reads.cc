#include "kvstore/internal/reads.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "base/status.h"
#include "kvstore/errors.h"

namespace keelson::kvstore::internal {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using mvccpb::KeyValue;

int Order(int64_t a, int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

bool PassesFilters(const RangeRequest& request, const Pair& pair) {
  const int64_t mod = pair.modified.main;
  const int64_t create = pair.create_revision;
  return (request.max_mod_revision() == 0 || mod <= request.max_mod_revision()) &&
         (request.min_mod_revision() == 0 || mod >= request.min_mod_revision()) &&
         (request.max_create_revision() == 0 || create <= request.max_create_revision()) &&
         (request.min_create_revision() == 0 || create >= request.min_create_revision());
}

bool HasFilters(const RangeRequest& request) {
  return request.max_mod_revision() != 0 || request.min_mod_revision() != 0 ||
         request.max_create_revision() != 0 || request.min_create_revision() != 0;
}

// Keys come in ascending order already.
bool NeedsSort(const RangeRequest& request) {
  return request.sort_target() != RangeRequest::KEY ||
         request.sort_order() == RangeRequest::DESCEND;
}

// How many of the pairs that pass the filters are looked at further.
int64_t PairsToKeep(const RangeRequest& request) {
  if (request.limit() <= 0) return std::numeric_limits<int64_t>::max();
  if (!NeedsSort(request)) return request.limit();
  // A custom order needs every pair before the cut. But where only the target is named, etcd reads
  // one pair more than the limit, sorts these, and cuts then.
  const bool first_only = request.sort_order() == RangeRequest::NONE && !HasFilters(request);
  return first_only ? request.limit() + 1 : std::numeric_limits<int64_t>::max();
}

int OrderByTarget(const KeyValue& a, const KeyValue& b, RangeRequest::SortTarget target) {
  switch (target) {
    case RangeRequest::VERSION:
      return Order(a.version(), b.version());
    case RangeRequest::CREATE:
      return Order(a.create_revision(), b.create_revision());
    case RangeRequest::MOD:
      return Order(a.mod_revision(), b.mod_revision());
    case RangeRequest::VALUE:
      return a.value().compare(b.value());
    default:
      return a.key().compare(b.key());
  }
}

// Ties keep the order of keys, so that every member gives the same answer.
void Sort(const RangeRequest& request, RangeResponse* response) {
  const bool descending = request.sort_order() == RangeRequest::DESCEND;
  std::stable_sort(response->mutable_kvs()->pointer_begin(), response->mutable_kvs()->pointer_end(),
                   [&](const KeyValue* a, const KeyValue* b) {
                     const int order = OrderByTarget(*a, *b, request.sort_target());
                     return descending ? order > 0 : order < 0;
                   });
}

// For a missing key every field but the value counts as 0.
bool Holds(const Compare& compare, const Pair& pair) {
  int order = 0;
  switch (compare.target()) {
    case Compare::VERSION:
      order = Order(pair.version, compare.version());
      break;
    case Compare::CREATE:
      order = Order(pair.create_revision, compare.create_revision());
      break;
    case Compare::MOD:
      order = Order(pair.modified.main, compare.mod_revision());
      break;
    case Compare::VALUE:
      order = pair.value.compare(std::string_view(compare.value()));
      break;
    case Compare::LEASE:
      order = Order(pair.lease, compare.lease());
      break;
    default:
      break;
  }
  switch (compare.result()) {
    case Compare::EQUAL:
      return order == 0;
    case Compare::GREATER:
      return order > 0;
    case Compare::LESS:
      return order < 0;
    case Compare::NOT_EQUAL:
      return order != 0;
    default:
      return true;
  }
}

absl::StatusOr<bool> Evaluate(View& view, const Compare& compare, int64_t at) {
  const Need need = compare.target() == Compare::VALUE ? Need::kPair : Need::kMetadata;
  bool any = false;
  bool all = true;
  KEELSON_RETURN_IF_ERROR(
      view.Scan({compare.key(), compare.range_end()}, at, need, [&](const Pair& pair) {
        any = true;
        all = Holds(compare, pair);
        return all;
      }));
  if (any) return all;
  return compare.target() != Compare::VALUE && Holds(compare, Pair{});
}

absl::Status AppendPath(View& view, const TxnRequest& txn, int64_t at, TxnPath* path) {
  bool succeeded = true;
  for (const Compare& compare : txn.compare()) {
    KEELSON_ASSIGN_OR_RETURN(succeeded, Evaluate(view, compare, at));
    if (!succeeded) break;
  }
  path->push_back(succeeded);
  for (const RequestOp& op : Branch(txn, succeeded)) {
    if (op.has_request_txn()) {
      KEELSON_RETURN_IF_ERROR(AppendPath(view, op.request_txn(), at, path));
    }
  }
  return absl::OkStatus();
}

// Makes room for as many pairs again as will come, going by the first.
void ReserveRest(const RangeRequest& request, std::optional<int64_t> count, std::string* bytes) {
  constexpr size_t kReservedMax = 16 << 20;
  int64_t pairs = count.value_or(1);
  if (request.limit() > 0) pairs = std::min(pairs, request.limit());
  const size_t each = bytes->size() + bytes->size() / 8;
  bytes->reserve(std::min(kReservedMax, each * static_cast<size_t>(std::max<int64_t>(pairs, 1))));
}

absl::Status Visit(const TxnRequest& txn, const TxnPath& path, size_t* next,
                   absl::FunctionRef<absl::Status(const RequestOp&)> visit) {
  for (const RequestOp& op : Branch(txn, path[(*next)++])) {
    if (op.has_request_txn()) {
      KEELSON_RETURN_IF_ERROR(Visit(op.request_txn(), path, next, visit));
    } else {
      KEELSON_RETURN_IF_ERROR(visit(op));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckReadRevision(int64_t requested, int64_t current, int64_t compacted) {
  if (requested <= 0) return absl::OkStatus();
  if (requested > current) return errors::FutureRevision();
  if (requested < compacted) return errors::Compacted();
  return absl::OkStatus();
}

absl::Status CheckTxnReadRevision(int64_t requested, int64_t current, int64_t compacted) {
  if (requested < 0 && requested < compacted) return errors::Compacted();
  return CheckReadRevision(requested, current, compacted);
}

bool TakesInOrder(const RangeRequest& request) {
  return !NeedsSort(request) && !HasFilters(request);
}

absl::Status ReadRange(View& view, const RangeRequest& request, int64_t at, RangeResponse* response,
                       std::optional<int64_t> count, EncodedPairs* encoded) {
  const bool sorted = NeedsSort(request);
  const bool filtered = HasFilters(request);
  const int64_t keep = PairsToKeep(request);
  const bool with_value = !request.keys_only() || request.sort_target() == RangeRequest::VALUE;
  const Need need = with_value && !request.count_only() ? Need::kPair : Need::kMetadata;
  int64_t met = 0;
  int64_t passed = 0;
  const auto take = [&](const Pair& pair) {
    ++met;  // all of them whatever the limit: clients page with the count
    if (request.count_only()) return true;
    if (filtered && !PassesFilters(request, pair)) return true;
    if (++passed > keep) return !count.has_value();
    if (encoded == nullptr || sorted) {
      ToKeyValue(pair, with_value, response->add_kvs());
    } else {
      AppendPairField(pair, with_value, encoded->bytes);
      ++encoded->count;
      if (passed == 1) ReserveRest(request, count, encoded->bytes);
      if (passed == keep) encoded->last_key.assign(pair.key);
    }
    return true;
  };
  if (!request.count_only() || !count.has_value()) {
    KEELSON_RETURN_IF_ERROR(view.Scan({request.key(), request.range_end()}, at, need, take));
  }
  response->set_count(count.value_or(met));
  if (request.count_only()) return absl::OkStatus();

  if (sorted) Sort(request, response);
  if (request.limit() > 0 && passed > request.limit()) {
    response->set_more(true);
    if (response->kvs_size() > request.limit()) {
      const int limit = static_cast<int>(request.limit());
      response->mutable_kvs()->DeleteSubrange(limit, response->kvs_size() - limit);
    }
  }
  if (request.keys_only() && with_value) {
    for (KeyValue& pair : *response->mutable_kvs()) pair.clear_value();
  }
  if (encoded != nullptr && sorted) {
    encoded->count = response->kvs_size();
    RangeResponse pairs;
    pairs.mutable_kvs()->Swap(response->mutable_kvs());
    *encoded->bytes = pairs.SerializeAsString();
  }
  return absl::OkStatus();
}

absl::Status ReadChunk(View& view, const RangeRequest& request, int64_t at, size_t max_bytes,
                       RangeResponse* response) {
  const Need need = request.keys_only() ? Need::kMetadata : Need::kPair;
  size_t bytes = 0;
  return view.Scan({request.key(), request.range_end()}, at, need, [&](const Pair& pair) {
    const bool at_limit = request.limit() > 0 && response->kvs_size() >= request.limit();
    if (at_limit || (bytes >= max_bytes && response->kvs_size() > 0)) {
      response->set_more(true);
      return false;
    }
    KeyValue* const out = response->add_kvs();
    ToKeyValue(pair, !request.keys_only(), out);
    bytes += out->ByteSizeLong();
    return true;
  });
}

absl::StatusOr<TxnPath> ChoosePath(View& view, const TxnRequest& txn, int64_t at) {
  TxnPath path;
  KEELSON_RETURN_IF_ERROR(AppendPath(view, txn, at, &path));
  return path;
}

const google::protobuf::RepeatedPtrField<RequestOp>& Branch(const TxnRequest& txn, bool succeeded) {
  return succeeded ? txn.success() : txn.failure();
}

absl::Status VisitPath(const TxnRequest& txn, const TxnPath& path,
                       absl::FunctionRef<absl::Status(const RequestOp&)> visit) {
  size_t next = 0;
  return Visit(txn, path, &next, visit);
}

}  // namespace keelson::kvstore::internal
