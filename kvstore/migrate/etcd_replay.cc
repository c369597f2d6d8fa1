#include "kvstore/migrate/etcd_replay.h"

#include "absl/strings/str_cat.h"

namespace keelson::kvstore {
namespace {

constexpr uint64_t kNormalEntry = 0;

bool ChangesRights(const EtcdRequest& request) {
  return request.has_auth_enable() || request.has_auth_disable() || request.has_auth_user_add() ||
         request.has_auth_user_delete() || request.has_auth_user_change_password() ||
         request.has_auth_user_grant_role() || request.has_auth_user_revoke_role() ||
         request.has_auth_role_add() || request.has_auth_role_delete() ||
         request.has_auth_role_grant_permission() || request.has_auth_role_revoke_permission();
}

// True when `request` is one of the changes that a Command has too.
bool SetOperation(const EtcdRequest& request, Command& command) {
  if (request.has_put()) {
    *command.mutable_put() = request.put();
  } else if (request.has_delete_range()) {
    *command.mutable_delete_range() = request.delete_range();
  } else if (request.has_txn()) {
    *command.mutable_txn() = request.txn();
  } else if (request.has_compaction()) {
    *command.mutable_compaction() = request.compaction();
  } else if (request.has_lease_grant()) {
    *command.mutable_lease_grant() = request.lease_grant();
  } else if (request.has_lease_revoke()) {
    *command.mutable_lease_revoke() = request.lease_revoke();
  } else if (request.has_lease_checkpoint()) {
    *command.mutable_lease_checkpoint()->mutable_checkpoints() =
        request.lease_checkpoint().checkpoints();
  } else {
    return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::optional<Command>> ToCommand(const EtcdEntry& entry) {
  if (entry.type() != kNormalEntry || entry.data().empty()) return std::nullopt;
  EtcdRequest request;
  if (!request.ParseFromString(entry.data())) {
    EtcdV2Request v2;
    if (v2.ParseFromString(entry.data())) return std::nullopt;
    return absl::DataLossError(absl::StrCat("entry ", entry.index(), " cannot be read"));
  }
  if (ChangesRights(request)) {
    return absl::UnimplementedError(absl::StrCat(
        "entry ", entry.index(),
        " of the log changes users or roles and is not in the database yet; take a snapshot of the "
        "running member"));
  }
  Command command;
  if (!SetOperation(request, command)) return std::nullopt;
  command.set_request_id(entry.index());
  Origin& origin = *command.mutable_origin();
  origin.set_user(request.header().username());
  origin.set_auth_revision(request.header().auth_revision());
  origin.set_internal(request.header().username().empty());
  return command;
}

}  // namespace keelson::kvstore
