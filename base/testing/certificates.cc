#include "base/testing/certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdlib>
#include <fstream>

#include "base/check.h"

namespace keelson::testing {
namespace {

std::shared_ptr<EVP_PKEY> NewKey() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  KEELSON_CHECK(key != nullptr);
  return key;
}

template <typename Write>
std::string Pem(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), BIO_free_all);
  KEELSON_CHECK(write(bio.get()) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

void AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  KEELSON_CHECK(extension != nullptr) << value;
  KEELSON_CHECK(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

// A certificate without extensions and signature.
std::shared_ptr<X509> NewCertificate(const std::string& common_name, EVP_PKEY* key, X509* issuer) {
  static std::atomic<long> serial{1};
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509* raw = certificate.get();
  KEELSON_CHECK(X509_set_version(raw, X509_VERSION_3) == 1);
  KEELSON_CHECK(ASN1_INTEGER_set(X509_get_serialNumber(raw), serial++) == 1);
  KEELSON_CHECK(X509_gmtime_adj(X509_getm_notBefore(raw), -3600) != nullptr);
  KEELSON_CHECK(X509_gmtime_adj(X509_getm_notAfter(raw), 3600) != nullptr);
  X509_NAME* name = X509_get_subject_name(raw);
  KEELSON_CHECK(X509_NAME_add_entry_by_txt(
                    name, "CN", MBSTRING_UTF8,
                    reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0) == 1);
  KEELSON_CHECK(X509_set_issuer_name(raw, issuer ? X509_get_subject_name(issuer) : name) == 1);
  KEELSON_CHECK(X509_set_pubkey(raw, key) == 1);
  return certificate;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& common_name)
    : key_(NewKey()), certificate_(NewCertificate(common_name, key_.get(), nullptr)) {
  AddExtension(certificate_.get(), certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(certificate_.get(), certificate_.get(), NID_key_usage, "critical,keyCertSign");
  KEELSON_CHECK(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) > 0);
  ca_pem_ = Pem([this](BIO* bio) { return PEM_write_bio_X509(bio, certificate_.get()); });
}

IssuedCertificate TestAuthority::Issue(const std::string& common_name,
                                       const std::string& subject_alt_names) const {
  const auto key = NewKey();
  const auto certificate = NewCertificate(common_name, key.get(), certificate_.get());
  AddExtension(certificate.get(), certificate_.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  if (!subject_alt_names.empty()) {
    AddExtension(certificate.get(), certificate_.get(), NID_subject_alt_name, subject_alt_names);
  }
  KEELSON_CHECK(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0);
  return {.cert_pem = Pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); }),
          .key_pem = Pem([&](BIO* bio) {
            return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

std::string WriteTestFile(const std::string& name, const std::string& text) {
  const char* folder = std::getenv("TEST_TMPDIR");
  KEELSON_CHECK(folder != nullptr) << "TEST_TMPDIR is not set";
  const std::string path = std::string(folder) + "/" + name;
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  KEELSON_CHECK(file.good()) << path;
  return path;
}

}  // namespace keelson::testing
