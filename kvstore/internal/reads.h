// Ranges, comparisons and the reading half of transactions over a View
// (kvstore.md 3.7 to 3.12 and 4.3 to 4.6). Requests have been validated.
#ifndef KEELSON_KVSTORE_INTERNAL_READS_H_
#define KEELSON_KVSTORE_INTERNAL_READS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/internal/view.h"

namespace keelson::kvstore::internal {

// OUT_OF_RANGE with etcd's text unless `requested` (<= 0: now) can be read.
absl::Status CheckReadRevision(int64_t requested, int64_t current, int64_t compacted);

// The same for a range in a transaction, where etcd takes a negative revision for a compacted one.
absl::Status CheckTxnReadRevision(int64_t requested, int64_t current, int64_t compacted);

// The pairs of an answer as `kvs` fields of the message on the wire.
struct EncodedPairs {
  std::string* bytes = nullptr;
  int64_t count = 0;
  std::string last_key;
};

// Fills kvs, more and count of `response` with the pairs as of `at`; the header is left. `count`, if it
// is known already, ends the walk at the limit. With `encoded` the pairs go there and not into `response`.
absl::Status ReadRange(View& view, const etcdserverpb::RangeRequest& request, int64_t at,
                       etcdserverpb::RangeResponse* response,
                       std::optional<int64_t> count = std::nullopt,
                       EncodedPairs* encoded = nullptr);

// Store::RangeChunk, of pairs as of `at`; the header is left.
absl::Status ReadChunk(View& view, const etcdserverpb::RangeRequest& request, int64_t at,
                       size_t max_bytes, etcdserverpb::RangeResponse* response);

// Are the pairs of the answer the first ones of the range, in its order, with nothing left out?
bool TakesInOrder(const etcdserverpb::RangeRequest& request);

// For a transaction and each nested one that will run, in the order in which they are met:
// did its comparisons hold.
using TxnPath = std::vector<bool>;

// Decides the path of `txn` against the state as of `at`.
absl::StatusOr<TxnPath> ChoosePath(View& view, const etcdserverpb::TxnRequest& txn, int64_t at);

// The branch of `txn` that runs.
const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& Branch(
    const etcdserverpb::TxnRequest& txn, bool succeeded);

// Calls `visit` for each operation on `path` that is not a nested transaction, in order;
// stops at the first error.
absl::Status VisitPath(const etcdserverpb::TxnRequest& txn, const TxnPath& path,
                       absl::FunctionRef<absl::Status(const etcdserverpb::RequestOp&)> visit);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_READS_H_
