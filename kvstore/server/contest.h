// One client's part in a contest for a name: keys "name/LEASE", of which the one that was made
// first is the owner's. What etcd's locks and elections are made of (kvstore.md section 8).
#ifndef KEELSON_KVSTORE_SERVER_CONTEST_H_
#define KEELSON_KVSTORE_SERVER_CONTEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// The error of a call that etcd makes by its own client: its text, without its code.
absl::Status AsUnknown(const absl::Status& status);

class Contest : public std::enable_shared_from_this<Contest> {
 public:
  struct Options {
    std::string name;
    int64_t lease = 0;  // 0: one of 60 s is made, and not kept alive
    std::string value;
    // Proposed again where the key exists with another value (elections).
    bool updates_value = false;
    // The key must still be there when its turn comes (locks).
    bool needs_key = false;
    Origin who;
  };

  // `server` is borrowed. `end` runs once, on any thread: OK when the key owns the name.
  Contest(Server* server, Options options, std::function<void(const absl::Status&)> end);

  void Start();
  // The client left: takes the key away, unless it owns the name and its client knows.
  void Cancel() ABSL_LOCKS_EXCLUDED(mu_);

  // After the end.
  [[nodiscard]] const std::string& key() const { return key_; }
  [[nodiscard]] int64_t lease() const { return options_.lease; }
  [[nodiscard]] int64_t create_revision() const { return create_revision_; }
  [[nodiscard]] const etcdserverpb::ResponseHeader& header() const { return header_; }

 private:
  void Enter();
  void OnEntered(const absl::Status& status);
  void UpdateValue();
  void Wait();
  void Look();
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave();

  Server* const server_;
  Options options_;
  std::string key_;
  int64_t create_revision_ = 0;
  etcdserverpb::ResponseHeader header_;

  // Of the call that runs.
  etcdserverpb::LeaseGrantRequest grant_;
  etcdserverpb::LeaseGrantResponse granted_;
  etcdserverpb::TxnRequest txn_;
  etcdserverpb::TxnResponse entered_;

  absl::Mutex mu_;
  std::function<void(const absl::Status&)> end_ ABSL_GUARDED_BY(mu_);  // empty: over
  uint64_t waiter_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_CONTEST_H_
