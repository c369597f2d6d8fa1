#include "kvstore/internal/batch_applier.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/errors.h"

namespace keelson::kvstore::internal {
namespace {

using etcdserverpb::CompactionRequest;
using etcdserverpb::CompactionResponse;
using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::LeaseCheckpoint;
using etcdserverpb::LeaseGrantRequest;
using etcdserverpb::LeaseGrantResponse;
using etcdserverpb::LeaseRevokeRequest;
using etcdserverpb::LeaseRevokeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RequestOp;
using etcdserverpb::ResponseOp;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using mvccpb::Event;
using mvccpb::KeyValue;

constexpr int64_t kMaxLeaseTtlSeconds = 9'000'000'000;
// Members may be configured with different limits, so applying knows none.
constexpr size_t kAnyNumberOfOperations = std::numeric_limits<size_t>::max();

// The response of type T in `result`, made on first use; null when nobody waits for it.
template <typename T>
T* Response(CommandResult* result) {
  return result == nullptr ? nullptr : &result->response.emplace<T>();
}

}  // namespace

BatchApplier::BatchApplier(Generation& generation, ApplyListener& listener)
    : generation_(generation),
      listener_(listener),
      view_(std::in_place, *generation.engine, generation.latest, &overlay_),
      batch_(generation.engine->NewBatch()),
      revision_(generation.revision.load(std::memory_order_relaxed)),
      compacted_(generation.compacted.load(std::memory_order_relaxed)),
      live_keys_(generation.live_keys.load(std::memory_order_relaxed)),
      alarms_(generation.tables.Alarms()) {}

absl::Status BatchApplier::Add(uint64_t index, uint64_t term, std::string_view command) {
  index_ = index;
  command_.Clear();
  const bool readable = command_.ParseFromArray(command.data(), static_cast<int>(command.size()));
  const uint64_t id = command_.request_id();
  CommandResult result;
  const bool waiting = id != 0 && listener_.IsWaiting(id);
  result.request_id = id;
  result.index = index;

  sub_ = 0;
  absl::Status status;
  if (!readable) {
    status = absl::InvalidArgumentError("the command cannot be decoded");
  } else if (command_.origin().term() != 0 && command_.origin().term() != term) {
    status = absl::FailedPreconditionError("another term has begun");
  } else {
    status = CheckRights(command_);
    if (status.ok()) {
      status = CheckAlarms(command_);
      // "Corrupt" is an answer here, not damage of the engine.
      if (!status.ok()) return Answer(std::move(status), waiting, std::move(result));
      status = Execute(command_, waiting ? &result : nullptr);
    }
  }
  if (sub_ > 0) ++revision_;

  // Statuses of requests say what is wrong with the request; the rest comes from the engine.
  if (status.code() == absl::StatusCode::kDataLoss || status.code() == absl::StatusCode::kUnknown ||
      status.code() == absl::StatusCode::kInternal) {
    return status;
  }
  return Answer(std::move(status), waiting, std::move(result));
}

absl::Status BatchApplier::Answer(absl::Status status, bool waiting, CommandResult result) {
  if (waiting) {
    if (!status.ok()) result.response.emplace<std::monostate>();
    result.status = std::move(status);
    outcome_.results.push_back(std::move(result));
  }
  return absl::OkStatus();
}

absl::Status BatchApplier::Execute(Command& command, CommandResult* result) {
  switch (command.operation_case()) {
    case Command::kPut:
      KEELSON_RETURN_IF_ERROR(ValidatePut(command.put()));
      KEELSON_RETURN_IF_ERROR(CheckPutLease(command.put()));
      KEELSON_RETURN_IF_ERROR(CheckPutKey(command.put()));
      return Put(*command.mutable_put(), Response<PutResponse>(result));
    case Command::kDeleteRange:
      KEELSON_RETURN_IF_ERROR(ValidateDeleteRange(command.delete_range()));
      return DeleteRange(command.delete_range(), Response<DeleteRangeResponse>(result));
    case Command::kTxn:
      KEELSON_RETURN_IF_ERROR(ValidateTxn(command.txn(), kAnyNumberOfOperations));
      return Txn(*command.mutable_txn(), result);
    case Command::kCompaction:
      return Compact(command.compaction(), result);
    case Command::kLeaseGrant:
      return GrantLease(command.lease_grant(), result);
    case Command::kLeaseRevoke:
      return RevokeLease(command.lease_revoke(), result);
    case Command::kLeaseCheckpoint:
      CheckpointLeases(command.lease_checkpoint());
      return absl::OkStatus();
    case Command::kMemberAttributes:
      SetAttributes(command.member_attributes());
      return absl::OkStatus();
    case Command::kAlarm:
      ChangeAlarm(command.alarm(), result);
      return absl::OkStatus();
    case Command::kMemberChange:
      return ChangeMember(command.member_change());
    case Command::kAuth:
      return ApplyAuth(command.auth(), command.origin());
    case Command::kV2:
      ApplyV2(command.v2(), result);
      return absl::OkStatus();
    case Command::OPERATION_NOT_SET:
      break;
  }
  return absl::UnimplementedError("the command asks for nothing that this version knows");
}

// ---- Rights ----

absl::Status BatchApplier::CheckRights(const Command& command) {
  const auth::AuthStore& store = *generation_.auth;
  const Origin& who = command.origin();
  if (who.internal() || !store.Enabled()) return absl::OkStatus();
  switch (command.operation_case()) {
    case Command::kPut:
      KEELSON_RETURN_IF_ERROR(store.CheckPut(who, command.put()));
      return CheckLeaseRights(who, command.put().lease());
    case Command::kDeleteRange:
      return store.CheckDelete(who, command.delete_range());
    case Command::kTxn:
      KEELSON_RETURN_IF_ERROR(store.CheckTxn(who, command.txn()));
      return CheckTxnLeases(who, command.txn());
    case Command::kCompaction:
    case Command::kAlarm:
      return store.CheckRoot(who);
    case Command::kLeaseGrant:
      return store.CheckUser(who);
    case Command::kMemberChange:
      return store.CheckRoot(who);
    case Command::kLeaseRevoke:
      return CheckLeaseRights(who, command.lease_revoke().id());
    default:  // Members propose the rest for themselves; changes of auth are checked there.
      return absl::OkStatus();
  }
}

// Who attaches a key to a lease ties its life to that of the lease's other keys.
absl::Status BatchApplier::CheckLeaseRights(const Origin& who, int64_t lease) {
  if (lease == 0 || !Lease(lease).has_value()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> keys, AttachedKeys(lease));
  for (const std::string& key : keys) {
    KEELSON_RETURN_IF_ERROR(generation_.auth->CheckKeys(who, key, "", auth::Access::kWrite));
  }
  return absl::OkStatus();
}

absl::Status BatchApplier::CheckTxnLeases(const Origin& who, const TxnRequest& request) {
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) {
      if (op.has_request_put()) {
        KEELSON_RETURN_IF_ERROR(CheckLeaseRights(who, op.request_put().lease()));
      } else if (op.has_request_txn()) {
        KEELSON_RETURN_IF_ERROR(CheckTxnLeases(who, op.request_txn()));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status BatchApplier::ApplyAuth(const AuthCommand& command, const Origin& who) {
  using Kind = ApplyListener::AuthChange::Kind;
  KEELSON_RETURN_IF_ERROR(generation_.auth->Apply(command, who));
  switch (command.change_case()) {
    case AuthCommand::kAuthenticated:
      outcome_.auth.push_back(
          {.kind = Kind::kToken,
           .user = command.authenticated().name(),
           .token = absl::StrCat(command.authenticated().token(), ".", index_)});
      break;
    case AuthCommand::kUserDelete:
      outcome_.auth.push_back({.kind = Kind::kUserChanged, .user = command.user_delete().name()});
      break;
    case AuthCommand::kUserChangePassword:
      outcome_.auth.push_back(
          {.kind = Kind::kUserChanged, .user = command.user_change_password().name()});
      break;
    case AuthCommand::kDisable:
      outcome_.auth.push_back({.kind = Kind::kDisabled});
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

// ---- Puts and deletions ----

absl::Status BatchApplier::CheckPutLease(const PutRequest& request) const {
  const bool known = request.lease() == 0 || Lease(request.lease()).has_value();
  return known ? absl::OkStatus() : errors::LeaseNotFound();
}

absl::Status BatchApplier::CheckPutKey(const PutRequest& request) {
  if (!request.ignore_value() && !request.ignore_lease()) return absl::OkStatus();
  Pair pair;
  KEELSON_ASSIGN_OR_RETURN(const bool found,
                           view_->Find(request.key(), Now(), Need::kMetadata, &pair));
  return found ? absl::OkStatus() : errors::KeyNotFound();
}

absl::Status BatchApplier::Put(PutRequest& request, PutResponse* response) {
  const bool shows_previous = response != nullptr && request.prev_kv();
  const Need need = shows_previous || request.ignore_value() ? Need::kPair : Need::kMetadata;
  Pair previous;
  KEELSON_ASSIGN_OR_RETURN(const bool found, view_->Find(request.key(), Now(), need, &previous));
  if (response != nullptr) {
    response->mutable_header()->set_revision(revision_ + 1);
    if (found && shows_previous) ToKeyValue(previous, true, response->mutable_prev_kv());
  }

  if (!found) ++live_keys_;
  const Revision revision{revision_ + 1, sub_};
  KeyValue& pair = *NewEvent(Event::PUT).mutable_kv();
  pair.set_create_revision(found ? previous.create_revision : revision.main);
  pair.set_mod_revision(revision.main);
  pair.set_version(found ? previous.version + 1 : 1);
  pair.set_lease(request.ignore_lease() && found ? previous.lease : request.lease());
  if (request.ignore_value() && found) {
    pair.set_value(previous.value.data(), previous.value.size());
  } else {
    pair.mutable_value()->swap(*request.mutable_value());
  }
  if (previous.lease != pair.lease()) MoveAttachment(request.key(), previous.lease, pair.lease());
  // `previous` may name the key by the request's own string, so this comes last.
  pair.mutable_key()->swap(*request.mutable_key());

  const DataHeader header({.create_revision = pair.create_revision(),
                           .version = pair.version(),
                           .lease = pair.lease(),
                           .value = {}});
  EncodeDataRow(pair.key(), revision, &row_);
  batch_->Put(Family::kData, row_, {header.view(), pair.value()});
  const LogHeader log(/*deleted=*/false, previous.modified);
  EncodeLogRow(revision, &row_);
  batch_->Put(Family::kLog, row_, {log.view(), pair.key()});
  overlay_.Add(revision, pair, /*deleted=*/false);
  return absl::OkStatus();
}

absl::Status BatchApplier::DeleteRange(const DeleteRangeRequest& request,
                                       DeleteRangeResponse* response) {
  const bool shows_previous = response != nullptr && request.prev_kv();
  std::vector<Ended> ended;
  KEELSON_RETURN_IF_ERROR(
      view_->Scan({request.key(), request.range_end()}, Now(),
                  shows_previous ? Need::kPair : Need::kMetadata, [&](const Pair& pair) {
                    ended.push_back({std::string(pair.key), pair.modified, pair.lease});
                    if (shows_previous) ToKeyValue(pair, true, response->add_prev_kvs());
                    return true;
                  }));
  if (response != nullptr) response->set_deleted(static_cast<int64_t>(ended.size()));
  for (Ended& one : ended) Delete(std::move(one));
  if (response != nullptr) response->mutable_header()->set_revision(Now());
  return absl::OkStatus();
}

void BatchApplier::Delete(Ended ended) {
  const Revision revision{revision_ + 1, sub_};
  KeyValue& pair = *NewEvent(Event::DELETE).mutable_kv();
  --live_keys_;
  pair.set_mod_revision(revision.main);
  MoveAttachment(ended.key, ended.lease, 0);
  pair.mutable_key()->swap(ended.key);

  const DataHeader header({.deleted = true, .value = {}});
  EncodeDataRow(pair.key(), revision, &row_);
  batch_->Put(Family::kData, row_, {header.view()});
  const LogHeader log(/*deleted=*/true, ended.modified);
  EncodeLogRow(revision, &row_);
  batch_->Put(Family::kLog, row_, {log.view(), pair.key()});
  overlay_.Add(revision, pair, /*deleted=*/true);
}

// The events of the running command; they stay where they are until the batch is over,
// since moving an Event moves the pointer to its pair.
Event& BatchApplier::NewEvent(Event::EventType type) {
  if (sub_++ == 0) outcome_.changes.push_back({.revision = revision_ + 1, .events = {}});
  Event& event = outcome_.changes.back().events.emplace_back();
  event.set_type(type);
  return event;
}

void BatchApplier::MoveAttachment(std::string_view key, int64_t from, int64_t to) {
  if (from != 0) {
    EncodeAttachmentRow(from, key, &row_);
    batch_->Delete(Family::kMeta, row_);
    attachments_[from][std::string(key)] = false;
  }
  if (to != 0) {
    EncodeAttachmentRow(to, key, &row_);
    batch_->Put(Family::kMeta, row_, {});
    attachments_[to][std::string(key)] = true;
  }
}

// ---- Transactions ----

absl::Status BatchApplier::Txn(TxnRequest& request, CommandResult* result) {
  KEELSON_ASSIGN_OR_RETURN(const TxnPath path, ChoosePath(*view_, request, Now()));
  KEELSON_RETURN_IF_ERROR(CheckTxn(request, path));
  TxnResponse* const response = Response<TxnResponse>(result);
  size_t next = 0;
  KEELSON_RETURN_IF_ERROR(RunTxn(request, path, &next, response));
  if (response != nullptr) response->mutable_header()->set_revision(Now());
  return absl::OkStatus();
}

// Everything that can fail is found before anything is changed, against the state before the
// transaction. Puts come first, and of a put the key before the lease, as etcd does it here.
absl::Status BatchApplier::CheckTxn(const TxnRequest& request, const TxnPath& path) {
  const absl::Status puts = VisitPath(request, path, [&](const RequestOp& op) {
    if (!op.has_request_put()) return absl::OkStatus();
    KEELSON_RETURN_IF_ERROR(CheckPutKey(op.request_put()));
    return CheckPutLease(op.request_put());
  });
  if (!puts.ok()) return puts;
  return VisitPath(request, path, [&](const RequestOp& op) {
    return op.has_request_range()
               ? CheckTxnReadRevision(op.request_range().revision(), revision_, compacted_)
               : absl::OkStatus();
  });
}

absl::Status BatchApplier::RunTxn(TxnRequest& request, const TxnPath& path, size_t* next,
                                  TxnResponse* response) {
  const bool succeeded = path[(*next)++];
  if (response != nullptr) response->set_succeeded(succeeded);
  auto& branch = succeeded ? *request.mutable_success() : *request.mutable_failure();
  for (RequestOp& op : branch) {
    KEELSON_RETURN_IF_ERROR(
        RunOperation(op, path, next, response == nullptr ? nullptr : response->add_responses()));
  }
  return absl::OkStatus();
}

absl::Status BatchApplier::RunOperation(RequestOp& op, const TxnPath& path, size_t* next,
                                        ResponseOp* response) {
  switch (op.request_case()) {
    case RequestOp::kRequestRange: {
      if (response == nullptr) return absl::OkStatus();
      auto& range = *response->mutable_response_range();
      range.mutable_header()->set_revision(Now());
      const int64_t at = op.request_range().revision();
      return ReadRange(*view_, op.request_range(), at <= 0 ? Now() : at, &range);
    }
    case RequestOp::kRequestPut:
      return Put(*op.mutable_request_put(),
                 response == nullptr ? nullptr : response->mutable_response_put());
    case RequestOp::kRequestDeleteRange:
      return DeleteRange(op.request_delete_range(),
                         response == nullptr ? nullptr : response->mutable_response_delete_range());
    case RequestOp::kRequestTxn: {
      TxnResponse* const nested = response == nullptr ? nullptr : response->mutable_response_txn();
      KEELSON_RETURN_IF_ERROR(RunTxn(*op.mutable_request_txn(), path, next, nested));
      if (nested != nullptr) (void)nested->mutable_header();  // present and empty, as etcd's
      return absl::OkStatus();
    }
    case RequestOp::REQUEST_NOT_SET:
      break;
  }
  return errors::KeyNotFound();  // Validation has refused it.
}

// ---- Compaction, leases, members ----

absl::Status BatchApplier::Compact(const CompactionRequest& request, CommandResult* result) {
  if (request.revision() <= compacted_) return errors::Compacted();
  if (request.revision() > revision_) return errors::FutureRevision();
  compacted_ = request.revision();
  outcome_.compacted = true;
  if (auto* response = Response<CompactionResponse>(result)) {
    response->mutable_header()->set_revision(revision_);
    outcome_.physically = outcome_.physically || request.physical();
  }
  return absl::OkStatus();
}

std::optional<LeaseValue> BatchApplier::Lease(int64_t id) const {
  if (const auto it = leases_.find(id); it != leases_.end()) return it->second;
  return generation_.tables.Lease(id);
}

absl::Status BatchApplier::GrantLease(const LeaseGrantRequest& request, CommandResult* result) {
  if (request.id() == 0) return errors::LeaseNotFound();
  if (request.ttl() > kMaxLeaseTtlSeconds) return errors::LeaseTtlTooLarge();
  if (Lease(request.id()).has_value()) return errors::LeaseExists();
  const LeaseValue lease{.granted_ttl = std::max<int64_t>(request.ttl(), 1)};
  leases_[request.id()] = lease;
  batch_->Put(Family::kMeta, LeaseRow(request.id()), {EncodeLeaseValue(lease)});
  outcome_.leases.push_back({.kind = ApplyListener::LeaseChange::Kind::kGranted,
                             .id = request.id(),
                             .ttl_seconds = lease.granted_ttl});
  if (auto* response = Response<LeaseGrantResponse>(result)) {
    response->mutable_header()->set_revision(revision_);
    response->set_id(request.id());
    response->set_ttl(lease.granted_ttl);
  }
  return absl::OkStatus();
}

absl::Status BatchApplier::RevokeLease(const LeaseRevokeRequest& request, CommandResult* result) {
  if (!Lease(request.id()).has_value()) return errors::LeaseNotFound();
  KEELSON_ASSIGN_OR_RETURN(std::vector<std::string> keys, AttachedKeys(request.id()));
  for (std::string& key : keys) {
    Pair pair;
    KEELSON_ASSIGN_OR_RETURN(const bool found, view_->Find(key, Now(), Need::kMetadata, &pair));
    if (!found) return absl::DataLossError("a key attached to a lease does not exist");
    Ended ended{{}, pair.modified, pair.lease};
    ended.key.swap(key);
    Delete(std::move(ended));
  }
  leases_[request.id()] = std::nullopt;
  batch_->Delete(Family::kMeta, LeaseRow(request.id()));
  outcome_.leases.push_back(
      {.kind = ApplyListener::LeaseChange::Kind::kRevoked, .id = request.id(), .ttl_seconds = 0});
  if (auto* response = Response<LeaseRevokeResponse>(result)) {
    response->mutable_header()->set_revision(Now());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> BatchApplier::AttachedKeys(int64_t lease) {
  const std::string rows = AttachmentRows(lease);
  absl::btree_map<std::string, bool> keys;
  Engine::IterateOptions options;
  options.upper_bound = PrefixEnd(rows);
  const auto iterator = generation_.engine->NewIterator(Family::kMeta, options);
  for (iterator->Seek(rows); iterator->Valid(); iterator->Next()) {
    keys[std::string(iterator->key().substr(rows.size()))] = true;
  }
  KEELSON_RETURN_IF_ERROR(iterator->status());
  if (const auto it = attachments_.find(lease); it != attachments_.end()) {
    for (const auto& [key, attached] : it->second) keys[key] = attached;
  }
  std::vector<std::string> out;
  for (const auto& [key, attached] : keys) {
    if (attached) out.push_back(key);
  }
  return out;
}

void BatchApplier::CheckpointLeases(const LeaseCheckpoints& request) {
  for (const LeaseCheckpoint& checkpoint : request.checkpoints()) {
    std::optional<LeaseValue> lease = Lease(checkpoint.id());
    if (!lease.has_value()) continue;  // revoked meanwhile
    lease->remaining_ttl = std::clamp<int64_t>(checkpoint.remaining_ttl(), 0, kMaxLeaseTtlSeconds);
    leases_[checkpoint.id()] = lease;
    batch_->Put(Family::kMeta, LeaseRow(checkpoint.id()), {EncodeLeaseValue(*lease)});
    outcome_.leases.push_back({.kind = ApplyListener::LeaseChange::Kind::kCheckpointed,
                               .id = checkpoint.id(),
                               .ttl_seconds = lease->remaining_ttl});
  }
}

void BatchApplier::SetAttributes(const MemberAttributes& request) {
  MemberMap members = generation_.tables.Members();
  for (const auto& [id, member] : members_) members[id] = member;
  Store::MemberAttributes& member = members[request.id()];
  if (member.removed) return;
  member.id = request.id();
  member.name = request.name();
  member.client_urls.assign(request.client_urls().begin(), request.client_urls().end());
  SetMember(std::move(member));
}

absl::Status BatchApplier::ChangeMember(const MemberChange& change) {
  MemberMap members = generation_.tables.Members();
  for (const auto& [id, member] : members_) members[id] = member;
  KEELSON_ASSIGN_OR_RETURN(Store::MemberAttributes member, Changed(members, change));
  SetMember(std::move(member));
  return absl::OkStatus();
}

void BatchApplier::SetMember(Store::MemberAttributes member) {
  outcome_.membership = true;
  batch_->Put(Family::kMeta, MemberRow(member.id), {EncodeMember(member).SerializeAsString()});
  members_[member.id] = std::move(member);
}

void BatchApplier::KeepMembers(const MemberMap& members) {
  for (const auto& [id, member] : members) {
    if (members_.contains(id)) continue;
    batch_->Put(Family::kMeta, MemberRow(id), {EncodeMember(member).SerializeAsString()});
  }
}

// ---- Version 2 ----

void BatchApplier::ApplyV2(const V2Request& request, CommandResult* result) {
  v2::Outcome outcome = generation_.v2->Apply(request);
  if (result != nullptr) result->response = std::move(outcome);
}

// ---- The end ----

WriteBatch& BatchApplier::Seal(const raft::SnapshotMetadata& after) {
  view_.reset();
  for (const auto& rows : {generation_.auth->TakeRows(), generation_.v2->TakeRows()}) {
    for (const auto& [row, value] : rows) {
      if (value.has_value()) {
        batch_->Put(Family::kMeta, row, {*value});
      } else {
        batch_->Delete(Family::kMeta, row);
      }
    }
  }
  if (live_keys_ != generation_.stored_live_keys) {
    batch_->Put(Family::kMeta, kLiveKeysRow, {EncodeInteger(live_keys_)});
  }
  batch_->Put(
      Family::kMeta, kStateRow,
      {EncodeStateValue({.applied = after, .revision = revision_, .compacted = compacted_})});
  return *batch_;
}

void BatchApplier::Publish() {
  if (!alarm_changes_.empty()) generation_.tables.Publish(alarm_changes_);
  if (!leases_.empty() || !members_.empty()) generation_.tables.Publish(leases_, members_);
  for (const Store::Change& change : outcome_.changes) {
    Revision revision{change.revision, 0};
    for (const Event& event : change.events) {
      const KeyValue& pair = event.kv();
      if (event.type() == Event::DELETE) {
        generation_.latest.Erase(pair.key());
      } else {
        generation_.latest.Set(pair.key(), {.modified = revision,
                                            .create_revision = pair.create_revision(),
                                            .version = pair.version(),
                                            .lease = pair.lease()});
      }
      ++revision.sub;
    }
  }
  generation_.stored_live_keys = live_keys_;
  generation_.live_keys.store(live_keys_, std::memory_order_relaxed);
  generation_.revision.store(revision_, std::memory_order_release);
  generation_.compacted.store(compacted_, std::memory_order_release);
}

}  // namespace keelson::kvstore::internal
