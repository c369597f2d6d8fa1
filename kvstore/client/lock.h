// A lock among programs, by etcd's layout: it excludes `etcdctl lock` and the lock of etcd's
// clientv3/concurrency on the same name, and is given in the order of asking.
//
//   KEELSON_ASSIGN_OR_RETURN(auto session, Session::Create(client, {.ttl = absl::Seconds(10)}));
//   DistributedLock lock(*session, "locks/backup");
//   KEELSON_RETURN_IF_ERROR(lock.Lock(absl::Minutes(1)));
//   client.Txn(TxnBuilder().If(lock.IsOwner()).Then(PutOf("last-backup", now)).Build());
//   KEELSON_RETURN_IF_ERROR(lock.Unlock());
//
// A lock by lease is an agreement in time: whoever is stopped for longer than the TTL has lost it
// without knowing. So what the lock protects must not trust it: writes to the store carry IsOwner
// as a condition, and other systems get revision(), which grows from holder to holder, and refuse
// what comes with a smaller one.
#ifndef KEELSON_KVSTORE_CLIENT_LOCK_H_
#define KEELSON_KVSTORE_CLIENT_LOCK_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kvstore/client/session.h"

namespace keelson::kvstore {

// Not thread-safe. Two of them on one session and one name are the same holder.
class DistributedLock {
 public:
  // `session` is borrowed and outlives the lock.
  DistributedLock(Session& session, std::string name);

  // Waits for the lock. Not from a callback of a watch of the same client.
  //
  // Errors, after each of which the lock is not wanted any more:
  //   DEADLINE_EXCEEDED    somebody else still held it after `timeout`.
  //   FAILED_PRECONDITION  the session was lost.
  //   any other            of the client.
  absl::Status Lock(absl::Duration timeout = absl::InfiniteDuration());
  // ABORTED when somebody else holds it.
  absl::Status TryLock();
  // Gives it up. OK also when it was not ours any more.
  absl::Status Unlock();

  // Holds in a transaction while the lock is ours. Precondition: it was.
  [[nodiscard]] etcdserverpb::Compare IsOwner() const;
  // "<name>/<lease in hex>"
  [[nodiscard]] const std::string& key() const { return key_; }
  // Since when the key stands there; 0 while we do not hold or wait.
  [[nodiscard]] int64_t revision() const { return revision_; }

 private:
  // Puts our key into the queue.
  absl::Status Enter(absl::Duration deadline);
  absl::Status GiveUp(const absl::Status& why);

  Session& session_;
  const std::string name_;
  const std::string key_;
  int64_t revision_ = 0;
  bool first_ = false;  // As of Enter: nobody was before us.
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_LOCK_H_
