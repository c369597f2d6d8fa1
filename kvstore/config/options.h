// What kvstored is told by flags and environment: etcd's names, defaults and
// meaning (kvstore.md section 19).
//
//   KEELSON_ASSIGN_OR_RETURN(CommandLine line, ParseCommandLine(arguments,
//   environment)); if (line.text) { Print(*line.text); return 0; }   // --help,
//   --version Run(line.options);
#ifndef KEELSON_KVSTORE_CONFIG_OPTIONS_H_
#define KEELSON_KVSTORE_CONFIG_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/logging.h"
#include "base/tls.h"
#include "kvstore/config/url.h"

namespace keelson::kvstore {

// A founding member, as --initial-cluster names it.
struct FoundingMember {
  std::string name;
  std::vector<Url> peer_urls;  // sorted
  uint64_t id = 0;
};

enum class CompactionMode : uint8_t { kOff, kPeriodic, kRevision };

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
  absl::Duration keepalive_min_time = absl::Seconds(5);
  absl::Duration keepalive_interval = absl::Hours(2);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  absl::Duration watch_progress_interval = absl::Minutes(10);
  CompactionMode compaction_mode = CompactionMode::kOff;
  absl::Duration compaction_period;       // kPeriodic
  int64_t compaction_keep_revisions = 0;  // kRevision

  int bcrypt_cost = 10;
  absl::Duration auth_token_ttl = absl::Seconds(300);

  TlsFiles client_tls;
  TlsFiles peer_tls;
  // https without certificate files: the member makes a certificate itself.
  bool client_auto_tls = false;
  bool peer_auto_tls = false;
  absl::Duration auto_tls_validity = absl::Hours(24 * 365);

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
};

struct CommandLine {
  std::optional<std::string> text;  // print this and exit instead of running
  Options options;
  std::vector<std::string> warnings;  // one line each
};

// `arguments` come without the program's name, `environment` as "NAME=value".
// INVALID_ARGUMENT: one line that names the flag or variable.
absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments,
                                             std::span<const std::string> environment);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_OPTIONS_H_
