#include "kvstore/errors.h"

#include "absl/strings/str_cat.h"

namespace keelson::kvstore::errors {

absl::Status EmptyKey() { return absl::InvalidArgumentError("etcdserver: key is not provided"); }
absl::Status KeyNotFound() { return absl::InvalidArgumentError("etcdserver: key not found"); }
absl::Status ValueProvided() { return absl::InvalidArgumentError("etcdserver: value is provided"); }
absl::Status LeaseProvided() { return absl::InvalidArgumentError("etcdserver: lease is provided"); }
absl::Status TooManyOps() {
  return absl::InvalidArgumentError("etcdserver: too many operations in txn request");
}
absl::Status DuplicateKey() {
  return absl::InvalidArgumentError("etcdserver: duplicate key given in txn request");
}
absl::Status InvalidSortOption() {
  return absl::InvalidArgumentError("etcdserver: invalid sort option");
}
absl::Status Compacted() {
  return absl::OutOfRangeError("etcdserver: mvcc: required revision has been compacted");
}
absl::Status FutureRevision() {
  return absl::OutOfRangeError("etcdserver: mvcc: required revision is a future revision");
}
absl::Status NoSpace() {
  return absl::ResourceExhaustedError("etcdserver: mvcc: database space exceeded");
}
absl::Status LeaseNotFound() {
  return absl::NotFoundError("etcdserver: requested lease not found");
}
absl::Status LeaseExists() {
  return absl::FailedPreconditionError("etcdserver: lease already exists");
}
absl::Status LeaseTtlTooLarge() { return absl::OutOfRangeError("etcdserver: too large lease TTL"); }
absl::Status RequestTooLarge() {
  return absl::InvalidArgumentError("etcdserver: request is too large");
}
absl::Status TooManyRequests() {
  return absl::ResourceExhaustedError("etcdserver: too many requests");
}
absl::Status TooManyUserRequests(std::string_view user, uint64_t per_second) {
  return absl::ResourceExhaustedError(absl::StrCat("etcdserver: too many requests: '",
                                                   absl::string_view(user.data(), user.size()),
                                                   "' may make ", per_second, " a second"));
}
absl::Status NoLeader() { return absl::UnavailableError("etcdserver: no leader"); }
absl::Status NotLeader() { return absl::FailedPreconditionError("etcdserver: not leader"); }
absl::Status LeaderChanged() { return absl::UnavailableError("etcdserver: leader changed"); }
absl::Status Stopped() { return absl::UnavailableError("etcdserver: server stopped"); }
absl::Status Timeout() { return absl::UnavailableError("etcdserver: request timed out"); }
absl::Status Unhealthy() { return absl::UnavailableError("etcdserver: unhealthy cluster"); }
absl::Status Corrupt() { return absl::DataLossError("etcdserver: corrupt cluster"); }
absl::Status PermissionDenied() {
  return absl::PermissionDeniedError("etcdserver: permission denied");
}
absl::Status InvalidAuthToken() {
  return absl::UnauthenticatedError("etcdserver: invalid auth token");
}
absl::Status InvalidAuthManagement() {
  return absl::InvalidArgumentError("etcdserver: invalid auth management");
}
absl::Status AuthOldRevision() {
  return absl::InvalidArgumentError("etcdserver: revision of auth store is old");
}
absl::Status AuthNotEnabled() {
  return absl::FailedPreconditionError("etcdserver: authentication is not enabled");
}
absl::Status AuthFailed() {
  return absl::InvalidArgumentError(
      "etcdserver: authentication failed, invalid user ID or password");
}
absl::Status RootUserNotExist() {
  return absl::FailedPreconditionError("etcdserver: root user does not exist");
}
absl::Status RootRoleNotExist() {
  return absl::FailedPreconditionError("etcdserver: root user does not have root role");
}
absl::Status UserAlreadyExists() {
  return absl::FailedPreconditionError("etcdserver: user name already exists");
}
absl::Status UserEmpty() { return absl::InvalidArgumentError("etcdserver: user name is empty"); }
absl::Status UserNotFound() {
  return absl::FailedPreconditionError("etcdserver: user name not found");
}
absl::Status RoleAlreadyExists() {
  return absl::FailedPreconditionError("etcdserver: role name already exists");
}
absl::Status RoleNotFound() {
  return absl::FailedPreconditionError("etcdserver: role name not found");
}
absl::Status RoleEmpty() { return absl::InvalidArgumentError("etcdserver: role name is empty"); }
absl::Status RoleNotGranted() {
  return absl::FailedPreconditionError("etcdserver: role is not granted to the user");
}
absl::Status PermissionNotGiven() {
  return absl::InvalidArgumentError("etcdserver: permission not given");
}
absl::Status PermissionNotGranted() {
  return absl::FailedPreconditionError("etcdserver: permission is not granted to the role");
}
absl::Status MemberExists() {
  return absl::FailedPreconditionError("etcdserver: member ID already exist");
}
absl::Status PeerUrlExists() {
  return absl::FailedPreconditionError("etcdserver: Peer URLs already exists");
}
absl::Status MemberNotEnoughStarted() {
  return absl::FailedPreconditionError(
      "etcdserver: re-configuration failed due to not enough started members");
}
absl::Status MemberBadUrls() {
  return absl::InvalidArgumentError("etcdserver: given member URLs are invalid");
}
absl::Status MemberNotFound() { return absl::NotFoundError("etcdserver: member not found"); }
absl::Status MemberNotLearner() {
  return absl::FailedPreconditionError("etcdserver: can only promote a learner member");
}
absl::Status LearnerNotReady() {
  return absl::FailedPreconditionError(
      "etcdserver: can only promote a learner member which is in sync with leader");
}
absl::Status TooManyLearners() {
  return absl::FailedPreconditionError("etcdserver: too many learner members in cluster");
}
absl::Status NotSupportedForLearner() {
  return absl::UnavailableError("etcdserver: rpc not supported for learner");
}
absl::Status BadLeaderTransferee() {
  return absl::FailedPreconditionError("etcdserver: bad leader transferee");
}
// Without etcd's prefix, and a code that says nothing: so it is there.
absl::Status LeaderTransferTimeout() {
  return absl::UnknownError("etcdserver: request timed out, leader transfer took too long");
}
absl::Status WrongDowngradeVersion() {
  return absl::InvalidArgumentError("etcdserver: wrong downgrade target version format");
}
absl::Status InvalidDowngradeTarget() {
  return absl::InvalidArgumentError("etcdserver: invalid downgrade target version");
}
absl::Status NoInflightDowngrade() {
  return absl::FailedPreconditionError("etcdserver: no inflight downgrade job");
}
absl::Status NoPasswordUser() {
  return absl::UnknownError("auth: authentication failed, password was given for no password user");
}

}  // namespace keelson::kvstore::errors
