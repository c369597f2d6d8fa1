#include "kvstore/client/certificate_reload.h"

#include <openssl/ssl.h>

#include <catch2/catch.hpp>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "base/openssl_free.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"
#include "base/tls.h"

using namespace keelson;
using namespace keelson::kvstore;
using keelson::testing::IssuedCertificate;
using keelson::testing::TestAuthority;
using keelson::testing::WriteTestFile;

namespace {

using SslPtr = std::unique_ptr<SSL, OpenSslFree<SSL_free>>;

std::string SubjectOf(X509* certificate) {
  if (certificate == nullptr) return "none";
  char name[100] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof(name));
  X509_free(certificate);
  return name;
}

// Both sides of a handshake in memory: "server, client" as they have shown themselves.
std::string Shake(const TlsServerContext& server_context, const TlsClientContext& client_context) {
  const SslPtr server(SSL_new(server_context.ssl_ctx()));
  const SslPtr client(SSL_new(client_context.ssl_ctx()));
  BIO* one = nullptr;
  BIO* other = nullptr;
  REQUIRE(BIO_new_bio_pair(&one, 0, &other, 0) == 1);
  SSL_set_bio(server.get(), one, one);
  SSL_set_bio(client.get(), other, other);
  SSL_set_accept_state(server.get());
  SSL_set_connect_state(client.get());
  for (int step = 0; step < 10; ++step) {
    (void)SSL_do_handshake(client.get());
    (void)SSL_do_handshake(server.get());
  }
  if (SSL_is_init_finished(server.get()) != 1) return "failed";
  return SubjectOf(SSL_get1_peer_certificate(client.get())) + ", " +
         SubjectOf(SSL_get1_peer_certificate(server.get()));
}

void Replace(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  REQUIRE(std::rename((path + ".new").c_str(), path.c_str()) == 0);
}

class ReloadFixture {
 protected:
  ReloadFixture() {
    auto server = TlsServerContext::Create({.cert_pem = first_.cert_pem,
                                            .key_pem = first_.key_pem,
                                            .ca_pem = authority_.ca_pem(),
                                            .require_client_cert = true});
    KEELSON_REQUIRE_OK(server);
    server_ = *server;
    auto client = TlsClientContext::Create(
        {.cert_pem = first_.cert_pem, .key_pem = first_.key_pem, .ca_pem = authority_.ca_pem()});
    KEELSON_REQUIRE_OK(client);
    client_ = *client;
  }
  CertificateFiles Files() {
    return {.cert_file = cert_file_,
            .key_file = key_file_,
            .on_trouble = [this](const absl::Status& status) {
              troubles_ += std::string(status.message()) + "\n";
            }};
  }

  const TestAuthority authority_;
  const IssuedCertificate first_ = authority_.Issue("first", "DNS:localhost");
  const IssuedCertificate second_ = authority_.Issue("second", "DNS:localhost");
  const std::string cert_file_ = WriteTestFile("reload.crt", first_.cert_pem);
  const std::string key_file_ = WriteTestFile("reload.key", first_.key_pem);
  std::shared_ptr<const TlsServerContext> server_;
  std::shared_ptr<const TlsClientContext> client_;
  std::string troubles_;
};

}  // namespace

TEST_CASE_METHOD(ReloadFixture, "A server shows the certificate that is there now", "[tls]") {
  FollowCertificate(*server_->ssl_ctx(), Files());
  CHECK(Shake(*server_, *client_) == "first, first");
  Replace(cert_file_, second_.cert_pem);
  Replace(key_file_, second_.key_pem);
  CHECK(Shake(*server_, *client_) == "second, first");
  CHECK(troubles_.empty());
}

TEST_CASE_METHOD(ReloadFixture, "A client does, too", "[tls]") {
  FollowCertificate(*client_->ssl_ctx(), Files());
  CHECK(Shake(*server_, *client_) == "first, first");
  Replace(cert_file_, second_.cert_pem);
  Replace(key_file_, second_.key_pem);
  CHECK(Shake(*server_, *client_) == "first, second");
}

TEST_CASE_METHOD(ReloadFixture, "Files that cannot be used leave the old certificate in force",
                 "[tls]") {
  FollowCertificate(*server_->ssl_ctx(), Files());
  CHECK(Shake(*server_, *client_) == "first, first");
  SECTION("a certificate without its key yet") { Replace(cert_file_, second_.cert_pem); }
  SECTION("something else") { Replace(cert_file_, "no certificate"); }
  SECTION("nothing") { REQUIRE(std::remove(cert_file_.c_str()) == 0); }
  CHECK(Shake(*server_, *client_) == "first, first");
  CHECK_FALSE(troubles_.empty());
  const std::string told = troubles_;
  CHECK(Shake(*server_, *client_) == "first, first");
  CHECK(troubles_ == told);  // once

  Replace(cert_file_, second_.cert_pem);
  Replace(key_file_, second_.key_pem);
  CHECK(Shake(*server_, *client_) == "second, first");
}
