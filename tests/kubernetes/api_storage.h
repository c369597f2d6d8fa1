// What an API server of Kubernetes does with etcd, as its storage layer does it (kvstore.md section
// 22): optimistic transactions, paged lists at one revision, a cache that a watch keeps, a compactor,
// leases that events share. Every answer is checked against what Kubernetes relies on.
//
// Threading: thread-safe, unless said otherwise.
#ifndef KEELSON_TESTS_KUBERNETES_API_STORAGE_H_
#define KEELSON_TESTS_KUBERNETES_API_STORAGE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"

namespace keelson::kubernetes {

// Guarantees that did not hold.
class Violations {
 public:
  void Add(const std::string& text);
  [[nodiscard]] uint64_t count() const { return count_; }
  // The first few.
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  mutable absl::Mutex mu_;
  std::atomic<uint64_t> count_ = 0;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

struct Counters {
  std::atomic<uint64_t> gets = 0, creates = 0, updates = 0, deletes = 0, conflicts = 0, lists = 0,
                        pages = 0, events = 0, progress = 0, compactions = 0, leases = 0,
                        consistent_reads = 0, unanswered = 0;
  [[nodiscard]] uint64_t operations() const {
    return gets + creates + updates + deletes + conflicts + pages + compactions + leases;
  }
};

struct Object {
  std::string value;
  int64_t revision = 0;  // of its last change

  friend bool operator==(const Object&, const Object&) = default;
};
using Objects = std::map<std::string, Object>;

class ApiStorage {
 public:
  // All borrowed.
  ApiStorage(kvstore::Client& client, Violations& violations, Counters& counters)
      : client_(client), violations_(violations), counters_(counters) {}

  // The object, or nothing when there is none.
  absl::StatusOr<std::optional<Object>> Get(const std::string& key);
  // Puts `value` if the object's revision is `expected` (0: there is none). The new state, or the one
  // that was in the way (revision 0: none).
  absl::StatusOr<std::pair<bool, Object>> Put(const std::string& key, const std::string& value,
                                              int64_t expected, int64_t lease = 0);
  absl::StatusOr<std::pair<bool, Object>> Delete(const std::string& key, int64_t expected);

  struct Listed {
    Objects objects;
    int64_t revision = 0;
  };
  // Page by page, all at the revision of the first one; the counts of what remains are checked.
  absl::StatusOr<Listed> List(const std::string& prefix, int64_t page, int64_t at_revision = 0);
  // The revision now, by the cheapest linearizable read there is.
  absl::StatusOr<int64_t> CurrentRevision(const std::string& prefix);

  absl::StatusOr<int64_t> GrantLease(absl::Duration ttl);

  // One round of the compactor: takes the turn from the other API servers by a transaction, and
  // compacts to `previous`, the revision of its last turn. The revision for the next round.
  absl::StatusOr<int64_t> CompactOnce(int64_t& version, int64_t previous);

  kvstore::Client& client() { return client_; }
  Violations& violations() { return violations_; }
  Counters& counters() { return counters_; }

 private:
  absl::StatusOr<std::pair<bool, Object>> Swap(const std::string& key, int64_t expected,
                                               const etcdserverpb::RequestOp& operation);

  kvstore::Client& client_;
  Violations& violations_;
  Counters& counters_;
};

// A copy of everything below a prefix, kept by a watch.
class WatchCache {
 public:
  // Lists, then watches. `storage` is borrowed.
  static absl::StatusOr<std::unique_ptr<WatchCache>> Start(ApiStorage& storage,
                                                           const std::string& prefix);

  // Waits until the cache has everything up to `revision`, asking for progress meanwhile, as a
  // consistent read from the cache does. False when that takes longer than `patience`.
  bool AwaitRevision(int64_t revision, absl::Duration patience);
  [[nodiscard]] Objects objects() const;
  [[nodiscard]] int64_t revision() const;
  [[nodiscard]] bool ended() const { return ended_; }
  // Keys that went away, with the time when that was heard, since the last call.
  std::vector<std::pair<std::string, absl::Time>> TakeDeleted();
  const std::string& prefix() const { return prefix_; }

 private:
  WatchCache(ApiStorage& storage, std::string prefix, ApiStorage::Listed listed)
      : storage_(storage),
        prefix_(std::move(prefix)),
        objects_(std::move(listed.objects)),
        revision_(listed.revision) {}
  void Take(const etcdserverpb::WatchResponse& response);
  void TakeEvent(const mvccpb::Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  ApiStorage& storage_;
  const std::string prefix_;
  mutable absl::Mutex mu_;
  Objects objects_ ABSL_GUARDED_BY(mu_);
  int64_t revision_ ABSL_GUARDED_BY(mu_);
  std::vector<std::pair<std::string, absl::Time>> deleted_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> ended_ = false;
  std::unique_ptr<kvstore::Watcher> watcher_;  // last: it calls the above
};

}  // namespace keelson::kubernetes

#endif  // KEELSON_TESTS_KUBERNETES_API_STORAGE_H_
