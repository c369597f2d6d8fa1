// Keys and certificates: from files, and keys that a PKCS#11 token never hands out.
//
//   KEELSON_ASSIGN_OR_RETURN(const PrivateKey key, OpenPrivateKey(fs, "db.key", {}));
//   KEELSON_ASSIGN_OR_RETURN(const std::string signature, key.Sign(message));
//   KEELSON_RETURN_IF_ERROR(key.public_key().Verify(message, signature));
//
// Three kinds of keys are taken: RSA from 2048 bits (signatures by PKCS#1 1.5 with SHA-256, which
// `openssl dgst -sha256` makes and checks too), ECDSA on P-256, P-384 and P-521 (with SHA-256), and
// Ed25519. The kind of the key decides how a signature is checked, never the signature itself.
//
// Threading: values that share what they hold, which does not change; use them from any thread.
#ifndef KEELSON_PARTITION_TRUST_KEYS_H_
#define KEELSON_PARTITION_TRUST_KEYS_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"

struct evp_pkey_st;
struct x509_st;

namespace keelson::partition {

class PublicKey {
 public:
  // PEM or DER of a SubjectPublicKeyInfo. INVALID_ARGUMENT: not one, or of another kind than above.
  static absl::StatusOr<PublicKey> Parse(std::string_view text);
  static absl::StatusOr<PublicKey> FromHandle(std::shared_ptr<evp_pkey_st> key);

  // SHA-256 of the DER of the key, as 64 hexadecimal digits: the same for every form of the key.
  [[nodiscard]] const std::string& id() const { return id_; }
  // "RSA-2048", "ECDSA-P-256", "Ed25519".
  [[nodiscard]] const std::string& kind() const { return kind_; }
  [[nodiscard]] std::string ToPem() const;

  // PERMISSION_DENIED: `signature` was not made over `message` by this key.
  [[nodiscard]] absl::Status Verify(std::string_view message, std::string_view signature) const;

  friend bool operator==(const PublicKey& a, const PublicKey& b) { return a.id_ == b.id_; }

 private:
  PublicKey(std::shared_ptr<evp_pkey_st> key, std::string id, std::string kind);

  std::shared_ptr<evp_pkey_st> key_;
  std::string id_;
  std::string kind_;
};

class PrivateKey {
 public:
  // PEM or DER; `pass_phrase` opens an encrypted PEM. Never asks a terminal.
  // INVALID_ARGUMENT: no key, of another kind, or the pass phrase is wrong or missing.
  static absl::StatusOr<PrivateKey> Parse(std::string_view text, std::string_view pass_phrase = "");
  static absl::StatusOr<PrivateKey> FromHandle(std::shared_ptr<evp_pkey_st> key);

  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] absl::StatusOr<std::string> Sign(std::string_view message) const;

  // For code that calls OpenSSL. Lives as long as this key.
  [[nodiscard]] evp_pkey_st* handle() const { return key_.get(); }

 private:
  PrivateKey(std::shared_ptr<evp_pkey_st> key, PublicKey public_key);

  std::shared_ptr<evp_pkey_st> key_;
  PublicKey public_key_;
};

class Certificate {
 public:
  // PEM or DER of one certificate. INVALID_ARGUMENT: not one.
  static absl::StatusOr<Certificate> Parse(std::string_view text);
  static absl::StatusOr<Certificate> FromHandle(std::shared_ptr<x509_st> certificate);

  [[nodiscard]] std::string der() const;
  [[nodiscard]] std::string ToPem() const;
  // "CN=Keelson db", for people.
  [[nodiscard]] std::string subject() const;
  // SHA-256 of the DER, as 64 hexadecimal digits.
  [[nodiscard]] std::string fingerprint() const;
  [[nodiscard]] absl::StatusOr<PublicKey> public_key() const;

  // FAILED_PRECONDITION: the certificate is for another key.
  [[nodiscard]] absl::Status CheckBelongsTo(const PrivateKey& key) const;

  // For code that calls OpenSSL. Lives as long as this certificate.
  [[nodiscard]] x509_st* handle() const { return certificate_.get(); }

 private:
  explicit Certificate(std::shared_ptr<x509_st> certificate);

  std::shared_ptr<x509_st> certificate_;
};

// All certificates of a PEM file. INVALID_ARGUMENT: there is none, or one that is broken.
absl::StatusOr<std::vector<Certificate>> ParseCertificates(std::string_view pem);

struct KeySource {
  std::string pass_phrase;    // of an encrypted PEM file
  std::string pkcs11_module;  // shared library of the token; empty: what the system is set to
};

// The key that `source` names: the path of a file, or a PKCS#11 URI (RFC 7512) such as
// "pkcs11:token=release;object=db?pin-source=file:/run/pin". A token's key signs inside the token.
//
// Errors:
//   UNAVAILABLE  OpenSSL has no way to PKCS#11 here; the message names the package.
//   NOT_FOUND    no file, or no key of that URI.
//   others       as PrivateKey::Parse, and of reading the file.
absl::StatusOr<PrivateKey> OpenPrivateKey(FileSystem& fs, const std::string& source,
                                          const KeySource& options);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_KEYS_H_
