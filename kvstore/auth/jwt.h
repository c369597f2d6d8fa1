// JSON Web Tokens (RFC 7519) as etcd's --auth-token=jwt uses them: signed by the member that checked
// a password, or by somebody else who has the key, and verified by every member alone. All
// signatures are OpenSSL's.
//
//   KEELSON_ASSIGN_OR_RETURN(auto spec, ParseTokenSpec("jwt,sign-method=RS256,priv-key=k.pem"));
//   KEELSON_ASSIGN_OR_RETURN(auto jwt, Jwt::Create(*spec.jwt));
//   KEELSON_ASSIGN_OR_RETURN(std::string token, jwt->Sign("alice", revision, clock.Now()));
//   std::optional<Jwt::Claims> claims = jwt->Verify(token, clock.Now());
//
// Threading: immutable after Create, thread-safe.
#ifndef KEELSON_KVSTORE_AUTH_JWT_H_
#define KEELSON_KVSTORE_AUTH_JWT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace keelson::kvstore::auth {

struct JwtSpec {
  std::string method = {};            // "RS256", "PS384", "ES512", "HS256", "EdDSA", ...
  std::string public_key_file = {};   // PEM: a public key or a certificate
  std::string private_key_file = {};  // PEM, no passphrase; for HS the secret itself
  absl::Duration ttl = absl::Minutes(5);
};

// What --auth-token says.
struct TokenSpec {
  std::optional<JwtSpec> jwt = {};        // empty: simple tokens
  std::vector<std::string> ignored = {};  // options that nobody knows
};
// INVALID_ARGUMENT with etcd's text ("auth: invalid auth options") and what it is about.
absl::StatusOr<TokenSpec> ParseTokenSpec(std::string_view text);

class Jwt {
 public:
  struct Claims {
    std::string user;
    uint64_t revision = 0;  // of the auth store, when the token was made
  };
  static constexpr size_t kTokenBytesMax = 8192;

  // Reads the keys and checks that they are of the method's kind and of each other. With a public
  // key only, tokens can be verified but not signed.
  //
  // INVALID_ARGUMENT with etcd's texts: "auth: invalid auth signature method", "auth: missing key
  // data", "auth: public and private keys don't match"; any other from reading.
  static absl::StatusOr<std::unique_ptr<Jwt>> Create(const JwtSpec& spec);
  ~Jwt();

  // FAILED_PRECONDITION "auth: token signing attempted with verify-only key"; INTERNAL from OpenSSL.
  [[nodiscard]] absl::StatusOr<std::string> Sign(const std::string& user, uint64_t revision,
                                                 absl::Time now) const;

  // Empty when the token is malformed, by another method, wrongly signed, not valid at `now`, or
  // says no user and revision. A token without exp never ends, as in etcd.
  [[nodiscard]] std::optional<Claims> Verify(std::string_view token, absl::Time now) const;

 private:
  struct Keys;
  explicit Jwt(std::unique_ptr<Keys> keys);
  const std::unique_ptr<const Keys> keys_;
};

}  // namespace keelson::kvstore::auth

#endif  // KEELSON_KVSTORE_AUTH_JWT_H_
