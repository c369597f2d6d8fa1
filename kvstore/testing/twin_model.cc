#include "kvstore/testing/twin_model.h"

#include <algorithm>
#include <limits>

#include "kvstore/errors.h"

namespace keelson::kvstore::testing {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using mvccpb::Event;
using mvccpb::KeyValue;

const KeyValue* TwinModel::Live(const std::string& key, int64_t at) const {
  const auto it = keys_.find(key);
  if (it == keys_.end()) return nullptr;
  const Version* newest = nullptr;
  for (const Version& version : it->second) {
    if (version.main <= at) newest = &version;
  }
  return newest == nullptr || newest->deleted ? nullptr : &newest->pair;
}

void TwinModel::Read(const RangeRequest& request, int64_t at, RangeResponse* response) const {
  const KeyRange range{request.key(), request.range_end()};
  std::vector<KeyValue> live;
  for (const auto& [key, versions] : keys_) {
    const KeyValue* pair = range.Contains(key) ? Live(key, at) : nullptr;
    if (pair != nullptr) live.push_back(*pair);
  }
  response->set_count(static_cast<int64_t>(live.size()));
  if (request.count_only()) return;

  const auto drop = [&](auto predicate) {
    live.erase(std::remove_if(live.begin(), live.end(), predicate), live.end());
  };
  if (request.max_mod_revision() != 0) {
    drop([&](const KeyValue& p) { return p.mod_revision() > request.max_mod_revision(); });
  }
  if (request.min_mod_revision() != 0) {
    drop([&](const KeyValue& p) { return p.mod_revision() < request.min_mod_revision(); });
  }
  if (request.max_create_revision() != 0) {
    drop([&](const KeyValue& p) { return p.create_revision() > request.max_create_revision(); });
  }
  if (request.min_create_revision() != 0) {
    drop([&](const KeyValue& p) { return p.create_revision() < request.min_create_revision(); });
  }
  const auto less = [&](const KeyValue& a, const KeyValue& b) {
    switch (request.sort_target()) {
      case RangeRequest::VERSION:
        return a.version() < b.version();
      case RangeRequest::CREATE:
        return a.create_revision() < b.create_revision();
      case RangeRequest::MOD:
        return a.mod_revision() < b.mod_revision();
      case RangeRequest::VALUE:
        return a.value() < b.value();
      default:
        return a.key() < b.key();
    }
  };
  const bool filtered = request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
                        request.min_create_revision() != 0 || request.max_create_revision() != 0;
  if (request.limit() > 0 && request.sort_order() == RangeRequest::NONE &&
      request.sort_target() != RangeRequest::KEY && !filtered &&
      live.size() > static_cast<size_t>(request.limit()) + 1) {
    live.resize(static_cast<size_t>(request.limit()) + 1);
  }
  if (request.sort_order() == RangeRequest::DESCEND) {
    std::stable_sort(live.begin(), live.end(),
                     [&](const KeyValue& a, const KeyValue& b) { return less(b, a); });
  } else {
    std::stable_sort(live.begin(), live.end(), less);
  }
  if (request.limit() > 0 && live.size() > static_cast<size_t>(request.limit())) {
    response->set_more(true);
    live.resize(static_cast<size_t>(request.limit()));
  }
  for (KeyValue& pair : live) {
    if (request.keys_only()) pair.clear_value();
    *response->add_kvs() = pair;
  }
}

absl::Status TwinModel::Range(const RangeRequest& request, RangeResponse* response) const {
  if (absl::Status status = ValidateRange(request); !status.ok()) return status;
  if (request.revision() > revision_) return errors::FutureRevision();
  if (request.revision() > 0 && request.revision() < compacted_) return errors::Compacted();
  response->mutable_header()->set_revision(revision_);
  Read(request, request.revision() > 0 ? request.revision() : revision_, response);
  return absl::OkStatus();
}

absl::Status TwinModel::ReadTxn(const TxnRequest& request, TxnResponse* response) {
  outcome_.clear();
  changed_ = false;
  Mark(request);
  if (absl::Status status = CheckBranch(request, false); !status.ok()) return status;
  Run(request, response);
  response->mutable_header()->set_revision(revision_);
  return absl::OkStatus();
}

bool TwinModel::Succeeds(const TxnRequest& txn) const {
  for (const Compare& compare : txn.compare()) {
    const KeyRange range{compare.key(), compare.range_end()};
    std::vector<KeyValue> pairs;
    for (const auto& [key, versions] : keys_) {
      const KeyValue* pair = range.Contains(key) ? Live(key, revision_) : nullptr;
      if (pair != nullptr) pairs.push_back(*pair);
    }
    if (pairs.empty()) {
      if (compare.target() == Compare::VALUE) return false;
      pairs.emplace_back();
    }
    for (const KeyValue& pair : pairs) {
      int64_t left = 0;
      int64_t right = 0;
      switch (compare.target()) {
        case Compare::VERSION:
          left = pair.version();
          right = compare.version();
          break;
        case Compare::CREATE:
          left = pair.create_revision();
          right = compare.create_revision();
          break;
        case Compare::MOD:
          left = pair.mod_revision();
          right = compare.mod_revision();
          break;
        case Compare::LEASE:
          left = pair.lease();
          right = compare.lease();
          break;
        default:
          left = pair.value().compare(compare.value());
          break;
      }
      const bool holds = compare.result() == Compare::EQUAL     ? left == right
                         : compare.result() == Compare::GREATER ? left > right
                         : compare.result() == Compare::LESS    ? left < right
                                                                : left != right;
      if (!holds) return false;
    }
  }
  return true;
}

void TwinModel::Mark(const TxnRequest& txn) {
  const bool succeeds = Succeeds(txn);
  outcome_[&txn] = succeeds;
  for (const RequestOp& op : succeeds ? txn.success() : txn.failure()) {
    if (op.has_request_txn()) Mark(op.request_txn());
  }
}

absl::Status TwinModel::CheckPut(const etcdserverpb::PutRequest& request) const {
  if (request.lease() != 0 && leases_.count(request.lease()) == 0) return errors::LeaseNotFound();
  if ((request.ignore_value() || request.ignore_lease()) &&
      Live(request.key(), revision_) == nullptr) {
    return errors::KeyNotFound();
  }
  return absl::OkStatus();
}

absl::Status TwinModel::CheckBranch(const TxnRequest& txn, bool puts) const {
  for (const RequestOp& op : outcome_.at(&txn) ? txn.success() : txn.failure()) {
    absl::Status status;
    if (op.has_request_txn()) {
      status = CheckBranch(op.request_txn(), puts);
    } else if (puts && op.has_request_put()) {
      const etcdserverpb::PutRequest& put = op.request_put();
      const bool missing = Live(put.key(), revision_) == nullptr;
      status = (put.ignore_value() || put.ignore_lease()) && missing ? errors::KeyNotFound()
                                                                     : CheckPut(put);
    } else if (!puts && op.has_request_range()) {
      const int64_t at = op.request_range().revision();
      if (at > revision_) status = errors::FutureRevision();
      if (at > 0 && at < compacted_) status = errors::Compacted();
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void TwinModel::Run(const TxnRequest& txn, TxnResponse* response) {
  response->set_succeeded(outcome_.at(&txn));
  for (const RequestOp& op : outcome_.at(&txn) ? txn.success() : txn.failure()) {
    etcdserverpb::ResponseOp* const out = response->add_responses();
    if (op.has_request_txn()) {
      (void)out->mutable_response_txn()->mutable_header();
      Run(op.request_txn(), out->mutable_response_txn());
    } else if (op.has_request_put()) {
      Put(op.request_put(), out->mutable_response_put());
    } else if (op.has_request_delete_range()) {
      DeleteRange(op.request_delete_range(), out->mutable_response_delete_range());
    } else {
      RangeResponse* const range = out->mutable_response_range();
      range->mutable_header()->set_revision(Now());
      const int64_t at = op.request_range().revision();
      Read(op.request_range(), at > 0 ? at : Now(), range);
    }
  }
}

void TwinModel::Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response) {
  const KeyValue* const found = Live(request.key(), Now());
  const KeyValue before = found == nullptr ? KeyValue() : *found;
  if (request.prev_kv() && found != nullptr) *response->mutable_prev_kv() = before;
  changed_ = true;
  KeyValue pair;
  pair.set_key(request.key());
  pair.set_create_revision(found != nullptr ? before.create_revision() : Now());
  pair.set_mod_revision(Now());
  pair.set_version(before.version() + 1);
  pair.set_value(request.ignore_value() ? before.value() : request.value());
  pair.set_lease(request.ignore_lease() ? before.lease() : request.lease());
  keys_[request.key()].push_back({Now(), false, pair});
  Event event;
  *event.mutable_kv() = pair;
  events_[Now()].push_back(event);
  response->mutable_header()->set_revision(Now());
}

void TwinModel::DeleteKey(const std::string& key) {
  changed_ = true;
  keys_[key].push_back({Now(), true, {}});
  Event event;
  event.set_type(Event::DELETE);
  event.mutable_kv()->set_key(key);
  event.mutable_kv()->set_mod_revision(Now());
  events_[Now()].push_back(event);
}

void TwinModel::DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                            etcdserverpb::DeleteRangeResponse* response) {
  RangeRequest all;
  all.set_key(request.key());
  all.set_range_end(request.range_end());
  RangeResponse found;
  Read(all, Now(), &found);
  for (const KeyValue& pair : found.kvs()) {
    DeleteKey(pair.key());
    if (request.prev_kv()) *response->add_prev_kvs() = pair;
  }
  response->set_deleted(found.kvs_size());
  response->mutable_header()->set_revision(Now());
}

CommandResult TwinModel::Apply(Command command) {
  CommandResult result;
  result.request_id = command.request_id();
  changed_ = false;
  outcome_.clear();
  if (command.has_put()) {
    result.status = ValidatePut(command.put());
    if (result.status.ok()) result.status = CheckPut(command.put());
    if (result.status.ok()) {
      Put(command.put(), &result.response.emplace<etcdserverpb::PutResponse>());
    }
  } else if (command.has_delete_range()) {
    result.status = ValidateDeleteRange(command.delete_range());
    if (result.status.ok()) {
      DeleteRange(command.delete_range(),
                  &result.response.emplace<etcdserverpb::DeleteRangeResponse>());
    }
  } else if (command.has_txn()) {
    result.status = ValidateTxn(command.txn(), std::numeric_limits<size_t>::max());
    if (result.status.ok()) Mark(command.txn());
    if (result.status.ok()) result.status = CheckBranch(command.txn(), true);
    if (result.status.ok()) result.status = CheckBranch(command.txn(), false);
    if (result.status.ok()) {
      auto& response = result.response.emplace<TxnResponse>();
      Run(command.txn(), &response);
      response.mutable_header()->set_revision(Now());
    }
  } else if (command.has_compaction()) {
    const int64_t at = command.compaction().revision();
    if (at <= compacted_) {
      result.status = errors::Compacted();
    } else if (at > revision_) {
      result.status = errors::FutureRevision();
    } else {
      compacted_ = at;
      result.response.emplace<etcdserverpb::CompactionResponse>().mutable_header()->set_revision(
          revision_);
    }
  } else if (command.has_lease_grant()) {
    const int64_t id = command.lease_grant().id();
    if (leases_.count(id) > 0) {
      result.status = errors::LeaseExists();
    } else {
      leases_[id] = {id, command.lease_grant().ttl(), 0};
      auto& response = result.response.emplace<etcdserverpb::LeaseGrantResponse>();
      response.mutable_header()->set_revision(revision_);
      response.set_id(id);
      response.set_ttl(command.lease_grant().ttl());
    }
  } else if (command.has_lease_revoke()) {
    const int64_t id = command.lease_revoke().id();
    if (leases_.count(id) == 0) {
      result.status = errors::LeaseNotFound();
    } else {
      for (const std::string& key : LeaseKeys(id)) DeleteKey(key);
      leases_.erase(id);
      result.response.emplace<etcdserverpb::LeaseRevokeResponse>().mutable_header()->set_revision(
          Now());
    }
  } else if (command.has_lease_checkpoint()) {
    for (const auto& checkpoint : command.lease_checkpoint().checkpoints()) {
      const auto it = leases_.find(checkpoint.id());
      if (it != leases_.end()) it->second.remaining_ttl_seconds = checkpoint.remaining_ttl();
    }
  }
  if (changed_) ++revision_;
  return result;
}

std::vector<std::string> TwinModel::LeaseKeys(int64_t id) const {
  std::vector<std::string> out;
  for (const auto& [key, versions] : keys_) {
    const KeyValue* const pair = Live(key, revision_);
    if (pair != nullptr && pair->lease() == id) out.push_back(key);
  }
  return out;
}

absl::Status TwinModel::History(const KeyRange& range, int64_t from, bool prev_kv,
                                std::vector<Store::Change>* changes) const {
  if (from < compacted_) return errors::Compacted();
  for (auto it = events_.lower_bound(from); it != events_.end(); ++it) {
    Store::Change change{.revision = it->first, .events = {}};
    for (const Event& event : it->second) {
      if (!range.Contains(event.kv().key())) continue;
      change.events.push_back(event);
      const KeyValue* const before =
          it->first - 1 >= compacted_ ? Live(event.kv().key(), it->first - 1) : nullptr;
      if (prev_kv && before != nullptr && !IsCreation(event))
        *change.events.back().mutable_prev_kv() = *before;
    }
    if (!change.events.empty()) changes->push_back(std::move(change));
  }
  return absl::OkStatus();
}

size_t TwinModel::LiveKeys() const {
  size_t live = 0;
  for (const auto& [key, versions] : keys_) live += versions.back().deleted ? 0 : 1;
  return live;
}

size_t TwinModel::KeptVersions() const {
  size_t kept = 0;
  for (const auto& [key, versions] : keys_) {
    for (size_t n = 0; n < versions.size(); ++n) {
      const Version& version = versions[n];
      const bool newest = n + 1 == versions.size() || versions[n + 1].main > compacted_;
      if (version.main >= compacted_ || (newest && !version.deleted)) ++kept;
    }
  }
  return kept;
}

}  // namespace keelson::kvstore::testing
