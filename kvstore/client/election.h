// Makes one of several programs the leader, by etcd's layout: it shares an election with `etcdctl
// elect` and with etcd's clientv3/concurrency.
//
//   Election election(*session, "leaders/scheduler");
//   KEELSON_RETURN_IF_ERROR(election.Campaign("10.0.0.7:8080"));   // blocks
//   ... lead; every write says that we still do:
//   client.Txn(TxnBuilder().If(election.IsLeader()).Then(...).Build());
//   KEELSON_RETURN_IF_ERROR(election.Resign());
//
//   // Elsewhere: who leads?
//   auto observer = Observe(client, "leaders/scheduler", {.on_leader = [](const auto& pair) { ... }});
//
// What lock.h says about time holds here too.
#ifndef KEELSON_KVSTORE_CLIENT_ELECTION_H_
#define KEELSON_KVSTORE_CLIENT_ELECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/mirror.h"
#include "kvstore/client/session.h"

namespace keelson::kvstore {

// Not thread-safe.
class Election {
 public:
  // `session` is borrowed and outlives the election.
  Election(Session& session, std::string name);

  // Stands for leader with `value`, and waits to become it. Errors as DistributedLock::Lock.
  absl::Status Campaign(std::string_view value, absl::Duration timeout = absl::InfiniteDuration());
  // Changes the value. FAILED_PRECONDITION "election: not leader" when we do not stand any more.
  absl::Status Proclaim(std::string_view value);
  // Stops standing. OK also when we did not.
  absl::Status Resign();

  // Holds in a transaction while we lead. Precondition: Campaign has succeeded.
  [[nodiscard]] etcdserverpb::Compare IsLeader() const;
  [[nodiscard]] const std::string& key() const { return key_; }
  // Since when we stand; it grows from leader to leader. 0: we do not.
  [[nodiscard]] int64_t revision() const { return revision_; }

 private:
  Session& session_;
  const std::string name_;
  const std::string key_;
  int64_t revision_ = 0;
};

// Who leads: the key and what was proclaimed. NOT_FOUND "election: no leader".
absl::StatusOr<mvccpb::KeyValue> FindLeader(Client& client, std::string_view name);

struct ElectionCallbacks {
  // The leader and what it says, now and after each change. What changes faster than it can be told
  // may be left out, the last is not.
  std::function<void(const mvccpb::KeyValue&)> on_leader;
  // There is none (any more). May be empty.
  std::function<void()> on_no_leader = nullptr;
  // As RangeMirror::Callbacks::on_end. May be empty.
  std::function<void(const absl::Status&)> on_end = nullptr;
};
// Tells until the observer is destroyed, which waits for a callback that runs. `client` outlives it.
absl::StatusOr<std::unique_ptr<RangeMirror>> Observe(Client& client, std::string_view name,
                                                     ElectionCallbacks callbacks);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_ELECTION_H_
