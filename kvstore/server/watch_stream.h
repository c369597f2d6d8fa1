// One client's stream of watches: requests in, responses out as wire bytes.
//
//   std::shared_ptr<WatchStream> stream = hub.Open(waker);   // waker.Wake():
//   call Next again stream->Handle(request); while (std::optional<std::string>
//   response = stream->Next()) Send(*response);
//
// The queue of responses is bounded. A watcher whose events do not fit falls
// back to reading the store's history when there is room again; nobody else
// waits for it.
//
// Threading: Handle, Next and Close may run at the same time, each on one
// thread at a time.
#ifndef KEELSON_KVSTORE_SERVER_WATCH_STREAM_H_
#define KEELSON_KVSTORE_SERVER_WATCH_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/server/watch_encoding.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

class WatchHub;

// Told when a stream whose Next returned nothing has something again.
class WatchWaker {
 public:
  virtual ~WatchWaker() = default;
  // Runs on the hub's delivery executor, without locks held. Must not block.
  virtual void Wake() = 0;
};

class WatchStream : public std::enable_shared_from_this<WatchStream> {
 public:
  // Made by WatchHub::Open.
  WatchStream(WatchHub* hub, std::weak_ptr<WatchWaker> waker, double progress_jitter)
      : hub_(hub), waker_(std::move(waker)), progress_jitter_(progress_jitter) {}

  // Serves one request; its answers come out of Next.
  void Handle(const etcdserverpb::WatchRequest& request);

  // Queues a response that no watcher of the hub makes.
  void Answer(const etcdserverpb::WatchResponse& response);

  // The next response in order, or nothing; after nothing, Wake tells when to
  // ask again.
  std::optional<std::string> Next() ABSL_LOCKS_EXCLUDED(mu_);

  // Too many responses wait: take some before handing in more requests.
  [[nodiscard]] bool Crowded() const ABSL_LOCKS_EXCLUDED(mu_);

  // Ends all watchers. Afterwards Next returns nothing and nobody is woken.
  void Close();

 private:
  friend class WatchHub;

  struct Watcher {
    WatchStream* stream = nullptr;
    int64_t id = 0;
    KeyRange range;
    bool no_put = false;
    bool no_delete = false;
    bool prev_kv = false;
    bool progress_notify = false;
    bool fragment = false;
    int64_t start_revision = 0;  // as asked for
    bool live = false;           // in the hub's index; else in lagging
    int64_t next_revision = 0;   // everything below has been queued, or is not wanted
    uint64_t incarnation = 0;    // tells this watcher from a later one with the same id
    absl::Duration last_sent;
    EventIndices matched;  // scratch of Publish: indices of events
  };

  // A response in the queue: ready bytes, or events to be encoded when it is
  // taken.
  struct Item {
    std::string bytes;
    std::shared_ptr<const PublishedChange> change;
    EventIndices indices;
    int64_t watch_id = 0;
    bool prev_kv = false;
    bool fragment = false;
    size_t cost = 0;
  };

  static Item ReadyItem(std::string bytes);

  // What Push did.
  enum class Pushed : uint8_t { kQueued, kQueuedAndWake, kFull };

  // Queues `item`. Events (`bounded`) are refused when the queue is full,
  // answers never.
  Pushed Push(Item item, bool bounded) ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] bool Full() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  [[nodiscard]] bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Sets wants_room_ if the queue is full.
  bool WaitForRoom() ABSL_LOCKS_EXCLUDED(mu_);
  void Silence() ABSL_LOCKS_EXCLUDED(mu_);
  std::string Encode(Item item) ABSL_LOCKS_EXCLUDED(mu_);

  WatchHub* const hub_;
  const std::weak_ptr<WatchWaker> waker_;
  const double progress_jitter_;  // this stream's share of the progress
                                  // interval, [0, 0.1)

  // Protected by the hub's lock.
  std::map<int64_t, std::unique_ptr<Watcher>> watchers_;
  std::deque<int64_t> lagging_;  // ids of watchers that read history, next one first
  int64_t next_id_ = 0;
  bool closed_ = false;
  bool catching_up_ = false;     // a catch-up task is posted, runs, or waits for room
  int64_t progress_target_ = 0;  // a progress request waits for this revision; 0: none

  // Taken after the hub's lock where both are held.
  mutable absl::Mutex mu_;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_cost_ ABSL_GUARDED_BY(mu_) = 0;
  bool idle_ ABSL_GUARDED_BY(mu_) = true;  // Next has returned nothing
  bool silenced_ ABSL_GUARDED_BY(mu_) = false;
  bool wants_room_ ABSL_GUARDED_BY(mu_) = false;  // catch-up waits for the queue to drain
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_WATCH_STREAM_H_
