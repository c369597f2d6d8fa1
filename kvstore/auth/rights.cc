#include "kvstore/auth/rights.h"

namespace keelson::kvstore::auth {
namespace {

constexpr Rule kRules[] = {
    {"etcdserverpb.KV", "Range", Right::kOwnKeys},
    {"etcdserverpb.KV", "RangeStream", Right::kOwnKeys},
    {"etcdserverpb.KV", "Put", Right::kOwnKeys},
    {"etcdserverpb.KV", "DeleteRange", Right::kOwnKeys},
    {"etcdserverpb.KV", "Txn", Right::kOwnKeys},
    {"etcdserverpb.KV", "Compact", Right::kRoot},
    {"etcdserverpb.Watch", "Watch", Right::kOwnKeys},
    {"v3lockpb.Lock", "Lock", Right::kOwnKeys},
    {"v3lockpb.Lock", "Unlock", Right::kOwnKeys},
    {"v3electionpb.Election", "Campaign", Right::kOwnKeys},
    {"v3electionpb.Election", "Proclaim", Right::kOwnKeys},
    {"v3electionpb.Election", "Leader", Right::kOwnKeys},
    {"v3electionpb.Election", "Observe", Right::kOwnKeys},
    {"v3electionpb.Election", "Resign", Right::kOwnKeys},
    {"etcdserverpb.Lease", "LeaseGrant", Right::kUser},
    {"etcdserverpb.Lease", "LeaseRevoke", Right::kOwnKeys},
    {"etcdserverpb.Lease", "LeaseKeepAlive", Right::kUser},
    {"etcdserverpb.Lease", "LeaseTimeToLive", Right::kOwnKeys},
    {"etcdserverpb.Lease", "LeaseLeases", Right::kUser},
    {"etcdserverpb.Cluster", "MemberList", Right::kUser},
    {"etcdserverpb.Cluster", "MemberAdd", Right::kRoot},
    {"etcdserverpb.Cluster", "MemberRemove", Right::kRoot},
    {"etcdserverpb.Cluster", "MemberUpdate", Right::kRoot},
    {"etcdserverpb.Cluster", "MemberPromote", Right::kRoot},
    {"etcdserverpb.Maintenance", "Status", Right::kUser},
    {"etcdserverpb.Maintenance", "Defragment", Right::kRoot},
    {"etcdserverpb.Maintenance", "MoveLeader", Right::kRoot},
    // Looking at alarms; who changes one is asked for more.
    {"etcdserverpb.Maintenance", "Alarm", Right::kUser},
    {"etcdserverpb.Maintenance", "Hash", Right::kRoot},
    {"etcdserverpb.Maintenance", "HashKV", Right::kRoot},
    {"etcdserverpb.Maintenance", "Snapshot", Right::kRoot},
    {"etcdserverpb.Maintenance", "Downgrade", Right::kRoot},
    {"etcdserverpb.Auth", "AuthEnable", Right::kRoot},
    {"etcdserverpb.Auth", "AuthDisable", Right::kRoot},
    {"etcdserverpb.Auth", "AuthStatus", Right::kAnyone},
    {"etcdserverpb.Auth", "Authenticate", Right::kAnyone},
    {"etcdserverpb.Auth", "UserAdd", Right::kRoot},
    {"etcdserverpb.Auth", "UserGet", Right::kOwnRole},
    {"etcdserverpb.Auth", "UserList", Right::kRoot},
    {"etcdserverpb.Auth", "UserDelete", Right::kRoot},
    {"etcdserverpb.Auth", "UserChangePassword", Right::kRoot},
    {"etcdserverpb.Auth", "UserGrantRole", Right::kRoot},
    {"etcdserverpb.Auth", "UserRevokeRole", Right::kRoot},
    {"etcdserverpb.Auth", "RoleAdd", Right::kRoot},
    {"etcdserverpb.Auth", "RoleGet", Right::kOwnRole},
    {"etcdserverpb.Auth", "RoleList", Right::kRoot},
    {"etcdserverpb.Auth", "RoleDelete", Right::kRoot},
    {"etcdserverpb.Auth", "RoleGrantPermission", Right::kRoot},
    {"etcdserverpb.Auth", "RoleRevokePermission", Right::kRoot},
};

}  // namespace

std::span<const Rule> Rules() { return kRules; }

Right RightOf(std::string_view service, std::string_view method) {
  for (const Rule& rule : kRules) {
    if (rule.service == service && rule.method == method) return rule.right;
  }
  return Right::kRoot;
}

}  // namespace keelson::kvstore::auth
