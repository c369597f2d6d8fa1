// Flag values before they are understood, and the parts of options.cc.
#ifndef KEELSON_KVSTORE_CONFIG_INTERNAL_RAW_OPTIONS_H_
#define KEELSON_KVSTORE_CONFIG_INTERNAL_RAW_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kvstore/config/flag_set.h"
#include "kvstore/config/options.h"

namespace keelson::kvstore::internal {

struct RawOptions {
  bool help = false;
  bool version = false;
  uint64_t heartbeat_ms = 100;
  uint64_t election_ms = 1000;
  int64_t quota_bytes = 0;
  std::string listen_peer_urls = "http://localhost:2380";
  std::string listen_client_urls = "http://localhost:2379";
  std::string listen_client_http_urls;
  std::string listen_metrics_urls;
  std::string advertise_peer_urls = "http://localhost:2380";
  std::string advertise_client_urls = "http://localhost:2379";
  std::string initial_cluster;
  std::string initial_cluster_state = "new";
  std::string compaction_mode = "periodic";
  std::string compaction_retention = "0";
  uint64_t bcrypt_cost = 10;
  uint64_t auth_token_ttl_s = 300;
  uint64_t self_signed_years = 1;
  bool client_cert_auth = false;
  bool peer_client_cert_auth = false;
  std::string discovery_endpoints;
  bool discovery_insecure_transport = true;
  std::string client_allowed_hosts;
  std::string peer_allowed_hosts;
  std::string peer_allowed_names;
  std::string cipher_suites;
  std::string tls_min_version = "TLS1.2";
  std::string tls_max_version;
  std::string host_whitelist = "*";
  std::string cors = "*";
  std::string config_file;
  std::string log_level = "info";
  std::string log_format = "console";
  std::string log_outputs = "default";
};

// INVALID_ARGUMENT "--flag: why".
absl::Status Bad(absl::string_view flag, absl::string_view why);

// --- options_security.cc ---
void RegisterSecurityFlags(FlagSet& flags, RawOptions& raw, Options& options);
absl::Status SetTls(const RawOptions& raw, Options& options, std::vector<std::string>& warnings);
absl::Status SetAuth(const RawOptions& raw, Options& options);
absl::Status SetHttpAccess(const RawOptions& raw, Options& options);

// --- options_discovery.cc ---
void RegisterDiscoveryFlags(FlagSet& flags, RawOptions& raw, Options& options);
// Errors also when more than one way to learn of the founders is set.
absl::Status SetDiscovery(const RawOptions& raw, Options& options);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_CONFIG_INTERNAL_RAW_OPTIONS_H_
