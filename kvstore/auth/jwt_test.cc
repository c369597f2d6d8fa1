#include "kvstore/auth/jwt.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"

namespace keelson::kvstore::auth {
namespace {

using testing::WriteTestFile;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

std::string TextOf(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  std::string text(bytes, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

struct KeyFiles {
  std::string private_file;
  std::string public_file;
};

KeyFiles Write(EVP_PKEY* key) {
  static int count = 0;
  REQUIRE(key != nullptr);
  BIO* const private_pem = BIO_new(BIO_s_mem());
  BIO* const public_pem = BIO_new(BIO_s_mem());
  REQUIRE(PEM_write_bio_PrivateKey(private_pem, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  REQUIRE(PEM_write_bio_PUBKEY(public_pem, key) == 1);
  EVP_PKEY_free(key);
  const std::string name = absl::StrCat("key", ++count);
  return {WriteTestFile(name + ".key", TextOf(private_pem)),
          WriteTestFile(name + ".pub", TextOf(public_pem))};
}

KeyFiles KeysFor(const std::string& method) {
  if (method.starts_with("RS") || method.starts_with("PS")) return Write(EVP_RSA_gen(2048));
  if (method == "ES256") return Write(EVP_EC_gen("P-256"));
  if (method == "ES384") return Write(EVP_EC_gen("P-384"));
  if (method == "ES512") return Write(EVP_EC_gen("P-521"));
  if (method == "EdDSA") return Write(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  return {WriteTestFile(method + ".secret", "a secret of the cluster"), ""};
}

std::unique_ptr<Jwt> Make(const JwtSpec& spec) {
  auto jwt = Jwt::Create(spec);
  INFO(jwt.status().ToString());
  REQUIRE(jwt.ok());
  return *std::move(jwt);
}

TEST_CASE("A token says who made it and at which revision, until it ends", "[kvstore][jwt]") {
  const auto method =
      GENERATE(as<std::string>(), "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
               "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512");
  INFO(method);
  const KeyFiles keys = KeysFor(method);
  const auto jwt = Make({.method = method,
                         .public_key_file = keys.public_file,
                         .private_key_file = keys.private_file,
                         .ttl = absl::Seconds(10)});
  KEELSON_ASSIGN_OR_FAIL(const std::string token, jwt->Sign("al\"ice", 17, kNow));

  const auto claims = jwt->Verify(token, kNow + absl::Seconds(10));
  REQUIRE(claims.has_value());
  CHECK(claims->user == "al\"ice");
  CHECK(claims->revision == 17);
  CHECK_FALSE(jwt->Verify(token, kNow + absl::Seconds(11)).has_value());
  // Any letter changed breaks it; the last one of base64 may hold spare bits.
  for (size_t i = 0; i + 1 < token.size(); i += 7) {
    std::string other = token;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    CHECK_FALSE(jwt->Verify(other, kNow).has_value());
  }
  if (!keys.public_file.empty()) {
    const auto verifier = Make({.method = method, .public_key_file = keys.public_file});
    CHECK(verifier->Verify(token, kNow).has_value());
    KEELSON_CHECK_ERROR(verifier->Sign("a", 1, kNow), absl::StatusCode::kFailedPrecondition,
                        "auth: token signing attempted with verify-only key");
  }
}

TEST_CASE("The public key may be that of a certificate", "[kvstore][jwt]") {
  const testing::TestAuthority authority;
  const testing::IssuedCertificate issued = authority.Issue("localhost", "DNS:localhost");
  const auto jwt = Make({.method = "ES256",
                         .public_key_file = WriteTestFile("issued.crt", issued.cert_pem),
                         .private_key_file = WriteTestFile("issued.key", issued.key_pem)});
  KEELSON_ASSIGN_OR_FAIL(const std::string token, jwt->Sign("u", 1, kNow));
  CHECK(jwt->Verify(token, kNow).has_value());
}

TEST_CASE("A token by another method is refused though its signature fits", "[kvstore][jwt]") {
  const std::string secret = WriteTestFile("shared.secret", "shared");
  const auto jwt = Make({.method = "HS256", .private_key_file = secret});
  const auto other = Make({.method = "HS512", .private_key_file = secret});
  KEELSON_ASSIGN_OR_FAIL(const std::string token, other->Sign("u", 1, kNow));
  CHECK_FALSE(jwt->Verify(token, kNow).has_value());
  // {"alg":"none"} and no signature.
  CHECK_FALSE(jwt->Verify("eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InUiLCJyZXZpc2lvbiI6MX0.", kNow));
}

TEST_CASE("What is no token is refused", "[kvstore][jwt]") {
  const auto jwt =
      Make({.method = "HS256", .private_key_file = WriteTestFile("any.secret", "any")});
  const auto bad = GENERATE(as<std::string>(), "", ".", "..", "...", "a", "a.b", "a.b.c.d",
                            "a b.c.d", "=.=.=", "aa==.bb==.cc==");
  CHECK_FALSE(jwt->Verify(bad, kNow).has_value());
  CHECK_FALSE(jwt->Verify(std::string(Jwt::kTokenBytesMax, 'a') + ".b.c", kNow).has_value());
}

TEST_CASE("Keys that do not fit are refused by name", "[kvstore][jwt]") {
  const KeyFiles rsa = KeysFor("RS256");
  const KeyFiles other = KeysFor("RS256");
  const KeyFiles ec = KeysFor("ES256");
  const std::string text = WriteTestFile("text", "no key");
  struct Row {
    JwtSpec spec;
    std::string why;
  };
  const Row rows[] = {
      {{.method = "none", .private_key_file = rsa.private_file}, "invalid auth signature method"},
      {{.method = "", .private_key_file = rsa.private_file}, "invalid auth signature method"},
      {{.method = "RS256"}, "auth: missing key data"},
      {{.method = "HS256", .public_key_file = rsa.public_file}, "auth: missing key data"},
      {{.method = "RS256",
        .public_key_file = other.public_file,
        .private_key_file = rsa.private_file},
       "auth: public and private keys don't match"},
      {{.method = "RS256", .private_key_file = ec.private_file}, "is no RSA key"},
      {{.method = "ES384", .private_key_file = ec.private_file}, "is no secp384r1 key"},
      {{.method = "EdDSA", .public_key_file = ec.public_file}, "is no Ed25519 key"},
      {{.method = "RS256", .private_key_file = text}, "is no private key in PEM form"},
      {{.method = "RS256", .public_key_file = text}, "is no public key and no certificate"},
  };
  for (const Row& row : rows) {
    KEELSON_CHECK_ERROR(Jwt::Create(row.spec).status(), absl::StatusCode::kInvalidArgument,
                        row.why);
  }
  CHECK_FALSE(Jwt::Create({.method = "RS256", .private_key_file = "/nonexistent"}).ok());
}

TEST_CASE("--auth-token is read as etcd reads it", "[kvstore][jwt]") {
  KEELSON_ASSIGN_OR_FAIL(const TokenSpec simple, ParseTokenSpec("simple"));
  CHECK_FALSE(simple.jwt.has_value());
  KEELSON_ASSIGN_OR_FAIL(
      const TokenSpec spec,
      ParseTokenSpec("jwt,pub-key=a,priv-key=b,sign-method=RS256,ttl=1m30s,colour=red"));
  REQUIRE(spec.jwt.has_value());
  CHECK(spec.jwt->public_key_file == "a");
  CHECK(spec.jwt->private_key_file == "b");
  CHECK(spec.jwt->method == "RS256");
  CHECK(spec.jwt->ttl == absl::Seconds(90));
  CHECK(spec.ignored == std::vector<std::string>{"colour"});
  for (const char* bad : {"", "plain", "jwt,ttl", "jwt,ttl=1=2", "jwt,ttl=x", "jwt,ttl=-1s",
                          "jwt,ttl=inf", "jwt,ttl=1s,ttl=2s", "jwt,"}) {
    KEELSON_CHECK_ERROR(ParseTokenSpec(bad).status(), absl::StatusCode::kInvalidArgument,
                        "auth: invalid auth options");
  }
}

}  // namespace
}  // namespace keelson::kvstore::auth
