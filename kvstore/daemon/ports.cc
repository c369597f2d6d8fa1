#include "kvstore/daemon/ports.h"

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
  bool tls = false;
  std::unique_ptr<net::SharedPort> socket;
  std::unique_ptr<net::ConnectionSink> http;
  std::unique_ptr<net::ConnectionSink> grpc;
};

Ports::Ports() = default;
Ports::~Ports() { Stop(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Ports>> Ports::Bind(const std::vector<Url>& urls,
                                                   const TlsMaterial& tls) {
  std::unique_ptr<Ports> ports(new Ports());
  ports->tls_ = tls;
  for (const bool with_tls : {false, true}) {
    net::SharedPortOptions options;
    options.tls = with_tls;
    for (const Url& url : urls) {
      if (url.tls() == with_tls) options.listen.push_back(url.HostPort());
    }
    if (options.listen.empty()) continue;
    auto port = std::make_unique<Port>();
    port->tls = with_tls;
    KEELSON_ASSIGN_OR_RETURN(port->socket, net::SharedPort::Bind(options));
    ports->ports_.push_back(std::move(port));
  }
  return ports;
}

void Ports::ServeRpc(std::unique_ptr<rpc::Server> server) {
  rpc_server_ = std::move(server);
  rpc_server_->Start();
  for (const std::unique_ptr<Port>& port : ports_) {
    port->grpc = std::make_unique<net::RpcSink>(*rpc_server_, port->tls);
  }
}

absl::Status Ports::ServeHttp(http::Handler handler) {
  http::ServerOptions options;
  for (const std::unique_ptr<Port>& port : ports_) {
    if (!port->tls) continue;
    KEELSON_ASSIGN_OR_RETURN(options.tls, TlsServerContext::Create(tls_));
  }
  KEELSON_ASSIGN_OR_RETURN(http_server_, http::Server::Start(options, std::move(handler)));
  for (const std::unique_ptr<Port>& port : ports_) {
    port->http = std::make_unique<net::HttpSink>(*http_server_, port->tls);
  }
  return absl::OkStatus();
}

absl::Status Ports::Serve(Protocols protocols) {
  for (const std::unique_ptr<Port>& port : ports_) {
    port->grpc = std::make_unique<ClosingSink>();
    port->http = std::make_unique<ClosingSink>();
  }
  if (protocols.rpc != nullptr) ServeRpc(std::move(protocols.rpc));
  if (protocols.http != nullptr) KEELSON_RETURN_IF_ERROR(ServeHttp(std::move(protocols.http)));
  for (const std::unique_ptr<Port>& port : ports_) port->socket->Start(*port->http, *port->grpc);
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
