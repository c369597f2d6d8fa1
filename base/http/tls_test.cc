#include "base/tls.h"

#include <catch2/catch.hpp>

#include <cstdlib>

#include "base/http/client.h"
#include "base/http/message.h"
#include "base/http/server.h"
#include "base/http/testing/raw_client.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"

namespace keelson::http {
namespace {

using keelson::testing::IssuedCertificate;
using keelson::testing::RawClient;
using keelson::testing::TestAuthority;
using keelson::testing::WriteTestFile;

std::shared_ptr<const TlsServerContext> ServerTls(const IssuedCertificate& own,
                                                  const std::string& ca_pem, bool require) {
  auto context = TlsServerContext::Create({.cert_pem = own.cert_pem,
                                           .key_pem = own.key_pem,
                                           .ca_pem = ca_pem,
                                           .require_client_cert = require});
  KEELSON_REQUIRE_OK(context);
  return *context;
}

std::unique_ptr<Client> TlsClient(const std::string& ca_pem, const IssuedCertificate& own = {}) {
  auto context = TlsClientContext::Create(
      {.cert_pem = own.cert_pem, .key_pem = own.key_pem, .ca_pem = ca_pem});
  KEELSON_REQUIRE_OK(context);
  auto client = Client::Create({.tls = *context});
  KEELSON_REQUIRE_OK(client);
  return *std::move(client);
}

// Says who asks.
void WhoAmI(const Request& request, const std::shared_ptr<ResponseWriter>& writer) {
  std::string text = request.tls ? "tls" : "plain";
  if (request.peer_certificate) {
    text += " cn=" + request.peer_certificate->common_name;
    for (const auto& name : request.peer_certificate->dns_names) text += " dns=" + name;
    for (const auto& address : request.peer_certificate->ip_addresses) text += " ip=" + address;
    for (const auto& uri : request.peer_certificate->uris) text += " uri=" + uri;
  }
  writer->Send(TextResponse(200, text));
}

class TlsFixture {
 protected:
  std::unique_ptr<Server> Start(bool require_client_cert, bool client_ca = true) {
    auto server = Server::Start(
        {.listen = {"127.0.0.1:0"},
         .tls = ServerTls(server_cert_, client_ca ? authority_.ca_pem() : "", require_client_cert)},
        WhoAmI);
    KEELSON_REQUIRE_OK(server);
    return *std::move(server);
  }
  static std::string Url(const Server& server, const std::string& host = "127.0.0.1") {
    return "https://" + host + ":" + std::to_string(server.port()) + "/";
  }

  TestAuthority authority_;
  TestAuthority stranger_{"another authority"};
  IssuedCertificate server_cert_ = authority_.Issue("server", "DNS:localhost,IP:127.0.0.1");
  IssuedCertificate client_cert_ =
      authority_.Issue("alice", "DNS:a.example,IP:::1,URI:spiffe://keelson/alice");
};

TEST_CASE_METHOD(TlsFixture, "A client that trusts the authority is served", "[http][tls]") {
  const auto server = Start(false, false);
  const auto client = TlsClient(authority_.ca_pem());

  for (const char* host : {"127.0.0.1", "localhost"}) {
    KEELSON_ASSIGN_OR_FAIL(const Response response,
                           client->FetchBlocking({.url = Url(*server, host)}));
    CHECK(response.body == "tls");
  }
  // Large bodies cross many records.
  KEELSON_REQUIRE_OK(client->FetchBlocking(
      {.method = "PUT", .url = Url(*server), .body = std::string(1'000'000, 'x')}));
}

TEST_CASE_METHOD(TlsFixture, "A handler sees the certificate of its client", "[http][tls]") {
  const auto server = Start(true);
  const auto client = TlsClient(authority_.ca_pem(), client_cert_);

  KEELSON_ASSIGN_OR_FAIL(const Response response, client->FetchBlocking({.url = Url(*server)}));

  CHECK(response.body == "tls cn=alice dns=a.example ip=::1 uri=spiffe://keelson/alice");
}

TEST_CASE_METHOD(TlsFixture, "A certificate that is asked for but not required may be missing",
                 "[http][tls]") {
  const auto server = Start(false);

  KEELSON_ASSIGN_OR_FAIL(const Response without,
                         TlsClient(authority_.ca_pem())->FetchBlocking({.url = Url(*server)}));
  KEELSON_ASSIGN_OR_FAIL(
      const Response with,
      TlsClient(authority_.ca_pem(), client_cert_)->FetchBlocking({.url = Url(*server)}));

  CHECK(without.body == "tls");
  CHECK(with.body.starts_with("tls cn=alice"));
}

TEST_CASE_METHOD(TlsFixture, "Clients without a good certificate are turned away", "[http][tls]") {
  const auto server = Start(true);
  const IssuedCertificate foreign = stranger_.Issue("mallory", "");

  CHECK_FALSE(TlsClient(authority_.ca_pem())->FetchBlocking({.url = Url(*server)}).ok());
  CHECK_FALSE(TlsClient(authority_.ca_pem(), foreign)->FetchBlocking({.url = Url(*server)}).ok());
  CHECK(server->Stats().requests_total == 0);
}

TEST_CASE_METHOD(TlsFixture, "A client refuses a server it cannot verify", "[http][tls]") {
  const auto server = Start(false, false);

  KEELSON_CHECK_ERROR(TlsClient(stranger_.ca_pem())->FetchBlocking({.url = Url(*server)}),
                      absl::StatusCode::kUnauthenticated, "TLS handshake");
  // The certificate is good, but for other names.
  const IssuedCertificate other = authority_.Issue("127.0.0.1", "DNS:elsewhere");
  KEELSON_ASSIGN_OR_FAIL(
      const auto misnamed,
      Server::Start({.listen = {"127.0.0.1:0"}, .tls = ServerTls(other, "", false)}, WhoAmI));
  KEELSON_CHECK_ERROR(TlsClient(authority_.ca_pem())->FetchBlocking({.url = Url(*misnamed)}),
                      absl::StatusCode::kUnauthenticated, "mismatch");
}

TEST_CASE_METHOD(TlsFixture, "Plain text on a TLS port ends, and the reverse", "[http][tls]") {
  const auto server = Start(false);
  RawClient plain(server->port());
  plain.Send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(plain.ReadAll().find("HTTP/1.1") == std::string::npos);

  KEELSON_ASSIGN_OR_FAIL(const auto plain_server,
                         Server::Start({.listen = {"127.0.0.1:0"}}, WhoAmI));
  CHECK_FALSE(TlsClient(authority_.ca_pem())->FetchBlocking({.url = Url(*plain_server)}).ok());
}

TEST_CASE_METHOD(TlsFixture, "A handshake that never ends is cut off", "[http][tls]") {
  KEELSON_ASSIGN_OR_FAIL(const auto server,
                         Server::Start({.listen = {"127.0.0.1:0"},
                                        .tls = ServerTls(server_cert_, "", false),
                                        .limits = {.handshake_timeout = absl::Milliseconds(50)}},
                                       WhoAmI));
  RawClient client(server->port());
  client.Send("\x16\x03\x01");

  CHECK(client.ReadAll().empty());
  CHECK(server->Stats().timeouts_total == 1);
}

TEST_CASE_METHOD(TlsFixture, "New certificates count from the next connection on", "[http][tls]") {
  const auto server = Start(false);
  KEELSON_REQUIRE_OK(TlsClient(authority_.ca_pem())->FetchBlocking({.url = Url(*server)}));

  server->SetTls(ServerTls(stranger_.Issue("server", "IP:127.0.0.1"), "", false));

  KEELSON_REQUIRE_OK(TlsClient(stranger_.ca_pem())->FetchBlocking({.url = Url(*server)}));
  CHECK_FALSE(TlsClient(authority_.ca_pem())->FetchBlocking({.url = Url(*server)}).ok());
}

TEST_CASE_METHOD(TlsFixture, "Old protocol versions and other protocols are refused",
                 "[http][tls][interop]") {
  if (std::system("command -v openssl >/dev/null 2>&1") != 0) {
    WARN("SKIPPED: the program openssl is not installed");
    return;
  }
  const auto server = Start(false);
  const auto handshake = [&](const std::string& options) {
    return std::system(
        ("openssl s_client -brief -connect 127.0.0.1:" + std::to_string(server->port()) + " " +
         options + " </dev/null >/dev/null 2>&1")
            .c_str());
  };

  CHECK(handshake("-tls1_3") == 0);
  CHECK(handshake("-tls1_2") == 0);
  CHECK(handshake("-alpn h2,http/1.1") == 0);
  CHECK(handshake("-tls1_1 -cipher DEFAULT@SECLEVEL=0") != 0);
  CHECK(handshake("-tls1_2 -cipher AES128-SHA") != 0);
  CHECK(handshake("-alpn h2") != 0);
}

TEST_CASE_METHOD(TlsFixture, "Files are checked before they are used", "[tls][files]") {
  const std::string cert = WriteTestFile("server.crt", server_cert_.cert_pem);
  const std::string key = WriteTestFile("server.key", server_cert_.key_pem);
  const std::string other_key = WriteTestFile("other.key", client_cert_.key_pem);
  const std::string ca = WriteTestFile("ca.crt", authority_.ca_pem());
  const std::string text = WriteTestFile("text", "no PEM at all\n");
  const std::string broken =
      WriteTestFile("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const std::string half_broken = WriteTestFile(
      "half.crt",
      authority_.ca_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");

  KEELSON_ASSIGN_OR_FAIL(
      const TlsMaterial material,
      LoadTlsMaterial(
          {.cert_file = cert, .key_file = key, .ca_file = ca, .require_client_cert = true}));
  CHECK(material.cert_pem == server_cert_.cert_pem);
  CHECK(material.require_client_cert);
  KEELSON_REQUIRE_OK(TlsServerContext::Create(material));

  struct Row {
    TlsFiles files;
    absl::StatusCode code;
    std::string text;
  };
  const auto bad = absl::StatusCode::kInvalidArgument;
  for (const Row& row : std::vector<Row>{
           {{.cert_file = cert}, bad, "without a key"},
           {{.key_file = key}, bad, "without a certificate"},
           {{.cert_file = cert, .key_file = key, .require_client_cert = true}, bad, "authorities"},
           {{.cert_file = cert, .key_file = other_key}, bad, "does not fit"},
           {{.cert_file = text, .key_file = key}, bad, text},
           {{.cert_file = cert, .key_file = text}, bad, text},
           {{.cert_file = broken, .key_file = key}, bad, broken},
           {{.ca_file = text}, bad, text},
           {{.ca_file = half_broken}, bad, half_broken},
           {{.ca_file = text + ".missing"}, absl::StatusCode::kNotFound, ".missing"},
       }) {
    KEELSON_CHECK_ERROR(LoadTlsMaterial(row.files), row.code, row.text);
  }
  KEELSON_CHECK_ERROR(TlsServerContext::Create({}), bad, "certificate");
}

}  // namespace
}  // namespace keelson::http
