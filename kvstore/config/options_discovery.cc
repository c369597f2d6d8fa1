// The flags about where the founding members are learned from.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "kvstore/config/internal/raw_options.h"

namespace keelson::kvstore::internal {
namespace {

// What path.Join of Go would leave as it is, since etcd makes keys of it.
bool IsCleanPath(const std::string& token) {
  for (const absl::string_view part : absl::StrSplit(token, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

absl::Status SetEndpoints(const std::string& list, std::vector<std::string>& endpoints) {
  if (list.empty()) return absl::OkStatus();
  for (absl::string_view piece : absl::StrSplit(list, ',')) {
    const std::string endpoint(absl::StripAsciiWhitespace(piece));
    if (endpoint.empty()) return Bad("discovery-endpoints", "must not contain empty endpoints");
    const bool known = std::find(endpoints.begin(), endpoints.end(), endpoint) != endpoints.end();
    if (!known) endpoints.push_back(endpoint);
  }
  return absl::OkStatus();
}

absl::Status CheckRegistry(const RegistryOptions& registry) {
  if (registry.token.empty() != registry.endpoints.empty()) {
    return Bad(registry.token.empty() ? "discovery-token" : "discovery-endpoints",
               "both --discovery-token and --discovery-endpoints must be set");
  }
  if (registry.endpoints.empty()) return absl::OkStatus();
  if (!IsCleanPath(registry.token)) {
    return Bad("discovery-token", absl::StrCat("'", registry.token, "' is no part of a key"));
  }
  if (registry.cert_file.empty() != registry.key_file.empty()) {
    return Bad("discovery-cert", "must be set together with --discovery-key");
  }
  const std::pair<const char*, absl::Duration> above_zero[] = {
      {"discovery-dial-timeout", registry.dial_timeout},
      {"discovery-request-timeout", registry.request_timeout},
      {"discovery-keepalive-time", registry.keepalive_time},
      {"discovery-keepalive-timeout", registry.keepalive_timeout}};
  for (const auto& [flag, value] : above_zero) {
    if (value <= absl::ZeroDuration()) return Bad(flag, "must be above 0");
  }
  return absl::OkStatus();
}

}  // namespace

void RegisterDiscoveryFlags(FlagSet& flags, RawOptions& raw, Options& options) {
  flags.String("discovery", &options.discovery_url,
               "URL of a discovery service from which the founding members are learned.");
  flags.String("discovery-srv", &options.discovery_srv,
               "Domain whose SRV records name the founding members.");
  flags.String("discovery-srv-name", &options.discovery_srv_name,
               "Suffix of the service that is asked for with --discovery-srv.");
  RegistryOptions& registry = options.discovery_registry;
  flags.String("discovery-endpoints", &raw.discovery_endpoints,
               "Endpoints of a cluster in whose version 3 keys the founding members meet.");
  flags.String("discovery-token", &registry.token, "Token of this cluster there.");
  flags.Duration("discovery-dial-timeout", &registry.dial_timeout,
                 "Time to find an endpoint that can be reached.");
  flags.Duration("discovery-request-timeout", &registry.request_timeout,
                 "Time for a request there.");
  flags.Duration("discovery-keepalive-time", &registry.keepalive_time,
                 "Silence there after which the connection is probed; 10s at least.");
  flags.Duration("discovery-keepalive-timeout", &registry.keepalive_timeout,
                 "Time that a probe may take.");
  flags.Bool("discovery-insecure-transport", &raw.discovery_insecure_transport,
             "Plain text for endpoints without a scheme, if no certificate is set.");
  flags.Bool("discovery-insecure-skip-tls-verify", &registry.skip_verify,
             "Accept any certificate of the endpoints. For tests only.");
  flags.String("discovery-cert", &registry.cert_file, "Certificate to show to the endpoints.");
  flags.String("discovery-key", &registry.key_file, "Key for it.");
  flags.String("discovery-cacert", &registry.ca_file, "Authorities of the endpoints.");
  flags.String("discovery-user", &registry.user, "User there, as name or name:password.");
  flags.String("discovery-password", &registry.password, "The user's password.");
}

absl::Status SetDiscovery(const RawOptions& raw, Options& options) {
  RegistryOptions& registry = options.discovery_registry;
  KEELSON_RETURN_IF_ERROR(SetEndpoints(raw.discovery_endpoints, registry.endpoints));
  KEELSON_RETURN_IF_ERROR(CheckRegistry(registry));
  registry.always_tls = !raw.discovery_insecure_transport;
  if (registry.password.empty()) {
    const size_t colon = registry.user.find(':');
    if (colon != std::string::npos) {
      registry.password = registry.user.substr(colon + 1);
      registry.user.resize(colon);
    }
  }
  const int ways = (options.discovery_url.empty() ? 0 : 1) + (registry.endpoints.empty() ? 0 : 1) +
                   (options.discovery_srv.empty() ? 0 : 1) + (raw.initial_cluster.empty() ? 0 : 1);
  if (ways > 1) {
    return Bad("initial-cluster",
               "multiple discovery or bootstrap flags are set; choose one of \"initial-cluster\", "
               "\"discovery\", \"discovery-endpoints\" or \"discovery-srv\"");
  }
  return absl::OkStatus();
}

}  // namespace keelson::kvstore::internal
