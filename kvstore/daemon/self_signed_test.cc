#include "kvstore/daemon/self_signed.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <catch2/catch.hpp>
#include <memory>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"

using namespace keelson;
using namespace keelson::kvstore;

namespace {

const absl::Time kNow = absl::FromUnixSeconds(1800000000);

using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;

X509Ptr Parse(const std::string& pem) {
  BIO* const bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509Ptr certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free);
  BIO_free(bio);
  return certificate;
}

struct Fixture {
  SimFileSystem fs{Random(1), {}};
  SelfSignedOptions options{.directory = "d/fixtures/peer",
                            .hosts = {"127.0.0.1", "::1", "localhost"}};

  absl::StatusOr<TlsFiles> Make() { return SelfSignedCertificate(fs, options, kNow); }
  std::string Read(const std::string& path) {
    KEELSON_ASSIGN_OR_FAIL(std::string text, ReadFile(fs, path, 1 << 20));
    return text;
  }
};

}  // namespace

TEST_CASE("A certificate is made for the hosts, for a year, over P-521", "[kvstore][self_signed]") {
  Fixture f;
  KEELSON_ASSIGN_OR_FAIL(const TlsFiles files, f.Make());

  CHECK(files.cert_file == "d/fixtures/peer/cert.pem");
  CHECK(files.key_file == "d/fixtures/peer/key.pem");
  CHECK(f.Read(files.key_file).starts_with("-----BEGIN EC PRIVATE KEY-----"));
  const X509Ptr certificate = Parse(f.Read(files.cert_file));
  REQUIRE(certificate);
  CHECK(X509_check_ip_asc(certificate.get(), "127.0.0.1", 0) == 1);
  CHECK(X509_check_ip_asc(certificate.get(), "::1", 0) == 1);
  CHECK(X509_check_ip_asc(certificate.get(), "127.0.0.2", 0) == 0);
  CHECK(X509_check_host(certificate.get(), "localhost", 0, 0, nullptr) == 1);
  CHECK(X509_check_host(certificate.get(), "example.com", 0, 0, nullptr) == 0);
  EVP_PKEY* const key = X509_get0_pubkey(certificate.get());
  CHECK(EVP_PKEY_get_bits(key) == 521);
  CHECK(X509_verify(certificate.get(), key) == 1);
  time_t begin = absl::ToTimeT(kNow);
  time_t end = absl::ToTimeT(kNow + absl::Hours(24 * 365));
  CHECK(X509_cmp_time(X509_get0_notBefore(certificate.get()), &begin) == -1);  // at or before
  CHECK(X509_cmp_time(X509_get0_notAfter(certificate.get()), &end) == -1);
  end -= 1;
  CHECK(X509_cmp_time(X509_get0_notAfter(certificate.get()), &end) == 1);
  const uint32_t usage = X509_get_extended_key_usage(certificate.get());
  CHECK((usage & XKU_SSL_SERVER) != 0);
  CHECK((usage & XKU_SSL_CLIENT) != 0);
}

TEST_CASE("The second start takes the files of the first", "[kvstore][self_signed]") {
  Fixture f;
  KEELSON_ASSIGN_OR_FAIL(const TlsFiles files, f.Make());
  const std::string certificate = f.Read(files.cert_file);
  const std::string key = f.Read(files.key_file);

  f.fs.PowerLoss();
  KEELSON_REQUIRE_OK(f.Make());

  CHECK(f.Read(files.cert_file) == certificate);
  CHECK(f.Read(files.key_file) == key);
}

TEST_CASE("Half a pair is replaced by a whole one", "[kvstore][self_signed]") {
  Fixture f;
  KEELSON_ASSIGN_OR_FAIL(const TlsFiles files, f.Make());
  const std::string certificate = f.Read(files.cert_file);
  const std::string key = f.Read(files.key_file);
  const std::string gone = GENERATE(as<std::string>(), "cert.pem", "key.pem");

  KEELSON_REQUIRE_OK(f.fs.Remove("d/fixtures/peer/" + gone));
  KEELSON_REQUIRE_OK(f.Make());

  CHECK(f.Read(files.cert_file) != certificate);
  CHECK(f.Read(files.key_file) != key);
}

TEST_CASE("A key that cannot be written is an error and leaves no certificate",
          "[kvstore][self_signed]") {
  Fixture f;
  f.fs.FailNext(SimOperation::kWrite, "d/fixtures/peer/key.pem");
  CHECK_FALSE(f.Make().ok());
  KEELSON_ASSIGN_OR_FAIL(const bool there, f.fs.Exists("d/fixtures/peer/cert.pem"));
  CHECK_FALSE(there);
}
