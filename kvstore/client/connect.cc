// The client over the network.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/net/resolver.h"
#include "base/rpc/client.h"
#include "base/status.h"
#include "base/tls.h"
#include "kvstore/client/certificate_reload.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/endpoint_name.h"
#include "kvstore/client/internal/rpc_client.h"
#include "kvstore/client/internal/thread_runtime.h"

namespace keelson::kvstore {
namespace {

using client_internal::ParseEndpoint;
using client_internal::Target;

// etcd takes a probe each 5 s, by default, for an attack.
constexpr absl::Duration kKeepaliveTimeMin = absl::Seconds(10);
// With several endpoints one that says nothing is left for the next after a part of the time, but
// not before this.
constexpr absl::Duration kConnectTimeoutMin = absl::Milliseconds(500);

absl::StatusOr<std::shared_ptr<const TlsClientContext>> MakeTls(const TlsOptions& tls) {
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("KeyFile and CertFile must both be present[key: ", tls.key_file,
                     ", cert: ", tls.cert_file, "]"));
  }
  TlsMaterial material;
  if (!tls.cert_file.empty() || !tls.ca_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(material, LoadTlsMaterial({.cert_file = tls.cert_file,
                                                        .key_file = tls.key_file,
                                                        .ca_file = tls.ca_file}));
  }
  material.verify_peer = !tls.skip_verify;
  KEELSON_ASSIGN_OR_RETURN(std::shared_ptr<const TlsClientContext> context,
                           TlsClientContext::Create(material, TlsProtocol::kHttp2));
  if (!tls.cert_file.empty()) {
    FollowCertificate(*context->ssl_ctx(), {.cert_file = tls.cert_file, .key_file = tls.key_file});
  }
  return context;
}

class NetworkRuntime final : public client_internal::ThreadRuntime {
 public:
  explicit NetworkRuntime(const ConnectOptions& options) : options_(options) {}
  ~NetworkRuntime() override { Stop(); }

  // Reads the files even if no endpoint turns out to need them: a wrong one is an error.
  absl::Status Init() {
    if (!options_.tls.Any()) return absl::OkStatus();
    KEELSON_ASSIGN_OR_RETURN(tls_, MakeTls(options_.tls));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<rpc::Channel>> Open(const std::string& endpoint) override {
    KEELSON_ASSIGN_OR_RETURN(const Target target, ParseEndpoint(endpoint, options_.tls.Any()));
    if (target.tls && tls_ == nullptr) {
      KEELSON_ASSIGN_OR_RETURN(tls_, MakeTls(options_.tls));
    }
    const auto endpoints = static_cast<int64_t>(options_.endpoints.size());
    rpc::ChannelOptions channel;
    channel.address = target.address;
    channel.tls = target.tls ? tls_ : nullptr;
    channel.resolver = &resolver_;
    channel.max_response_bytes = ~uint32_t{0};  // as long as gRPC can say
    channel.connect_timeout = options_.dial_timeout;
    if (endpoints > 1) {
      channel.connect_timeout = std::min(
          options_.dial_timeout, std::max(options_.dial_timeout / endpoints, kConnectTimeoutMin));
    }
    channel.keepalive_interval = std::max(options_.keepalive_time, kKeepaliveTimeMin);
    channel.keepalive_timeout = options_.keepalive_timeout;
    return rpc::Channel::Create(event_loop(), std::move(channel));
  }

 private:
  const ConnectOptions options_;
  net::Resolver resolver_;
  std::shared_ptr<const TlsClientContext> tls_;  // of the loop, after Init
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Connect(const ConnectOptions& options) {
  auto runtime = std::make_unique<NetworkRuntime>(options);
  KEELSON_RETURN_IF_ERROR(runtime->Init());
  return client_internal::MakeClient(std::move(runtime), options.endpoints,
                                     {.dial_timeout = options.dial_timeout,
                                      .command_timeout = options.command_timeout,
                                      .sync_interval = options.sync_interval,
                                      .user = options.user,
                                      .password = options.password});
}

}  // namespace keelson::kvstore
