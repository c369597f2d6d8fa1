#include "tests/interop/etcd_diff/compare.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/api/rpc.pb.h"

namespace keelson::etcd_diff {
namespace {

using namespace etcdserverpb;  // NOLINT: all of it
using google::protobuf::Message;
using mvccpb::KeyValue;

std::string Rank(const KeyValue& pair, RangeRequest::SortTarget target) {
  switch (target) {
    case RangeRequest::VERSION:
      return absl::StrCat(pair.version());
    case RangeRequest::CREATE:
      return absl::StrCat(pair.create_revision());
    case RangeRequest::MOD:
      return absl::StrCat(pair.mod_revision());
    case RangeRequest::VALUE:
      return pair.value();
    default:
      return pair.key();
  }
}

// Etcd's sort is not stable: pairs of one rank come in any order, and which of them a limit
// cuts off is open.
void NormalizeRange(const RangeRequest& request, RangeResponse* response) {
  if (request.sort_target() == RangeRequest::KEY) return;
  auto& pairs = *response->mutable_kvs();
  // Where values are not shown their rank is not seen; then only the pairs as a set count.
  const bool hidden = request.keys_only() && request.sort_target() == RangeRequest::VALUE;
  if (hidden && response->more()) {
    for (KeyValue& pair : pairs) pair.Clear();
    return;
  }
  const auto rank = [&](const KeyValue& pair) {
    return hidden ? std::string() : Rank(pair, request.sort_target());
  };
  for (int begin = 0; begin < pairs.size();) {
    int end = begin + 1;
    while (end < pairs.size() && rank(pairs[end]) == rank(pairs[begin])) ++end;
    std::sort(pairs.pointer_begin() + begin, pairs.pointer_begin() + end,
              [](const KeyValue* a, const KeyValue* b) { return a->key() < b->key(); });
    if (end == pairs.size() && response->more()) {
      const KeyValue last = pairs[begin];
      for (int i = begin; i < end; ++i) {
        pairs[i].Clear();
        pairs[i].set_value(Rank(last, request.sort_target()));
      }
    }
    begin = end;
  }
}

void NormalizeTxn(const TxnRequest& request, TxnResponse* response) {
  const auto& branch = response->succeeded() ? request.success() : request.failure();
  for (int i = 0; i < std::min(branch.size(), response->responses_size()); ++i) {
    ResponseOp& inner = *response->mutable_responses(i);
    if (inner.has_response_range()) {
      NormalizeRange(branch[i].request_range(), inner.mutable_response_range());
    }
    if (inner.has_response_txn()) {
      NormalizeTxn(branch[i].request_txn(), inner.mutable_response_txn());
    }
  }
}

void NormalizeTimeToLive(LeaseTimeToLiveResponse* response) {
  // The clocks of two servers: a minute is enough.
  if (response->ttl() > 0) response->set_ttl((response->grantedttl() - response->ttl()) / 3600);
  std::sort(response->mutable_keys()->begin(), response->mutable_keys()->end());
}

}  // namespace

void Normalize(const Message& request, Message* response) {
  const auto* const reflection = response->GetReflection();
  const auto* const field = response->GetDescriptor()->FindFieldByName("header");
  if (field != nullptr && reflection->HasField(*response, field)) {
    auto* const header = static_cast<ResponseHeader*>(reflection->MutableMessage(response, field));
    header->clear_cluster_id();
    header->clear_member_id();
    header->clear_raft_term();
  }
  if (auto* range = dynamic_cast<RangeResponse*>(response)) {
    NormalizeRange(dynamic_cast<const RangeRequest&>(request), range);
  } else if (auto* txn = dynamic_cast<TxnResponse*>(response)) {
    NormalizeTxn(dynamic_cast<const TxnRequest&>(request), txn);
  } else if (auto* ttl = dynamic_cast<LeaseTimeToLiveResponse*>(response)) {
    NormalizeTimeToLive(ttl);
  } else if (auto* leases = dynamic_cast<LeaseLeasesResponse*>(response)) {
    std::sort(leases->mutable_leases()->pointer_begin(), leases->mutable_leases()->pointer_end(),
              [](const LeaseStatus* a, const LeaseStatus* b) { return a->id() < b->id(); });
  } else if (auto* role = dynamic_cast<AuthRoleGetResponse*>(response)) {
    std::sort(role->mutable_perm()->pointer_begin(), role->mutable_perm()->pointer_end(),
              [](const authpb::Permission* a, const authpb::Permission* b) {
                return a->key() != b->key() ? a->key() < b->key() : a->range_end() < b->range_end();
              });
  } else if (auto* hash = dynamic_cast<HashKVResponse*>(response)) {
    hash->clear_hash_revision();  // Newer than etcd 3.4.
  } else if (auto* token = dynamic_cast<AuthenticateResponse*>(response)) {
    token->set_token(token->token().empty() ? "" : "a token");
  }
}

}  // namespace keelson::etcd_diff
