#include "kvstore/daemon/founders.h"

#include <csignal>
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
#include "kvstore/config/data_dir.h"
#include "kvstore/config/identity.h"
#include "kvstore/config/srv.h"
#include "kvstore/config/url.h"
#include "kvstore/daemon/discovery.h"

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

absl::Status LearnFromService(Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<http::Client> client, http::Client::Create({}));
  const DiscoveryWorld world{
      .fetch =
          [&client](http::FetchRequest fetch) { return client->FetchBlocking(std::move(fetch)); },
      .sleep = [](absl::Duration time) { absl::SleepFor(time); },
      .go_on = [] { return !IsToldToEnd(); },
      .tell = [](const std::string& what) { LogInfo(what); }};
  // As in etcd, where the founders met keeps clusters apart.
  options.cluster_token = options.discovery_url;
  const auto named = [&options](std::string* out, const Url& url) {
    absl::StrAppend(out, options.name, "=", url.text);
  };
  const DiscoveryRequest request{
      .url = options.discovery_url,
      .id = FormatId(FoundingMemberId(Texts(options.advertise_peer_urls), options.cluster_token)),
      .members = absl::StrJoin(options.advertise_peer_urls, ",", named)};
  KEELSON_ASSIGN_OR_RETURN(const std::string founders, JoinByDiscovery(world, request));
  LogInfo("discovered the founding members", {{"initial_cluster", founders}});
  return Annotate(SetFoundingMembers(founders, options), "discovery");
}

}  // namespace

absl::Status LearnFounders(FileSystem& fs, Options& options) {
  if (!options.Discovers() || !options.initial_cluster.empty()) return absl::OkStatus();
  const DataDir paths = DataDirAt(options.data_dir, options.wal_dir);
  KEELSON_ASSIGN_OR_RETURN(const bool started_before, fs.Exists(paths.identity));
  if (started_before) return absl::OkStatus();
  if (!options.discovery_url.empty()) return LearnFromService(options);
  return Annotate(LearnFromSrv(options), "--discovery-srv");
}

}  // namespace keelson::kvstore
