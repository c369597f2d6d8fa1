#include "kvstore/daemon/ports.h"

#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "base/net/http_sink.h"
#include "base/net/rpc_sink.h"
#include "base/rpc/server.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

// Closes what it gets.
class ClosingSink final : public net::ConnectionSink {
 public:
  void Take(UniqueFd, std::string) override {}
};

}  // namespace

struct Ports::Port {
  bool plain = false;
  bool tls = false;
  std::unique_ptr<net::SharedPort> socket;
  // By kind: plain, TLS.
  std::array<std::unique_ptr<net::ConnectionSink>, 2> http;
  std::array<std::unique_ptr<net::ConnectionSink>, 2> grpc;

  [[nodiscard]] net::SharedPort::Sinks Sinks(size_t kind) const {
    return {http[kind].get(), grpc[kind].get()};
  }
};

Ports::Ports() = default;
Ports::~Ports() { Stop(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Ports>> Ports::Bind(const std::vector<Url>& urls,
                                                   const ListenerTls& tls) {
  std::unique_ptr<Ports> ports(new Ports());
  ports->tls_ = tls;
  std::map<std::string, std::pair<bool, bool>> kinds;  // address -> plain, TLS
  for (const Url& url : urls) {
    std::pair<bool, bool>& kind = kinds[url.HostPort()];
    (url.tls() ? kind.second : kind.first) = true;
  }
  for (const auto& kind : {std::pair(true, false), std::pair(false, true), std::pair(true, true)}) {
    auto port = std::make_unique<Port>();
    std::tie(port->plain, port->tls) = kind;
    net::SharedPortOptions options{.tls = port->tls, .plain_too = port->plain && port->tls};
    for (const auto& [address, of] : kinds) {
      if (of == kind) options.listen.push_back(address);
    }
    if (options.listen.empty()) continue;
    KEELSON_ASSIGN_OR_RETURN(port->socket, net::SharedPort::Bind(options));
    ports->ports_.push_back(std::move(port));
  }
  return ports;
}

void Ports::ServeRpc(std::unique_ptr<rpc::Server> server) {
  rpc_server_ = std::move(server);
  rpc_server_->Start();
  for (const std::unique_ptr<Port>& port : ports_) {
    for (const size_t kind : {0, 1}) {
      port->grpc[kind] = std::make_unique<net::RpcSink>(*rpc_server_, kind == 1);
    }
  }
}

absl::Status Ports::ServeHttp(http::Handler handler) {
  http::ServerOptions options;
  for (const std::unique_ptr<Port>& port : ports_) {
    if (!port->tls) continue;
    KEELSON_ASSIGN_OR_RETURN(options.tls, tls_.MakeContext(TlsProtocol::kHttp11));
  }
  KEELSON_ASSIGN_OR_RETURN(http_server_, http::Server::Start(options, std::move(handler)));
  for (const std::unique_ptr<Port>& port : ports_) {
    for (const size_t kind : {0, 1}) {
      port->http[kind] = std::make_unique<net::HttpSink>(*http_server_, kind == 1);
    }
  }
  return absl::OkStatus();
}

absl::Status Ports::Serve(Protocols protocols) {
  for (const std::unique_ptr<Port>& port : ports_) {
    for (auto* sinks : {&port->grpc, &port->http}) {
      for (auto& sink : *sinks) sink = std::make_unique<ClosingSink>();
    }
  }
  if (protocols.rpc != nullptr) ServeRpc(std::move(protocols.rpc));
  if (protocols.http != nullptr) KEELSON_RETURN_IF_ERROR(ServeHttp(std::move(protocols.http)));
  for (const std::unique_ptr<Port>& port : ports_) {
    port->socket->StartBoth(port->Sinks(0), port->Sinks(1));
  }
  return absl::OkStatus();
}

void Ports::Stop(absl::Duration grace) {
  for (const std::unique_ptr<Port>& port : ports_) port->socket->Stop();
  if (http_server_ != nullptr) {
    (void)http_server_->Drain(grace);
    http_server_.reset();
  }
  if (rpc_server_ != nullptr) {
    rpc_server_->Stop(grace);
    rpc_server_.reset();
  }
}

std::vector<std::string> Ports::addresses() const {
  std::vector<std::string> all;
  for (const std::unique_ptr<Port>& port : ports_) {
    all.insert(all.end(), port->socket->addresses().begin(), port->socket->addresses().end());
  }
  return all;
}

}  // namespace keelson::kvstore
