// One request and its answer: brings the calls of a ResponseWriter, from any thread, to the
// I/O thread of the connection, in their order.
#ifndef KEELSON_BASE_HTTP_INTERNAL_EXCHANGE_H_
#define KEELSON_BASE_HTTP_INTERNAL_EXCHANGE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/http/internal/connection.h"
#include "base/http/server.h"

namespace keelson::http::internal {

class Exchange final : public std::enable_shared_from_this<Exchange> {
 public:
  struct About {
    bool head = false;
    bool http10 = false;
    bool keep_alive = false;
  };
  Exchange(std::shared_ptr<Connection> connection, About about_request)
      : about(about_request), connection_(std::move(connection)) {}

  // The handle for the handler.
  std::shared_ptr<ResponseWriter> NewWriter();

  // Runs `operation` on the I/O thread: inside this call when we are there and nothing waits.
  void Enqueue(std::function<void(Connection&)> operation) ABSL_LOCKS_EXCLUDED(mu_);

  // On the I/O thread: the client has gone.
  void MarkGone();

  // Touched on the I/O thread only.
  About about;
  bool started = false;   // The header has been queued.
  bool finished = false;  // All of the answer has been queued.
  bool chunked = false;
  bool bodyless = false;               // HEAD, 204, 304: pieces are not sent.
  std::optional<uint64_t> bytes_left;  // Of the Content-Length that Start was given.
  std::function<void()> on_disconnect;

  // Of any thread.
  std::atomic<size_t> buffered_bytes{0};
  std::atomic<bool> gone{false};

 private:
  void RunOperations() ABSL_LOCKS_EXCLUDED(mu_);

  const std::shared_ptr<Connection> connection_;
  absl::Mutex mu_;
  // Never capture a shared_ptr to the exchange in these: it would own itself.
  std::vector<std::function<void(Connection&)>> operations_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::http::internal

#endif  // KEELSON_BASE_HTTP_INTERNAL_EXCHANGE_H_
