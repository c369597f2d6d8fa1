// A lease that is kept while a program lives: what it holds by it (locks, leaderships, entries of a
// registry) goes when the program goes.
//
//   KEELSON_ASSIGN_OR_RETURN(auto session, Session::Create(client, {.ttl = absl::Seconds(10)}));
//   client.Put(PutOf("workers/3", "here", session->lease()));
#ifndef KEELSON_KVSTORE_CLIENT_SESSION_H_
#define KEELSON_KVSTORE_CLIENT_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {

struct SessionOptions {
  absl::Duration ttl = absl::Seconds(60);  // whole seconds, at least 1; the server may give more
  // The lease is lost, or must be taken for it: stop whatever depends on it, now. Once at most, on the
  // client's thread for leases; may be empty.
  std::function<void(const absl::Status&)> on_lost = nullptr;
};

// Thread-safe.
class Session {
 public:
  // Grants a lease and keeps it. `client` is borrowed and outlives the session. Errors as of
  // Client::LeaseGrant.
  static absl::StatusOr<std::unique_ptr<Session>> Create(Client& client, SessionOptions options);
  // Close, unless it was called; an error is left to the TTL. Not within on_lost.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] Client& client() const { return client_; }
  [[nodiscard]] int64_t lease() const { return lease_; }
  // OK while the lease is known to be alive; after that the reason.
  [[nodiscard]] absl::Status status() const ABSL_LOCKS_EXCLUDED(mu_);

  // Revokes the lease, and with it everything that hangs on it. Idempotent.
  absl::Status Close();

 private:
  Session(Client& client, int64_t lease) : client_(client), lease_(lease) {}
  void OnLost(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

  Client& client_;
  const int64_t lease_;
  std::function<void(const absl::Status&)> on_lost_;  // constant after Create
  std::unique_ptr<KeepAlive> keep_alive_;
  mutable absl::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_SESSION_H_
