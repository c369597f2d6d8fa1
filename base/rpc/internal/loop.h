// A thread that serves connections.
#ifndef KEELSON_BASE_RPC_INTERNAL_LOOP_H_
#define KEELSON_BASE_RPC_INTERNAL_LOOP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/rpc/internal/connection.h"
#include "base/rpc/internal/mailbox.h"
#include "base/rpc/internal/stream.h"
#include "base/rpc/server.h"
#include "base/unique_fd.h"

struct nghttp2_option;
struct nghttp2_session_callbacks;

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
  std::shared_ptr<Mailbox> mailbox;
  Deadlines deadlines;
  absl::Duration now;  // Monotonic; as of the last wake.
  std::string input;   // For one read at a time.
  std::string output;  // For one write at a time.
};

class Loop {
 public:
  Loop(const ServerOptions* options, const Methods* methods, Counters* counters);
  ~Loop();  // Stops.

  // Thread-safe.
  void Adopt(UniqueFd fd, bool tls);
  // No new calls and connections; `drained` is notified when all have ended.
  void Drain();
  [[nodiscard]] bool WaitUntilDrained(absl::Duration timeout) {
    return drained_.WaitForNotificationWithTimeout(timeout);
  }
  // Ends all calls and the thread. Idempotent; of one thread.
  void Stop();

 private:
  void Run();
  void Open(UniqueFd fd, bool tls);
  // Looks after the connection once something has been done with it.
  void Touch(Connection* connection);
  void FlushTouched();
  void OnTimers();
  [[nodiscard]] int Timeout() const;  // Milliseconds; -1: none

  LoopContext context_;
  const UniqueFd epoll_;
  absl::flat_hash_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> touched_;
  absl::Duration next_timer_;
  bool draining_ = false;
  bool stopping_ = false;
  absl::Notification drained_;
  std::thread thread_;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_LOOP_H_
