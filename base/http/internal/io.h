// Sockets and threads under the HTTP server and client: the only place, with their .cc
// files, that knows Boost.Asio.
#ifndef KEELSON_BASE_HTTP_INTERNAL_IO_H_
#define KEELSON_BASE_HTTP_INTERNAL_IO_H_

#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/http/message.h"
#include "base/unique_fd.h"

namespace keelson::http::internal {

namespace asio = boost::asio;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

// `duration` from now, or SteadyTime::max() for an infinite one.
SteadyTime DeadlineAfter(absl::Duration duration);

// One thread that runs one io_context; everything of a connection happens on its thread.
class IoThread {
 public:
  explicit IoThread(const std::string& name);
  // Must be stopped.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  asio::io_context& context() { return context_; }
  [[nodiscard]] bool RunsHere() const { return std::this_thread::get_id() == thread_id_; }

  // Runs `task` later on the thread; drops it after Stop. Thread-safe.
  void Post(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `last` on the thread (close everything there), lets the operations that are
  // still open end, and joins. From outside the thread, once.
  void Stop(std::function<void()> last) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
  std::thread::id thread_id_;  // Constant after construction.
};

// A connected stream, plain or TLS. Not thread-safe; at most one read and one write at a
// time. The owner keeps it alive until the callbacks of what it started have run.
class Transport {
 public:
  using Callback = std::function<void(error_code error, size_t bytes)>;

  virtual ~Transport() = default;

  // TLS: shakes hands, `already_read` (which outlives the operation) coming before the
  // socket's bytes. Plain: not to be called.
  virtual void Handshake(bool as_server, std::string_view already_read, Callback done) = 0;
  virtual void ReadSome(asio::mutable_buffer buffer, Callback done) = 0;
  virtual void WriteSome(asio::const_buffer buffer, Callback done) = 0;
  // Says that no more will be sent (for TLS by close_notify first). Ignores errors.
  virtual void ShutdownSend(std::function<void()> done) = 0;
  // Ends all operations with an error. Idempotent.
  virtual void Close() = 0;
  // Null for plain.
  virtual SSL* ssl() = 0;
  // Still owned by the transport.
  virtual int fd() = 0;
};

// Takes over a connected socket.
std::unique_ptr<Transport> NewPlainTransport(asio::io_context& context, UniqueFd fd);
// `ctx` may go afterwards. Null when OpenSSL has no memory.
std::unique_ptr<Transport> NewTlsTransport(asio::io_context& context, UniqueFd fd, SSL_CTX* ctx);

// A single deadline that is moved often and passes rarely: moving it costs nothing unless it moves
// to the front.
class DeadlineTimer {
 public:
  // `expired` runs on the context's thread, whenever the deadline last set has passed.
  DeadlineTimer(asio::io_context& context, std::function<void()> expired);

  // SteadyTime::max() means never. `keep_alive` is held until the timer has let go of it.
  void Set(SteadyTime deadline, const std::shared_ptr<void>& keep_alive);
  // Lets go; nothing is called afterwards.
  void Cancel();

 private:
  void Arm(const std::shared_ptr<void>& keep_alive);

  asio::steady_timer timer_;
  const std::function<void()> expired_;
  SteadyTime deadline_ = SteadyTime::max();
  SteadyTime armed_for_ = SteadyTime::max();
  bool cancelled_ = false;
};

// "127.0.0.1:40312", "[::1]:40312" or "unix" for the peer of a socket; "unknown" when it has gone.
std::string PeerAddress(int fd);

}  // namespace keelson::http::internal

#endif  // KEELSON_BASE_HTTP_INTERNAL_IO_H_
