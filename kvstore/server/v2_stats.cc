#include "kvstore/server/v2_stats.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "kvstore/config/identity.h"
#include "kvstore/json_string.h"
#include "kvstore/server/raft_state.h"
#include "kvstore/v2/key_store.h"

namespace keelson::kvstore {
namespace {

using Writer = std::shared_ptr<http::ResponseWriter>;

std::string StoreJson(const v2::Statistics& stats) {
  std::string out = "{";
  const auto count = [&out](const char* name, const v2::Statistics::Count& value) {
    absl::StrAppend(&out, "\"", name, "Success\":", value.success, ",\"", name,
                    "Fail\":", value.fail, ",");
  };
  count("gets", stats.gets);
  count("sets", stats.sets);
  count("delete", stats.deletes);
  count("update", stats.updates);
  count("create", stats.creates);
  count("compareAndSwap", stats.swaps);
  count("compareAndDelete", stats.compare_deletes);
  absl::StrAppend(&out, "\"expireCount\":", stats.expired, ",\"watchers\":", stats.watchers, "}");
  return out;
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

std::string SelfJson(const Server& server, absl::Time now) {
  const Server::Tenure tenure = server.tenure();
  const std::string_view state = RaftStateName(server.Peek().soft_state.role);
  uint64_t sent = 0;
  uint64_t received = 0;
  for (const PeerTraffic& peer : server.Traffic()) {
    sent += peer.sent;
    received += peer.received;
  }
  const std::string leader = tenure.leader == raft::kNoNode ? "" : FormatId(tenure.leader);
  return absl::StrCat(
      "{\"name\":", JsonString(server.options().name), ",\"id\":\"",
      FormatId(server.options().member_id), "\",\"state\":\"",
      absl::string_view(state.data(), state.size()), "\",\"startTime\":\"",
      TimeText(tenure.started), "\",\"leaderInfo\":{\"leader\":\"", leader, "\",\"uptime\":\"",
      absl::FormatDuration(now - tenure.since), "\",\"startTime\":\"", TimeText(tenure.since),
      "\"},\"recvAppendRequestCnt\":", received, ",\"sendAppendRequestCnt\":", sent, "}");
}

std::string FollowerJson(const PeerTraffic& peer, const PeerTime& time) {
  // As etcd shows a least time that has not been measured.
  const std::string minimum =
      time.count == 0 ? "9223372036854775808" : absl::StrFormat("%.6f", time.minimum);
  return absl::StrFormat(
      "\"%s\":{\"latency\":{\"current\":%.6f,\"average\":%.6f,\"standardDeviation\":%.6f,"
      "\"minimum\":%s,\"maximum\":%.6f},\"counts\":{\"fail\":%d,\"success\":%d}}",
      FormatId(peer.id), time.current, time.average, time.Deviation(), minimum, time.maximum,
      peer.dropped, peer.sent);
}

std::string LeaderJson(const Server& server) {
  std::vector<std::string> followers;
  for (const PeerTraffic& peer : server.Traffic()) {
    followers.push_back(FollowerJson(peer, server.peer_times().Of(peer.id)));
  }
  return absl::StrCat("{\"leader\":\"", FormatId(server.options().member_id), "\",\"followers\":{",
                      absl::StrJoin(followers, ","), "}}");
}

}  // namespace

void AddV2Stats(http::Router& router, Server* server, Clock* clock) {
  router.Handle("GET", "/v2/stats/store", [server](const http::Request&, const Writer& writer) {
    writer->Send(http::JsonResponse(200, StoreJson(server->store().V2()->GetStatistics())));
  });
  router.Handle("GET", "/v2/stats/self",
                [server, clock](const http::Request&, const Writer& writer) {
                  writer->Send(http::JsonResponse(200, SelfJson(*server, clock->Now())));
                });
  router.Handle("GET", "/v2/stats/leader", [server](const http::Request&, const Writer& writer) {
    if (!server->IsLeader()) {
      return writer->Send(http::JsonResponse(403, "{\"message\":\"not current leader\"}"));
    }
    writer->Send(http::JsonResponse(200, LeaderJson(*server)));
  });
}

}  // namespace keelson::kvstore
