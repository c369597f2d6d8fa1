// Who may do what with etcd's version 2 API once /v2/auth has been turned on (kvstore.md 15.16).
//
// Threading: thread-safe. A password takes some 50 ms of CPU time to check, which is done on a reader.
#ifndef KEELSON_KVSTORE_SERVER_V2_ACCESS_H_
#define KEELSON_KVSTORE_SERVER_V2_ACCESS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/http/message.h"
#include "kvstore/server/server.h"
#include "kvstore/v2/auth.h"
#include "kvstore/v2/tree.h"

namespace keelson::kvstore {

// The folder of users and roles, and a node in it as this member has it; `path` begins with '/'.
std::string AuthFolder();
v2::Outcome ReadAuthNode(const Server& server, const std::string& path);

// Held by shared_ptr: it lives as long as passwords are being checked.
class V2Access : public std::enable_shared_from_this<V2Access> {
 public:
  // `server` is borrowed.
  explicit V2Access(Server* server);

  // Users and roles as this member has them. Roles need not be stored: there always is a role root.
  [[nodiscard]] bool Enabled() const;
  struct StoredUser {
    v2::AuthUser user;
    uint64_t index = 0;  // of the last change
  };
  [[nodiscard]] std::variant<StoredUser, v2::AuthError> User(const std::string& name) const;
  struct StoredRole {
    v2::AuthRole role;
    uint64_t index = 0;
  };
  [[nodiscard]] std::variant<StoredRole, v2::AuthError> Role(const std::string& name) const;
  // Ascending; roles with root.
  [[nodiscard]] std::vector<std::string> Users() const;
  [[nodiscard]] std::vector<std::string> Roles() const;

  // Each calls `then` once, perhaps inside the call: whether the request may go on, or else why not:
  // PERMISSION_DENIED, or RESOURCE_EXHAUSTED when its user, or without users its address, makes too many
  // (Server::CheckRate). `key` is as it was asked for, decoded.
  using Then = std::function<void(const absl::Status& allowed)>;
  void CheckKey(const http::Request& request, std::string key, bool recursive, Then then);
  void CheckRoot(const http::Request& request, Then then);

 private:
  // Counts the request for `user`, or for where it comes from if that is empty.
  [[nodiscard]] absl::Status CountFor(const std::string& user, const std::string& address);
  // The user that the request says it is of; empty when it says none, or a wrong one (`wrong`).
  void Identify(const http::Request& request,
                std::function<void(std::optional<v2::AuthUser> user, bool wrong)> then);
  [[nodiscard]] bool Matches(const v2::AuthUser& user, const std::string& password)
      ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] std::vector<std::string> Names(const std::string& folder) const;

  Server* const server_;
  const std::array<unsigned char, 32> secret_;  // so that the marks below tell nothing
  absl::Mutex mu_;
  // Marks of passwords that were found right, with the hash that they were right for.
  absl::flat_hash_set<std::string> right_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_V2_ACCESS_H_
