#include "partition/trust/keys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/hex.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/internal/pkcs11.h"

namespace keelson::partition {
namespace {

constexpr int kRsaBitsMin = 2048;
constexpr uint64_t kKeyFileBytesMax = uint64_t{1} << 20;

bool IsPem(std::string_view text) { return text.find("-----BEGIN ") != std::string_view::npos; }

// Answers OpenSSL's question for a pass phrase, which otherwise asks the terminal.
int GivePassPhrase(char* buffer, int size, int /*for_writing*/, void* context) {
  const auto& pass_phrase = *static_cast<const std::string_view*>(context);
  if (pass_phrase.empty() || pass_phrase.size() > static_cast<size_t>(size)) return -1;
  std::memcpy(buffer, pass_phrase.data(), pass_phrase.size());
  return static_cast<int>(pass_phrase.size());
}

// The kind of `key` for people; INVALID_ARGUMENT if it is none of ours.
absl::StatusOr<std::string> KindOf(const EVP_PKEY* key) {
  const int bits = EVP_PKEY_get_bits(key);
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      if (bits >= kRsaBitsMin) return absl::StrCat("RSA-", bits);
      return absl::InvalidArgumentError(
          absl::StrCat("an RSA key of ", bits, " bits: expected at least ", kRsaBitsMin));
    case EVP_PKEY_EC:
      if (bits == 256 || bits == 384 || bits == 521) return absl::StrCat("ECDSA-P-", bits);
      return absl::InvalidArgumentError(absl::StrCat("an EC key of ", bits, " bits"));
    case EVP_PKEY_ED25519:
      return std::string("Ed25519");
    default:
      return absl::InvalidArgumentError("a key that is neither RSA, ECDSA nor Ed25519");
  }
}

const EVP_MD* DigestOf(const EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
}

std::string FromBio(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);  // NOLINT(google-runtime-int)
  return {data, static_cast<size_t>(std::max(size, 0L))};
}

BioPtr WritingBio() { return BioPtr(BIO_new(BIO_s_mem())); }

}  // namespace

PublicKey::PublicKey(std::shared_ptr<evp_pkey_st> key, std::string id, std::string kind)
    : key_(std::move(key)), id_(std::move(id)), kind_(std::move(kind)) {}

absl::StatusOr<PublicKey> PublicKey::FromHandle(std::shared_ptr<evp_pkey_st> key) {
  KEELSON_ASSIGN_OR_RETURN(std::string kind, KindOf(key.get()));
  const std::string der = ToDer(key.get(), i2d_PUBKEY);
  if (der.empty()) return OpenSslError(absl::StatusCode::kInvalidArgument, "public key");
  return PublicKey(std::move(key), Hex(Sha256(der)), std::move(kind));
}

absl::StatusOr<PublicKey> PublicKey::Parse(std::string_view text) {
  ERR_clear_error();
  KeyPtr key;
  if (IsPem(text)) {
    const BioPtr bio = ReadingBio(text);
    std::string_view no_pass_phrase;
    key.reset(PEM_read_bio_PUBKEY(bio.get(), nullptr, GivePassPhrase, &no_pass_phrase));
  } else {
    const unsigned char* at = Bytes(text);
    key.reset(d2i_PUBKEY(nullptr, &at, static_cast<long>(text.size())));  // NOLINT
  }
  if (key == nullptr) return OpenSslError(absl::StatusCode::kInvalidArgument, "no public key");
  return FromHandle(std::move(key));
}

std::string PublicKey::ToPem() const {
  const BioPtr bio = WritingBio();
  (void)PEM_write_bio_PUBKEY(bio.get(), key_.get());  // Memory only; an empty text shows failure.
  return FromBio(bio.get());
}

absl::Status PublicKey::Verify(std::string_view message, std::string_view signature) const {
  ERR_clear_error();
  const DigestContextPtr context(EVP_MD_CTX_new());
  if (EVP_DigestVerifyInit(context.get(), nullptr, DigestOf(key_.get()), nullptr, key_.get()) ==
          1 &&
      EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message),
                       message.size()) == 1) {
    return absl::OkStatus();
  }
  ERR_clear_error();
  return absl::PermissionDeniedError(absl::StrCat("the signature is not one of key ", id_));
}

PrivateKey::PrivateKey(std::shared_ptr<evp_pkey_st> key, PublicKey public_key)
    : key_(std::move(key)), public_key_(std::move(public_key)) {}

absl::StatusOr<PrivateKey> PrivateKey::FromHandle(std::shared_ptr<evp_pkey_st> key) {
  KEELSON_ASSIGN_OR_RETURN(PublicKey public_key, PublicKey::FromHandle(key));
  return PrivateKey(std::move(key), std::move(public_key));
}

absl::StatusOr<PrivateKey> PrivateKey::Parse(std::string_view text, std::string_view pass_phrase) {
  ERR_clear_error();
  KeyPtr key;
  const BioPtr bio = ReadingBio(text);
  if (IsPem(text)) {
    key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, GivePassPhrase, &pass_phrase));
  } else {
    key.reset(d2i_PrivateKey_bio(bio.get(), nullptr));
  }
  if (key == nullptr) return OpenSslError(absl::StatusCode::kInvalidArgument, "no private key");
  return FromHandle(std::move(key));
}

absl::StatusOr<std::string> PrivateKey::Sign(std::string_view message) const {
  ERR_clear_error();
  const DigestContextPtr context(EVP_MD_CTX_new());
  size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, DigestOf(key_.get()), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, Bytes(message), message.size()) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "sign");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     Bytes(message), message.size()) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "sign");
  }
  signature.resize(size);
  return signature;
}

Certificate::Certificate(std::shared_ptr<x509_st> certificate)
    : certificate_(std::move(certificate)) {}

absl::StatusOr<Certificate> Certificate::FromHandle(std::shared_ptr<x509_st> certificate) {
  // Parses the extensions now, since OpenSSL otherwise does so while many threads read.
  (void)X509_check_purpose(certificate.get(), -1, 0);
  return Certificate(std::move(certificate));
}

absl::StatusOr<Certificate> Certificate::Parse(std::string_view text) {
  ERR_clear_error();
  X509Ptr certificate;
  if (IsPem(text)) {
    const BioPtr bio = ReadingBio(text);
    std::string_view no_pass_phrase;
    certificate.reset(PEM_read_bio_X509(bio.get(), nullptr, GivePassPhrase, &no_pass_phrase));
  } else {
    const unsigned char* at = Bytes(text);
    certificate.reset(d2i_X509(nullptr, &at, static_cast<long>(text.size())));  // NOLINT
    if (certificate != nullptr && at != Bytes(text) + text.size()) {
      return absl::InvalidArgumentError("bytes behind the certificate");
    }
  }
  if (certificate == nullptr) {
    return OpenSslError(absl::StatusCode::kInvalidArgument, "no certificate");
  }
  return FromHandle(std::move(certificate));
}

std::string Certificate::der() const { return ToDer(certificate_.get(), i2d_X509); }

std::string Certificate::ToPem() const {
  const BioPtr bio = WritingBio();
  (void)PEM_write_bio_X509(bio.get(), certificate_.get());  // Memory only.
  return FromBio(bio.get());
}

std::string Certificate::subject() const {
  const BioPtr bio = WritingBio();
  (void)X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate_.get()), 0,
                           XN_FLAG_RFC2253);
  return FromBio(bio.get());
}

std::string Certificate::fingerprint() const { return Hex(Sha256(der())); }

absl::StatusOr<PublicKey> Certificate::public_key() const {
  KeyPtr key(X509_get_pubkey(certificate_.get()));
  if (key == nullptr) {
    return OpenSslError(absl::StatusCode::kInvalidArgument, "key of the certificate");
  }
  return PublicKey::FromHandle(std::move(key));
}

absl::Status Certificate::CheckBelongsTo(const PrivateKey& key) const {
  KEELSON_ASSIGN_OR_RETURN(const PublicKey own, public_key());
  if (own == key.public_key()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the certificate of '", subject(), "' is for key ", own.id(),
                   ", the private key is ", key.public_key().id()));
}

absl::StatusOr<std::vector<Certificate>> ParseCertificates(std::string_view pem) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  std::vector<Certificate> certificates;
  for (size_t at = pem.find(kBegin); at != std::string_view::npos;) {
    const size_t next = pem.find(kBegin, at + kBegin.size());
    absl::StatusOr<Certificate> certificate = Certificate::Parse(pem.substr(at, next - at));
    if (!certificate.ok()) {
      return Annotate(certificate.status(), absl::StrCat("certificate ", certificates.size() + 1));
    }
    certificates.push_back(*std::move(certificate));
    at = next;
  }
  if (certificates.empty()) {
    KEELSON_ASSIGN_OR_RETURN(Certificate certificate, Certificate::Parse(pem));
    certificates.push_back(std::move(certificate));
  }
  return certificates;
}

absl::StatusOr<PrivateKey> OpenPrivateKey(FileSystem& fs, const std::string& source,
                                          const KeySource& options) {
  if (source.starts_with("pkcs11:")) {
    KEELSON_ASSIGN_OR_RETURN(KeyPtr key, OpenPkcs11Key(source, options.pkcs11_module));
    return PrivateKey::FromHandle(std::move(key));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadFile(fs, source, kKeyFileBytesMax));
  absl::StatusOr<PrivateKey> key = PrivateKey::Parse(text, options.pass_phrase);
  if (!key.ok()) return Annotate(key.status(), absl::StrCat("'", source, "'"));
  return key;
}

}  // namespace keelson::partition
