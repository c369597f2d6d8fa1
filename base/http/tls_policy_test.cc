#include "base/tls_policy.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>

#include "absl/synchronization/mutex.h"
#include "base/http/client.h"
#include "base/http/message.h"
#include "base/http/server.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"

namespace keelson::http {
namespace {

using keelson::testing::IssuedCertificate;
using keelson::testing::TestAuthority;
using keelson::testing::WriteTestFile;

// A list that revokes the certificates, signed by nobody in particular.
std::string RevocationList(const std::vector<std::string>& certificates, bool pem) {
  X509_CRL* const list = X509_CRL_new();
  ASN1_TIME* const now = ASN1_TIME_set(nullptr, 1'700'000'000);
  X509_CRL_set_version(list, 1);
  X509_CRL_set1_lastUpdate(list, now);
  X509_CRL_set1_nextUpdate(list, now);  // Long over: that does not count.
  for (const std::string& text : certificates) {
    BIO* const bio = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
    X509* const certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    REQUIRE(certificate != nullptr);
    X509_REVOKED* const entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate));
    X509_REVOKED_set_revocationDate(entry, now);
    X509_CRL_add0_revoked(list, entry);
    X509_free(certificate);
    BIO_free(bio);
  }
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  REQUIRE(X509_CRL_sign(list, key, EVP_sha256()) > 0);
  BIO* const out = BIO_new(BIO_s_mem());
  REQUIRE((pem ? PEM_write_bio_X509_CRL(out, list) : i2d_X509_CRL_bio(out, list)) == 1);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out, &bytes);
  std::string text(bytes, static_cast<size_t>(size));
  BIO_free(out);
  EVP_PKEY_free(key);
  ASN1_TIME_free(now);
  X509_CRL_free(list);
  return text;
}

class PolicyFixture {
 protected:
  std::unique_ptr<Server> Start(TlsPolicy policy) {
    policy.on_failure = [this](std::string_view, std::string_view why) {
      absl::MutexLock lock(&mu_);
      failures_ += std::string(why) + "\n";
    };
    auto context = TlsServerContext::Create({.cert_pem = server_.cert_pem,
                                             .key_pem = server_.key_pem,
                                             .ca_pem = authority_.ca_pem(),
                                             .require_client_cert = true});
    KEELSON_REQUIRE_OK(context);
    KEELSON_REQUIRE_OK(ApplyTlsPolicy(**context, policy));
    auto server = Server::Start({.listen = {"127.0.0.1:0"}, .tls = *context},
                                [](const Request&, const std::shared_ptr<ResponseWriter>& writer) {
                                  writer->Send(TextResponse(200, "in"));
                                });
    KEELSON_REQUIRE_OK(server);
    return *std::move(server);
  }

  bool LetsIn(const Server& server, const IssuedCertificate& own, const TlsPolicy& policy = {}) {
    auto context = TlsClientContext::Create(
        {.cert_pem = own.cert_pem, .key_pem = own.key_pem, .ca_pem = authority_.ca_pem()});
    KEELSON_REQUIRE_OK(context);
    KEELSON_REQUIRE_OK(ApplyTlsPolicy(**context, policy));
    auto client = Client::Create({.tls = *context, .idle_connections_max = 0});
    KEELSON_REQUIRE_OK(client);
    const auto response = (*client)->FetchBlocking(
        {.url = "https://127.0.0.1:" + std::to_string(server.port()) + "/"});
    return response.ok() && response->body == "in";
  }
  std::string Failures() {
    absl::MutexLock lock(&mu_);
    return failures_;
  }

  TestAuthority authority_;
  IssuedCertificate server_ = authority_.Issue("server", "DNS:localhost,IP:127.0.0.1");
  IssuedCertificate alice_ = authority_.Issue("alice", "DNS:a.example,IP:10.0.0.1");
  IssuedCertificate bob_ = authority_.Issue("bob", "DNS:*.b.example");
  absl::Mutex mu_;
  std::string failures_ ABSL_GUARDED_BY(mu_);
};

TEST_CASE_METHOD(PolicyFixture, "Only the common name that is allowed comes in", "[http][tls]") {
  const auto server = Start({.allowed_common_names = {"alice"}});
  CHECK(LetsIn(*server, alice_));
  CHECK_FALSE(LetsIn(*server, bob_));
  CHECK(Failures() == "client certificate authentication failed\n");
  const auto for_both = Start({.allowed_common_names = {"alice", "bob"}});
  CHECK(LetsIn(*for_both, alice_));
  CHECK(LetsIn(*for_both, bob_));
}

TEST_CASE_METHOD(PolicyFixture, "A host must be among the names, not the common name",
                 "[http][tls]") {
  CHECK(LetsIn(*Start({.allowed_hosts = {"a.example"}}), alice_));
  CHECK(LetsIn(*Start({.allowed_hosts = {"10.0.0.1"}}), alice_));
  CHECK(LetsIn(*Start({.allowed_hosts = {"x.b.example"}}), bob_));
  CHECK(LetsIn(*Start({.allowed_hosts = {"b.example", "10.0.0.1"}}), alice_));
  CHECK_FALSE(LetsIn(*Start({.allowed_hosts = {"b.example", "10.0.0.2"}}), alice_));
  CHECK_FALSE(LetsIn(*Start({.allowed_hosts = {"10.0.0.2"}}), alice_));
  CHECK_FALSE(LetsIn(*Start({.allowed_hosts = {"b.example"}}), bob_));
  CHECK_FALSE(LetsIn(*Start({.allowed_hosts = {"alice"}}), alice_));
}

TEST_CASE_METHOD(PolicyFixture, "A caller can be as choosy", "[http][tls]") {
  const auto server = Start({});
  CHECK(LetsIn(*server, alice_, {.allowed_common_names = {"server"}}));
  CHECK_FALSE(LetsIn(*server, alice_, {.allowed_common_names = {"other"}}));
  CHECK(Failures() == "remote error: tls: bad certificate\n");
}

TEST_CASE_METHOD(PolicyFixture, "A list of revoked certificates counts as it is now",
                 "[http][tls]") {
  const bool pem = GENERATE(true, false);
  const std::string path = WriteTestFile("list.crl", RevocationList({}, pem));
  const auto server = Start({.crl_file = path});
  CHECK(LetsIn(*server, alice_));

  std::ofstream(path, std::ios::trunc | std::ios::binary) << RevocationList({alice_.cert_pem}, pem);
  CHECK_FALSE(LetsIn(*server, alice_));
  CHECK(Failures() == "certificate revoked\n");
  CHECK(LetsIn(*server, bob_));

  SECTION("not while it is no list") {
    std::ofstream(path, std::ios::trunc) << "nonsense";
    CHECK_FALSE(LetsIn(*server, bob_));
  }
  SECTION("not while it is away") {
    REQUIRE(std::remove(path.c_str()) == 0);
    CHECK_FALSE(LetsIn(*server, bob_));
  }
  std::ofstream(path, std::ios::trunc | std::ios::binary) << RevocationList({}, pem);
  CHECK(LetsIn(*server, alice_));
}

TEST_CASE_METHOD(PolicyFixture, "Versions and suites are those that are chosen", "[http][tls]") {
  KEELSON_ASSIGN_OR_FAIL(const TlsCipherSuites suites,
                         ParseTlsCipherSuites({"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                                               "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"}));
  CHECK(suites.tls12 == "ECDHE-ECDSA-AES256-GCM-SHA384");
  CHECK(suites.refused == std::vector<std::string>{"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"});
  const auto server = Start({.tls12_ciphers = suites.tls12, .max_version = TlsVersion::kTls12});
  CHECK(LetsIn(*server, alice_));
  CHECK_FALSE(LetsIn(*server, alice_, {.tls12_ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"}));
  CHECK_FALSE(LetsIn(*server, alice_, {.min_version = TlsVersion::kTls13}));
  const auto modern = Start({.min_version = TlsVersion::kTls13});
  CHECK(LetsIn(*modern, alice_));
  CHECK_FALSE(LetsIn(*modern, alice_, {.max_version = TlsVersion::kTls12}));
}

TEST_CASE_METHOD(PolicyFixture, "What makes no sense is refused", "[http][tls]") {
  auto open = TlsServerContext::Create({.cert_pem = server_.cert_pem, .key_pem = server_.key_pem});
  KEELSON_REQUIRE_OK(open);
  KEELSON_CHECK_ERROR(ApplyTlsPolicy(**open, {.allowed_common_names = {"a"}}),
                      absl::StatusCode::kInvalidArgument, "need not show a certificate");
  auto context = TlsClientContext::Create({});
  KEELSON_REQUIRE_OK(context);
  KEELSON_CHECK_ERROR(ApplyTlsPolicy(**context, {.min_version = TlsVersion::kTls13,
                                                 .max_version = TlsVersion::kTls12}),
                      absl::StatusCode::kInvalidArgument, "below the lowest");
  KEELSON_CHECK_ERROR(ApplyTlsPolicy(**context, {.tls12_ciphers = "NO-SUCH"}),
                      absl::StatusCode::kInvalidArgument, "TLS policy");
  KEELSON_CHECK_ERROR(ApplyTlsPolicy(**context, {.crl_file = "/nonexistent"}),
                      absl::StatusCode::kNotFound, "/nonexistent");
  KEELSON_CHECK_ERROR(ApplyTlsPolicy(**context, {.crl_file = WriteTestFile("no.crl", "no")}),
                      absl::StatusCode::kInvalidArgument, "is no list of revoked certificates");
  KEELSON_CHECK_ERROR(ParseTlsCipherSuites({"TLS_RSA_WITH_RC4_128_SHA"}).status(),
                      absl::StatusCode::kInvalidArgument, "is left of TLS_RSA_WITH_RC4_128_SHA");
  KEELSON_CHECK_ERROR(ParseTlsCipherSuites({"X"}).status(), absl::StatusCode::kInvalidArgument,
                      "unexpected TLS cipher suite \"X\"");
}

}  // namespace
}  // namespace keelson::http
