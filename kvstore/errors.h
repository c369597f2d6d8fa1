// etcd's errors: code and text that official clients match on
// (reference kvstore.md section 12).
#ifndef KEELSON_KVSTORE_ERRORS_H_
#define KEELSON_KVSTORE_ERRORS_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace keelson::kvstore::errors {

absl::Status EmptyKey();
absl::Status KeyNotFound();
absl::Status ValueProvided();
absl::Status LeaseProvided();
absl::Status TooManyOps();
absl::Status DuplicateKey();
absl::Status InvalidSortOption();
absl::Status Compacted();
absl::Status FutureRevision();
absl::Status NoSpace();
absl::Status LeaseNotFound();
absl::Status LeaseExists();
absl::Status LeaseTtlTooLarge();
absl::Status RequestTooLarge();
absl::Status TooManyRequests();
absl::Status TooManyUserRequests(std::string_view user, uint64_t per_second);
absl::Status NoLeader();
absl::Status NotLeader();
absl::Status LeaderChanged();
absl::Status Stopped();
absl::Status Timeout();
absl::Status Unhealthy();
absl::Status Corrupt();
absl::Status PermissionDenied();
absl::Status InvalidAuthToken();
absl::Status InvalidAuthManagement();
absl::Status AuthOldRevision();
absl::Status AuthNotEnabled();
absl::Status AuthFailed();
absl::Status RootUserNotExist();
absl::Status RootRoleNotExist();
absl::Status UserAlreadyExists();
absl::Status UserEmpty();
absl::Status UserNotFound();
absl::Status RoleAlreadyExists();
absl::Status RoleNotFound();
absl::Status RoleEmpty();
absl::Status RoleNotGranted();
absl::Status PermissionNotGiven();
absl::Status PermissionNotGranted();
absl::Status MemberExists();
absl::Status PeerUrlExists();
absl::Status MemberNotEnoughStarted();
absl::Status MemberBadUrls();
absl::Status MemberNotFound();
absl::Status MemberNotLearner();
absl::Status LearnerNotReady();
absl::Status TooManyLearners();
absl::Status NotSupportedForLearner();
absl::Status BadLeaderTransferee();
absl::Status LeaderTransferTimeout();
absl::Status WrongDowngradeVersion();
absl::Status InvalidDowngradeTarget();
absl::Status NoInflightDowngrade();
// A user who is known by certificate only gave a password; etcd has no code for it.
absl::Status NoPasswordUser();

}  // namespace keelson::kvstore::errors

#endif  // KEELSON_KVSTORE_ERRORS_H_
