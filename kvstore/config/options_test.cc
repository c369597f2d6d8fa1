#include "kvstore/config/options.h"

#include <catch2/catch.hpp>

#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"

using namespace keelson::kvstore;

namespace {

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("Without flags the defaults are those of etcd", "[kvstore][options]") {
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(Words{}, Words{}));
  const Options& options = line.options;

  CHECK_FALSE(line.text.has_value());
  CHECK(line.warnings.empty());
  CHECK(options.data_dir == "default.etcd");
  CHECK(Texts(options.listen_peer_urls) == Words{"http://localhost:2380"});
  CHECK(Texts(options.listen_client_urls) == Words{"http://localhost:2379"});
  CHECK(options.quota_backend_bytes == uint64_t{2147483648});
  CHECK(options.max_request_bytes == 1572864);
  CHECK(options.compaction_mode == CompactionMode::kOff);
  REQUIRE(options.initial_cluster.size() == 1);
  CHECK(options.member_id == 0x8e9e05c52164694d);
  CHECK(options.cluster_id == 0xcdf818194e3a8c32);
}

TEST_CASE("A member of three knows the others and itself", "[kvstore][options]") {
  const Words arguments = {"--name=b",
                           "--initial-cluster=a=http://127.0.0.1:2380,b=http://"
                           "127.0.0.1:2381,c=http://127.0.0.1:2382",
                           "--initial-cluster-token=tok",
                           "--initial-advertise-peer-urls=http://127.0.0.1:2381"};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(arguments, Words{}));

  CHECK(line.options.member_id == 0x321b4ccd5c32edea);
  CHECK(line.options.cluster_id == 0x62e51227d18cf864);
  CHECK(line.options.data_dir == "b.etcd");
  REQUIRE(line.options.initial_cluster.size() == 3);
  CHECK(line.options.initial_cluster[0].name == "b");
  CHECK(line.options.initial_cluster[1].name == "a");
  CHECK(line.options.initial_cluster[2].name == "c");
}

TEST_CASE("Variables stand in for flags", "[kvstore][options]") {
  const Words environment = {"ETCD_NAME=x", "ETCD_ELECTION_TIMEOUT=500",
                             "ETCD_HEARTBEAT_INTERVAL=50", "ETCD_QUOTA_BACKEND_BYTES=-1"};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line,
                         ParseCommandLine(Words{"--election-timeout=900"}, environment));
  CHECK(line.options.name == "x");
  CHECK(line.options.election_timeout == absl::Milliseconds(900));
  CHECK(line.options.heartbeat_interval == absl::Milliseconds(50));
  CHECK(line.options.quota_backend_bytes == 0);
}

TEST_CASE("Bad options are refused in one line that names the flag", "[kvstore][options]") {
  struct Row {
    Words arguments;
    std::string message;
  };
  const auto row = GENERATE(values<Row>({
      {{"--name="}, "--name: must not be empty"},
      {{"--heartbeat-interval=300"}, "--election-timeout: 1000 ms must be at least 5 times"},
      {{"--heartbeat-interval=0"}, "--heartbeat-interval: must be above 0"},
      {{"--election-timeout=50001"}, "--election-timeout: 50001 ms is above 50000 ms"},
      {{"--listen-peer-urls=foo"}, "--listen-peer-urls: 'foo': URL scheme"},
      {{"--listen-peer-urls=http://example.com:1"}, "an IP address to bind is needed"},
      {{"--listen-peer-urls=https://127.0.0.1:1"}, "needs --peer-cert-file and --peer-key-file"},
      {{"--listen-client-urls=http://127.0.0.1:1"}, "--advertise-client-urls: is required when"},
      {{"--initial-advertise-peer-urls=http://0.0.0.0:1"}, "nobody can connect"},
      {{"--initial-advertise-peer-urls=http://a:0"}, "a port is needed"},
      {{"--self-signed-cert-validity=0"}, "--self-signed-cert-validity: must be 1 to 100 years"},
      {{"--cert-file=a"}, "--key-file: must be set together with --cert-file"},
      {{"--peer-key-file=a"}, "--peer-cert-file: must be set together with --peer-key-file"},
      {{"--client-cert-auth"}, "--client-cert-auth: needs --trusted-ca-file"},
      {{"--initial-cluster=bad"}, "--initial-cluster: 'bad' is not name=URL"},
      {{"--initial-cluster==http://a:1"}, "is not name=URL"},
      {{"--initial-cluster=default=http://a"}, "--initial-cluster: 'http://a': URL has no port"},
      {{"--initial-cluster=a=http://a:1"}, "has no member 'default'"},
      {{"--initial-cluster=default=http://a:1,b=http://a:1"}, "is given to 'default' and 'b'"},
      {{"--initial-cluster=default=http://a:1", "--initial-advertise-peer-urls=http://b:1"},
       "but --initial-advertise-peer-urls is http://b:1"},
      {{"--initial-cluster-state=old"}, "'old' is neither 'new' nor 'existing'"},
      {{"--max-request-bytes=0"}, "--max-request-bytes: must be 1 to"},
      {{"--max-request-bytes=1073741825"}, "--max-request-bytes: must be 1 to"},
      {{"--max-txn-ops=0"}, "--max-txn-ops: must be above 0"},
      {{"--snapshot-count=0"}, "--snapshot-count: must be above 0"},
      {{"--max-concurrent-streams=0"}, "--max-concurrent-streams: must be 1"},
      {{"--grpc-keepalive-timeout=-1s"}, "--grpc-keepalive-timeout: must not be negative"},
      {{"--watch-progress-notify-interval=99ms"}, "must be at least 100ms"},
      {{"--auto-compaction-mode=x"}, "'x' is neither 'periodic' nor 'revision'"},
      {{"--auto-compaction-retention=x"}, "'x' is neither hours nor a duration"},
      {{"--auto-compaction-retention=-1"}, "must not be negative"},
      {{"--auto-compaction-mode=revision", "--auto-compaction-retention=1h"},
       "'1h' is not a number of revisions"},
      {{"--log-level=loud"}, "--log-level: 'loud' is not one of"},
      {{"--log-format=xml"}, "--log-format: 'xml' is neither"},
      {{"--log-outputs=/tmp/x"}, "--log-outputs: '/tmp/x' is not supported"},
      {{"--force-new-cluster"}, "--force-new-cluster: not supported"},
      {{"--discovery-srv=x", "--discovery=http://x"}, "multiple discovery"},
      {{"--discovery-srv=x", "--initial-cluster=default=http://a:1"}, "multiple discovery"},
      {{"--discovery=http://x", "--initial-cluster=default=http://a:1"}, "multiple discovery"},
      {{"--discovery-endpoints=a:1", "--discovery-token=t", "--discovery-srv=x"},
       "multiple discovery"},
      {{"--discovery-endpoints=a:1"}, "--discovery-token: both --discovery-token and"},
      {{"--discovery-token=t"}, "--discovery-endpoints: both --discovery-token and"},
      {{"--discovery-endpoints=a:1,,b:1", "--discovery-token=t"},
       "--discovery-endpoints: must not contain empty endpoints"},
      {{"--discovery-endpoints=a:1", "--discovery-token=../t"}, "'../t' is no part of a key"},
      {{"--discovery-endpoints=a:1", "--discovery-token=t", "--discovery-key=k"},
       "--discovery-cert: must be set together with --discovery-key"},
      {{"--discovery-endpoints=a:1", "--discovery-token=t", "--discovery-request-timeout=0s"},
       "--discovery-request-timeout: must be above 0"},
      {{"--discovery-proxy=http://x"}, "--discovery-proxy: not supported yet"},
      {{"--auth-token=x"}, "--auth-token: 'x' is neither 'simple' nor 'jwt,...'"},
      {{"--etcd-version=3.6"}, "--etcd-version: '3.6' is not a version"},
      {{"--etcd-version=3.3.0"}, "--etcd-version: must be 3.4.0 or above"},
      {{"--tls-min-version=TLS1.1"}, "--tls-min-version: 'TLS1.1' is neither TLS1.2 nor TLS1.3"},
      {{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}, "is below --tls-min-version"},
      {{"--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
       "--cipher-suites: the suites of TLS 1.3 cannot be chosen"},
      {{"--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"}, "no suite with ECDHE and an AEAD is left"},
      {{"--cipher-suites=TLS_X"}, "--cipher-suites: unexpected TLS cipher suite \"TLS_X\""},
      {{"--peer-cert-allowed-cn=a"}, "--peer-cert-allowed-cn: needs --peer-trusted-ca-file"},
      {{"--client-crl-file=a"}, "--client-crl-file: needs --trusted-ca-file"},
      {{"--client-cert-allowed-hostname=a"},
       "--client-cert-allowed-hostname: needs --trusted-ca-file"},
      {{"--peer-trusted-ca-file=a", "--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"},
       "cannot be set together"},
      {{"--peer-trusted-ca-file=a", "--peer-cert-allowed-cn= ,"}, "cert-allowed-cn: names nobody"},
      {{"--listen-metrics-urls=https://127.0.0.1:1"},
       "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"},
      {{"--peer-client-cert-file=a"}, "must be set together with --peer-client-key-file"},
      {{"--cors=http://a/b"}, "--cors: 'http://a/b': URL must be scheme://host:port"},
      {{"--listen-clent-urls=x"}, "did you mean --listen-client-urls?"},
  }));
  DYNAMIC_SECTION(row.message) {
    const absl::StatusOr<CommandLine> line = ParseCommandLine(row.arguments, Words{});
    KEELSON_CHECK_ERROR(line, absl::StatusCode::kInvalidArgument, row.message);
    CHECK(std::string(line.status().message()).find('\n') == std::string::npos);
  }
}

TEST_CASE("Compaction is told in hours, a duration or revisions", "[kvstore][options]") {
  const auto parse = [](const Words& arguments) {
    return ParseCommandLine(arguments, Words{})->options;
  };
  CHECK(parse({"--auto-compaction-retention=2"}).compaction_period == absl::Hours(2));
  CHECK(parse({"--auto-compaction-retention=30m"}).compaction_period == absl::Minutes(30));
  const Options revision =
      parse({"--auto-compaction-mode=revision", "--auto-compaction-retention=1000"});
  CHECK(revision.compaction_mode == CompactionMode::kRevision);
  CHECK(revision.compaction_keep_revisions == 1000);
}

TEST_CASE("--help and --version win over bad options", "[kvstore][options]") {
  KEELSON_ASSIGN_OR_FAIL(const CommandLine help,
                         ParseCommandLine(Words{"-h", "--name="}, Words{"ETCD_COUNT=x"}));
  REQUIRE(help.text.has_value());
  CHECK(help.text->find("--snapshot-count '10000'") != std::string::npos);
  KEELSON_ASSIGN_OR_FAIL(const CommandLine version, ParseCommandLine(Words{"--version"}, Words{}));
  CHECK(version.text.has_value());
}

TEST_CASE("Flags of etcd without a job here leave one warning each", "[kvstore][options]") {
  const Words arguments = {"--max-wals=3", "--logger=zap", "--proxy=off", "--auto-tls=false"};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(arguments, Words{}));
  CHECK(line.warnings ==
        Words{"--max-wals has no effect here, ignoring", "--logger has no effect here, ignoring"});
}

TEST_CASE("Names that flags had before etcd 3.7 are taken", "[kvstore][options]") {
  const Words arguments = {"--experimental-compact-hash-check-enabled",
                           "--experimental-compaction-sleep-interval=10ms",
                           "--experimental-peer-skip-client-san-verification"};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(arguments, Words{}));
  CHECK(line.warnings.size() == 3);
}

TEST_CASE("https needs no files with certificates that the member makes", "[kvstore][options]") {
  const Words arguments = {"--listen-client-urls=https://127.0.0.1:2379",
                           "--advertise-client-urls=https://127.0.0.1:2379",
                           "--listen-peer-urls=https://127.0.0.1:2380",
                           "--auto-tls",
                           "--peer-auto-tls",
                           "--self-signed-cert-validity=2"};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(arguments, Words{}));
  CHECK(line.options.client_auto_tls);
  CHECK(line.options.peer_auto_tls);
  CHECK(line.options.auto_tls_validity == absl::Hours(2 * 365 * 24));
  CHECK(line.warnings.empty());
}

TEST_CASE("A certificate that is given wins over one that would be made", "[kvstore][options]") {
  const Words arguments = {"--auto-tls", "--cert-file=a", "--key-file=b"};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(arguments, Words{}));
  CHECK_FALSE(line.options.client_auto_tls);
  REQUIRE(line.warnings.size() == 1);
  CHECK(line.warnings[0] == "--auto-tls: ignored, since a certificate is given");
}

TEST_CASE("Client URLs that lead nowhere are a warning", "[kvstore][options]") {
  KEELSON_ASSIGN_OR_FAIL(
      const CommandLine line,
      ParseCommandLine(Words{"--advertise-client-urls=http://0.0.0.0:0"}, Words{}));
  REQUIRE(line.warnings.size() == 1);
  CHECK(line.warnings[0].find("nobody can connect") != std::string::npos);
}

TEST_CASE("Who names authorities insists on their certificates", "[kvstore][options]") {
  const std::string suites =
      "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA";
  const Words files = {"--cert-file=a", "--key-file=b", "--trusted-ca-file=c",
                       "--client-crl-file=d", suites};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(files, Words{}));
  CHECK(line.options.client_tls.require_client_cert);
  CHECK_FALSE(line.options.client_cert_auth);
  CHECK_FALSE(line.options.peer_tls.require_client_cert);
  CHECK(line.options.client_tls_policy.crl_file == "d");
  CHECK(line.options.client_tls_policy.tls12_ciphers == "ECDHE-RSA-AES128-GCM-SHA256");
  CHECK(line.options.peer_tls_policy.tls12_ciphers == "ECDHE-RSA-AES128-GCM-SHA256");
  CHECK(line.warnings == Words{"--cipher-suites: without ECDHE or an AEAD, so not used: "
                               "TLS_RSA_WITH_AES_128_CBC_SHA"});
}

TEST_CASE("A configuration file takes the place of flags and variables", "[kvstore][options]") {
  const std::string path = keelson::testing::WriteTestFile("etcd.conf.yml", R"(
name: 'filed'
data-dir:
heartbeat-interval: 50
grpc-keepalive-min-time: 7000000000
watch-progress-notify-interval: 3s
strict-reconfig-check: false
discovery-fallback: 'proxy'
client-transport-security:
  client-cert-auth: false
  auto-tls: true
  trusted-ca-file: ca.crt
  allowed-hostname: [a.example, b.example]
peer-transport-security:
  cert-file: p.crt
  key-file: p.key
  trusted-ca-file: ca.crt
  allowed-cn: 'one, two'
log-outputs: [stderr]
no-such-field: 1
)");
  const Words arguments = {"--name=flag", "--config-file=" + path};
  KEELSON_ASSIGN_OR_FAIL(const CommandLine line, ParseCommandLine(arguments, Words{"ETCD_NAME=x"}));
  const Options& options = line.options;
  CHECK(options.name == "filed");
  CHECK(options.data_dir == "filed.etcd");
  CHECK(options.heartbeat_interval == absl::Milliseconds(50));
  CHECK(options.keepalive_min_time == absl::Seconds(7));
  CHECK(options.watch_progress_interval == absl::Seconds(3));
  CHECK_FALSE(options.strict_reconfig_check);
  CHECK(options.client_auto_tls);
  CHECK(options.peer_tls.cert_file == "p.crt");
  CHECK(options.client_tls_policy.allowed_hosts == Words{"a.example", "b.example"});
  CHECK(options.peer_tls_policy.allowed_common_names == Words{"one", "two"});
  REQUIRE(line.warnings.size() == 3);
  CHECK(line.warnings[1] == path + ":20: no-such-field is no field that is known, ignoring");
  CHECK(line.warnings[2] == path + ":8: discovery-fallback has no effect here, ignoring");

  KEELSON_ASSIGN_OR_FAIL(const CommandLine by_variable,
                         ParseCommandLine(Words{}, Words{"ETCD_CONFIG_FILE=" + path}));
  CHECK(by_variable.options.name == "filed");
}

TEST_CASE("A bad field is refused with its place", "[kvstore][options]") {
  const std::string path =
      keelson::testing::WriteTestFile("bad.conf.yml", "name: a\nheartbeat-interval: often\n");
  KEELSON_CHECK_ERROR(ParseCommandLine(Words{"--config-file=" + path}, Words{}),
                      absl::StatusCode::kInvalidArgument,
                      path + ":2: heartbeat-interval: 'often' is not a whole number");
  KEELSON_CHECK_ERROR(ParseCommandLine(Words{"--config-file=/nonexistent"}, Words{}),
                      absl::StatusCode::kNotFound, "/nonexistent");
}

TEST_CASE("Who is discovered is not known yet", "[kvstore][options]") {
  KEELSON_ASSIGN_OR_FAIL(
      CommandLine line,
      ParseCommandLine(Words{"--name=b", "--discovery=http://d/v2/keys/x",
                             "--initial-advertise-peer-urls=http://127.0.0.1:2381"},
                       Words{}));
  CHECK(line.options.initial_cluster.empty());
  KEELSON_REQUIRE_OK(
      SetFoundingMembers("a=http://127.0.0.1:2380,b=http://127.0.0.1:2381", line.options));
  CHECK(line.options.initial_cluster.size() == 2);
  CHECK(line.options.member_id != 0);
  KEELSON_CHECK_ERROR(SetFoundingMembers("a=http://127.0.0.1:2380", line.options),
                      absl::StatusCode::kInvalidArgument, "has no member 'b'");
}

TEST_CASE("Founders may meet in the keys of another cluster", "[kvstore][options]") {
  KEELSON_ASSIGN_OR_FAIL(
      const CommandLine line,
      ParseCommandLine(Words{"--discovery-token=t/1", "--discovery-endpoints=a:1, b:1,a:1",
                             "--discovery-user=me:pass:word", "--discovery-dial-timeout=3s",
                             "--discovery-insecure-transport=false"},
                       Words{"ETCD_DISCOVERY_CACERT=ca.crt"}));
  const RegistryOptions& registry = line.options.discovery_registry;
  CHECK(line.options.Discovers());
  CHECK(line.options.initial_cluster.empty());
  CHECK(line.warnings.empty());
  CHECK(registry.token == "t/1");
  CHECK(registry.endpoints == Words{"a:1", "b:1"});
  CHECK(registry.user == "me");
  CHECK(registry.password == "pass:word");
  CHECK(registry.dial_timeout == absl::Seconds(3));
  CHECK(registry.request_timeout == absl::Seconds(5));
  CHECK(registry.always_tls);
  CHECK_FALSE(registry.skip_verify);
  CHECK(registry.ca_file == "ca.crt");
}
