// Users, roles and permissions: what etcd calls its auth store, as a part of the state machine.
//
// Every member holds the same store, since it is changed by the log only. Requests are checked
// against it twice: where the client asked, and again when the command is applied, by which time
// rights may have changed.
//
// Semantics: reference kvstore.md section 11; where 3.4.23 answers otherwise, as 3.4.23.
// Statuses carry etcd's codes and texts.
//
// Threading: thread-safe. Apply, TakeRows and RestoreRow are for the apply executor.
#ifndef KEELSON_KVSTORE_AUTH_AUTH_STORE_H_
#define KEELSON_KVSTORE_AUTH_AUTH_STORE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/api/authpb.pb.h"
#include "kvstore/api/command.pb.h"

namespace keelson::kvstore::auth {

enum class Access : uint8_t { kRead, kWrite };

class AuthStore {
 public:
  // Turned on, clients must say who they are, and may do what their roles allow.
  [[nodiscard]] bool Enabled() const ABSL_LOCKS_EXCLUDED(mu_);
  // Counts the changes of users, roles and permissions; a new store is at 1.
  [[nodiscard]] uint64_t Revision() const ABSL_LOCKS_EXCLUDED(mu_);

  // --- Rights. All are OK while the store is off. ---

  // Whether `who` may read or write [key, range_end), spelled as in RangeRequest.
  // INVALID_ARGUMENT (no user, or known at an older revision), PERMISSION_DENIED.
  absl::Status CheckKeys(const Origin& who, std::string_view key, std::string_view range_end,
                         Access access) const ABSL_LOCKS_EXCLUDED(mu_);
  // Every key that the request would touch, previous values included.
  absl::Status CheckPut(const Origin& who, const etcdserverpb::PutRequest& request) const;
  absl::Status CheckDelete(const Origin& who,
                           const etcdserverpb::DeleteRangeRequest& request) const;
  // All comparisons and both branches, nested ones too.
  absl::Status CheckTxn(const Origin& who, const etcdserverpb::TxnRequest& request) const;
  // Whether `who` has the role root.
  absl::Status CheckRoot(const Origin& who) const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether `who` is any user.
  absl::Status CheckUser(const Origin& who) const ABSL_LOCKS_EXCLUDED(mu_);

  // --- Reads ---

  // As for the client `who`: oneself, a role of one's own, or everything for root.
  absl::Status UserGet(const Origin& who, const std::string& name,
                       etcdserverpb::AuthUserGetResponse* response) const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status RoleGet(const Origin& who, const std::string& role,
                       etcdserverpb::AuthRoleGetResponse* response) const ABSL_LOCKS_EXCLUDED(mu_);
  // Ascending.
  [[nodiscard]] std::vector<std::string> Users() const ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] std::vector<std::string> Roles() const ABSL_LOCKS_EXCLUDED(mu_);

  struct Credentials {
    std::string hash;       // bcrypt's text
    uint64_t revision = 0;  // of the store
  };
  // What to check a password against. FAILED_PRECONDITION (off), INVALID_ARGUMENT (no such user).
  absl::StatusOr<Credentials> FindCredentials(const std::string& name) const
      ABSL_LOCKS_EXCLUDED(mu_);

  // --- Changes ---

  // Applies a change for `who`; one that fails changes nothing. Deterministic.
  absl::Status Apply(const AuthCommand& command, const Origin& who) ABSL_LOCKS_EXCLUDED(mu_);

  // What changed since the last call: rows to write, and rows to remove (empty).
  using Rows = std::map<std::string, std::optional<std::string>>;
  [[nodiscard]] Rows TakeRows() ABSL_LOCKS_EXCLUDED(mu_);
  // All rows begin so.
  static constexpr std::string_view kRowPrefix = "a";
  // Puts a row back. False when it makes no sense.
  [[nodiscard]] bool RestoreRow(std::string_view row, std::string_view value)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Status Change(const AuthCommand& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Enable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Disable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Authenticate(const Authenticated& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AddUser(const etcdserverpb::AuthUserAddRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status DeleteUser(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ChangePassword(const etcdserverpb::AuthUserChangePasswordRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status GrantRole(const etcdserverpb::AuthUserGrantRoleRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status RevokeRole(const etcdserverpb::AuthUserRevokeRoleRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AddRole(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status DeleteRole(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status GrantPermission(const etcdserverpb::AuthRoleGrantPermissionRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status RevokePermission(const etcdserverpb::AuthRoleRevokePermissionRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  [[nodiscard]] absl::Status CheckRootLocked(const Origin& who) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  [[nodiscard]] bool Covers(const authpb::User& user, std::string_view key,
                            std::string_view range_end, Access access) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  [[nodiscard]] const authpb::User* FindUser(const std::string& name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteUser(const authpb::User& user) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteRole(const authpb::Role& role) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends every change: counts the revision up.
  void Commit() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteState() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  bool enabled_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t revision_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<std::string, authpb::User> users_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, authpb::Role> roles_ ABSL_GUARDED_BY(mu_);
  Rows rows_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore::auth

#endif  // KEELSON_KVSTORE_AUTH_AUTH_STORE_H_
