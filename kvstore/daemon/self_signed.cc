#include "kvstore/daemon/self_signed.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/openssl_free.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using NumberPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, OpenSslFree<X509_EXTENSION_free>>;

absl::Status Refused(const std::string& step) {
  return absl::InternalError(
      absl::StrCat("self-signed certificate: ", step, ": ", TakeTlsErrors()));
}

std::string TextOf(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<size_t>(size)};
}

bool IsAddress(const std::string& host) {
  in6_addr buffer{};
  return ::inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &buffer) == 1;
}

// "DNS:localhost,IP:127.0.0.1", as OpenSSL spells it. A host has come through ParseUrl, so it has
// no comma and no blank.
std::string AlternativeNames(const std::vector<std::string>& hosts) {
  return absl::StrJoin(hosts, ",", [](std::string* out, const std::string& host) {
    absl::StrAppend(out, IsAddress(host) ? "IP:" : "DNS:", host);
  });
}

absl::Status AddExtension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Refused(absl::StrCat("extension '", value, "'"));
  }
  return absl::OkStatus();
}

absl::Status SetNumberAndName(X509* certificate) {
  const NumberPtr serial(BN_new());
  if (!serial || BN_rand(serial.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return Refused("serial number");
  }
  X509_NAME* const name = X509_get_subject_name(certificate);
  if (X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>("etcd"), -1, -1, 0) != 1 ||
      X509_set_issuer_name(certificate, name) != 1) {
    return Refused("subject");
  }
  return absl::OkStatus();
}

absl::StatusOr<X509Ptr> MakeCertificate(const SelfSignedOptions& options, absl::Time now,
                                        EVP_PKEY* key) {
  X509Ptr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1) {
    return Refused("certificate");
  }
  KEELSON_RETURN_IF_ERROR(SetNumberAndName(certificate.get()));
  if (ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(now)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(now + options.validity)) ==
          nullptr ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return Refused("validity and key");
  }
  const std::pair<int, std::string> extensions[] = {
      {NID_basic_constraints, "critical,CA:FALSE"},
      {NID_key_usage, "critical,digitalSignature,keyEncipherment"},
      // A member is a client of the others.
      {NID_ext_key_usage, "serverAuth,clientAuth"},
      {NID_subject_alt_name, AlternativeNames(options.hosts)}};
  for (const auto& [kind, value] : extensions) {
    KEELSON_RETURN_IF_ERROR(AddExtension(certificate.get(), kind, value));
  }
  if (X509_sign(certificate.get(), key, EVP_sha512()) == 0) return Refused("signature");
  return certificate;
}

}  // namespace

absl::StatusOr<TlsFiles> SelfSignedCertificate(FileSystem& fs, const SelfSignedOptions& options,
                                               absl::Time now) {
  TlsFiles files{.cert_file = JoinPath(options.directory, "cert.pem"),
                 .key_file = JoinPath(options.directory, "key.pem")};
  KEELSON_ASSIGN_OR_RETURN(const bool has_certificate, fs.Exists(files.cert_file));
  KEELSON_ASSIGN_OR_RETURN(const bool has_key, fs.Exists(files.key_file));
  if (has_certificate && has_key) return files;

  const KeyPtr key(EVP_EC_gen("P-521"));
  if (!key) return Refused("key");
  KEELSON_ASSIGN_OR_RETURN(const X509Ptr certificate, MakeCertificate(options, now, key.get()));
  const BioPtr certificate_pem(BIO_new(BIO_s_mem()));
  const BioPtr key_pem(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate_pem.get(), certificate.get()) != 1 ||
      PEM_write_bio_PrivateKey_traditional(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                           nullptr) != 1) {
    return Refused("PEM");
  }
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(options.directory));
  // The certificate comes last: with it the pair counts as complete. An old one of another key
  // must go first.
  if (has_certificate) KEELSON_RETURN_IF_ERROR(fs.Remove(files.cert_file));
  KEELSON_RETURN_IF_ERROR(WriteFileAtomically(fs, files.key_file, TextOf(key_pem.get())));
  KEELSON_RETURN_IF_ERROR(WriteFileAtomically(fs, files.cert_file, TextOf(certificate_pem.get())));
  return files;
}

}  // namespace keelson::kvstore
