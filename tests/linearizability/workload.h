// Clients that load a store and note what they see: registers, sets, lists that are appended to by
// compare-and-swap, locks with leases, and watches.
#ifndef KEELSON_TESTS_LINEARIZABILITY_WORKLOAD_H_
#define KEELSON_TESTS_LINEARIZABILITY_WORKLOAD_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/random.h"
#include "kvstore/client/client.h"
#include "tests/linearizability/history.h"

namespace keelson::linearizability {

int64_t NowNanoseconds();

// What all clients of a run share.
struct Shared {
  int64_t begin = NowNanoseconds();
  std::atomic<bool> stopping = false;
  std::atomic<int64_t> seen = 1;       // a revision that every long watch has passed
  std::atomic<int64_t> compacted = 0;  // no watch begins at or below it
  // Planted defect: reads are serializable, and judged as if they were not.
  bool serializable_reads = false;
  // Answers to requests for progress are left out: etcd before 3.4.25 sends them ahead of events
  // (its issue 15220).
  bool ignore_requested_progress = false;

  [[nodiscard]] double seconds() const {
    return static_cast<double>(NowNanoseconds() - begin) / 1e9;
  }
};

// One client after another on one thread, each with a connection to `client`. Single-threaded.
class LoadClient {
 public:
  enum class Kind : uint8_t { kRegister, kSet, kAppend, kLock };

  // `client` is borrowed.
  LoadClient(int number, Kind kind, kvstore::Client& client, Random random, Shared& shared)
      : number_(number), kind_(kind), client_(client), random_(random), shared_(shared) {}

  // Until shared.stopping.
  void Run();
  // What it saw is moved to the end of `history`. Once, after Run.
  void MoveTo(History& history);

 private:
  void Register();
  void Set();
  void Append();
  void Lock();
  void Guard(const std::string& lock, int64_t revision, int64_t lease);
  bool Grant(int64_t lease, int64_t ttl);

  std::string NextValue();
  // Each calls the store and notes what came of it.
  Operation Read(const std::string& key, const std::string& range_end);
  Operation Put(const std::string& key, const std::string& value);
  Operation Swap(const Condition& condition, const Effect& effect);
  // Ends `operation`, which is noted, with `status`.
  Operation Note(Operation operation, const absl::Status& status, int64_t revision);
  void Pause(int64_t most_milliseconds);

  const int number_;
  const Kind kind_;
  kvstore::Client& client_;
  Random random_;
  Shared& shared_;
  int64_t values_ = 0;
  std::vector<Operation> operations_;
  std::vector<Renewal> renewals_;
  std::set<int64_t> revoked_;
};

// One watch of the store, and what it heard. Thread-safe.
class RecordedWatch {
 public:
  // `client` and `shared` are borrowed and outlive it.
  RecordedWatch(kvstore::Client& client, const Shared& shared, std::string name, std::string key,
                std::string range_end, int64_t start_revision);

  // The last revision it has heard everything up to.
  [[nodiscard]] int64_t heard() const { return heard_; }
  [[nodiscard]] bool ended() const { return ended_; }
  void RequestProgress() { watcher_->RequestProgress(); }
  // Ends it. `complete_to`: it was waited for; else 0.
  WatchRecord Finish(int64_t complete_to);

 private:
  void Take(const etcdserverpb::WatchResponse& response);

  const Shared& shared_;
  absl::Mutex mu_;
  WatchRecord record_ ABSL_GUARDED_BY(mu_);
  std::atomic<int64_t> heard_;
  std::atomic<bool> ended_ = false;
  std::unique_ptr<kvstore::Watcher> watcher_;  // last: it calls the above
};

// Watches that begin somewhere in the past, hear for a while and go. Until shared.stopping.
std::vector<WatchRecord> HopAcross(int number, kvstore::Client& client, Random random,
                                   Shared& shared);

Pair FromProto(const mvccpb::KeyValue& pair);

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_WORKLOAD_H_
