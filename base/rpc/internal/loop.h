// The connections of a server that belong to one thread.
#ifndef KEELSON_BASE_RPC_INTERNAL_LOOP_H_
#define KEELSON_BASE_RPC_INTERNAL_LOOP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/event_loop.h"
#include "base/rpc/internal/connection.h"
#include "base/rpc/internal/mailbox.h"
#include "base/rpc/internal/stream.h"
#include "base/rpc/server.h"
#include "base/unique_fd.h"

namespace keelson::rpc::internal {

using Methods = absl::flat_hash_map<std::string, Method>;

// Counted by the loops, read by anyone.
struct Counters {
  std::atomic<uint64_t> connections{0};
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> connections_total{0};
  std::atomic<uint64_t> calls_total{0};
  std::atomic<uint64_t> received_bytes_total{0};
  std::atomic<uint64_t> sent_bytes_total{0};
};

struct LoopContext {
  const ServerOptions* options;
  const Methods* methods;
  Counters* counters;
  std::shared_ptr<Mailbox<Stream>> mailbox;
  Deadlines deadlines;
  absl::Duration now;  // Monotonic; as of the last wake.
  std::string input;   // For one read at a time.
  std::string output;  // For one write at a time.
};

// Owned by shared_ptr: a task may still be on its way after Stop.
class Loop final : public std::enable_shared_from_this<Loop> {
 public:
  // `thread` is borrowed until Stop.
  Loop(EventLoop* thread, const ServerOptions* options, const Methods* methods, Counters* counters);
  ~Loop();

  // Thread-safe.
  void Adopt(UniqueFd fd, bool tls);
  // No new calls and connections; `drained` is notified when all have ended.
  void Drain();
  [[nodiscard]] bool WaitUntilDrained(absl::Duration timeout) {
    return drained_.WaitForNotificationWithTimeout(timeout);
  }
  // Ends all calls. Idempotent.
  void Stop();

 private:
  class Watched;  // A connection and its place in the event loop.

  void Open(UniqueFd fd, bool tls);
  // Looks after the connection once something has been done with it.
  void Touch(Watched* watched);
  void FlushTouched();
  void OnTimer();
  void SetTimer();

  EventLoop* const thread_;
  LoopContext context_;
  absl::flat_hash_map<Connection*, std::unique_ptr<Watched>> connections_;
  std::vector<Watched*> touched_;
  EventLoop::Timer timer_;
  absl::Duration next_check_ = absl::InfiniteDuration();  // Of handshakes and keep-alives.
  bool draining_ = false;
  bool stopped_ = false;
  absl::Notification drained_;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_LOOP_H_
