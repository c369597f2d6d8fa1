#include "kvstore/client/internal/endpoint_pool.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace keelson::kvstore::client_internal {
namespace {

// After this long without an answer the next endpoint is tried beside the current one.
constexpr absl::Duration kHeadStart = absl::Milliseconds(200);
constexpr absl::Duration kPollStep = absl::Milliseconds(10);
// etcd takes a probe each 5 s, by default, for an attack.
constexpr absl::Duration kKeepaliveTimeMin = absl::Seconds(10);

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  if (in) content << in.rdbuf();
  if (!in || !content) return ErrnoError(errno, absl::StrCat("read '", path, "'"));
  return content.str();
}

// Accepts every certificate and host name. The check happens on the calling thread.
class AcceptAll final : public grpc::experimental::ExternalCertificateVerifier {
 public:
  bool Verify(grpc::experimental::TlsCustomVerificationCheckRequest* /*request*/,
              std::function<void(grpc::Status)> /*callback*/, grpc::Status* sync_status) override {
    *sync_status = grpc::Status::OK;
    return true;
  }
  void Cancel(grpc::experimental::TlsCustomVerificationCheckRequest* /*request*/) override {}
};

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeTls(const TlsOptions& tls) {
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("KeyFile and CertFile must both be present[key: ", tls.key_file,
                     ", cert: ", tls.cert_file, "]"));
  }
  grpc::SslCredentialsOptions pem;
  if (!tls.ca_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(pem.pem_root_certs, ReadFile(tls.ca_file));
  }
  if (!tls.cert_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(pem.pem_cert_chain, ReadFile(tls.cert_file));
    KEELSON_ASSIGN_OR_RETURN(pem.pem_private_key, ReadFile(tls.key_file));
  }
  if (!tls.skip_verify) return grpc::SslCredentials(pem);

  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      grpc::experimental::ExternalCertificateVerifier::Create<AcceptAll>());
  if (!pem.pem_cert_chain.empty()) {
    options.set_certificate_provider(
        std::make_shared<grpc::experimental::StaticDataCertificateProvider>(
            std::vector<grpc::experimental::IdentityKeyCertPair>{
                {pem.pem_private_key, pem.pem_cert_chain}}));
    options.watch_identity_key_cert_pairs();
  }
  return grpc::experimental::TlsCredentials(options);
}

grpc::ChannelArguments MakeArguments(const ConnectOptions& options) {
  grpc::ChannelArguments arguments;
  const auto milliseconds = [](absl::Duration d) {
    return static_cast<int>(std::max<int64_t>(absl::ToInt64Milliseconds(d), 1));
  };
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   milliseconds(std::max(options.keepalive_time, kKeepaliveTimeMin)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds(options.keepalive_timeout));
  // A member that restarts should be found again within a fraction of a second.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, milliseconds(options.dial_timeout));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Cluster traffic does not go through a web proxy that http_proxy may name.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  return arguments;
}

}  // namespace

absl::StatusOr<Target> ParseEndpoint(const std::string& endpoint, bool tls_by_default) {
  absl::string_view rest = endpoint;
  Target target{.address = "", .tls = tls_by_default};
  if (absl::ConsumePrefix(&rest, "unix://") || absl::ConsumePrefix(&rest, "unix:")) {
    if (rest.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("endpoint '", endpoint, "' has no path"));
    }
    target.address = absl::StrCat("unix:", rest);
    return target;
  }
  if (absl::ConsumePrefix(&rest, "http://")) {
    target.tls = false;
  } else if (absl::ConsumePrefix(&rest, "https://")) {
    target.tls = true;
  } else if (absl::StrContains(rest, "://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint '", endpoint, "' has an unknown scheme; use http, https or unix"));
  }
  absl::ConsumeSuffix(&rest, "/");
  const size_t colon = rest.rfind(':');
  const absl::string_view port =
      colon == absl::string_view::npos ? absl::string_view() : rest.substr(colon + 1);
  const bool digits =
      !port.empty() && port.size() <= 5 &&
      std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || colon == 0 || absl::StrContains(rest, "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint '", endpoint, "' is not of the form host:port"));
  }
  target.address = std::string(rest);
  return target;
}

absl::StatusOr<std::unique_ptr<EndpointPool>> EndpointPool::Make(const ConnectOptions& options) {
  if (options.endpoints.empty()) return absl::InvalidArgumentError("no available endpoints");
  std::unique_ptr<EndpointPool> pool(new EndpointPool(options.user, options.password));
  // Read once, and read even if no endpoint turns out to need it: a wrong file is an error.
  std::shared_ptr<grpc::ChannelCredentials> tls;
  if (options.tls.Any()) {
    KEELSON_ASSIGN_OR_RETURN(tls, MakeTls(options.tls));
  }
  const grpc::ChannelArguments arguments = MakeArguments(options);
  for (const std::string& name : options.endpoints) {
    KEELSON_ASSIGN_OR_RETURN(const Target target, ParseEndpoint(name, options.tls.Any()));
    if (target.tls && tls == nullptr) {
      KEELSON_ASSIGN_OR_RETURN(tls, MakeTls(options.tls));
    }
    Endpoint endpoint;
    endpoint.name = name;
    endpoint.channel = grpc::CreateCustomChannel(
        target.address, target.tls ? tls : grpc::InsecureChannelCredentials(), arguments);
    endpoint.kv = etcdserverpb::KV::NewStub(endpoint.channel);
    endpoint.watch = etcdserverpb::Watch::NewStub(endpoint.channel);
    endpoint.lease = etcdserverpb::Lease::NewStub(endpoint.channel);
    endpoint.cluster = etcdserverpb::Cluster::NewStub(endpoint.channel);
    endpoint.maintenance = etcdserverpb::Maintenance::NewStub(endpoint.channel);
    pool->endpoints_.push_back(std::move(endpoint));
  }
  return pool;
}

EndpointPool::Picked EndpointPool::Pick(absl::Time deadline) {
  size_t first = 0;
  {
    absl::MutexLock lock(&mu_);
    first = current_;
  }
  const absl::Time start = absl::Now();
  while (true) {
    grpc_connectivity_state first_state = GRPC_CHANNEL_IDLE;
    bool patient = true;  // Those before this one may still succeed.
    for (size_t i = 0; i < endpoints_.size(); ++i) {
      const size_t index = (first + i) % endpoints_.size();
      // Even one that is connected waits for its turn: the current one may have been chosen
      // because this one, connected or not, could not serve.
      if (i > 0 && patient && absl::Now() - start < kHeadStart * i) break;
      const grpc_connectivity_state state = endpoints_[index].channel->GetState(true);
      if (i == 0) first_state = state;
      if (state == GRPC_CHANNEL_READY) {
        absl::MutexLock lock(&mu_);
        if (current_ == first) current_ = index;
        return {.index = index, .connected = true};
      }
      patient = patient && state != GRPC_CHANNEL_TRANSIENT_FAILURE;
    }
    const absl::Time now = absl::Now();
    if (now >= deadline) return {.index = first, .connected = false};
    endpoints_[first].channel->WaitForStateChange(
        first_state, absl::ToChronoTime(std::min(deadline, now + kPollStep)));
  }
}

void EndpointPool::MoveOnFrom(size_t index) {
  absl::MutexLock lock(&mu_);
  if (current_ == index) current_ = (index + 1) % endpoints_.size();
}

std::string EndpointPool::Names() const {
  std::string names;
  for (const Endpoint& endpoint : endpoints_) {
    absl::StrAppend(&names, names.empty() ? "" : ",", endpoint.name);
  }
  return names;
}

}  // namespace keelson::kvstore::client_internal
