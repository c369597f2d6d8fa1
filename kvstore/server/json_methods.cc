#include "kvstore/server/json_methods.h"

#include <google/protobuf/util/json_util.h>

#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/api/cluster.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/api/v3election.pb.h"
#include "kvstore/api/v3lock.pb.h"
#include "kvstore/json_string.h"

namespace keelson::kvstore {
namespace {

using google::protobuf::Message;
using Kind = JsonMethod::Kind;

// "KV/Range" is of etcd's main package; others are named in full.
std::string MethodPath(std::string_view method) {
  const bool full = method.find('.') != std::string_view::npos;
  return absl::StrCat(full ? "/" : "/etcdserverpb.",
                      absl::string_view(method.data(), method.size()));
}

template <typename Request, typename Response>
JsonMethod Make(const char* path, const char* method, Kind kind = Kind::kUnary) {
  return {path, MethodPath(method), Request::default_instance(), Response::default_instance(),
          kind};
}

std::vector<JsonMethod> DataMethods() {
  using namespace etcdserverpb;
  return {
      Make<RangeRequest, RangeResponse>("/kv/range", "KV/Range"),
      Make<PutRequest, PutResponse>("/kv/put", "KV/Put"),
      Make<DeleteRangeRequest, DeleteRangeResponse>("/kv/deleterange", "KV/DeleteRange"),
      Make<TxnRequest, TxnResponse>("/kv/txn", "KV/Txn"),
      Make<CompactionRequest, CompactionResponse>("/kv/compaction", "KV/Compact"),
      Make<WatchRequest, WatchResponse>("/watch", "Watch/Watch", Kind::kEndless),
      Make<LeaseGrantRequest, LeaseGrantResponse>("/lease/grant", "Lease/LeaseGrant"),
      Make<LeaseRevokeRequest, LeaseRevokeResponse>("/lease/revoke", "Lease/LeaseRevoke"),
      Make<LeaseRevokeRequest, LeaseRevokeResponse>("/kv/lease/revoke", "Lease/LeaseRevoke"),
      Make<LeaseKeepAliveRequest, LeaseKeepAliveResponse>("/lease/keepalive",
                                                          "Lease/LeaseKeepAlive", Kind::kStream),
      Make<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>("/lease/timetolive",
                                                            "Lease/LeaseTimeToLive"),
      Make<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>("/kv/lease/timetolive",
                                                            "Lease/LeaseTimeToLive"),
      Make<LeaseLeasesRequest, LeaseLeasesResponse>("/lease/leases", "Lease/LeaseLeases"),
      Make<LeaseLeasesRequest, LeaseLeasesResponse>("/kv/lease/leases", "Lease/LeaseLeases"),
      Make<MemberListRequest, MemberListResponse>("/cluster/member/list", "Cluster/MemberList"),
      Make<MemberAddRequest, MemberAddResponse>("/cluster/member/add", "Cluster/MemberAdd"),
      Make<MemberRemoveRequest, MemberRemoveResponse>("/cluster/member/remove",
                                                      "Cluster/MemberRemove"),
      Make<MemberUpdateRequest, MemberUpdateResponse>("/cluster/member/update",
                                                      "Cluster/MemberUpdate"),
      Make<MemberPromoteRequest, MemberPromoteResponse>("/cluster/member/promote",
                                                        "Cluster/MemberPromote"),
      Make<StatusRequest, StatusResponse>("/maintenance/status", "Maintenance/Status"),
      Make<DefragmentRequest, DefragmentResponse>("/maintenance/defragment",
                                                  "Maintenance/Defragment"),
      Make<MoveLeaderRequest, MoveLeaderResponse>("/maintenance/transfer-leadership",
                                                  "Maintenance/MoveLeader"),
      Make<AlarmRequest, AlarmResponse>("/maintenance/alarm", "Maintenance/Alarm"),
      Make<HashRequest, HashResponse>("/maintenance/hash", "Maintenance/Hash"),
      Make<HashKVRequest, HashKVResponse>("/maintenance/hashkv", "Maintenance/HashKV"),
      Make<SnapshotRequest, SnapshotResponse>("/maintenance/snapshot", "Maintenance/Snapshot",
                                              Kind::kStream),
      Make<DowngradeRequest, DowngradeResponse>("/maintenance/downgrade", "Maintenance/Downgrade"),
      Make<v3lockpb::LockRequest, v3lockpb::LockResponse>("/lock/lock", "v3lockpb.Lock/Lock"),
      Make<v3lockpb::UnlockRequest, v3lockpb::UnlockResponse>("/lock/unlock",
                                                              "v3lockpb.Lock/Unlock"),
      Make<v3electionpb::CampaignRequest, v3electionpb::CampaignResponse>(
          "/election/campaign", "v3electionpb.Election/Campaign"),
      Make<v3electionpb::ProclaimRequest, v3electionpb::ProclaimResponse>(
          "/election/proclaim", "v3electionpb.Election/Proclaim"),
      Make<v3electionpb::LeaderRequest, v3electionpb::LeaderResponse>(
          "/election/leader", "v3electionpb.Election/Leader"),
      Make<v3electionpb::LeaderRequest, v3electionpb::LeaderResponse>(
          "/election/observe", "v3electionpb.Election/Observe", Kind::kEndless),
      Make<v3electionpb::ResignRequest, v3electionpb::ResignResponse>(
          "/election/resign", "v3electionpb.Election/Resign"),
  };
}

std::vector<JsonMethod> AuthMethods() {
  using namespace etcdserverpb;
  return {
      Make<AuthEnableRequest, AuthEnableResponse>("/auth/enable", "Auth/AuthEnable"),
      Make<AuthDisableRequest, AuthDisableResponse>("/auth/disable", "Auth/AuthDisable"),
      Make<AuthStatusRequest, AuthStatusResponse>("/auth/status", "Auth/AuthStatus"),
      Make<AuthenticateRequest, AuthenticateResponse>("/auth/authenticate", "Auth/Authenticate"),
      Make<AuthUserAddRequest, AuthUserAddResponse>("/auth/user/add", "Auth/UserAdd"),
      Make<AuthUserGetRequest, AuthUserGetResponse>("/auth/user/get", "Auth/UserGet"),
      Make<AuthUserListRequest, AuthUserListResponse>("/auth/user/list", "Auth/UserList"),
      Make<AuthUserDeleteRequest, AuthUserDeleteResponse>("/auth/user/delete", "Auth/UserDelete"),
      Make<AuthUserChangePasswordRequest, AuthUserChangePasswordResponse>(
          "/auth/user/changepw", "Auth/UserChangePassword"),
      Make<AuthUserGrantRoleRequest, AuthUserGrantRoleResponse>("/auth/user/grant",
                                                                "Auth/UserGrantRole"),
      Make<AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse>("/auth/user/revoke",
                                                                  "Auth/UserRevokeRole"),
      Make<AuthRoleAddRequest, AuthRoleAddResponse>("/auth/role/add", "Auth/RoleAdd"),
      Make<AuthRoleGetRequest, AuthRoleGetResponse>("/auth/role/get", "Auth/RoleGet"),
      Make<AuthRoleListRequest, AuthRoleListResponse>("/auth/role/list", "Auth/RoleList"),
      Make<AuthRoleDeleteRequest, AuthRoleDeleteResponse>("/auth/role/delete", "Auth/RoleDelete"),
      Make<AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse>(
          "/auth/role/grant", "Auth/RoleGrantPermission"),
      Make<AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse>(
          "/auth/role/revoke", "Auth/RoleRevokePermission"),
  };
}

}  // namespace

const std::vector<JsonMethod>& JsonMethods() {
  static const auto* const methods = [] {
    auto* all = new std::vector<JsonMethod>(DataMethods());
    for (const JsonMethod& method : AuthMethods()) all->push_back(method);
    return all;
  }();
  return *methods;
}

std::string JsonOfError(const absl::Status& status) {
  const std::string text = JsonString({status.message().data(), status.message().size()});
  return absl::StrCat("{\"error\":", text, ",\"message\":", text,
                      ",\"code\":", static_cast<int>(status.code()), "}");
}

std::string AnswerJson(const JsonMethod& method, const std::string& bytes) {
  const std::unique_ptr<Message> message(method.response.New());
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!message->ParseFromString(bytes) ||
      !google::protobuf::util::MessageToJsonString(*message, &json, options).ok()) {
    return JsonOfError(absl::InternalError("the answer has no JSON form"));
  }
  return json;
}

absl::StatusOr<std::string> RequestBytes(const JsonMethod& method, const std::string& json) {
  const std::unique_ptr<Message> message(method.request.New());
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(json, message.get(), options);
  if (!status.ok()) return absl::InvalidArgumentError(std::string(status.message()));
  return message->SerializeAsString();
}

}  // namespace keelson::kvstore
