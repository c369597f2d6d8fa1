#include "kvstore/config/options.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file_system.h"
#include "base/status.h"
#include "kvstore/config/config_file.h"
#include "kvstore/config/flag_set.h"
#include "kvstore/config/identity.h"
#include "kvstore/config/internal/raw_options.h"

namespace keelson::kvstore {
namespace {

using internal::Bad;
using Raw = internal::RawOptions;

constexpr uint64_t kConfigFileBytesMax = 1 << 20;

void RegisterMemberFlags(FlagSet& flags, Raw& raw, Options& options) {
  flags.Section("Member");
  flags.String("name", &options.name, "Human-readable name for this member.");
  flags.String("data-dir", &options.data_dir, "The data directory; empty means ${name}.etcd.");
  flags.String("wal-dir", &options.wal_dir,
               "Folder for the write-ahead log; empty means inside the data directory.");
  flags.Uint64("snapshot-count", &options.snapshot_count,
               "Applied entries after which the database is flushed and the log cut.");
  flags.Uint64("snapshot-catchup-entries", &options.snapshot_catchup_entries,
               "Entries kept in the log for members that lag a little.");
  flags.Uint64("heartbeat-interval", &raw.heartbeat_ms, "Milliseconds between heartbeats.");
  flags.Uint64("election-timeout", &raw.election_ms,
               "Milliseconds without a leader after which a member stands for "
               "election.");
  flags.String("listen-peer-urls", &raw.listen_peer_urls, "URLs to listen on for members.");
  flags.String("listen-client-urls", &raw.listen_client_urls, "URLs to listen on for clients.");
  flags.String("listen-client-http-urls", &raw.listen_client_http_urls,
               "URLs for HTTP/1.1 of clients; then --listen-client-urls are for gRPC alone.");
  flags.Int64("quota-backend-bytes", &raw.quota_bytes,
              "Database size beyond which writes are refused; 0 means 2 GiB, "
              "negative no limit.");
  flags.Bool("strict-space-alarm", &options.strict_space_alarm,
             "The alarm NOSPACE stays until it is disarmed, as in etcd, also when there is space "
             "again.");
  flags.Uint64("max-txn-ops", &options.max_txn_ops, "Operations allowed in one transaction.");
  flags.Uint64("max-request-bytes", &options.max_request_bytes, "Largest client request in bytes.");
  flags.Bool("enable-grpc-gateway", &options.enable_gateway,
             "Serve the API as JSON over HTTP, below /v3.");
  flags.Bool(
      "enable-grpc-reflection", &options.enable_reflection,
      "Tell any client the methods and messages that are served (gRPC's reflection service).");
  flags.Bool("enable-v2", &options.enable_v2, "Serve the version 2 API: /v2/keys and its like.");
  flags.Uint64("max-concurrent-streams", &options.max_concurrent_streams,
               "Streams that one client connection may have open.");
  flags.Uint64("user-requests-per-second", &options.user_requests_per_second,
               "Requests a second of one user, or without users of one address; 0 means no limit.");
  flags.Duration("grpc-keepalive-min-time", &options.keepalive_min_time,
                 "Least time between pings of a client.");
  flags.Duration("grpc-keepalive-interval", &options.keepalive_interval,
                 "Time between pings to a client; 0 turns them off.");
  flags.Duration("grpc-keepalive-timeout", &options.keepalive_timeout,
                 "Time after an unanswered ping until the connection is closed.");
  flags.Duration("watch-progress-notify-interval", &options.watch_progress_interval,
                 "Time between progress notifications of idle watchers that "
                 "asked for them.");
  flags.Alias("experimental-watch-progress-notify-interval", "watch-progress-notify-interval");
  flags.Alias("experimental-snapshot-catchup-entries", "snapshot-catchup-entries");
}

void RegisterClusterFlags(FlagSet& flags, Raw& raw, Options& options) {
  flags.Section("Clustering");
  flags.String("initial-advertise-peer-urls", &raw.advertise_peer_urls,
               "Peer URLs of this member that the others use.");
  flags.String("advertise-client-urls", &raw.advertise_client_urls,
               "Client URLs of this member that clients are told.");
  flags.String("initial-cluster", &raw.initial_cluster,
               "Founding members, name=URL,...; empty means this member alone.");
  flags.String("initial-cluster-state", &raw.initial_cluster_state,
               "'new', or 'existing' for a member that has joined before.");
  flags.String("initial-cluster-token", &options.cluster_token,
               "Word that keeps clusters with the same URLs apart.");
  internal::RegisterDiscoveryFlags(flags, raw, options);
  flags.Bool("pre-vote", &options.pre_vote, "Ask whether an election can be won before one.");
  flags.Bool("strict-reconfig-check", &options.strict_reconfig_check,
             "Refuse changes of members that would endanger the quorum.");
  flags.Uint64("max-learners", &options.max_learners, "Learners that a cluster may have.");
  flags.Alias("experimental-max-learners", "max-learners");
  flags.String("auto-compaction-mode", &raw.compaction_mode, "'periodic' or 'revision'.");
  flags.String("auto-compaction-retention", &raw.compaction_retention,
               "History to keep: hours or a duration, or revisions; 0 turns "
               "compaction off.");
}

void RegisterMonitoringFlags(FlagSet& flags, Raw& raw, Options& options) {
  flags.Section("Monitoring and logging");
  flags.String("listen-metrics-urls", &raw.listen_metrics_urls,
               "Further URLs that serve /metrics and the health pages.");
  flags.String("log-level", &raw.log_level, "debug, info, warn, error, panic or fatal.");
  flags.String("log-format", &raw.log_format, "'console' or 'json'.");
  flags.String("log-outputs", &raw.log_outputs, "'default' or 'stderr', both standard error.");
  flags.Section("Unsafe");
  flags.Bool("unsafe-no-fsync", &options.unsafe_no_fsync,
             "Do not sync the log: a power cut loses data. For measuring only.");
  flags.Section("Other");
  flags.String("config-file", &raw.config_file,
               "YAML file with flags; all other flags and variables are then ignored.");
  flags.String(
      "etcd-version", &options.etcd_version,
      "Version of etcd that this member says it is, from 3.4.0 on; below 3.5 /health gives "
      "no reason.");
  flags.Bool("version", &raw.version, "Print the version and exit.");
  flags.Bool("help", &raw.help, "Print this text and exit.");
  flags.Alias("h", "help");
}

// etcd's flags whose job does not exist here or is done without being asked.
void RegisterFlagsWithoutEffect(FlagSet& flags) {
  for (const char* name :
       {"max-snapshots", "max-wals", "backend-bbolt-freelist-type", "backend-batch-interval",
        "backend-batch-limit", "raft-read-timeout", "raft-write-timeout", "feature-gates",
        "metrics", "logger", "discovery-fallback", "log-rotation-config-json",
        "warning-unary-request-duration", "corrupt-check-time", "compact-hash-check-time",
        "compaction-batch-limit", "compaction-sleep-interval", "warning-apply-duration",
        "bootstrap-defrag-threshold-megabytes", "downgrade-check-time", "v2-deprecation",
        "distributed-tracing-address", "distributed-tracing-service-name",
        "distributed-tracing-instance-id", "distributed-tracing-sampling-rate",
        // As etcd says: only for its gateway's calls to itself.
        "client-cert-file", "client-key-file", "proxy-failure-wait", "proxy-refresh-interval",
        "proxy-dial-timeout", "proxy-write-timeout", "proxy-read-timeout"}) {
    flags.WithoutEffect(name, false);
  }
  for (const char* name :
       {"initial-election-tick-advance", "memory-mlock", "socket-reuse-port",
        "socket-reuse-address", "enable-pprof", "enable-log-rotation", "enable-distributed-tracing",
        "debug", "peer-skip-client-san-verification", "initial-corrupt-check",
        "experimental-compact-hash-check-enabled", "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist", "experimental-stop-grpc-service-on-defrag",
        "experimental-txn-mode-write-with-shared-buffer"}) {
    flags.WithoutEffect(name, true);
  }
  // Names of etcd up to 3.6.
  for (const char* name :
       {"corrupt-check-time", "compact-hash-check-time", "compaction-batch-limit",
        "compaction-sleep-interval", "memory-mlock", "warning-apply-duration",
        "warning-unary-request-duration", "downgrade-check-time",
        "bootstrap-defrag-threshold-megabytes", "enable-distributed-tracing",
        "distributed-tracing-address", "distributed-tracing-service-name",
        "distributed-tracing-instance-id", "distributed-tracing-sampling-rate",
        "peer-skip-client-san-verification", "initial-corrupt-check"}) {
    flags.Alias(absl::StrCat("experimental-", name), name);
  }
}

// etcd's flags that cannot be ignored without breaking a promise to who sets
// them.
void RegisterRefusedFlags(FlagSet& flags) {
  const std::string later = "not supported yet; start without it";
  flags.Refused("discovery-proxy", false, "", later);
  flags.Refused("proxy", false, "off", "not supported");
  flags.Refused("force-new-cluster", true, "false",
                "not supported; make a snapshot of the member that is left and restore it");
  flags.Refused("experimental-enable-v2v3", true, "false", later);
}

absl::StatusOr<std::vector<Url>> UrlsOf(absl::string_view flag, const std::string& text) {
  absl::StatusOr<std::vector<Url>> urls = ParseUrls(text);
  if (!urls.ok()) return Bad(flag, urls.status().message());
  return urls;
}

// `needs`: what an https URL is told when there is no certificate.
absl::StatusOr<std::vector<Url>> ListenUrlsOf(absl::string_view flag, const std::string& text,
                                              bool has_certificate, absl::string_view needs) {
  KEELSON_ASSIGN_OR_RETURN(std::vector<Url> urls, UrlsOf(flag, text));
  for (const Url& url : urls) {
    if (!IsBindable(url)) {
      return Bad(flag, absl::StrCat("'", url.text, "': an IP address to bind is needed"));
    }
    if (url.tls() && !has_certificate) return Bad(flag, absl::StrCat("'", url.text, "' ", needs));
  }
  return urls;
}

// Why others cannot connect to an advertised URL; empty if they can.
std::string WhyUnreachable(const Url& url) {
  if (url.is_socket()) return "";
  if (url.host == "0.0.0.0" || url.host == "::") {
    return absl::StrCat("'", url.text, "': nobody can connect to this address");
  }
  return url.port == 0 ? absl::StrCat("'", url.text, "': a port is needed") : "";
}

absl::StatusOr<std::vector<Url>> AdvertisePeerUrlsOf(absl::string_view flag,
                                                     const std::string& text) {
  KEELSON_ASSIGN_OR_RETURN(std::vector<Url> urls, UrlsOf(flag, text));
  for (const Url& url : urls) {
    if (const std::string why = WhyUnreachable(url); !why.empty()) return Bad(flag, why);
  }
  return urls;
}

absl::Status SetTimes(const Raw& raw, Options& options) {
  if (raw.heartbeat_ms == 0) return Bad("heartbeat-interval", "must be above 0");
  if (raw.election_ms > 50000) {
    return Bad("election-timeout", absl::StrCat(raw.election_ms, " ms is above 50000 ms"));
  }
  if (raw.election_ms < 5 * raw.heartbeat_ms) {
    return Bad("election-timeout",
               absl::StrCat(raw.election_ms, " ms must be at least 5 times --heartbeat-interval (",
                            raw.heartbeat_ms, " ms)"));
  }
  options.heartbeat_interval = absl::Milliseconds(static_cast<int64_t>(raw.heartbeat_ms));
  options.election_timeout = absl::Milliseconds(static_cast<int64_t>(raw.election_ms));
  if (options.watch_progress_interval < absl::Milliseconds(100)) {
    return Bad("watch-progress-notify-interval", "must be at least 100ms");
  }
  const std::pair<const char*, absl::Duration> not_negative[] = {
      {"grpc-keepalive-min-time", options.keepalive_min_time},
      {"grpc-keepalive-interval", options.keepalive_interval},
      {"grpc-keepalive-timeout", options.keepalive_timeout}};
  for (const auto& [flag, value] : not_negative) {
    if (value < absl::ZeroDuration()) return Bad(flag, "must not be negative");
  }
  return absl::OkStatus();
}

absl::Status SetLimits(const Raw& raw, Options& options, std::vector<std::string>& warnings) {
  constexpr uint64_t kMaxRequest = uint64_t{1} << 30;
  if (options.max_request_bytes == 0 || options.max_request_bytes > kMaxRequest) {
    return Bad("max-request-bytes", absl::StrCat("must be 1 to ", kMaxRequest));
  }
  if (options.max_txn_ops == 0) return Bad("max-txn-ops", "must be above 0");
  if (options.snapshot_count == 0) return Bad("snapshot-count", "must be above 0");
  if (options.max_concurrent_streams == 0 || options.max_concurrent_streams > 4294967295) {
    return Bad("max-concurrent-streams", "must be 1 to 4294967295");
  }
  constexpr int64_t kWarnQuota = int64_t{8} << 30;
  if (raw.quota_bytes > kWarnQuota) {
    warnings.push_back("--quota-backend-bytes is above the suggested maximum of 8 GiB");
  }
  if (raw.quota_bytes != 0) {
    options.quota_backend_bytes = raw.quota_bytes < 0 ? 0 : static_cast<uint64_t>(raw.quota_bytes);
  }
  return absl::OkStatus();
}

absl::Status SetCompaction(const Raw& raw, Options& options) {
  const std::string& retention = raw.compaction_retention;
  if (raw.compaction_mode != "periodic" && raw.compaction_mode != "revision") {
    return Bad("auto-compaction-mode",
               absl::StrCat("'", raw.compaction_mode, "' is neither 'periodic' nor 'revision'"));
  }
  int64_t number = 0;
  const bool plain = absl::SimpleAtoi(retention, &number);
  if (plain && number < 0) return Bad("auto-compaction-retention", "must not be negative");
  if (raw.compaction_mode == "revision") {
    if (!plain) {
      return Bad("auto-compaction-retention",
                 absl::StrCat("'", retention, "' is not a number of revisions"));
    }
    options.compaction_keep_revisions = number;
    if (number > 0) options.compaction_mode = CompactionMode::kRevision;
    return absl::OkStatus();
  }
  absl::Duration period = absl::Hours(number);
  if (!plain && (!absl::ParseDuration(retention, &period) || period < absl::ZeroDuration() ||
                 period == absl::InfiniteDuration())) {
    return Bad("auto-compaction-retention",
               absl::StrCat("'", retention, "' is neither hours nor a duration such as 30m"));
  }
  options.compaction_period = period;
  if (period > absl::ZeroDuration()) options.compaction_mode = CompactionMode::kPeriodic;
  return absl::OkStatus();
}

absl::Status SetLogging(const Raw& raw, Options& options) {
  static const std::map<std::string, LogLevel> levels = {
      {"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo},   {"warn", LogLevel::kWarning},
      {"error", LogLevel::kError}, {"panic", LogLevel::kError}, {"fatal", LogLevel::kError}};
  const auto level = levels.find(raw.log_level);
  if (level == levels.end()) {
    return Bad("log-level", absl::StrCat("'", raw.log_level,
                                         "' is not one of debug, info, warn, error, panic, fatal"));
  }
  options.log_level = level->second;
  if (raw.log_format != "json" && raw.log_format != "console") {
    return Bad("log-format",
               absl::StrCat("'", raw.log_format, "' is neither 'console' nor 'json'"));
  }
  options.log_format = raw.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  if (raw.log_outputs != "default" && raw.log_outputs != "stderr") {
    return Bad("log-outputs", absl::StrCat("'", raw.log_outputs,
                                           "' is not supported, only 'default' and 'stderr'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::vector<Url>>> ParseInitialCluster(
    const std::string& text) {
  std::map<std::string, std::vector<Url>> members;
  std::map<std::string, std::string> owner_of_url;
  for (absl::string_view piece : absl::StrSplit(text, ',')) {
    piece = absl::StripAsciiWhitespace(piece);
    const size_t equals = piece.find('=');
    if (equals == absl::string_view::npos || equals == 0) {
      return Bad("initial-cluster", absl::StrCat("'", piece, "' is not name=URL"));
    }
    const std::string name(piece.substr(0, equals));
    const absl::StatusOr<Url> url = ParseUrl(std::string(piece.substr(equals + 1)));
    if (!url.ok()) return Bad("initial-cluster", url.status().message());
    const auto [at, fresh] = owner_of_url.emplace(url->text, name);
    if (!fresh) {
      return Bad("initial-cluster",
                 absl::StrCat("'", url->text, "' is given to '", at->second, "' and '", name, "'"));
    }
    members[name].push_back(*url);
  }
  for (auto& [name, urls] : members) std::sort(urls.begin(), urls.end());
  return members;
}

absl::Status SetCluster(const FlagSet& flags, const Raw& raw, Options& options) {
  if (options.name.empty()) return Bad("name", "must not be empty");
  if (raw.initial_cluster_state != "new" && raw.initial_cluster_state != "existing") {
    return Bad("initial-cluster-state",
               absl::StrCat("'", raw.initial_cluster_state, "' is neither 'new' nor 'existing'"));
  }
  options.expects_existing_cluster = raw.initial_cluster_state == "existing";
  KEELSON_ASSIGN_OR_RETURN(
      options.advertise_peer_urls,
      AdvertisePeerUrlsOf("initial-advertise-peer-urls", raw.advertise_peer_urls));
  KEELSON_RETURN_IF_ERROR(internal::SetDiscovery(raw, options));
  if (options.Discovers()) return absl::OkStatus();
  if (raw.initial_cluster.empty()) {
    const auto own = [&options](std::string* out, const Url& url) {
      absl::StrAppend(out, options.name, "=", url.text);
    };
    return SetFoundingMembers(absl::StrJoin(options.advertise_peer_urls, ",", own), options);
  }
  if (!flags.IsSet("initial-advertise-peer-urls")) {
    KEELSON_ASSIGN_OR_RETURN(const auto members, ParseInitialCluster(raw.initial_cluster));
    const auto self = members.find(options.name);
    if (self != members.end()) options.advertise_peer_urls = self->second;
  }
  return SetFoundingMembers(raw.initial_cluster, options);
}

absl::Status SetListeners(const FlagSet& flags, const Raw& raw, Options& options,
                          std::vector<std::string>& warnings) {
  const bool peers_have = !options.peer_tls.cert_file.empty() || options.peer_auto_tls;
  const bool clients_have = !options.client_tls.cert_file.empty() || options.client_auto_tls;
  constexpr char kNeeds[] = "needs --cert-file and --key-file, or --auto-tls";
  KEELSON_ASSIGN_OR_RETURN(
      options.listen_peer_urls,
      ListenUrlsOf("listen-peer-urls", raw.listen_peer_urls, peers_have,
                   "needs --peer-cert-file and --peer-key-file, or --peer-auto-tls"));
  KEELSON_ASSIGN_OR_RETURN(
      options.listen_client_urls,
      ListenUrlsOf("listen-client-urls", raw.listen_client_urls, clients_have, kNeeds));
  if (!raw.listen_client_http_urls.empty()) {
    KEELSON_ASSIGN_OR_RETURN(
        options.listen_client_http_urls,
        ListenUrlsOf("listen-client-http-urls", raw.listen_client_http_urls, clients_have, kNeeds));
  }
  if (!raw.listen_metrics_urls.empty()) {
    KEELSON_ASSIGN_OR_RETURN(
        options.listen_metrics_urls,
        ListenUrlsOf("listen-metrics-urls", raw.listen_metrics_urls, clients_have,
                     ": client TLS key/cert (--cert-file, --key-file) must be "
                     "provided for metrics secure url"));
  }
  if (flags.IsSet("listen-client-urls") && !flags.IsSet("advertise-client-urls")) {
    return Bad("advertise-client-urls", "is required when --listen-client-urls is set");
  }
  // Clients that know another way may still come, so that is no reason not to start.
  KEELSON_ASSIGN_OR_RETURN(options.advertise_client_urls,
                           UrlsOf("advertise-client-urls", raw.advertise_client_urls));
  for (const Url& url : options.advertise_client_urls) {
    const std::string why = WhyUnreachable(url);
    if (!why.empty()) warnings.push_back(absl::StrCat("--advertise-client-urls: ", why));
  }
  return absl::OkStatus();
}

// "3.6.4", from 3.4.0 on.
absl::Status CheckVersion(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  uint32_t number[3] = {};
  for (size_t i = 0; i < 3; ++i) {
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[i], &number[i])) {
      return Bad("etcd-version", absl::StrCat("'", text, "' is not a version such as 3.6.0"));
    }
  }
  if (number[0] != 3 || number[1] < 4) return Bad("etcd-version", "must be 3.4.0 or above");
  return absl::OkStatus();
}

// As etcd, whose files have these sections in the place of flags.
std::string FlagOf(const ConfigField& field, FlagSet& flags) {
  if (field.section == "peer-transport-security") return "peer-" + field.name;
  const std::string prefixed = "client-" + field.name;
  return flags.Knows(field.name) ? field.name : prefixed;
}

absl::Status ReadConfigFile(const std::string& path, FlagSet& flags,
                            std::vector<std::string>& warnings) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(RealFileSystem(), path, kConfigFileBytesMax));
  const absl::StatusOr<std::vector<ConfigField>> fields = ParseConfigFile(text);
  if (!fields.ok()) return Annotate(fields.status(), path);
  for (const ConfigField& field : *fields) {
    const std::string origin = absl::StrCat(path, ":", field.line, ": ", field.name);
    const bool known_section = field.section.empty() ||
                               field.section == "client-transport-security" ||
                               field.section == "peer-transport-security";
    const std::string name = field.section.empty() ? field.name : FlagOf(field, flags);
    if (!known_section || name == "config-file" || !flags.Knows(name)) {
      warnings.push_back(absl::StrCat(origin, " is no field that is known, ignoring"));
      continue;
    }
    KEELSON_RETURN_IF_ERROR(flags.SetFromFile(name, field.value, origin));
  }
  return absl::OkStatus();
}

// Everything that is registered.
struct Registered {
  Registered(Raw& raw, Options& options) {
    RegisterMemberFlags(flags, raw, options);
    RegisterClusterFlags(flags, raw, options);
    internal::RegisterSecurityFlags(flags, raw, options);
    RegisterMonitoringFlags(flags, raw, options);
    RegisterFlagsWithoutEffect(flags);
    RegisterRefusedFlags(flags);
  }
  FlagSet flags;
};

absl::Status Understand(const FlagSet& flags, const Raw& raw, CommandLine& line) {
  Options& options = line.options;
  KEELSON_RETURN_IF_ERROR(SetTimes(raw, options));
  KEELSON_RETURN_IF_ERROR(SetLimits(raw, options, line.warnings));
  KEELSON_RETURN_IF_ERROR(SetCompaction(raw, options));
  KEELSON_RETURN_IF_ERROR(internal::SetAuth(raw, options));
  KEELSON_RETURN_IF_ERROR(internal::SetHttpAccess(raw, options));
  KEELSON_RETURN_IF_ERROR(SetLogging(raw, options));
  KEELSON_RETURN_IF_ERROR(CheckVersion(options.etcd_version));
  KEELSON_RETURN_IF_ERROR(internal::SetTls(raw, options, line.warnings));
  KEELSON_RETURN_IF_ERROR(SetListeners(flags, raw, options, line.warnings));
  KEELSON_RETURN_IF_ERROR(SetCluster(flags, raw, options));
  if (options.data_dir.empty()) options.data_dir = options.name + ".etcd";
  if (options.unsafe_no_fsync) {
    line.warnings.push_back("--unsafe-no-fsync: a power cut will lose acknowledged writes");
  }
  return absl::OkStatus();
}

// What --config-file or its variable says; empty: neither.
std::string ConfigFileOf(const Raw& raw, std::span<const std::string> environment) {
  constexpr std::string_view kVariable = "ETCD_CONFIG_FILE=";
  if (!raw.config_file.empty()) return raw.config_file;
  for (const std::string& entry : environment) {
    if (entry.starts_with(kVariable)) return entry.substr(kVariable.size());
  }
  return "";
}

}  // namespace

absl::Status internal::Bad(absl::string_view flag, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", why));
}

absl::Status SetFoundingMembers(const std::string& text, Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const auto members, ParseInitialCluster(text));
  const auto self = members.find(options.name);
  if (self == members.end()) {
    return Bad("initial-cluster",
               absl::StrCat("has no member '", options.name, "', the --name of this one"));
  }
  if (self->second != options.advertise_peer_urls) {
    return Bad("initial-cluster",
               absl::StrCat("gives '", options.name, "' ", absl::StrJoin(Texts(self->second), ","),
                            ", but --initial-advertise-peer-urls is ",
                            absl::StrJoin(Texts(options.advertise_peer_urls), ",")));
  }
  std::vector<uint64_t> ids;
  options.initial_cluster.clear();
  for (const auto& [name, urls] : members) {
    const uint64_t id = FoundingMemberId(Texts(urls), options.cluster_token);
    ids.push_back(id);
    options.initial_cluster.push_back({.name = name, .peer_urls = urls, .id = id});
    if (name == options.name) options.member_id = id;
  }
  std::sort(options.initial_cluster.begin(), options.initial_cluster.end(),
            [](const FoundingMember& a, const FoundingMember& b) { return a.id < b.id; });
  options.cluster_id = ClusterId(ids);
  return absl::OkStatus();
}

absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments,
                                             std::span<const std::string> environment) {
  CommandLine line;
  Raw raw;
  FlagSet flags = Registered(raw, line.options).flags;
  const std::string help = flags.Help();

  KEELSON_RETURN_IF_ERROR(flags.ParseArguments(arguments));
  if (raw.help) {
    line.text = absl::StrCat(
        "Usage: kvstored [flags]\n       kvstored gateway [flags] start\n\nA member of a "
        "replicated key-value store. Each flag can also "
        "be given as a\nvariable: --data-dir as "
        "ETCD_DATA_DIR; the flag wins.\n",
        help);
    return line;
  }
  if (raw.version) {
    line.text = "";
    return line;
  }
  const std::string file = ConfigFileOf(raw, environment);
  if (file.empty()) {
    KEELSON_RETURN_IF_ERROR(flags.ParseEnvironment("ETCD_", environment));
    line.warnings = flags.warnings();
    KEELSON_RETURN_IF_ERROR(Understand(flags, raw, line));
    return line;
  }
  CommandLine from_file;
  Raw file_raw;
  FlagSet file_flags = Registered(file_raw, from_file.options).flags;
  from_file.warnings.push_back(
      absl::StrCat("read ", file, "; other flags and variables are ignored if provided"));
  KEELSON_RETURN_IF_ERROR(ReadConfigFile(file, file_flags, from_file.warnings));
  const std::vector<std::string> warnings = file_flags.warnings();
  from_file.warnings.insert(from_file.warnings.end(), warnings.begin(), warnings.end());
  KEELSON_RETURN_IF_ERROR(Understand(file_flags, file_raw, from_file));
  return from_file;
}

}  // namespace keelson::kvstore
