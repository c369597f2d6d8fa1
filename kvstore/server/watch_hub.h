// Fans committed changes out to watchers (kvstore.md section 6).
//
// A watcher is live, and then found through an index by the keys that change,
// or it lags: its start lies in the past or its stream's queue was full.
// Lagging watchers read the store's history on an executor of their own, one
// batch of one watcher at a time, until they have caught up. The hub hands out
// wire bytes and knows nothing of gRPC.
//
// Threading: thread-safe. Publish and Restored come from one thread, in order.
#ifndef KEELSON_KVSTORE_SERVER_WATCH_HUB_H_
#define KEELSON_KVSTORE_SERVER_WATCH_HUB_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/server/range_index.h"
#include "kvstore/server/watch_stream.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

class WatchHub {
 public:
  struct Options {
    uint64_t cluster_id = 0;
    uint64_t member_id = 0;
    absl::Duration progress_interval = absl::Minutes(10);
    // Responses of watchers that accept fragments are cut at about this size.
    size_t fragment_bytes = 1572864 + (512 << 10);
    // A stream's queue is full at either bound. It always takes one response.
    size_t queue_responses = 1024;
    size_t queue_bytes = 8 << 20;
    // One batch of catching up.
    size_t history_revisions = 1000;
    size_t history_bytes = 1 << 20;
  };

  // All borrowed; they outlive the hub. Stop the executors before destroying
  // it.
  struct Env {
    const Store* store = nullptr;
    Clock* clock = nullptr;
    Executor* delivery = nullptr;    // runs WatchWaker::Wake
    Executor* catch_up = nullptr;    // reads history
    std::function<uint64_t()> term;  // raft term, for headers; thread-safe
  };

  WatchHub(const Options& options, Env env);

  // A new stream without watchers. It must be closed before the hub is
  // destroyed.
  std::shared_ptr<WatchStream> Open(std::weak_ptr<WatchWaker> waker) ABSL_LOCKS_EXCLUDED(mu_);

  // Changes by ascending revision, each once, already visible in the store.
  void Publish(std::vector<Store::Change> changes) ABSL_LOCKS_EXCLUDED(mu_);

  // The store was replaced as a whole: everyone reads what is missing from its
  // history.
  void Restored() ABSL_LOCKS_EXCLUDED(mu_);

  // Sends the progress notifications that are due. Call it about every tenth of
  // the interval.
  void Tick() ABSL_LOCKS_EXCLUDED(mu_);

  struct Stats {
    size_t streams = 0;
    size_t watchers = 0;
    size_t lagging = 0;
    uint64_t events = 0;  // queued for watchers so far
  };
  [[nodiscard]] Stats GetStats() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class WatchStream;
  using Watcher = WatchStream::Watcher;
  using StreamPtr = std::shared_ptr<WatchStream>;

  // Streams to wake once no lock is held.
  class Wakes {
   public:
    explicit Wakes(Executor* delivery) : delivery_(delivery) {}
    Wakes(const Wakes&) = delete;
    Wakes& operator=(const Wakes&) = delete;
    ~Wakes();
    void Add(StreamPtr stream) { streams_.push_back(std::move(stream)); }

   private:
    Executor* const delivery_;
    std::vector<StreamPtr> streams_;
  };

  void Create(const StreamPtr& stream, const etcdserverpb::WatchCreateRequest& request)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel(const StreamPtr& stream, int64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  void Answer(const StreamPtr& stream, const etcdserverpb::WatchResponse& response)
      ABSL_LOCKS_EXCLUDED(mu_);
  void RequestProgress(const StreamPtr& stream) ABSL_LOCKS_EXCLUDED(mu_);
  void CloseStream(const StreamPtr& stream) ABSL_LOCKS_EXCLUDED(mu_);
  // What one watcher read of the history, encoded.
  struct Batch {
    absl::Status status;
    int64_t next_revision = 0;
    std::vector<std::string> responses;
    size_t events = 0;
  };

  // Lets the stream's next lagging watcher read a batch, on the catch-up
  // executor.
  void PostCatchUp(const StreamPtr& stream);
  void CatchUp(const StreamPtr& stream) ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] Batch ReadBatch(const Watcher& watcher) const;
  void DeliverBatch(Watcher& watcher, Batch batch, Wakes& wakes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Why a create request is refused; empty when it is not.
  std::string Refusal(const WatchStream& stream, const etcdserverpb::WatchCreateRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MakeLive(Watcher& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MakeLagging(Watcher& watcher, int64_t next_revision) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Forget(Watcher& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PublishOne(Store::Change& change, Wakes& wakes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Match(const Store::Change& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether everything wanted up to `revision` has been queued, and something
  // is wanted there.
  static bool HasBegun(const Watcher& watcher, int64_t revision);
  // True if that holds for every watcher of the stream.
  bool CaughtUp(const WatchStream& stream, int64_t revision) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AnswerProgress(Wakes& wakes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // A response with its header filled in.
  [[nodiscard]] etcdserverpb::WatchResponse Response(int64_t watch_id, int64_t revision) const;
  void PushAnswer(WatchStream& stream, std::string bytes, Wakes& wakes);

  const Options options_;
  const Env env_;

  mutable absl::Mutex mu_;
  int64_t published_ ABSL_GUARDED_BY(mu_);  // every change up to here has been published
  uint64_t last_incarnation_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t streams_opened_ ABSL_GUARDED_BY(mu_) = 0;
  std::unordered_set<StreamPtr> streams_ ABSL_GUARDED_BY(mu_);
  RangeIndex<Watcher*> live_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, Watcher*> progress_watchers_ ABSL_GUARDED_BY(mu_);  // by incarnation
  std::vector<StreamPtr> progress_requests_ ABSL_GUARDED_BY(mu_);  // with progress_target_ set
  std::vector<Watcher*> touched_ ABSL_GUARDED_BY(mu_);             // scratch of Publish
  size_t watchers_ ABSL_GUARDED_BY(mu_) = 0;
  size_t lagging_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t events_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_WATCH_HUB_H_
