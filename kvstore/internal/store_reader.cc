#include "kvstore/internal/store_reader.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "base/status.h"
#include "kvstore/errors.h"
#include "kvstore/internal/etcd_image.h"
#include "kvstore/internal/history.h"
#include "kvstore/internal/reads.h"
#include "kvstore/internal/view.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore::internal {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::RequestOp;
using etcdserverpb::ResponseOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;

// Runs `read` with a view and the current revision. Its lowest revision read is `oldest`
// (<= 0: the current one). When a compaction passes that meanwhile, versions may have been
// missed: then a historic read fails and a current one is done again on newer state, which
// a compaction can pass again only after yet more writes.
absl::Status ReadConsistently(const Generation& generation, int64_t oldest,
                              absl::FunctionRef<absl::Status(View& view, int64_t current)> read) {
  for (;;) {
    const int64_t current = generation.revision.load(std::memory_order_acquire);
    View view(*generation.engine, generation.latest);
    const absl::Status status = read(view, current);
    const int64_t compacted = generation.compacted.load(std::memory_order_acquire);
    if (oldest > 0 && oldest < compacted) {
      return errors::Compacted();
    }
    if (current >= compacted) return status;
  }
}

// The lowest revision that a range on the path asks for; 0 when all read the current one.
int64_t OldestRead(const TxnRequest& txn, const TxnPath& path) {
  int64_t oldest = 0;
  const absl::Status ignored = VisitPath(txn, path, [&](const RequestOp& op) {
    const int64_t revision = op.request_range().revision();
    if (revision > 0 && (oldest == 0 || revision < oldest)) oldest = revision;
    return absl::OkStatus();
  });
  (void)ignored;  // Always OK: the visitor never fails.
  return oldest;
}

// Answers a range with the help of earlier counts, and keeps what it learns: its count, and that of
// the next page of a list.
absl::Status ReadCounted(Generation& generation, View& view, const RangeRequest& request,
                         int64_t at, RangeResponse* response, EncodedPairs* encoded = nullptr) {
  const Bounds bounds{request.key(), request.range_end()};
  if (bounds.OneKey()) return ReadRange(view, request, at, response, std::nullopt, encoded);
  KEELSON_ASSIGN_OR_RETURN(
      const std::optional<int64_t> count,
      generation.counts.Find(*generation.engine, generation.compacted, bounds, at));
  KEELSON_RETURN_IF_ERROR(ReadRange(view, request, at, response, count, encoded));
  if (!count.has_value()) generation.counts.Record(bounds, at, response->count());
  const int64_t given = encoded == nullptr ? response->kvs_size() : encoded->count;
  if (response->more() && given > 0 && TakesInOrder(request)) {
    // Clients go on at the next key there can be, at the same revision.
    const std::string& last =
        encoded == nullptr ? response->kvs().rbegin()->key() : encoded->last_key;
    generation.counts.Record({last + '\0', bounds.range_end}, at, response->count() - given);
  }
  return absl::OkStatus();
}

absl::Status RunReadTxn(Generation& generation, View& view, const TxnRequest& txn, int64_t current,
                        int64_t compacted, int64_t* oldest, TxnResponse* response) {
  KEELSON_ASSIGN_OR_RETURN(const TxnPath path, ChoosePath(view, txn, current));
  *oldest = OldestRead(txn, path);
  response->set_succeeded(path.front());
  response->mutable_header()->set_revision(current);
  for (const RequestOp& op : Branch(txn, path.front())) {
    KEELSON_RETURN_IF_ERROR(
        CheckTxnReadRevision(op.request_range().revision(), current, compacted));
  }
  for (const RequestOp& op : Branch(txn, path.front())) {
    const int64_t at = op.request_range().revision();
    RangeResponse* const range = response->add_responses()->mutable_response_range();
    range->mutable_header()->set_revision(current);
    KEELSON_RETURN_IF_ERROR(
        ReadCounted(generation, view, op.request_range(), at <= 0 ? current : at, range));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t StoreReader::Revision() const {
  return current_.Get()->revision.load(std::memory_order_acquire);
}

int64_t StoreReader::CompactedRevision() const {
  return current_.Get()->compacted.load(std::memory_order_acquire);
}

absl::Status StoreReader::ReadAsAsked(
    const RangeRequest& request, RangeResponse* response,
    absl::FunctionRef<absl::Status(Generation&, View&, int64_t at)> read) const {
  const std::shared_ptr<Generation> generation = current_.Get();
  return ReadConsistently(
      *generation, request.revision(), [&](View& view, int64_t current) -> absl::Status {
        response->Clear();
        response->mutable_header()->set_revision(current);
        KEELSON_RETURN_IF_ERROR(CheckReadRevision(
            request.revision(), current, generation->compacted.load(std::memory_order_acquire)));
        return read(*generation, view, request.revision() <= 0 ? current : request.revision());
      });
}

absl::Status StoreReader::Range(const RangeRequest& request, RangeResponse* response) const {
  KEELSON_RETURN_IF_ERROR(ValidateRange(request));
  return ReadAsAsked(request, response, [&](Generation& generation, View& view, int64_t at) {
    return ReadCounted(generation, view, request, at, response);
  });
}

absl::Status StoreReader::EncodeRange(const RangeRequest& request, RangeResponse* rest,
                                      std::string* pairs) const {
  KEELSON_RETURN_IF_ERROR(ValidateRange(request));
  return ReadAsAsked(request, rest, [&](Generation& generation, View& view, int64_t at) {
    pairs->clear();
    EncodedPairs encoded{.bytes = pairs, .last_key = {}};
    return ReadCounted(generation, view, request, at, rest, &encoded);
  });
}

absl::Status StoreReader::RangeChunk(const RangeRequest& request, size_t max_bytes,
                                     RangeResponse* response) const {
  KEELSON_RETURN_IF_ERROR(ValidateRange(request));
  KEELSON_RETURN_IF_ERROR(ValidateStreamedRange(request));
  return ReadAsAsked(request, response, [&](Generation&, View& view, int64_t at) {
    return ReadChunk(view, request, at, max_bytes, response);
  });
}

absl::Status StoreReader::ReadTxn(const TxnRequest& request, TxnResponse* response) const {
  const std::shared_ptr<Generation> generation = current_.Get();
  for (;;) {
    const int64_t current = generation->revision.load(std::memory_order_acquire);
    int64_t oldest = 0;
    View view(*generation->engine, generation->latest);
    response->Clear();
    const absl::Status status =
        RunReadTxn(*generation, view, request, current,
                   generation->compacted.load(std::memory_order_acquire), &oldest, response);
    const int64_t compacted = generation->compacted.load(std::memory_order_acquire);
    if (current < compacted) continue;  // Versions may have been missed: read newer state.
    if (status.ok() && oldest > 0 && oldest < compacted) return errors::Compacted();
    return status;
  }
}

absl::StatusOr<Store::History> StoreReader::ReadHistory(const KeyRange& range, int64_t from,
                                                        bool prev_kv, size_t max_changes,
                                                        size_t max_bytes) const {
  const std::shared_ptr<Generation> generation = current_.Get();
  return internal::ReadHistory(*generation, range, from, prev_kv, max_changes, max_bytes);
}

absl::StatusOr<mvccpb::KeyValue> StoreReader::GetAt(std::string_view key, int64_t revision) const {
  const std::shared_ptr<Generation> generation = current_.Get();
  mvccpb::KeyValue result;
  const absl::Status status =
      ReadConsistently(*generation, revision, [&](View& view, int64_t current) -> absl::Status {
        KEELSON_RETURN_IF_ERROR(CheckReadRevision(
            revision, current, generation->compacted.load(std::memory_order_acquire)));
        Pair pair;
        KEELSON_ASSIGN_OR_RETURN(
            const bool found,
            view.Find(key, revision <= 0 ? current : revision, Need::kPair, &pair));
        if (!found) return absl::NotFoundError("the key did not exist at that revision");
        result.Clear();
        ToKeyValue(pair, true, &result);
        return absl::OkStatus();
      });
  if (!status.ok()) return status;
  return result;
}

Store::Sizes StoreReader::GetSizes() const {
  const std::shared_ptr<Generation> generation = current_.Get();
  const Engine::Sizes sizes = generation->engine->GetSizes();
  return {.disk_bytes = sizes.disk_bytes,
          .in_use_bytes = sizes.in_use_bytes,
          .rows = sizes.data_rows,
          .keys = generation->live_keys.load(std::memory_order_relaxed)};
}

absl::Status StoreReader::GiveBackSpace() const { return current_.Get()->engine->GiveBackSpace(); }

std::vector<Store::LeaseInfo> StoreReader::Leases() const {
  return current_.Get()->tables.Leases();
}

int64_t StoreReader::LeaseTtl(int64_t id) const {
  const auto lease = current_.Get()->tables.Lease(id);
  return lease.has_value() ? lease->granted_ttl : 0;
}

std::vector<std::string> StoreReader::LeaseKeys(int64_t id) const {
  const std::shared_ptr<Generation> generation = current_.Get();
  const std::string rows = AttachmentRows(id);
  Engine::IterateOptions options;
  options.upper_bound = PrefixEnd(rows);
  std::vector<std::string> keys;
  const auto iterator = generation->engine->NewIterator(Family::kMeta, options);
  for (iterator->Seek(rows); iterator->Valid(); iterator->Next()) {
    keys.emplace_back(iterator->key().substr(rows.size()));
  }
  return keys;
}

std::vector<Store::MemberAttributes> StoreReader::Members() const {
  std::vector<MemberAttributes> out;
  for (auto& [id, member] : current_.Get()->tables.Members()) out.push_back(std::move(member));
  return out;
}

std::vector<Store::RaisedAlarm> StoreReader::Alarms() const {
  std::vector<RaisedAlarm> out;
  for (const Alarm& alarm : current_.Get()->tables.Alarms()) {
    out.push_back({.member_id = alarm.member_id, .type = alarm.type});
  }
  return out;
}

absl::StatusOr<std::unique_ptr<StoreImage>> StoreReader::TakeImage() const {
  return TakeEtcdImage(current_.Get());
}

std::shared_ptr<auth::AuthStore> StoreReader::Auth() const { return current_.Get()->auth; }

std::shared_ptr<v2::KeyStore> StoreReader::V2() const { return current_.Get()->v2; }

}  // namespace keelson::kvstore::internal
