#include "kvstore/auth/jwt.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file_system.h"
#include "base/openssl_free.h"
#include "base/status.h"

namespace keelson::kvstore::auth {
namespace {

using Json = nlohmann::json;

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, OpenSslFree<EVP_MD_CTX_free>>;
using EcSignaturePtr = std::unique_ptr<ECDSA_SIG, OpenSslFree<ECDSA_SIG_free>>;

enum class Family : uint8_t { kRsa, kRsaPss, kEc, kEd25519, kHmac };

struct Method {
  std::string_view name;
  Family family;
  const EVP_MD* (*digest)();
  const char* curve = "";   // kEc
  size_t number_bytes = 0;  // kEc: of each of the two numbers of a signature
};

const EVP_MD* NoDigest() { return nullptr; }

constexpr Method kMethods[] = {
    {"RS256", Family::kRsa, EVP_sha256},
    {"RS384", Family::kRsa, EVP_sha384},
    {"RS512", Family::kRsa, EVP_sha512},
    {"PS256", Family::kRsaPss, EVP_sha256},
    {"PS384", Family::kRsaPss, EVP_sha384},
    {"PS512", Family::kRsaPss, EVP_sha512},
    {"ES256", Family::kEc, EVP_sha256, "prime256v1", 32},
    {"ES384", Family::kEc, EVP_sha384, "secp384r1", 48},
    {"ES512", Family::kEc, EVP_sha512, "secp521r1", 66},
    {"EdDSA", Family::kEd25519, NoDigest},
    {"HS256", Family::kHmac, EVP_sha256},
    {"HS384", Family::kHmac, EVP_sha384},
    {"HS512", Family::kHmac, EVP_sha512},
};

constexpr uint64_t kKeyFileBytesMax = 1 << 20;
constexpr char kInvalidOptions[] = "auth: invalid auth options";

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Base64Url(std::string_view bytes) {
  std::string text;
  absl::WebSafeBase64Escape(absl::string_view(bytes.data(), bytes.size()), &text);
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

// Without padding and blanks, which Abseil would let pass.
std::optional<std::string> FromBase64Url(std::string_view text) {
  const bool clean = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
  std::string bytes;
  if (!clean || !absl::WebSafeBase64Unescape(absl::string_view(text.data(), text.size()), &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

BioPtr MemoryBio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

int NoPassphrase(char*, int, int, void*) { return -1; }

KeyPtr ParsePrivateKey(const std::string& pem) {
  KeyPtr key(PEM_read_bio_PrivateKey(MemoryBio(pem).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  return key;
}

// A public key, or that of a certificate.
KeyPtr ParsePublicKey(const std::string& pem) {
  KeyPtr key(PEM_read_bio_PUBKEY(MemoryBio(pem).get(), nullptr, NoPassphrase, nullptr));
  if (!key) {
    const X509Ptr certificate(
        PEM_read_bio_X509(MemoryBio(pem).get(), nullptr, NoPassphrase, nullptr));
    if (certificate) key.reset(X509_get_pubkey(certificate.get()));
  }
  ERR_clear_error();
  return key;
}

absl::Status CheckKind(const Method& method, const EVP_PKEY* key, const std::string& file) {
  const auto wrong = [&](const char* wanted) {
    return absl::InvalidArgumentError(absl::StrCat("'", file, "' is no ", wanted, " key"));
  };
  switch (method.family) {
    case Family::kRsa:
    case Family::kRsaPss:
      return EVP_PKEY_is_a(key, "RSA") == 1 ? absl::OkStatus() : wrong("RSA");
    case Family::kEd25519:
      return EVP_PKEY_is_a(key, "ED25519") == 1 ? absl::OkStatus() : wrong("Ed25519");
    case Family::kEc: {
      char curve[64] = {};
      const bool fits = EVP_PKEY_is_a(key, "EC") == 1 &&
                        EVP_PKEY_get_group_name(key, curve, sizeof(curve), nullptr) == 1 &&
                        std::string_view(curve) == method.curve;
      return fits ? absl::OkStatus() : wrong(method.curve);
    }
    case Family::kHmac:
      break;
  }
  return absl::OkStatus();
}

// JOSE has the two numbers of an ECDSA signature one after the other; OpenSSL has ASN.1.
std::optional<std::string> EcToJose(const std::string& der, size_t number_bytes) {
  const unsigned char* at = Bytes(der);
  const EcSignaturePtr parsed(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!parsed) return std::nullopt;
  std::string jose(2 * number_bytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(jose.data());
  const int size = static_cast<int>(number_bytes);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), out, size) != size ||
      BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), out + number_bytes, size) != size) {
    return std::nullopt;
  }
  return jose;
}

std::optional<std::string> EcFromJose(const std::string& jose, size_t number_bytes) {
  if (jose.size() != 2 * number_bytes) return std::nullopt;
  const EcSignaturePtr signature(ECDSA_SIG_new());
  const int size = static_cast<int>(number_bytes);
  BIGNUM* const r = BN_bin2bn(Bytes(jose), size, nullptr);
  BIGNUM* const s = BN_bin2bn(Bytes(jose) + number_bytes, size, nullptr);
  if (!signature || r == nullptr || s == nullptr ||
      ECDSA_SIG_set0(signature.get(), r, s) != 1) {  // Takes both over.
    BN_free(r);
    BN_free(s);
    return std::nullopt;
  }
  unsigned char* der = nullptr;
  const int der_size = i2d_ECDSA_SIG(signature.get(), &der);
  if (der_size <= 0) return std::nullopt;
  std::string bytes(reinterpret_cast<char*>(der), static_cast<size_t>(der_size));
  OPENSSL_free(der);
  return bytes;
}

// A whole number that a double has exactly, as Go's decoder reads it.
std::optional<uint64_t> WholeNumber(const Json& value) {
  if (!value.is_number()) return std::nullopt;
  const auto number = value.get<double>();
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (!(number >= 0) || number > kExact) return std::nullopt;
  return static_cast<uint64_t>(number);
}

// False when `name` is there and is no number, or does not hold.
template <typename Holds>
bool TimeHolds(const Json& claims, const char* name, Holds holds) {
  const auto found = claims.find(name);
  if (found == claims.end()) return true;
  return found->is_number() && std::isfinite(found->get<double>()) && holds(found->get<double>());
}

}  // namespace

struct Jwt::Keys {
  const Method* method = nullptr;
  absl::Duration ttl;
  std::string header;  // the first part of every token
  std::string secret;  // kHmac
  KeyPtr private_key;  // else; null: verify only
  KeyPtr public_key;   // of both, for verifying

  [[nodiscard]] std::string Hmac(std::string_view text) const {
    unsigned char code[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (HMAC(method->digest(), secret.data(), static_cast<int>(secret.size()), Bytes(text),
             text.size(), code, &size) == nullptr) {
      return "";
    }
    return {reinterpret_cast<char*>(code), size};
  }

  [[nodiscard]] bool SetPadding(EVP_PKEY_CTX* context, int salt) const {
    return method->family != Family::kRsaPss ||
           (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1);
  }

  [[nodiscard]] std::optional<std::string> Signature(std::string_view text) const {
    if (method->family == Family::kHmac) return Hmac(text);
    const DigestPtr digest(EVP_MD_CTX_new());
    EVP_PKEY_CTX* context = nullptr;
    size_t size = 0;
    if (!digest ||
        EVP_DigestSignInit(digest.get(), &context, method->digest(), nullptr, private_key.get()) !=
            1 ||
        !SetPadding(context, RSA_PSS_SALTLEN_DIGEST) ||
        EVP_DigestSign(digest.get(), nullptr, &size, Bytes(text), text.size()) != 1) {
      return std::nullopt;
    }
    std::string signature(size, '\0');
    if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       Bytes(text), text.size()) != 1) {
      return std::nullopt;
    }
    signature.resize(size);
    return method->family == Family::kEc ? EcToJose(signature, method->number_bytes) : signature;
  }

  [[nodiscard]] bool Verifies(std::string_view text, std::string signature) const {
    if (method->family == Family::kHmac) {
      const std::string code = Hmac(text);
      return !code.empty() && code.size() == signature.size() &&
             CRYPTO_memcmp(code.data(), signature.data(), code.size()) == 0;
    }
    if (method->family == Family::kEc) {
      const std::optional<std::string> der = EcFromJose(signature, method->number_bytes);
      if (!der.has_value()) return false;
      signature = *der;
    }
    const DigestPtr digest(EVP_MD_CTX_new());
    EVP_PKEY_CTX* context = nullptr;
    const bool good = digest &&
                      EVP_DigestVerifyInit(digest.get(), &context, method->digest(), nullptr,
                                           public_key.get()) == 1 &&
                      SetPadding(context, RSA_PSS_SALTLEN_AUTO) &&
                      EVP_DigestVerify(digest.get(), Bytes(signature), signature.size(),
                                       Bytes(text), text.size()) == 1;
    ERR_clear_error();
    return good;
  }
};

absl::StatusOr<TokenSpec> ParseTokenSpec(std::string_view text) {
  // As a string: of a view without an address no word at all would come.
  const std::vector<std::string> words = absl::StrSplit(std::string(text), ',');
  const auto invalid = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(kInvalidOptions, ": ", what));
  };
  std::map<std::string, std::string> options;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::vector<std::string> pair = absl::StrSplit(words[i], '=');
    if (pair.size() != 2) return invalid(absl::StrCat("'", words[i], "' is not name=value"));
    if (!options.emplace(pair[0], pair[1]).second) {
      return invalid(absl::StrCat("'", pair[0], "' is given twice"));
    }
  }
  TokenSpec spec;
  if (words[0] != "simple" && words[0] != "jwt") {
    return invalid(absl::StrCat("'", words[0], "' is neither 'simple' nor 'jwt'"));
  }
  JwtSpec jwt;
  for (const auto& [name, value] : options) {
    if (name == "sign-method") {
      jwt.method = value;
    } else if (name == "pub-key") {
      jwt.public_key_file = value;
    } else if (name == "priv-key") {
      jwt.private_key_file = value;
    } else if (name != "ttl") {
      spec.ignored.push_back(name);
    } else if (!value.empty() &&
               (!absl::ParseDuration(value, &jwt.ttl) || jwt.ttl <= absl::ZeroDuration() ||
                jwt.ttl > absl::Hours(24 * 365 * 100))) {
      return invalid(absl::StrCat("ttl: '", value, "' is not a duration such as 5m"));
    }
  }
  if (words[0] == "jwt") spec.jwt = std::move(jwt);
  return spec;
}

absl::StatusOr<std::unique_ptr<Jwt>> Jwt::Create(const JwtSpec& spec) {
  auto keys = std::make_unique<Keys>();
  for (const Method& method : kMethods) {
    if (method.name == spec.method) keys->method = &method;
  }
  if (keys->method == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("auth: invalid auth signature method '", spec.method, "'"));
  }
  keys->ttl = spec.ttl;
  keys->header = Base64Url(absl::StrCat(R"({"alg":")", spec.method, R"(","typ":"JWT"})"));
  std::string private_pem;
  if (!spec.private_key_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(private_pem,
                             ReadFile(RealFileSystem(), spec.private_key_file, kKeyFileBytesMax));
  }
  const absl::Status missing = absl::InvalidArgumentError("auth: missing key data");
  if (keys->method->family == Family::kHmac) {
    if (private_pem.empty()) return missing;
    keys->secret = std::move(private_pem);
    return std::unique_ptr<Jwt>(new Jwt(std::move(keys)));
  }
  if (!private_pem.empty()) {
    keys->private_key = ParsePrivateKey(private_pem);
    if (!keys->private_key) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", spec.private_key_file, "' is no private key in PEM form"));
    }
    KEELSON_RETURN_IF_ERROR(
        CheckKind(*keys->method, keys->private_key.get(), spec.private_key_file));
  }
  if (!spec.public_key_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(const std::string public_pem,
                             ReadFile(RealFileSystem(), spec.public_key_file, kKeyFileBytesMax));
    keys->public_key = ParsePublicKey(public_pem);
    if (!keys->public_key) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", spec.public_key_file, "' is no public key and no certificate in PEM form"));
    }
    KEELSON_RETURN_IF_ERROR(CheckKind(*keys->method, keys->public_key.get(), spec.public_key_file));
  }
  if (!keys->private_key && !keys->public_key) return missing;
  if (keys->private_key && keys->public_key &&
      EVP_PKEY_eq(keys->private_key.get(), keys->public_key.get()) != 1) {
    return absl::InvalidArgumentError("auth: public and private keys don't match");
  }
  if (!keys->public_key) {
    EVP_PKEY_up_ref(keys->private_key.get());
    keys->public_key.reset(keys->private_key.get());
  }
  return std::unique_ptr<Jwt>(new Jwt(std::move(keys)));
}

Jwt::Jwt(std::unique_ptr<Keys> keys) : keys_(std::move(keys)) {}
Jwt::~Jwt() = default;

absl::StatusOr<std::string> Jwt::Sign(const std::string& user, uint64_t revision,
                                      absl::Time now) const {
  if (keys_->method->family != Family::kHmac && !keys_->private_key) {
    return absl::FailedPreconditionError("auth: token signing attempted with verify-only key");
  }
  const Json claims = {
      {"username", user}, {"revision", revision}, {"exp", absl::ToUnixSeconds(now + keys_->ttl)}};
  // A name need not be UTF-8; the replacement then is nobody's.
  const std::string text = absl::StrCat(
      keys_->header, ".", Base64Url(claims.dump(-1, ' ', false, Json::error_handler_t::replace)));
  const std::optional<std::string> signature = keys_->Signature(text);
  if (!signature.has_value() || signature->empty()) {
    ERR_clear_error();
    return absl::InternalError("auth: the token could not be signed");
  }
  return absl::StrCat(text, ".", Base64Url(*signature));
}

std::optional<Jwt::Claims> Jwt::Verify(std::string_view token, absl::Time now) const {
  const size_t first = token.find('.');
  const size_t last = token.rfind('.');
  if (token.size() > kTokenBytesMax || first == std::string_view::npos || first == last ||
      token.find('.', first + 1) != last) {
    return std::nullopt;
  }
  const auto header = FromBase64Url(token.substr(0, first));
  const auto body = FromBase64Url(token.substr(first + 1, last - first - 1));
  const auto signature = FromBase64Url(token.substr(last + 1));
  if (!header || !body || !signature) return std::nullopt;
  // The signature comes first: what nobody signed is not looked into further. The method is ours,
  // whatever the header says; it is compared so that a token for another use is not taken.
  if (!keys_->Verifies(token.substr(0, last), *signature)) return std::nullopt;
  const Json head = Json::parse(*header, nullptr, /*allow_exceptions=*/false);
  const Json claims = Json::parse(*body, nullptr, /*allow_exceptions=*/false);
  if (!head.is_object() || !claims.is_object()) return std::nullopt;
  if (head.value("alg", Json()) != Json(std::string(keys_->method->name))) return std::nullopt;
  // Whole seconds, as Go's library counts: a token lasts to the end of its last one.
  const auto seconds = static_cast<double>(absl::ToUnixSeconds(now));
  if (!TimeHolds(claims, "exp", [&](double at) { return seconds <= at; }) ||
      !TimeHolds(claims, "nbf", [&](double at) { return seconds >= at; }) ||
      !TimeHolds(claims, "iat", [&](double at) { return seconds >= at; })) {
    return std::nullopt;
  }
  const auto user = claims.find("username");
  const auto revision = claims.find("revision");
  if (user == claims.end() || !user->is_string() || revision == claims.end()) return std::nullopt;
  const std::optional<uint64_t> number = WholeNumber(*revision);
  if (!number.has_value()) return std::nullopt;
  return Claims{.user = user->get<std::string>(), .revision = *number};
}

}  // namespace keelson::kvstore::auth
