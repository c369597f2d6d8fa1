#include "base/http/internal/io.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <utility>

#include "base/check.h"
#include "base/net/address.h"

namespace keelson::http::internal {
namespace {

using Socket = asio::generic::stream_protocol::socket;

Socket TakeSocket(asio::io_context& context, UniqueFd fd) {
  int family = AF_INET;
  socklen_t size = sizeof(family);
  (void)::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &family, &size);  // Only informs Asio.
  Socket socket(context);
  error_code error;
  socket.assign(asio::generic::stream_protocol(family, 0), fd.get(), error);
  if (!error) (void)fd.Release();  // Asio owns it now; otherwise the first read fails.
  return socket;
}

class PlainTransport final : public Transport {
 public:
  PlainTransport(asio::io_context& context, UniqueFd fd)
      : socket_(TakeSocket(context, std::move(fd))) {}

  void Handshake(bool, std::string_view, Callback) override { KEELSON_CHECK(false); }
  void ReadSome(asio::mutable_buffer buffer, Callback done) override {
    socket_.async_read_some(buffer, std::move(done));
  }
  void WriteSome(asio::const_buffer buffer, Callback done) override {
    socket_.async_write_some(buffer, std::move(done));
  }
  void ShutdownSend(std::function<void()> done) override {
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    asio::post(socket_.get_executor(), std::move(done));
  }
  void Close() override {
    error_code ignored;
    socket_.close(ignored);
  }
  SSL* ssl() override { return nullptr; }
  int fd() override { return socket_.native_handle(); }

 private:
  Socket socket_;
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(asio::io_context& context, UniqueFd fd, SSL* ssl)
      : stream_(TakeSocket(context, std::move(fd)), ssl) {}

  void Handshake(bool as_server, std::string_view already_read, Callback done) override {
    const auto role = as_server ? Stream::server : Stream::client;
    if (already_read.empty()) {
      stream_.async_handshake(role, [done = std::move(done)](error_code error) { done(error, 0); });
    } else {
      stream_.async_handshake(role, asio::buffer(already_read.data(), already_read.size()),
                              std::move(done));
    }
  }
  void ReadSome(asio::mutable_buffer buffer, Callback done) override {
    stream_.async_read_some(buffer, std::move(done));
  }
  void WriteSome(asio::const_buffer buffer, Callback done) override {
    stream_.async_write_some(buffer, std::move(done));
  }
  void ShutdownSend(std::function<void()> done) override {
    // SSL_shutdown in Asio waits for the peer's close_notify; ours is all we owe, and the
    // socket's end follows it. The owner's deadline bounds a peer that does not take it.
    stream_.async_shutdown([this, done = std::move(done)](error_code) {
      error_code ignored;
      stream_.next_layer().shutdown(Socket::shutdown_send, ignored);
      done();
    });
  }
  void Close() override {
    error_code ignored;
    stream_.next_layer().close(ignored);
  }
  SSL* ssl() override { return stream_.native_handle(); }
  int fd() override { return stream_.next_layer().native_handle(); }

 private:
  using Stream = asio::ssl::stream<Socket>;
  Stream stream_;
};

}  // namespace

SteadyTime DeadlineAfter(absl::Duration duration) {
  // Far deadlines would overflow the clock's range; nobody can tell them from never.
  if (duration > absl::Hours(24 * 365)) return SteadyTime::max();
  return std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(duration);
}

IoThread::IoThread(const std::string& name)
    : work_(asio::make_work_guard(context_)), thread_([this] { context_.run(); }) {
  thread_id_ = thread_.get_id();
  (void)::pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());  // Cosmetic.
}

IoThread::~IoThread() { KEELSON_CHECK(!thread_.joinable()); }

void IoThread::Post(std::function<void()> task) {
  absl::MutexLock lock(&mu_);
  if (!stopped_) asio::post(context_, std::move(task));
}

void IoThread::Stop(std::function<void()> last) {
  {
    absl::MutexLock lock(&mu_);
    KEELSON_CHECK(!stopped_);
    stopped_ = true;  // Nothing is posted from outside after this; `last` is the last one.
    asio::post(context_, std::move(last));
  }
  work_.reset();
  thread_.join();  // run() returns when every operation has called back.
}

std::unique_ptr<Transport> NewPlainTransport(asio::io_context& context, UniqueFd fd) {
  return std::make_unique<PlainTransport>(context, std::move(fd));
}

std::unique_ptr<Transport> NewTlsTransport(asio::io_context& context, UniqueFd fd, SSL_CTX* ctx) {
  SSL* ssl = SSL_new(ctx);
  if (ssl == nullptr) return nullptr;
  return std::make_unique<TlsTransport>(context, std::move(fd), ssl);
}

DeadlineTimer::DeadlineTimer(asio::io_context& context, std::function<void()> expired)
    : timer_(context), expired_(std::move(expired)) {}

void DeadlineTimer::Set(SteadyTime deadline, const std::shared_ptr<void>& keep_alive) {
  deadline_ = deadline;
  if (!cancelled_ && deadline_ < armed_for_) Arm(keep_alive);
}

void DeadlineTimer::Cancel() {
  cancelled_ = true;
  timer_.cancel();
}

void DeadlineTimer::Arm(const std::shared_ptr<void>& keep_alive) {
  armed_for_ = deadline_;
  timer_.expires_at(armed_for_);
  timer_.async_wait([this, keep_alive](error_code error) {
    if (error || cancelled_) return;  // Armed anew for an earlier time, or cancelled.
    armed_for_ = SteadyTime::max();
    if (deadline_ == SteadyTime::max()) return;
    if (deadline_ > std::chrono::steady_clock::now()) return Arm(keep_alive);
    deadline_ = SteadyTime::max();
    expired_();
  });
}

std::string PeerAddress(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "unknown";
  return net::AddressText(reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace keelson::http::internal
