#include "base/net/address.h"

#include <catch2/catch.hpp>

#include <cstdlib>

#include "base/testing/status_matchers.h"

namespace keelson::net {
namespace {

TEST_CASE("Host and port are read", "[net][address]") {
  struct Row {
    std::string text, host;
    uint16_t port;
  };
  for (const Row& row : std::vector<Row>{{"127.0.0.1:2379", "127.0.0.1", 2379},
                                         {"[::1]:0", "::1", 0},
                                         {":65535", "", 65535},
                                         {"node-1.example:80", "node-1.example", 80}}) {
    CAPTURE(row.text);
    KEELSON_ASSIGN_OR_FAIL(const HostPort parsed, ParseHostPort(row.text));
    CHECK(parsed.host == row.host);
    CHECK(parsed.port == row.port);
  }
  CHECK(JoinHostPort("::1", 80) == "[::1]:80");
  CHECK(JoinHostPort("h", 80) == "h:80");
}

TEST_CASE("What is no host and port is refused by name", "[net][address]") {
  for (const char* bad :
       {"", "h", "h:", "h:65536", "h:-1", "h:+1", "h:1x", "h: 1", "::1:80", "[::1]", "[::1]80",
        "[h]:80", "[]:80", "a b:80", "u@h:80", "h/x:80", "[::1:80", "::1]:80"}) {
    CAPTURE(bad);
    KEELSON_CHECK_ERROR(ParseHostPort(bad), absl::StatusCode::kInvalidArgument,
                        "address '" + std::string(bad) + "'");
  }
}

TEST_CASE("Port 0 becomes a real port, which nobody else can have", "[net][listen]") {
  KEELSON_ASSIGN_OR_FAIL(const Listener listener, Listen("127.0.0.1:0"));
  CHECK(listener.port != 0);
  CHECK(listener.address == "127.0.0.1:" + std::to_string(listener.port));
  KEELSON_CHECK_ERROR(Listen(listener.address), absl::StatusCode::kAlreadyExists,
                      "address '" + listener.address + "' is in use");
}

TEST_CASE("Every address of the machine can be listened on", "[net][listen]") {
  KEELSON_ASSIGN_OR_FAIL(const Listener listener, Listen(":0"));
  CHECK(listener.port != 0);
}

TEST_CASE("A socket file left behind is replaced, one in use is not", "[net][listen]") {
  char folder[] = "/tmp/keelson_listen_XXXXXX";  // TEST_TMPDIR may be too long for a socket.
  REQUIRE(::mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/s";
  {
    KEELSON_ASSIGN_OR_FAIL(const Listener listener, Listen("unix:" + path));
    CHECK(listener.address == "unix:" + path);
    KEELSON_CHECK_ERROR(Listen("unix:" + path), absl::StatusCode::kAlreadyExists, path);
  }
  KEELSON_REQUIRE_OK(Listen("unix:" + path));
  CHECK(::unlink(path.c_str()) == 0);
  CHECK(::rmdir(folder) == 0);
  KEELSON_CHECK_ERROR(Listen("unix:" + std::string(200, 'x')), absl::StatusCode::kInvalidArgument,
                      "socket path");
  KEELSON_CHECK_ERROR(Listen("unix:"), absl::StatusCode::kInvalidArgument, "socket path");
}

}  // namespace
}  // namespace keelson::net
