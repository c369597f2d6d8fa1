#include "kvstore/auth/auth_store.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "kvstore/errors.h"
#include "kvstore/internal/codec.h"

namespace keelson::kvstore::auth {
namespace {

using authpb::Permission;
using authpb::Role;
using authpb::User;
using etcdserverpb::RequestOp;

constexpr char kRoot[] = "root";  // the user and the role

// Rows: the state, and one for each user and role.
constexpr std::string_view kStateRow = "as";
constexpr std::string_view kUserRows = "au";
constexpr std::string_view kRoleRows = "ar";
constexpr char kOn = '\1';

std::string RowOf(std::string_view rows, const std::string& name) {
  return std::string(rows) + name;
}

bool HasRole(const User& user, const std::string& role) {
  return std::find(user.roles().begin(), user.roles().end(), role) != user.roles().end();
}

// Keys from `begin` on and before `end`; without an end all of them.
struct Interval {
  std::string begin;
  std::optional<std::string> end;
};

Interval IntervalOf(std::string_view key, std::string_view range_end) {
  if (range_end.empty()) return {std::string(key), std::string(key) + '\0'};
  if (range_end == std::string_view("\0", 1)) return {std::string(key), std::nullopt};
  return {std::string(key), std::string(range_end)};
}

bool Allows(Permission::Type type, Access access) {
  if (type == Permission::READWRITE) return true;
  return type == (access == Access::kRead ? Permission::READ : Permission::WRITE);
}

// Whether the union of `parts` has all of `whole`.
bool Cover(std::vector<Interval> parts, const Interval& whole) {
  std::sort(parts.begin(), parts.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  if (whole.end.has_value() && *whole.end <= whole.begin) {
    // No key lies in it; etcd then asks for the right to the first.
    return std::any_of(parts.begin(), parts.end(), [&](const Interval& part) {
      return part.begin <= whole.begin && (!part.end.has_value() || whole.begin < *part.end);
    });
  }
  std::string covered = whole.begin;
  for (const Interval& part : parts) {
    if (part.begin > covered) return false;
    if (!part.end.has_value()) return true;
    covered = std::max(covered, *part.end);
    if (whole.end.has_value() && covered >= *whole.end) return true;
  }
  return false;
}

bool SamePlace(const Permission& permission, const std::string& key, const std::string& end) {
  return permission.key() == key && permission.range_end() == end;
}

}  // namespace

bool AuthStore::Enabled() const {
  absl::MutexLock lock(&mu_);
  return enabled_;
}

uint64_t AuthStore::Revision() const {
  absl::MutexLock lock(&mu_);
  return revision_;
}

// ---- Rights ----

const User* AuthStore::FindUser(const std::string& name) const {
  const auto found = users_.find(name);
  return found == users_.end() ? nullptr : &found->second;
}

bool AuthStore::Covers(const User& user, std::string_view key, std::string_view range_end,
                       Access access) const {
  std::vector<Interval> parts;
  for (const std::string& name : user.roles()) {
    const auto role = roles_.find(name);
    if (role == roles_.end()) continue;
    for (const Permission& permission : role->second.keypermission()) {
      if (!Allows(permission.permtype(), access)) continue;
      parts.push_back(IntervalOf(permission.key(), permission.range_end()));
    }
  }
  return Cover(std::move(parts), IntervalOf(key, range_end));
}

absl::Status AuthStore::CheckKeys(const Origin& who, std::string_view key,
                                  std::string_view range_end, Access access) const {
  absl::MutexLock lock(&mu_);
  if (!enabled_ || who.internal()) return absl::OkStatus();
  if (who.auth_revision() == 0) return errors::UserEmpty();
  if (who.auth_revision() < revision_) return errors::AuthOldRevision();
  const User* const user = FindUser(who.user());
  if (user == nullptr) return errors::PermissionDenied();
  if (HasRole(*user, kRoot) || Covers(*user, key, range_end, access)) return absl::OkStatus();
  return errors::PermissionDenied();
}

absl::Status AuthStore::CheckPut(const Origin& who, const etcdserverpb::PutRequest& request) const {
  KEELSON_RETURN_IF_ERROR(CheckKeys(who, request.key(), "", Access::kWrite));
  return request.prev_kv() ? CheckKeys(who, request.key(), "", Access::kRead) : absl::OkStatus();
}

absl::Status AuthStore::CheckDelete(const Origin& who,
                                    const etcdserverpb::DeleteRangeRequest& request) const {
  KEELSON_RETURN_IF_ERROR(CheckKeys(who, request.key(), request.range_end(), Access::kWrite));
  return request.prev_kv() ? CheckKeys(who, request.key(), request.range_end(), Access::kRead)
                           : absl::OkStatus();
}

absl::Status AuthStore::CheckTxn(const Origin& who, const etcdserverpb::TxnRequest& request) const {
  for (const etcdserverpb::Compare& compare : request.compare()) {
    KEELSON_RETURN_IF_ERROR(CheckKeys(who, compare.key(), compare.range_end(), Access::kRead));
  }
  for (const auto* branch : {&request.success(), &request.failure()}) {
    for (const RequestOp& op : *branch) {
      absl::Status status;
      if (op.has_request_range()) {
        const etcdserverpb::RangeRequest& range = op.request_range();
        status = CheckKeys(who, range.key(), range.range_end(), Access::kRead);
      } else if (op.has_request_put()) {
        status = CheckPut(who, op.request_put());
      } else if (op.has_request_delete_range()) {
        status = CheckDelete(who, op.request_delete_range());
      } else if (op.has_request_txn()) {
        status = CheckTxn(who, op.request_txn());
      }
      KEELSON_RETURN_IF_ERROR(status);
    }
  }
  return absl::OkStatus();
}

absl::Status AuthStore::CheckRoot(const Origin& who) const {
  absl::MutexLock lock(&mu_);
  return CheckRootLocked(who);
}

absl::Status AuthStore::CheckRootLocked(const Origin& who) const {
  if (!enabled_ || who.internal()) return absl::OkStatus();
  if (who.user().empty()) return errors::UserEmpty();
  const User* const user = FindUser(who.user());
  if (user == nullptr) return errors::UserNotFound();
  return HasRole(*user, kRoot) ? absl::OkStatus() : errors::PermissionDenied();
}

absl::Status AuthStore::CheckUser(const Origin& who) const {
  absl::MutexLock lock(&mu_);
  if (!enabled_ || who.internal()) return absl::OkStatus();
  if (who.user().empty()) return errors::UserEmpty();
  return FindUser(who.user()) == nullptr ? errors::PermissionDenied() : absl::OkStatus();
}

// ---- Reads ----

absl::Status AuthStore::UserGet(const Origin& who, const std::string& name,
                                etcdserverpb::AuthUserGetResponse* response) const {
  absl::MutexLock lock(&mu_);
  if (const absl::Status root = CheckRootLocked(who); !root.ok() && name != who.user()) return root;
  const User* const user = FindUser(name);
  if (user == nullptr) return errors::UserNotFound();
  *response->mutable_roles() = user->roles();
  return absl::OkStatus();
}

absl::Status AuthStore::RoleGet(const Origin& who, const std::string& role,
                                etcdserverpb::AuthRoleGetResponse* response) const {
  absl::MutexLock lock(&mu_);
  if (const absl::Status root = CheckRootLocked(who); !root.ok()) {
    const User* const user = FindUser(who.user());
    if (user == nullptr || !HasRole(*user, role)) return root;
  }
  const auto found = roles_.find(role);
  if (found == roles_.end()) return errors::RoleNotFound();
  *response->mutable_perm() = found->second.keypermission();
  return absl::OkStatus();
}

std::vector<std::string> AuthStore::Users() const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> names;
  for (const auto& [name, user] : users_) names.push_back(name);
  return names;
}

std::vector<std::string> AuthStore::Roles() const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> names;
  for (const auto& [name, role] : roles_) names.push_back(name);
  return names;
}

absl::StatusOr<AuthStore::Credentials> AuthStore::FindCredentials(const std::string& name) const {
  absl::MutexLock lock(&mu_);
  if (!enabled_) return errors::AuthNotEnabled();
  const User* const user = FindUser(name);
  if (user == nullptr) return errors::AuthFailed();
  if (user->options().no_password()) return errors::NoPasswordUser();
  return Credentials{.hash = user->password(), .revision = revision_};
}

// ---- Changes ----

absl::Status AuthStore::Apply(const AuthCommand& command, const Origin& who) {
  absl::MutexLock lock(&mu_);
  if (!command.has_authenticated()) KEELSON_RETURN_IF_ERROR(CheckRootLocked(who));
  return Change(command);
}

absl::Status AuthStore::Change(const AuthCommand& command) {
  switch (command.change_case()) {
    case AuthCommand::kEnable:
      return Enable();
    case AuthCommand::kDisable:
      Disable();
      return absl::OkStatus();
    case AuthCommand::kAuthenticated:
      return Authenticate(command.authenticated());
    case AuthCommand::kUserAdd:
      return AddUser(command.user_add());
    case AuthCommand::kUserDelete:
      return DeleteUser(command.user_delete().name());
    case AuthCommand::kUserChangePassword:
      return ChangePassword(command.user_change_password());
    case AuthCommand::kUserGrantRole:
      return GrantRole(command.user_grant_role());
    case AuthCommand::kUserRevokeRole:
      return RevokeRole(command.user_revoke_role());
    case AuthCommand::kRoleAdd:
      return AddRole(command.role_add().name());
    case AuthCommand::kRoleDelete:
      return DeleteRole(command.role_delete().role());
    case AuthCommand::kRoleGrantPermission:
      return GrantPermission(command.role_grant_permission());
    case AuthCommand::kRoleRevokePermission:
      return RevokePermission(command.role_revoke_permission());
    case AuthCommand::CHANGE_NOT_SET:
      break;
  }
  return absl::UnimplementedError("the command asks for nothing that this version knows");
}

absl::Status AuthStore::Enable() {
  if (enabled_) return absl::OkStatus();
  const User* const root = FindUser(kRoot);
  if (root == nullptr) return errors::RootUserNotExist();
  if (!HasRole(*root, kRoot)) return errors::RootRoleNotExist();
  enabled_ = true;
  WriteState();
  return absl::OkStatus();
}

void AuthStore::Disable() {
  if (!enabled_) return;
  enabled_ = false;
  Commit();
}

absl::Status AuthStore::Authenticate(const Authenticated& request) const {
  if (!enabled_) return errors::AuthNotEnabled();
  if (request.auth_revision() != revision_) return errors::AuthOldRevision();
  return FindUser(request.name()) == nullptr ? errors::AuthFailed() : absl::OkStatus();
}

absl::Status AuthStore::AddUser(const etcdserverpb::AuthUserAddRequest& request) {
  if (request.name().empty()) return errors::UserEmpty();
  if (FindUser(request.name()) != nullptr) return errors::UserAlreadyExists();
  User user;
  user.set_name(request.name());
  user.set_password(request.hashedpassword());
  *user.mutable_options() = request.options();
  WriteUser(user);
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::DeleteUser(const std::string& name) {
  if (enabled_ && name == kRoot) return errors::InvalidAuthManagement();
  if (users_.erase(name) == 0) return errors::UserNotFound();
  rows_[RowOf(kUserRows, name)] = std::nullopt;
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::ChangePassword(const etcdserverpb::AuthUserChangePasswordRequest& request) {
  const User* const found = FindUser(request.name());
  if (found == nullptr) return errors::UserNotFound();
  User user = *found;
  user.set_password(request.hashedpassword());
  WriteUser(user);
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::GrantRole(const etcdserverpb::AuthUserGrantRoleRequest& request) {
  const User* const found = FindUser(request.user());
  if (found == nullptr) return errors::UserNotFound();
  if (request.role() != kRoot && !roles_.contains(request.role())) return errors::RoleNotFound();
  if (HasRole(*found, request.role())) return absl::OkStatus();
  User user = *found;
  user.add_roles(request.role());
  std::sort(user.mutable_roles()->begin(), user.mutable_roles()->end());
  WriteUser(user);
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::RevokeRole(const etcdserverpb::AuthUserRevokeRoleRequest& request) {
  if (enabled_ && request.name() == kRoot && request.role() == kRoot) {
    return errors::InvalidAuthManagement();
  }
  const User* const found = FindUser(request.name());
  if (found == nullptr) return errors::UserNotFound();
  if (!HasRole(*found, request.role())) return errors::RoleNotGranted();
  User user = *found;
  auto& roles = *user.mutable_roles();
  roles.erase(std::remove(roles.begin(), roles.end(), request.role()), roles.end());
  WriteUser(user);
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::AddRole(const std::string& name) {
  if (name.empty()) return errors::RoleEmpty();
  if (roles_.contains(name)) return errors::RoleAlreadyExists();
  Role role;
  role.set_name(name);
  WriteRole(role);
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::DeleteRole(const std::string& name) {
  if (enabled_ && name == kRoot) return errors::InvalidAuthManagement();
  if (roles_.erase(name) == 0) return errors::RoleNotFound();
  rows_[RowOf(kRoleRows, name)] = std::nullopt;
  for (auto& [user_name, user] : users_) {
    auto& roles = *user.mutable_roles();
    const auto end = std::remove(roles.begin(), roles.end(), name);
    if (end == roles.end()) continue;
    roles.erase(end, roles.end());
    rows_[RowOf(kUserRows, user_name)] = user.SerializeAsString();
  }
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::GrantPermission(
    const etcdserverpb::AuthRoleGrantPermissionRequest& request) {
  if (!request.has_perm()) return errors::PermissionNotGiven();
  const auto found = roles_.find(request.name());
  if (found == roles_.end()) return errors::RoleNotFound();
  Role role = found->second;
  auto& permissions = *role.mutable_keypermission();
  const auto same = std::find_if(permissions.begin(), permissions.end(), [&](const Permission& p) {
    return SamePlace(p, request.perm().key(), request.perm().range_end());
  });
  if (same != permissions.end()) {
    same->set_permtype(request.perm().permtype());
  } else {
    *permissions.Add() = request.perm();
    std::stable_sort(permissions.begin(), permissions.end(),
                     [](const Permission& a, const Permission& b) { return a.key() < b.key(); });
  }
  WriteRole(role);
  Commit();
  return absl::OkStatus();
}

absl::Status AuthStore::RevokePermission(
    const etcdserverpb::AuthRoleRevokePermissionRequest& request) {
  const auto found = roles_.find(request.role());
  if (found == roles_.end()) return errors::RoleNotFound();
  Role role = found->second;
  auto& permissions = *role.mutable_keypermission();
  const auto end = std::remove_if(permissions.begin(), permissions.end(), [&](const Permission& p) {
    return SamePlace(p, request.key(), request.range_end());
  });
  if (end == permissions.end()) return errors::PermissionNotGranted();
  permissions.erase(end, permissions.end());
  WriteRole(role);
  Commit();
  return absl::OkStatus();
}

// ---- Rows ----

void AuthStore::WriteUser(const User& user) {
  users_[user.name()] = user;
  rows_[RowOf(kUserRows, user.name())] = user.SerializeAsString();
}

void AuthStore::WriteRole(const Role& role) {
  roles_[role.name()] = role;
  rows_[RowOf(kRoleRows, role.name())] = role.SerializeAsString();
}

void AuthStore::Commit() {
  ++revision_;
  WriteState();
}

void AuthStore::WriteState() {
  std::string value(1, enabled_ ? kOn : '\0');
  internal::AppendVarint(revision_, &value);
  rows_[std::string(kStateRow)] = std::move(value);
}

AuthStore::Rows AuthStore::TakeRows() {
  absl::MutexLock lock(&mu_);
  return std::exchange(rows_, {});
}

bool AuthStore::RestoreRow(std::string_view row, std::string_view value) {
  absl::MutexLock lock(&mu_);
  if (row == kStateRow) {
    if (value.empty() || (value[0] != kOn && value[0] != '\0')) return false;
    enabled_ = value[0] == kOn;
    value.remove_prefix(1);
    return internal::TakeVarint(&value, &revision_) && value.empty() && revision_ > 0;
  }
  const std::string bytes(value);
  if (row.starts_with(kUserRows)) {
    User user;
    if (!user.ParseFromString(bytes) || user.name() != row.substr(kUserRows.size())) return false;
    users_[user.name()] = std::move(user);
    return true;
  }
  Role role;
  if (!row.starts_with(kRoleRows) || !role.ParseFromString(bytes) ||
      role.name() != row.substr(kRoleRows.size())) {
    return false;
  }
  roles_[role.name()] = std::move(role);
  return true;
}

}  // namespace keelson::kvstore::auth
