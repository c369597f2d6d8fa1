// Users and roles of etcd's version 2 API (kvstore.md 15.16): what their JSON says, how they change,
// and which keys they open. Pure; the nodes they are kept in and HTTP are elsewhere.
//
// The semantics, texts and JSON are etcd 3.4's, also where they are odd: lists that were never
// given are null and those that became empty are [].
#ifndef KEELSON_KVSTORE_V2_AUTH_H_
#define KEELSON_KVSTORE_V2_AUTH_H_

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace keelson::kvstore::v2 {

// What is answered instead: an HTTP status and {"message": ...}.
struct AuthError {
  int status = 0;
  std::string message;
};

// Empty: null.
using AuthList = std::optional<std::vector<std::string>>;

struct Rights {
  AuthList read = {};
  AuthList write = {};
  [[nodiscard]] bool IsEmpty() const {
    return (!read || read->empty()) && (!write || write->empty());
  }
  friend bool operator==(const Rights&, const Rights&) = default;
};

inline constexpr char kRootName[] = "root";    // the user, and the role that may do everything
inline constexpr char kGuestName[] = "guest";  // the role of who says no name

struct AuthRole {
  std::string name = {};
  Rights rights = {};
  Rights grant = {};   // in requests
  Rights revoke = {};  // in requests
};

struct AuthUser {
  std::string name = {};
  std::string password = {};  // in requests; where it is stored, bcrypt's text
  AuthList roles = {};
  std::vector<std::string> grant = {};   // in requests
  std::vector<std::string> revoke = {};  // in requests
};

// Empty when `json` is not an object with such fields. Names of fields are taken in any case, and
// fields that are not known are ignored, as by Go.
std::optional<AuthUser> ParseAuthUser(std::string_view json);
std::optional<AuthRole> ParseAuthRole(std::string_view json);

// Without what is only in requests. A user's password only if it is not empty.
std::string AuthUserJson(const AuthUser& user);
std::string AuthRoleJson(const AuthRole& role);

// The role root, and guest as it is until somebody narrows it.
AuthRole AllKeys(std::string name);
// A user root has the role root, whatever is stored.
void AttachRootRole(AuthUser& user);

// `user` changed as `change` asks: password (hashed already, or empty), grant and revoke.
std::variant<AuthUser, AuthError> Merge(const AuthUser& user, const AuthUser& change);
// `role` with what `change` grants and without what it revokes.
std::variant<AuthRole, AuthError> Merge(const AuthRole& role, const AuthRole& change);

// Whether `role` opens `key`, a clean path; with `recursive` all that is below too.
bool Opens(const AuthRole& role, std::string_view key, bool write, bool recursive);

struct BasicCredentials {
  std::string user;
  std::string password;
};
// Of an Authorization header. Empty when it is of another kind or malformed.
std::optional<BasicCredentials> ParseBasicCredentials(std::string_view header);

}  // namespace keelson::kvstore::v2

#endif  // KEELSON_KVSTORE_V2_AUTH_H_
