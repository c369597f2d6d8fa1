#include "tests/interop/etcd_diff/generator.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/api/maintenance.pb.h"

namespace keelson::etcd_diff {
namespace {

using namespace etcdserverpb;  // NOLINT: all of it

template <typename Request, typename Response>
std::pair<Operation, Request*> Make(const char* method) {
  auto request = std::make_unique<Request>();
  Request* const raw = request.get();
  return {Operation{.method = method,
                    .request = std::move(request),
                    .response = std::make_unique<Response>()},
          raw};
}

// One for each key: of several permissions that begin alike, etcd finds only some again, and then
// grants them twice.
std::string PermissionEnd(const std::string& key) {
  if (key.empty()) return "";
  const int kind = key.back() % 3;
  return kind == 0 ? "" : kind == 1 ? std::string(1, '\0') : key + "~";
}

constexpr std::array<const char*, 4> kUsers = {"root", "alice", "bob", "carol"};
constexpr std::array<const char*, 4> kRoles = {"root", "readers", "writers", "some"};

}  // namespace

std::string Generator::Key() {
  if (Chance(0.004)) return "";
  if (Chance(0.02)) {
    std::string key;
    for (int64_t n = random_.Between(1, 4); n > 0; --n) {
      constexpr std::array<char, 5> kBytes = {'\0', '\1', '\xff', 'a', '/'};
      key.push_back(kBytes[random_.Below(kBytes.size())]);
    }
    return key;
  }
  return absl::StrCat(std::string(1, static_cast<char>('a' + random_.Below(6))),
                      random_.Below(Chance(0.5) ? 4 : 30));
}

// With `ordered`, never before the key: what rights etcd asks for, or gives, where no key lies
// between depends on the shape of its interval tree.
std::string Generator::RangeEnd(const std::string& key, bool ordered) {
  std::string end = AnyRangeEnd(key);
  if (ordered && end <= key && end != std::string(1, '\0')) end.clear();
  return end;
}

std::string Generator::AnyRangeEnd(const std::string& key) {
  if (Chance(0.35)) return "";
  if (Chance(0.2)) return std::string(1, '\0');
  if (Chance(0.3) && !key.empty()) {  // the prefix
    std::string end = key.substr(0, 1);
    ++end.back();
    return end;
  }
  return Key();  // also before the key
}

std::string Generator::Value() {
  if (Chance(0.1)) return "";
  if (Chance(0.01)) return std::string(random_.Below(5000), 'x');
  return absl::StrCat("v", random_.Below(12));
}

int64_t Generator::Revision(const Aim& aim) {
  if (Chance(0.02)) return random_.Between(-3, 2);
  if (Chance(0.02)) return aim.revision + random_.Between(0, 3);
  if (Chance(0.05)) return aim.compacted + random_.Between(-2, 2);
  return random_.Between(aim.compacted, aim.revision);
}

int64_t Generator::LeaseId() { return Chance(0.02) ? -5 : random_.Between(1, 25); }

void Generator::FillRange(const Aim& aim, RangeRequest* range) {
  range->set_key(Key());
  range->set_range_end(RangeEnd(range->key(), aim.auth));
  if (Chance(0.3)) range->set_limit(random_.Between(Chance(0.05) ? -2 : 0, 8));
  if (Chance(0.25)) range->set_revision(Revision(aim));
  if (Chance(0.3)) {
    range->set_sort_order(static_cast<RangeRequest::SortOrder>(random_.Below(3)));
    range->set_sort_target(static_cast<RangeRequest::SortTarget>(random_.Below(5)));
  }
  range->set_serializable(Chance(0.2));
  range->set_keys_only(Chance(0.1));
  range->set_count_only(Chance(0.1));
  if (Chance(0.1)) range->set_min_mod_revision(Revision(aim));
  if (Chance(0.1)) range->set_max_mod_revision(Revision(aim));
  if (Chance(0.1)) range->set_min_create_revision(Revision(aim));
  if (Chance(0.1)) range->set_max_create_revision(Revision(aim));
}

void Generator::FillPut(const Aim& aim, PutRequest* put) {
  put->set_key(Key());
  put->set_value(Value());
  if (!aim.auth && Chance(0.15)) put->set_lease(LeaseId());
  put->set_prev_kv(!aim.auth && Chance(0.2));
  if (Chance(0.04)) {
    put->set_ignore_value(true);
    if (Chance(0.8)) put->clear_value();
  }
  if (Chance(0.04)) {
    put->set_ignore_lease(true);
    if (Chance(0.8)) put->clear_lease();
  }
}

void Generator::FillDelete(const Aim& aim, DeleteRangeRequest* request) {
  request->set_key(Key());
  if (Chance(0.2)) request->set_range_end(RangeEnd(request->key(), aim.auth));
  if (Chance(0.97) && request->range_end() == std::string(1, '\0')) request->clear_range_end();
  request->set_prev_kv(!aim.auth && Chance(0.3));
}

void Generator::FillCompare(const Aim& aim, Compare* compare) {
  compare->set_key(Key());
  if (Chance(0.15)) compare->set_range_end(RangeEnd(compare->key(), aim.auth));
  compare->set_result(static_cast<Compare::CompareResult>(random_.Below(4)));
  compare->set_target(static_cast<Compare::CompareTarget>(random_.Below(5)));
  if (Chance(0.03)) return;  // no value to compare with
  const int64_t revision = Revision(aim);
  // Now and then the value of another target.
  switch (Chance(0.03) ? random_.Below(5) : static_cast<uint64_t>(compare->target())) {
    case Compare::VERSION:
      compare->set_version(random_.Between(-1, 4));
      break;
    case Compare::CREATE:
      compare->set_create_revision(Chance(0.4) ? 0 : revision);
      break;
    case Compare::MOD:
      compare->set_mod_revision(Chance(0.3) ? 0 : revision);
      break;
    case Compare::VALUE:
      compare->set_value(Value());
      break;
    default:
      compare->set_lease(Chance(0.5) ? 0 : LeaseId());
  }
}

void Generator::FillOperation(const Aim& aim, int depth, RequestOp* op) {
  const uint64_t kind = random_.Below(100);
  if (kind < 34) {
    FillRange(aim, op->mutable_request_range());
  } else if (kind < 76) {
    FillPut(aim, op->mutable_request_put());
  } else if (kind < 90) {
    FillDelete(aim, op->mutable_request_delete_range());
  } else if (kind < 99 && depth < 3 && !aim.auth) {  // etcd 3.4 does not check rights in there
    FillTxn(aim, depth + 1, op->mutable_request_txn());
  }  // else: nothing is asked for
}

void Generator::FillTxn(const Aim& aim, int depth, TxnRequest* txn) {
  for (int64_t n = random_.Between(0, Chance(0.02) ? 130 : 2); n > 0; --n) {
    FillCompare(aim, txn->add_compare());
  }
  for (int64_t n = random_.Between(0, 3); n > 0; --n) FillOperation(aim, depth, txn->add_success());
  for (int64_t n = random_.Between(0, 3); n > 0; --n) FillOperation(aim, depth, txn->add_failure());
}

void Generator::FillWatch(const Aim& aim, WatchCreateRequest* watch) {
  watch->set_key(Key());
  watch->set_range_end(RangeEnd(watch->key(), false));
  if (Chance(0.5)) watch->set_start_revision(random_.Between(aim.compacted, aim.revision));
  if (Chance(0.1)) watch->set_start_revision(random_.Between(0, aim.compacted + 1));
  // Etcd 3.4 has lost the deletions of the very revision that was compacted.
  if (watch->start_revision() == aim.compacted) watch->set_start_revision(aim.compacted + 1);
  watch->set_prev_kv(Chance(0.4));
  watch->set_progress_notify(Chance(0.2));
  watch->set_fragment(Chance(0.2));
  if (Chance(0.05)) watch->set_watch_id(random_.Between(1, 60));  // perhaps one that is in use
  if (Chance(0.1)) watch->add_filters(WatchCreateRequest::NOPUT);
  if (Chance(0.1)) watch->add_filters(WatchCreateRequest::NODELETE);
}

Operation Generator::KeyValueOperation(const Aim& aim) {
  const uint64_t kind = random_.Below(100);
  if (kind < 35) {
    auto [operation, range] = Make<RangeRequest, RangeResponse>("KV/Range");
    FillRange(aim, range);
    return std::move(operation);
  }
  if (kind < 68) {
    auto [operation, put] = Make<PutRequest, PutResponse>("KV/Put");
    FillPut(aim, put);
    return std::move(operation);
  }
  if (kind < 76) {
    auto [operation, request] = Make<DeleteRangeRequest, DeleteRangeResponse>("KV/DeleteRange");
    FillDelete(aim, request);
    return std::move(operation);
  }
  auto [operation, txn] = Make<TxnRequest, TxnResponse>("KV/Txn");
  FillTxn(aim, 0, txn);
  return std::move(operation);
}

Operation Generator::LeaseOperation() {
  const uint64_t kind = random_.Below(100);
  if (kind < 40) {
    auto [operation, grant] = Make<LeaseGrantRequest, LeaseGrantResponse>("Lease/LeaseGrant");
    grant->set_id(LeaseId());
    grant->set_ttl(Chance(0.03) ? 9'000'000'001 : random_.Between(50'000, 90'000));
    return std::move(operation);
  }
  if (kind < 60) {
    auto [operation, revoke] = Make<LeaseRevokeRequest, LeaseRevokeResponse>("Lease/LeaseRevoke");
    revoke->set_id(LeaseId());
    return std::move(operation);
  }
  if (kind < 70) {
    auto [operation, keep] =
        Make<LeaseKeepAliveRequest, LeaseKeepAliveResponse>("Lease/LeaseKeepAlive");
    keep->set_id(LeaseId());
    return std::move(operation);
  }
  if (kind < 93) {
    auto [operation, ttl] =
        Make<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>("Lease/LeaseTimeToLive");
    ttl->set_id(LeaseId());
    ttl->set_keys(Chance(0.7));
    return std::move(operation);
  }
  return std::move(Make<LeaseLeasesRequest, LeaseLeasesResponse>("Lease/LeaseLeases").first);
}

Operation Generator::Compaction(const Aim& aim) {
  auto [operation, compaction] = Make<CompactionRequest, CompactionResponse>("KV/Compact");
  compaction->set_revision(Chance(0.3) ? Revision(aim)
                                       : random_.Between(aim.compacted, aim.revision));
  compaction->set_physical(Chance(0.5));
  return std::move(operation);
}

Operation Generator::Hash(const Aim& aim) {
  auto [operation, hash] = Make<HashKVRequest, HashKVResponse>("Maintenance/HashKV");
  if (Chance(0.7)) hash->set_revision(random_.Between(aim.compacted, aim.revision + 1));
  return std::move(operation);
}

Operation Generator::AuthOperation() {
  const std::string user = kUsers[random_.Below(kUsers.size())];
  const std::string role = kRoles[random_.Below(kRoles.size())];
  switch (random_.Below(12)) {
    case 0: {
      auto [operation, add] = Make<AuthUserAddRequest, AuthUserAddResponse>("Auth/UserAdd");
      add->set_name(Chance(0.03) ? "" : user);
      add->set_password("pw");
      return std::move(operation);
    }
    case 1: {
      auto [operation, get] = Make<AuthUserGetRequest, AuthUserGetResponse>("Auth/UserGet");
      get->set_name(user);
      return std::move(operation);
    }
    case 2: {
      auto [operation, remove] =
          Make<AuthUserDeleteRequest, AuthUserDeleteResponse>("Auth/UserDelete");
      remove->set_name(Chance(0.8) ? "carol" : user);
      return std::move(operation);
    }
    case 3: {
      auto [operation, change] =
          Make<AuthUserChangePasswordRequest, AuthUserChangePasswordResponse>(
              "Auth/UserChangePassword");
      change->set_name(user);
      change->set_password("pw");
      return std::move(operation);
    }
    case 4: {
      auto [operation, grant] =
          Make<AuthUserGrantRoleRequest, AuthUserGrantRoleResponse>("Auth/UserGrantRole");
      grant->set_user(user);
      grant->set_role(role);
      return std::move(operation);
    }
    case 5: {
      auto [operation, revoke] =
          Make<AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse>("Auth/UserRevokeRole");
      revoke->set_name(user);
      revoke->set_role(role);
      return std::move(operation);
    }
    case 6: {
      auto [operation, add] = Make<AuthRoleAddRequest, AuthRoleAddResponse>("Auth/RoleAdd");
      add->set_name(Chance(0.03) ? "" : role);
      return std::move(operation);
    }
    case 7: {
      auto [operation, get] = Make<AuthRoleGetRequest, AuthRoleGetResponse>("Auth/RoleGet");
      get->set_role(role);
      return std::move(operation);
    }
    case 8: {
      auto [operation, remove] =
          Make<AuthRoleDeleteRequest, AuthRoleDeleteResponse>("Auth/RoleDelete");
      remove->set_role(Chance(0.8) ? "some" : role);
      return std::move(operation);
    }
    case 9:
    case 10: {
      auto [operation, grant] =
          Make<AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse>(
              "Auth/RoleGrantPermission");
      grant->set_name(role);
      grant->mutable_perm()->set_key(Key());
      grant->mutable_perm()->set_range_end(PermissionEnd(grant->perm().key()));
      grant->mutable_perm()->set_permtype(static_cast<authpb::Permission::Type>(random_.Below(3)));
      return std::move(operation);
    }
    default: {
      auto [operation, revoke] =
          Make<AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse>(
              "Auth/RoleRevokePermission");
      revoke->set_role(role);
      revoke->set_key(Key());
      revoke->set_range_end(Chance(0.8) ? PermissionEnd(revoke->key())
                                        : RangeEnd(revoke->key(), true));
      return std::move(operation);
    }
  }
}

Operation Generator::Next(const Aim& aim) {
  const uint64_t kind = random_.Below(1000);
  if (kind < 830) return KeyValueOperation(aim);
  if (kind < 930) return aim.auth ? KeyValueOperation(aim) : LeaseOperation();
  if (kind < 985) return AuthOperation();
  if (kind < 990) return aim.auth ? KeyValueOperation(aim) : Compaction(aim);
  if (kind < 993) return aim.auth ? KeyValueOperation(aim) : Hash(aim);
  if (kind < 996)
    return std::move(Make<AuthUserListRequest, AuthUserListResponse>("Auth/UserList").first);
  return std::move(Make<AuthRoleListRequest, AuthRoleListResponse>("Auth/RoleList").first);
}

}  // namespace keelson::etcd_diff
