// The tokens that clients have been given ("simple" tokens of etcd's): in memory, on every member.
//
// Threading: thread-safe.
#ifndef KEELSON_KVSTORE_AUTH_TOKEN_TABLE_H_
#define KEELSON_KVSTORE_AUTH_TOKEN_TABLE_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace keelson::kvstore::auth {

class TokenTable {
 public:
  // A token is good for `ttl` after its last use. Times are of one monotonic clock.
  explicit TokenTable(absl::Duration ttl) : ttl_(ttl) {}

  void Assign(const std::string& token, const std::string& user, absl::Duration now)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The user, whose token lives on from now; empty when the token is unknown or too old.
  std::optional<std::string> Resolve(std::string_view token, absl::Duration now)
      ABSL_LOCKS_EXCLUDED(mu_);
  void InvalidateUser(std::string_view user) ABSL_LOCKS_EXCLUDED(mu_);
  void Clear() ABSL_LOCKS_EXCLUDED(mu_);
  // Forgets what is too old. For a timer.
  void Expire(absl::Duration now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    std::string user;
    absl::Duration deadline;
  };

  const absl::Duration ttl_;
  absl::Mutex mu_;
  absl::flat_hash_map<std::string, Entry> tokens_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore::auth

#endif  // KEELSON_KVSTORE_AUTH_TOKEN_TABLE_H_
