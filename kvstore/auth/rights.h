// What each call of etcd's API asks of its caller when authentication is on (kvstore.md 11.9).
#ifndef KEELSON_KVSTORE_AUTH_RIGHTS_H_
#define KEELSON_KVSTORE_AUTH_RIGHTS_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace keelson::kvstore::auth {

enum class Right : uint8_t {
  kAnyone,   // also without a name
  kUser,     // any user
  kOwnKeys,  // a user who may read or write the keys in question: checked with the request
  kOwnRole,  // the user or the role that is asked about is the caller's own, or root
  kRoot,     // a user with the role root
};

struct Rule {
  std::string_view service;  // "etcdserverpb.KV"
  std::string_view method;
  Right right = Right::kRoot;
};

// One rule for each call that is served.
std::span<const Rule> Rules();

// What is not in the table is for root.
Right RightOf(std::string_view service, std::string_view method);

}  // namespace keelson::kvstore::auth

#endif  // KEELSON_KVSTORE_AUTH_RIGHTS_H_
