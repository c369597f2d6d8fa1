// Health checks over the network.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/http/client.h"
#include "base/net/resolver.h"
#include "base/rpc/client_unary.h"
#include "base/rpc/health.pb.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "kvstore/discovery/health.h"

namespace keelson::kvstore::discovery {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class NetworkProber final : public Prober {
 public:
  void Probe(const HealthCheck& check, std::function<void(absl::Status)> done) override {
    thread_.Post([this, check, done = std::move(done)] { done(Ask(check)); });
  }

 private:
  absl::Status Ask(const HealthCheck& check) {
    switch (check.kind) {
      case HealthCheck::Kind::kTcp:
        return Tcp(check);
      case HealthCheck::Kind::kHttp:
        return Http(check);
      case HealthCheck::Kind::kGrpc:
        return Grpc(check);
      case HealthCheck::Kind::kNone:
      case HealthCheck::Kind::kTtl:
        return absl::OkStatus();
    }
    return absl::InternalError("a health check of no kind");
  }

  absl::StatusOr<std::vector<net::SocketAddress>> Resolve(const HealthCheck& check) {
    absl::StatusOr<net::SocketAddress> number = net::ParseSocketAddress(check.target);
    if (number.ok()) return std::vector{*number};
    struct Found {
      absl::Notification came;
      absl::StatusOr<std::vector<net::SocketAddress>> addresses;
    };
    const auto found = std::make_shared<Found>();
    resolver_.Resolve(check.target, [found](auto addresses) {
      found->addresses = std::move(addresses);
      found->came.Notify();
    });
    if (!found->came.WaitForNotificationWithTimeout(check.timeout)) {
      return absl::DeadlineExceededError(absl::StrCat("looking up '", check.target, "'"));
    }
    return found->addresses;
  }

  absl::Status Tcp(const HealthCheck& check) {
    KEELSON_ASSIGN_OR_RETURN(const auto addresses, Resolve(check));
    absl::Status status;
    for (const net::SocketAddress& address : addresses) {
      status = ConnectTo(address, check);
      if (status.ok()) break;
    }
    return status;
  }

  static absl::Status ConnectTo(const net::SocketAddress& address, const HealthCheck& check) {
    const std::string what = absl::StrCat("connect to '", check.target, "'");
    const UniqueFd fd(
        ::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.ok()) return ErrnoError(errno, what);
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address.bytes);
    if (::connect(fd.get(), generic, address.size) == 0) return absl::OkStatus();
    if (errno != EINPROGRESS) return ErrnoError(errno, what);
    pollfd poll{.fd = fd.get(), .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(absl::ToInt64Milliseconds(check.timeout)));
    if (ready == 0) return absl::DeadlineExceededError(what);
    int error = ready < 0 ? errno : 0;
    socklen_t size = sizeof(error);
    if (ready > 0) (void)::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 ? absl::OkStatus() : ErrnoError(error, what);
  }

  absl::Status Http(const HealthCheck& check) {
    if (http_ == nullptr) {
      // A connection that is kept would hide that no new one comes about.
      KEELSON_ASSIGN_OR_RETURN(http_, http::Client::Create({.idle_connections_max = 0}));
    }
    KEELSON_ASSIGN_OR_RETURN(const http::Response response,
                             http_->FetchBlocking({.url = check.target,
                                                   .connect_timeout = check.timeout,
                                                   .timeout = check.timeout,
                                                   .body_bytes_max = 1 << 20}));
    if (response.status >= 200 && response.status < 300) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("'", check.target, "' answers with status ", response.status));
  }

  absl::Status Grpc(const HealthCheck& check) {
    const auto channel = rpc::Channel::Create(
        loop_, {.address = check.target, .resolver = &resolver_, .connect_timeout = check.timeout});
    HealthCheckRequest request;
    request.set_service(check.service);
    absl::Notification came;
    absl::StatusOr<HealthCheckResponse> answer;
    rpc::CallUnary<HealthCheckResponse>(
        *channel, {.path = "/grpc.health.v1.Health/Check", .timeout = check.timeout}, request,
        [&](absl::StatusOr<HealthCheckResponse> response) {
          answer = std::move(response);
          came.Notify();
        });
    came.WaitForNotification();  // The call ends by its timeout.
    channel->Close();
    if (!answer.ok()) return answer.status();
    if (answer->status() == HealthCheckResponse::SERVING) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(
        "'", check.target, "' says ", HealthCheckResponse::ServingStatus_Name(answer->status())));
  }

  net::Resolver resolver_;
  EventLoop loop_{"health-rpc"};
  std::unique_ptr<http::Client> http_;  // of the thread
  ThreadExecutor thread_{"health"};     // Stops first.
};

}  // namespace

std::unique_ptr<Prober> MakeNetworkProber() { return std::make_unique<NetworkProber>(); }

}  // namespace keelson::kvstore::discovery
