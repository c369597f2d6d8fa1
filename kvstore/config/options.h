// What kvstored is told by flags and environment, or by a file instead of both: etcd's names,
// defaults and meaning (kvstore.md section 19).
//
//   KEELSON_ASSIGN_OR_RETURN(CommandLine line, ParseCommandLine(arguments,
//   environment)); if (line.text) { Print(*line.text); return 0; }   // --help,
//   --version Run(line.options);
#ifndef KEELSON_KVSTORE_CONFIG_OPTIONS_H_
#define KEELSON_KVSTORE_CONFIG_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/logging.h"
#include "base/tls.h"
#include "base/tls_policy.h"
#include "kvstore/config/url.h"

namespace keelson::kvstore {

// A founding member, as --initial-cluster names it.
struct FoundingMember {
  std::string name;
  std::vector<Url> peer_urls;  // sorted
  uint64_t id = 0;
};

enum class CompactionMode : uint8_t { kOff, kPeriodic, kRevision };

// Version 3 discovery: the other cluster in whose keys the founders meet, and how it is talked to.
struct RegistryOptions {
  std::vector<std::string> endpoints;  // empty: there is none
  std::string token;
  absl::Duration dial_timeout = absl::Seconds(2);
  absl::Duration request_timeout = absl::Seconds(5);
  absl::Duration keepalive_time = absl::Seconds(2);
  absl::Duration keepalive_timeout = absl::Seconds(6);
  bool always_tls = false;  // also for endpoints without a scheme, whatever else is set
  bool skip_verify = false;
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  std::string user;
  std::string password;
};

// Validated: every field is in its range and they fit each other.
struct Options {
  std::string name = "default";
  std::string data_dir;  // default "<name>.etcd"
  std::string wal_dir;   // empty: inside data_dir
  uint64_t snapshot_count = 10000;
  uint64_t snapshot_catchup_entries = 5000;
  absl::Duration heartbeat_interval = absl::Milliseconds(100);
  absl::Duration election_timeout = absl::Milliseconds(1000);
  bool pre_vote = true;
  bool strict_reconfig_check = true;
  uint64_t max_learners = 1;
  bool enable_gateway = true;  // JSON, below /v3
  bool enable_reflection = false;
  bool enable_v2 = true;
  bool unsafe_no_fsync = false;

  std::vector<Url> listen_peer_urls;
  std::vector<Url> listen_client_urls;
  // HTTP/1.1 is served here and gRPC alone on the others; empty: both on all of them.
  std::vector<Url> listen_client_http_urls;
  std::vector<Url> listen_metrics_urls;
  std::vector<Url> advertise_peer_urls;
  std::vector<Url> advertise_client_urls;

  std::vector<FoundingMember> initial_cluster;  // by ascending id; this member is one of them
  // Members that are no founders, as a member that joins has heard of them.
  std::vector<FoundingMember> known_members;
  std::string cluster_token = "etcd-cluster";
  bool expects_existing_cluster = false;  // --initial-cluster-state=existing
  uint64_t member_id = 0;
  uint64_t cluster_id = 0;

  uint64_t max_txn_ops = 128;
  uint64_t max_request_bytes = 1572864;
  // Bytes of the database beyond which writes are refused; 0: no quota.
  uint64_t quota_backend_bytes = uint64_t{2} << 30;
  uint64_t max_concurrent_streams = 4294967295;
  uint64_t user_requests_per_second = 0;  // 0: no limit
  absl::Duration keepalive_min_time = absl::Seconds(5);
  absl::Duration keepalive_interval = absl::Hours(2);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  absl::Duration watch_progress_interval = absl::Minutes(10);
  CompactionMode compaction_mode = CompactionMode::kOff;
  absl::Duration compaction_period;       // kPeriodic
  int64_t compaction_keep_revisions = 0;  // kRevision

  // NOSPACE stays until somebody disarms it, as in etcd, instead of ending with the shortage.
  bool strict_space_alarm = false;

  std::string auth_token = "simple";  // for auth::ParseTokenSpec
  int bcrypt_cost = 10;
  absl::Duration auth_token_ttl = absl::Seconds(300);

  TlsFiles client_tls;
  TlsPolicy client_tls_policy;  // without on_failure
  TlsFiles peer_tls;
  TlsPolicy peer_tls_policy;  // likewise
  // Clients are known by the name in their certificate: --client-cert-auth. Certificates may be
  // required without it (TlsFiles::require_client_cert).
  bool client_cert_auth = false;
  // What this member shows to other members that it calls; empty: what it shows to its callers.
  std::string peer_client_cert_file;
  std::string peer_client_key_file;
  // https without certificate files: the member makes a certificate itself.
  bool client_auto_tls = false;
  bool peer_auto_tls = false;
  absl::Duration auto_tls_validity = absl::Hours(24 * 365);

  // Of requests without TLS, host names that are answered; with "*" any.
  std::set<std::string> host_whitelist = {"*"};
  // Origins whose pages may read answers; with "*" any.
  std::set<std::string> cors = {"*"};

  // The version of etcd that this member says it is.
  std::string etcd_version = "3.6.0";

  // Where the founding members are to be learned from, at most one of the three; then initial_cluster
  // is empty and the ids are 0 until SetFoundingMembers.
  std::string discovery_url;
  RegistryOptions discovery_registry;
  std::string discovery_srv;  // a domain, for FoundersFromSrv
  std::string discovery_srv_name;

  [[nodiscard]] bool Discovers() const {
    return !discovery_url.empty() || !discovery_registry.endpoints.empty() ||
           !discovery_srv.empty();
  }

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};

struct CommandLine {
  std::optional<std::string> text;  // print this and exit instead of running
  Options options;
  std::vector<std::string> warnings;  // one line each
};

// `arguments` come without the program's name, `environment` as "NAME=value".
// INVALID_ARGUMENT: one line that names the flag or variable, or the place in the file. With
// --config-file other flags and variables are ignored, as by etcd. Also from reading that file.
absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments,
                                             std::span<const std::string> environment);

// Sets the founding members and all ids from text as for --initial-cluster, which names this member
// with its advertised peer URLs. INVALID_ARGUMENT otherwise.
absl::Status SetFoundingMembers(const std::string& text, Options& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_OPTIONS_H_
