// Health checks against real servers on loopback.
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/event_loop.h"
#include "base/http/server.h"
#include "base/net/address.h"
#include "base/rpc/health.h"
#include "base/rpc/listener.h"
#include "base/rpc/server.h"
#include "base/testing/status_matchers.h"
#include "kvstore/discovery/health.h"

namespace keelson::kvstore::discovery {
namespace {

using absl::StatusCode;
using Kind = HealthCheck::Kind;

absl::Status Ask(HealthCheck check) {
  const auto prober = MakeNetworkProber();
  absl::Notification came;
  absl::Status outcome;
  prober->Probe(check, [&](const absl::Status& status) {
    outcome = status;
    came.Notify();
  });
  came.WaitForNotification();
  return outcome;
}

// An address where nobody listens: one that has just been left.
std::string DeadAddress() {
  auto listener = net::Listen("127.0.0.1:0");
  KEELSON_REQUIRE_OK(listener);
  return listener->address;
}

}  // namespace

TEST_CASE("TCP: a connection comes about, or the reason is told", "[discovery][prober]") {
  const auto listener = net::Listen("127.0.0.1:0");
  KEELSON_REQUIRE_OK(listener);
  CHECK(Ask({.kind = Kind::kTcp, .target = listener->address}).ok());
  CHECK(Ask({.kind = Kind::kTcp, .target = absl::StrCat("localhost:", listener->port)}).ok());
  const std::string dead = DeadAddress();
  KEELSON_CHECK_ERROR(Ask({.kind = Kind::kTcp, .target = dead}), StatusCode::kUnavailable,
                      "connect to '" + dead + "': Connection refused");
}

TEST_CASE("HTTP: 2xx is well, everything else is not", "[discovery][prober]") {
  auto server = http::Server::Start(
      {.listen = {"127.0.0.1:0"}},
      [](http::Request request, const std::shared_ptr<http::ResponseWriter>& writer) {
        if (request.target == "/slow") return;  // The writer's end answers 500.
        writer->Send(http::TextResponse(request.target == "/well" ? 204 : 503, ""));
      });
  KEELSON_REQUIRE_OK(server);
  const std::string base = absl::StrCat("http://", (*server)->addresses()[0]);
  CHECK(Ask({.kind = Kind::kHttp, .target = base + "/well"}).ok());
  KEELSON_CHECK_ERROR(Ask({.kind = Kind::kHttp, .target = base + "/ill"}), StatusCode::kUnavailable,
                      "answers with status 503");
  CHECK_FALSE(Ask({.kind = Kind::kHttp, .target = base + "/slow"}).ok());
  CHECK_FALSE(Ask({.kind = Kind::kHttp, .target = "http://" + DeadAddress()}).ok());
}

TEST_CASE("A server that accepts and says nothing is not well", "[discovery][prober]") {
  const auto listener = net::Listen("127.0.0.1:0");
  KEELSON_REQUIRE_OK(listener);
  const auto timeout = absl::Milliseconds(50);
  CHECK_FALSE(Ask({.kind = Kind::kGrpc, .target = listener->address, .timeout = timeout}).ok());
  CHECK_FALSE(Ask({.kind = Kind::kHttp,
                   .target = absl::StrCat("http://", listener->address),
                   .timeout = timeout})
                  .ok());
}

TEST_CASE("gRPC: SERVING is well", "[discovery][prober]") {
  const auto server = rpc::Server::Create({.threads = 1});
  rpc::RegisterHealthService(server.get());
  server->Start();
  EventLoop loop("accept");
  auto listener = rpc::Listener::Open(loop, *server, "127.0.0.1:0", /*tls=*/false);
  KEELSON_REQUIRE_OK(listener);
  const std::string address = absl::StrCat("127.0.0.1:", (*listener)->port());
  CHECK(Ask({.kind = Kind::kGrpc, .target = address}).ok());
  KEELSON_CHECK_ERROR(Ask({.kind = Kind::kGrpc, .target = address, .service = "no.Such"}),
                      StatusCode::kNotFound, "unknown service");
  CHECK_FALSE(Ask({.kind = Kind::kGrpc, .target = DeadAddress()}).ok());
}

}  // namespace keelson::kvstore::discovery
