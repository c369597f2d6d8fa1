// One address for http and https.
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "base/http/client.h"
#include "base/http/server.h"
#include "base/net/http_sink.h"
#include "base/net/shared_port.h"
#include "base/net/sniff.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"
#include "base/tls.h"

namespace keelson::net {
namespace {

class RefusingSink final : public ConnectionSink {
 public:
  void Take(UniqueFd, std::string) override { ++taken; }
  int taken = 0;
};

TEST_CASE("With plain_too the first byte tells whether it is TLS", "[net][shared_port][tls]") {
  const testing::TestAuthority authority;
  const auto own = authority.Issue("server", "IP:127.0.0.1");
  auto tls = TlsServerContext::Create({.cert_pem = own.cert_pem, .key_pem = own.key_pem});
  KEELSON_REQUIRE_OK(tls);
  auto server = http::Server::Start(
      {.tls = *tls},
      [](const http::Request& request, const std::shared_ptr<http::ResponseWriter>& writer) {
        writer->Send(http::TextResponse(200, request.tls ? "tls" : "plain"));
      });
  KEELSON_REQUIRE_OK(server);
  auto port = SharedPort::Bind({.listen = {"127.0.0.1:0"}, .tls = true, .plain_too = true});
  KEELSON_REQUIRE_OK(port);
  HttpSink plain_sink(**server, false);
  HttpSink tls_sink(**server, true);
  RefusingSink grpc;
  (*port)->StartBoth({&plain_sink, &grpc}, {&tls_sink, &grpc});

  auto context = TlsClientContext::Create({.ca_pem = authority.ca_pem()});
  KEELSON_REQUIRE_OK(context);
  auto client = http::Client::Create({.tls = *context});
  KEELSON_REQUIRE_OK(client);
  for (const auto& [scheme, body] : {std::pair("http", "plain"), std::pair("https", "tls")}) {
    KEELSON_ASSIGN_OR_FAIL(const http::Response response,
                           (*client)->FetchBlocking({.url = std::string(scheme) + "://" +
                                                            (*port)->addresses()[0] + "/"}));
    CHECK(response.body == body);
  }
  (*port)->Stop();
  CHECK(grpc.taken == 0);
}

TEST_CASE("TLS begins with a handshake record", "[net][sniff]") {
  CHECK(StartsTls("\x16\x03\x01"));
  CHECK_FALSE(StartsTls("GET /"));
  CHECK_FALSE(StartsTls("PRI * HTTP/2.0"));
}

}  // namespace
}  // namespace keelson::net
