// The tree of etcd's version 2 API with its last events and those who wait for the next.
//
//   KeyStore store;
//   store.Apply(request);                                   // the state machine
//   const Outcome now = store.Get("/a", false, time);       // anyone
//   auto watch = store.Watch({.path = "/a", .recursive = true}, [](const WatchEvent& e) { ... });
//
// Threading: thread-safe.
#ifndef KEELSON_KVSTORE_V2_KEY_STORE_H_
#define KEELSON_KVSTORE_V2_KEY_STORE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/api/v2.pb.h"
#include "kvstore/v2/event.h"
#include "kvstore/v2/tree.h"

namespace keelson::kvstore::v2 {

// Counts since the start, by operation (kvstore.md 15.15).
struct Statistics {
  struct Count {
    uint64_t success = 0;
    uint64_t fail = 0;
  };
  Count gets, sets, deletes, updates, creates, swaps, compare_deletes;
  uint64_t expired = 0;
  uint64_t watchers = 0;  // now
};

class KeyStore {
 public:
  static constexpr size_t kHistoryEvents = 1000;

  struct WatchOptions {
    std::string path = {};  // clean
    bool recursive = false;
    bool stream = false;  // more than one event
    uint64_t since = 0;   // the first index of interest; 0: what comes next
  };
  // Gets an event as a line of JSON, or null when the watch ends because the tree was
  // replaced. Called under the store's lock, in the order of events: no call back, no waiting.
  using OnEvent = std::function<void(const std::string* line)>;
  struct Watch {
    uint64_t id = 0;     // 0: over already, with the one event that it got inside the call
    uint64_t index = 0;  // of the tree at the start
  };

  // Changes the tree and tells those who watch. EXPIRE answers with its last event, or with an
  // empty one.
  Outcome Apply(const V2Request& request) ABSL_LOCKS_EXCLUDED(mu_);

  [[nodiscard]] Outcome Get(const std::string& path, bool recursive, int64_t now)
      ABSL_LOCKS_EXCLUDED(mu_);

  // A watch without `stream` ends with its first event. An event of the history counts, and ends
  // also one with `stream`, as in etcd. kEventIndexCleared when `since` is older than that.
  [[nodiscard]] std::variant<Watch, Error> StartWatch(const WatchOptions& options,
                                                      const OnEvent& on_event)
      ABSL_LOCKS_EXCLUDED(mu_);
  // No call of its OnEvent after this. Unknown ids are ignored.
  void EndWatch(uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends all watches: another store takes the place of this one.
  void EndAllWatches() ABSL_LOCKS_EXCLUDED(mu_);

  [[nodiscard]] std::optional<int64_t> NextExpiration() const ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] Statistics GetStatistics() const ABSL_LOCKS_EXCLUDED(mu_);

  // --- Keeping it: rows of the engine ---

  // What changed since the last call: rows to write, and rows to remove (empty).
  using Rows = std::map<std::string, std::optional<std::string>>;
  [[nodiscard]] Rows TakeRows() ABSL_LOCKS_EXCLUDED(mu_);
  // All rows begin so.
  static constexpr std::string_view kRowPrefix = "2";
  // Puts a row back; ascending by row. False when it makes no sense.
  [[nodiscard]] bool RestoreRow(std::string_view row, std::string_view value)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Watcher {
    std::string path;
    bool recursive = false;
    bool stream = false;
    uint64_t since = 0;
    OnEvent on_event;
  };

  void Record(const Tree::Change& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Notify(const Event& event, const std::vector<std::string>& removed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NotifyAt(const std::string& path, const Event& event, bool deleted, std::string* line)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Count(const V2Request& request, bool success) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The oldest index that can be asked for.
  [[nodiscard]] uint64_t HistoryStart() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  [[nodiscard]] const Event* FindInHistory(const WatchOptions& options) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  Tree tree_ ABSL_GUARDED_BY(mu_);
  std::deque<Event> history_ ABSL_GUARDED_BY(mu_);          // by consecutive indexes
  std::set<uint64_t> unsaved_events_ ABSL_GUARDED_BY(mu_);  // indexes, also of those that went
  uint64_t next_watch_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<uint64_t, Watcher> watchers_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, std::set<uint64_t>> watchers_at_ ABSL_GUARDED_BY(mu_);
  Statistics statistics_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore::v2

#endif  // KEELSON_KVSTORE_V2_KEY_STORE_H_
