#include "partition/trust/development_keys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/trust/auth_variable.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/manifest.h"
#include "partition/trust/signature_list.h"

namespace keelson::partition {
namespace {

constexpr int kRsaBits = 2048;
constexpr absl::Duration kLifetime = absl::Hours(24 * 3650);
constexpr size_t kSerialBytes = 16;
constexpr int kReleaseKeys = 3;
constexpr int kReleaseThreshold = 2;

constexpr char kReadme[] =
    "DEVELOPMENT KEYS, NOT FOR A PRODUCT\n"
    "\n"
    "All private keys lie here unprotected, and whoever has this folder can sign anything that a\n"
    "machine with these keys accepts. For a product make each key where it will be used, at best\n"
    "in a token (PKCS#11), and keep PK, KEK and the release keys with different people.\n"
    "\n"
    "PK, KEK, db     Secure Boot: copy the three .auth files to loader/keys/NAME/ on the EFI\n"
    "                system partition, and systemd-boot offers to enrol them.\n"
    "db.key          signs UEFI programs: slotctl sign pe\n"
    "verity.key      signs root hashes: slotctl sign root-hash\n"
    "verity.esl      its certificate, for shim to hand to the kernel\n"
    "release-N.key   sign manifests, two of three: slotctl sign manifest\n";

using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>>;
using BigNumberPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;

absl::StatusOr<std::string> PrivatePem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "write a private key");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);  // NOLINT(google-runtime-int)
  return std::string(data, static_cast<size_t>(size));
}

bool AddExtension(X509* certificate, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool SetRandomSerial(X509* certificate) {
  unsigned char bytes[kSerialBytes];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7f) | 0x40);  // positive, and of full length
  const BigNumberPtr number(BN_bin2bn(bytes, sizeof(bytes), nullptr));
  return BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

absl::StatusOr<Certificate> SelfSign(EVP_PKEY* key, const std::string& common_name,
                                     absl::Time now) {
  X509Ptr certificate(X509_new());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const bool made =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      SetRandomSerial(certificate.get()) &&
      ASN1_TIME_adj(X509_getm_notBefore(certificate.get()), absl::ToTimeT(now), 0, 0) != nullptr &&
      ASN1_TIME_adj(X509_getm_notAfter(certificate.get()), absl::ToTimeT(now + kLifetime), 0, 0) !=
          nullptr &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, Bytes(common_name),
                                 static_cast<int>(common_name.size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate.get(), subject) == 1 &&
      X509_set_pubkey(certificate.get(), key) == 1 &&
      AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE") &&
      AddExtension(certificate.get(), NID_subject_key_identifier, "hash") &&
      X509_sign(certificate.get(), key, EVP_sha256()) > 0;
  if (!made) {
    return OpenSslError(absl::StatusCode::kInternal, absl::StrCat("certificate ", common_name));
  }
  return Certificate::FromHandle(std::move(certificate));
}

// The list with the certificate of `pair` alone; returns what is in it.
absl::StatusOr<std::string> AddList(const std::string& name, const KeyPair& pair, const Guid& owner,
                                    std::vector<KeySetFile>& files) {
  KEELSON_ASSIGN_OR_RETURN(std::string esl,
                           EncodeSignatureLists(CertificateLists({{pair.certificate}}, owner)));
  files.push_back({name + ".esl", esl});
  return esl;
}

// `pair` as files, and how a firmware takes it in: signed by `signer`.
absl::Status AddVariable(const std::string& variable, const KeyPair& pair, const KeyPair& signer,
                         absl::Time now, const Guid& owner, std::vector<KeySetFile>& files) {
  KEELSON_ASSIGN_OR_RETURN(const std::string esl, AddList(variable, pair, owner, files));
  KEELSON_ASSIGN_OR_RETURN(const VariableName name, SecureBootVariable(variable));
  KEELSON_ASSIGN_OR_RETURN(
      const std::string auth,
      SignVariable({.variable = name, .time = now, .data = esl}, signer.key, signer.certificate));
  files.push_back({variable + ".auth", auth});
  return absl::OkStatus();
}

void AddPair(const std::string& name, const KeyPair& pair, std::vector<KeySetFile>& files) {
  files.push_back({name + ".key", pair.key_pem, /*secret=*/true});
  files.push_back({name + ".crt", pair.certificate.ToPem()});
}

absl::Status AddReleaseKeys(std::vector<KeySetFile>& files) {
  ManifestTrust trust;
  trust.threshold = kReleaseThreshold;
  for (int i = 1; i <= kReleaseKeys; ++i) {
    const KeyPtr key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    if (key == nullptr) return OpenSslError(absl::StatusCode::kInternal, "make an Ed25519 key");
    KEELSON_ASSIGN_OR_RETURN(const std::string pem, PrivatePem(key.get()));
    KEELSON_ASSIGN_OR_RETURN(const PrivateKey parsed, PrivateKey::Parse(pem));
    files.push_back({absl::StrCat("release-", i, ".key"), pem, /*secret=*/true});
    files.push_back({absl::StrCat("release-", i, ".pub"), parsed.public_key().ToPem()});
    trust.keys.push_back(parsed.public_key());
  }
  files.push_back({"manifest-keys.json", EncodeManifestTrust(trust)});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<KeyPair> MakeSelfSigned(const std::string& common_name, absl::Time now) {
  ERR_clear_error();
  std::shared_ptr<EVP_PKEY> key(EVP_RSA_gen(kRsaBits), EVP_PKEY_free);
  if (key == nullptr) return OpenSslError(absl::StatusCode::kInternal, "make an RSA key");
  KEELSON_ASSIGN_OR_RETURN(Certificate certificate, SelfSign(key.get(), common_name, now));
  KEELSON_ASSIGN_OR_RETURN(std::string pem, PrivatePem(key.get()));
  KEELSON_ASSIGN_OR_RETURN(PrivateKey private_key, PrivateKey::FromHandle(std::move(key)));
  return KeyPair{std::move(private_key), std::move(pem), std::move(certificate)};
}

absl::StatusOr<std::vector<KeySetFile>> MakeDevelopmentKeys(const std::string& name, absl::Time now,
                                                            const Guid& owner) {
  const auto make = [&](std::string_view role) {
    return MakeSelfSigned(absl::StrCat(name, " DEVELOPMENT ", std::string(role)), now);
  };
  KEELSON_ASSIGN_OR_RETURN(const KeyPair pk, make("PK"));
  KEELSON_ASSIGN_OR_RETURN(const KeyPair kek, make("KEK"));
  KEELSON_ASSIGN_OR_RETURN(const KeyPair db, make("db"));
  KEELSON_ASSIGN_OR_RETURN(const KeyPair verity, make("verity"));
  std::vector<KeySetFile> files = {{"README", kReadme}};
  AddPair("PK", pk, files);
  KEELSON_RETURN_IF_ERROR(AddVariable("PK", pk, pk, now, owner, files));
  AddPair("KEK", kek, files);
  KEELSON_RETURN_IF_ERROR(AddVariable("KEK", kek, pk, now, owner, files));
  AddPair("db", db, files);
  KEELSON_RETURN_IF_ERROR(AddVariable("db", db, kek, now, owner, files));
  AddPair("verity", verity, files);
  KEELSON_RETURN_IF_ERROR(AddList("verity", verity, owner, files).status());
  KEELSON_RETURN_IF_ERROR(AddReleaseKeys(files));
  return files;
}

}  // namespace keelson::partition
