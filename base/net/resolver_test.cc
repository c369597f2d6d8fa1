#include "base/net/resolver.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/net/address.h"
#include "base/testing/status_matchers.h"

namespace keelson::net {
namespace {

std::string TextOf(const SocketAddress& address) {
  return AddressText(reinterpret_cast<const sockaddr*>(&address.bytes), address.size);
}

TEST_CASE("Addresses in numbers need nobody to ask", "[net][resolver]") {
  for (const std::string text : {"127.0.0.1:80", "[::1]:443", "unix:/run/x.sock"}) {
    KEELSON_ASSIGN_OR_FAIL(const SocketAddress address, ParseSocketAddress(text));
    CHECK(TextOf(address) == text);
  }
  KEELSON_CHECK_ERROR(ParseSocketAddress("localhost:80"), absl::StatusCode::kNotFound, "host name");
  for (const std::string& bad : {std::string("nothing"), std::string("127.0.0.1:99999"),
                                 std::string("unix:"), "unix:/" + std::string(200, 'x')}) {
    CAPTURE(bad);
    CHECK(ParseSocketAddress(bad).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("Host names are looked up, and what there is none of is said", "[net][resolver]") {
  Resolver resolver;
  absl::Notification good;
  absl::Notification bad;
  resolver.Resolve("localhost:80", [&](absl::StatusOr<std::vector<SocketAddress>> found) {
    CHECK((found.ok() && !found->empty()));
    good.Notify();
  });
  resolver.Resolve("no-such-host.invalid:80",
                   [&](absl::StatusOr<std::vector<SocketAddress>> found) {
                     KEELSON_CHECK_ERROR(found, absl::StatusCode::kUnavailable,
                                         "look up 'no-such-host.invalid'");
                     bad.Notify();
                   });
  good.WaitForNotification();
  bad.WaitForNotification();
}

TEST_CASE("A resolver that goes does not wait and tells nobody", "[net][resolver]") {
  bool told = false;
  {
    Resolver resolver;
    for (int i = 0; i < 100; ++i) {
      resolver.Resolve("no-such-host.invalid:80", [&told, i](const auto&) { told |= i == 99; });
    }
  }
  CHECK_FALSE(told);
}

}  // namespace
}  // namespace keelson::net
