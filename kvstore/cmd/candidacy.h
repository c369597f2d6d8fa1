// A place in a queue of etcd's clients, as locks and elections make it: keys "<name>/<lease in
// hex>",
// of which the oldest has its turn.
#ifndef KEELSON_KVSTORE_CMD_CANDIDACY_H_
#define KEELSON_KVSTORE_CMD_CANDIDACY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/client/client.h"

namespace keelson::kvctl {

// Interrupt may come from any thread; all else from one.
class Candidacy {
 public:
  // `client` is borrowed.
  Candidacy(kvstore::Client& client, std::string name);
  ~Candidacy();

  // Grants a lease that is kept alive from now on.
  absl::Status Begin(int64_t ttl_seconds);

  // Enters the queue with `value` and waits for the turn. CANCELLED "context canceled" after
  // Interrupt, ABORTED when the lease was lost; both times the place is given up.
  absl::Status Enter(const std::string& value);

  // Waits, with the turn, until Interrupt (true) or until the lease is lost (false).
  bool Hold();

  // Gives the turn to the next.
  absl::Status Leave();

  void Interrupt() ABSL_LOCKS_EXCLUDED(mu_);

  [[nodiscard]] const std::string& key() const { return key_; }
  // Of the answer that told of the turn.
  [[nodiscard]] int64_t revision() const { return revision_; }

 private:
  // Waits until none that came before is left.
  absl::Status AwaitTurn(int64_t created);
  absl::Status AwaitEndOf(const std::string& key, int64_t from);
  absl::Status Stopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  kvstore::Client& client_;
  const std::string prefix_;
  int64_t lease_ = 0;
  std::string key_;
  int64_t revision_ = 0;

  absl::Mutex mu_;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
  bool lost_ ABSL_GUARDED_BY(mu_) = false;

  std::unique_ptr<kvstore::KeepAlive> keep_alive_;  // Last: it uses the above.
};

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_CANDIDACY_H_
