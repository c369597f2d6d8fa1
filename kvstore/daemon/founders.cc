#include "kvstore/daemon/founders.h"

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/http/client.h"
#include "base/logging.h"
#include "base/status.h"
#include "kvstore/client/client.h"
#include "kvstore/config/data_dir.h"
#include "kvstore/config/identity.h"
#include "kvstore/config/srv.h"
#include "kvstore/config/url.h"
#include "kvstore/daemon/discovery.h"
#include "kvstore/daemon/discovery_v3.h"

namespace keelson::kvstore {
namespace {

// The signals are blocked, and waited for only once the member has started.
bool IsToldToEnd() {
  sigset_t pending;
  if (::sigpending(&pending) != 0) return false;
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

absl::Status LearnFromSrv(Options& options) {
  KEELSON_ASSIGN_OR_RETURN(
      const std::string founders,
      FoundersFromSrv(RealSrvWorld(),
                      {.domain = options.discovery_srv, .service_name = options.discovery_srv_name},
                      options.name, options.advertise_peer_urls));
  LogInfo("got the founding members from DNS", {{"initial_cluster", founders}});
  // Ids are made of URLs, so all have to take those of the records, as in etcd.
  std::vector<std::string> own;
  for (absl::string_view member : absl::StrSplit(founders, ',')) {
    if (absl::ConsumePrefix(&member, absl::StrCat(options.name, "="))) own.emplace_back(member);
  }
  KEELSON_ASSIGN_OR_RETURN(options.advertise_peer_urls, ParseUrls(absl::StrJoin(own, ",")));
  return SetFoundingMembers(founders, options);
}

DiscoveryWorld RealDiscoveryWorld() {
  return {.sleep = [](absl::Duration time) { absl::SleepFor(time); },
          .go_on = [] { return !IsToldToEnd(); },
          .tell = [](const std::string& what) { LogInfo(what); }};
}

// Takes part at a meeting place; as in etcd, `place` keeps clusters apart.
absl::Status LearnBy(
    const std::function<absl::StatusOr<std::string>(const DiscoveryRequest& request)>& join,
    const std::string& place, Options& options) {
  options.cluster_token = place;
  const auto named = [&options](std::string* out, const Url& url) {
    absl::StrAppend(out, options.name, "=", url.text);
  };
  KEELSON_ASSIGN_OR_RETURN(
      const std::string founders,
      join({.id = FormatId(FoundingMemberId(Texts(options.advertise_peer_urls), place)),
            .members = absl::StrJoin(options.advertise_peer_urls, ",", named)}));
  LogInfo("discovered the founding members", {{"initial_cluster", founders}});
  return Annotate(SetFoundingMembers(founders, options), "discovery");
}

absl::Status LearnFromService(Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<http::Client> client, http::Client::Create({}));
  const DiscoveryFetch fetch = [&client](http::FetchRequest request) {
    return client->FetchBlocking(std::move(request));
  };
  const auto join = [&](const DiscoveryRequest& request) {
    return JoinByDiscovery(fetch, RealDiscoveryWorld(), options.discovery_url, request);
  };
  return LearnBy(join, options.discovery_url, options);
}

absl::Status LearnFromRegistry(Options& options) {
  const RegistryOptions& registry = options.discovery_registry;
  ConnectOptions connect{.endpoints = registry.endpoints,
                         .dial_timeout = registry.dial_timeout,
                         .command_timeout = registry.request_timeout,
                         .keepalive_time = registry.keepalive_time,
                         .keepalive_timeout = registry.keepalive_timeout,
                         .user = registry.user,
                         .password = registry.password};
  connect.tls = {.ca_file = registry.ca_file,
                 .cert_file = registry.cert_file,
                 .key_file = registry.key_file,
                 .skip_verify = registry.skip_verify,
                 .always = registry.always_tls};
  absl::StatusOr<std::unique_ptr<Client>> client = Connect(connect);
  if (!client.ok()) return Annotate(client.status(), "--discovery-endpoints");
  const auto join = [&](const DiscoveryRequest& request) {
    return JoinByDiscoveryV3(**client, RealDiscoveryWorld(), registry.token, request);
  };
  return LearnBy(join, registry.token, options);
}

}  // namespace

absl::Status LearnFounders(FileSystem& fs, Options& options) {
  if (!options.Discovers() || !options.initial_cluster.empty()) return absl::OkStatus();
  const DataDir paths = DataDirAt(options.data_dir, options.wal_dir);
  KEELSON_ASSIGN_OR_RETURN(const bool started_before, fs.Exists(paths.identity));
  if (started_before) return absl::OkStatus();
  if (!options.discovery_url.empty()) return LearnFromService(options);
  if (!options.discovery_registry.endpoints.empty()) return LearnFromRegistry(options);
  return Annotate(LearnFromSrv(options), "--discovery-srv");
}

}  // namespace keelson::kvstore
