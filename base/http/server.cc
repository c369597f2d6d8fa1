#include "base/http/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/http/internal/connection.h"
#include "base/http/internal/io.h"
#include "base/net/address.h"
#include "base/status.h"

namespace keelson::http {
namespace {

using internal::Connection;
using internal::error_code;
using internal::ServerCore;
using internal::Worker;
namespace asio = boost::asio;

constexpr uint64_t kRefusalsMax = 64;  // Connections at once that are told 503.
constexpr absl::Duration kAcceptBackOff = absl::Milliseconds(100);

absl::Status CheckOptions(const ServerOptions& options) {
  const ServerLimits& limits = options.limits;
  for (const absl::Duration timeout :
       {limits.handshake_timeout, limits.header_timeout, limits.body_timeout, limits.idle_timeout,
        limits.write_timeout}) {
    if (timeout <= absl::ZeroDuration()) {
      return absl::InvalidArgumentError("a time limit of the HTTP server is not positive");
    }
  }
  if (limits.header_bytes_max == 0 || limits.connections_max == 0 || options.io_threads < 1) {
    return absl::InvalidArgumentError("a limit of the HTTP server is not positive");
  }
  return absl::OkStatus();
}

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, Handler handler)
      : core_(std::make_shared<ServerCore>(options.limits, std::move(handler))), tls_(options.tls) {
    for (int i = 0; i < options.io_threads; ++i) {
      workers_.push_back(std::make_shared<Worker>("http-io-" + std::to_string(i)));
    }
  }
  ~ServerImpl() override { Stop(); }

  absl::Status Bind(const std::vector<std::string>& addresses);
  void Serve();

  const std::vector<std::string>& addresses() const override { return addresses_; }
  uint16_t port() const override { return port_; }
  void AdoptConnection(UniqueFd fd, Adopted adopted) override;
  void SetTls(std::shared_ptr<const TlsServerContext> tls) override;
  bool Drain(absl::Duration timeout) override;
  ServerStats Stats() const override;

 private:
  // A listening socket and the wait on it; on the thread of workers_[0].
  struct Acceptor {
    Acceptor(asio::io_context& context, int fd) : descriptor(context, fd), back_off(context) {}
    asio::posix::stream_descriptor descriptor;
    asio::steady_timer back_off;
  };

  void Wait(Acceptor& acceptor);
  void AcceptAll(Acceptor& acceptor);
  void StopAccepting();
  void Stop();

  const std::shared_ptr<ServerCore> core_;
  std::vector<std::shared_ptr<Worker>> workers_;  // Constant after construction.
  std::vector<std::string> addresses_;            // Constant after Bind.
  uint16_t port_ = 0;                             // Constant after Bind.
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::atomic<size_t> next_worker_{0};
  std::atomic<bool> adopting_{true};

  absl::Mutex mu_;
  std::shared_ptr<const TlsServerContext> tls_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

absl::Status ServerImpl::Bind(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    KEELSON_ASSIGN_OR_RETURN(net::Listener listener, net::Listen(address));
    if (addresses_.empty()) port_ = listener.port;
    addresses_.push_back(listener.address);
    acceptors_.push_back(
        std::make_unique<Acceptor>(workers_[0]->thread.context(), listener.fd.Release()));
  }
  return absl::OkStatus();
}

void ServerImpl::Serve() {
  workers_[0]->thread.Post([this] {
    for (const auto& acceptor : acceptors_) Wait(*acceptor);
  });
}

void ServerImpl::Wait(Acceptor& acceptor) {
  acceptor.descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                 [this, &acceptor](error_code error) {
                                   if (!error) AcceptAll(acceptor);
                                 });
}

void ServerImpl::AcceptAll(Acceptor& acceptor) {
  constexpr int kAtOnce = 64;  // Then the open connections have their turn.
  bool has_tls = false;
  {
    absl::MutexLock lock(&mu_);
    has_tls = tls_ != nullptr;
  }
  for (int i = 0; i < kAtOnce && acceptor.descriptor.is_open(); ++i) {
    UniqueFd fd(::accept4(acceptor.descriptor.native_handle(), nullptr, nullptr,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.ok()) {
      AdoptConnection(std::move(fd), {.already_read = "", .tls = has_tls});
      continue;
    }
    if (errno == EAGAIN) break;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;
    // Out of descriptors or memory: the connection stays in the queue and would wake us at
    // once; wait until something may have been closed.
    acceptor.back_off.expires_after(absl::ToChronoMilliseconds(kAcceptBackOff));
    acceptor.back_off.async_wait([this, &acceptor](error_code error) {
      if (!error) Wait(acceptor);
    });
    return;
  }
  if (acceptor.descriptor.is_open()) Wait(acceptor);
}

void ServerImpl::AdoptConnection(UniqueFd fd, Adopted adopted) {
  std::shared_ptr<const TlsServerContext> tls;
  {
    absl::MutexLock lock(&mu_);
    if (!adopting_ || (adopted.tls && !tls_)) return;
    if (adopted.tls) tls = tls_;
  }
  const int on = 1;
  (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // Not on unix sockets.
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  bool refuse = false;
  {
    absl::MutexLock lock(&core_->mu);
    refuse = core_->connections_open >= core_->limits.connections_max;
    if (!refuse) ++core_->connections_open;
  }
  ++core_->connections_total;
  if (refuse) {
    ++core_->connections_refused_total;
    if (tls || core_->refusals_open >= kRefusalsMax) return;
  }

  const std::shared_ptr<Worker>& worker = workers_[next_worker_++ % workers_.size()];
  auto start = [worker, core = core_, tls, refuse, held = std::make_shared<UniqueFd>(std::move(fd)),
                already_read = std::move(adopted.already_read)] {
    UniqueFd socket = std::move(*held);  // Shared before, since a std::function can be copied.
    std::string peer = internal::PeerAddress(socket.get());
    auto& context = worker->thread.context();
    auto transport = tls ? internal::NewTlsTransport(context, std::move(socket), tls->ssl_ctx())
                         : internal::NewPlainTransport(context, std::move(socket));
    KEELSON_CHECK(transport != nullptr) << "out of memory";
    auto connection =
        std::make_shared<Connection>(worker, core, std::move(transport), std::move(peer));
    if (refuse) return connection->Refuse();
    connection->Start(already_read);
  };
  if (worker->thread.RunsHere()) {
    start();
  } else {
    worker->thread.Post(std::move(start));
  }
}

void ServerImpl::SetTls(std::shared_ptr<const TlsServerContext> tls) {
  KEELSON_CHECK(tls != nullptr);
  absl::MutexLock lock(&mu_);
  KEELSON_CHECK(tls_ != nullptr) << "the server has no TLS";
  tls_.swap(tls);
}

void ServerImpl::StopAccepting() {
  {
    absl::MutexLock lock(&mu_);
    adopting_ = false;
  }
  workers_[0]->thread.Post([this] {
    for (const auto& acceptor : acceptors_) {
      error_code ignored;
      acceptor->descriptor.close(ignored);
      acceptor->back_off.cancel();
    }
  });
}

bool ServerImpl::Drain(absl::Duration timeout) {
  StopAccepting();
  core_->draining = true;
  for (const auto& worker : workers_) {
    worker->thread.Post([worker] {
      const std::vector<Connection*> connections(worker->connections.begin(),
                                                 worker->connections.end());
      for (Connection* connection : connections) connection->OnDraining();
    });
  }
  bool finished = false;
  {
    absl::MutexLock lock(&core_->mu);
    const auto none_open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_->mu) {
      return core_->connections_open == 0;
    };
    finished = core_->mu.AwaitWithTimeout(absl::Condition(&none_open), timeout);
  }
  Stop();
  return finished;
}

void ServerImpl::Stop() {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(stopped_, true)) return;
  }
  StopAccepting();
  for (const auto& worker : workers_) {
    worker->thread.Stop([worker] {
      // Closing one calls back into handlers' code, which may close another.
      while (!worker->connections.empty()) (*worker->connections.begin())->Close();
    });
  }
}

ServerStats ServerImpl::Stats() const {
  ServerStats stats;
  stats.connections_total = core_->connections_total;
  stats.connections_refused_total = core_->connections_refused_total;
  stats.requests_total = core_->requests_total;
  stats.malformed_total = core_->malformed_total;
  stats.timeouts_total = core_->timeouts_total;
  absl::MutexLock lock(&core_->mu);
  stats.connections_open = core_->connections_open;
  return stats;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      Handler handler) {
  KEELSON_RETURN_IF_ERROR(CheckOptions(options));
  auto server = std::make_unique<ServerImpl>(options, std::move(handler));
  KEELSON_RETURN_IF_ERROR(server->Bind(options.listen));
  server->Serve();
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace keelson::http
