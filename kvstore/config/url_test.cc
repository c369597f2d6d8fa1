#include "kvstore/config/url.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"

using namespace keelson::kvstore;

TEST_CASE("A URL is scheme, host and port", "[kvstore][url]") {
  KEELSON_ASSIGN_OR_FAIL(const Url url, ParseUrl("https://[fe80::1%eth0]:0"));
  CHECK(url.scheme == "https");
  CHECK(url.host == "fe80::1%eth0");
  CHECK(url.port == 0);
  CHECK(url.HostPort() == "[fe80::1%eth0]:0");
  CHECK(url.tls());
}

TEST_CASE("A URL may be a socket of the file system", "[kvstore][url]") {
  KEELSON_ASSIGN_OR_FAIL(const Url url, ParseUrl("unix://etcd.unix:1"));
  CHECK(url.HostPort() == "unix:etcd.unix:1");
  CHECK(IsBindable(url));
  CHECK_FALSE(url.tls());
  KEELSON_ASSIGN_OR_FAIL(const Url secure, ParseUrl("unixs:///run/x/y.sock"));
  CHECK(secure.HostPort() == "unix:/run/x/y.sock");
  CHECK(secure.tls());
}

TEST_CASE("What is not exactly that is refused", "[kvstore][url]") {
  struct Row {
    std::string text;
    std::string why;
  };
  const auto row = GENERATE(values<Row>({
      {"", "scheme must be http, https, unix or unixs"},
      {"localhost:2380", "scheme must be http, https, unix or unixs"},
      {"ftp://localhost:21", "scheme must be http, https, unix or unixs"},
      {"HTTP://localhost:80", "scheme must be http, https, unix or unixs"},
      {"unix://", "1 to 107 bytes"},
      {"unixs:///a,b", "without ','"},
      {"unix:///" + std::string(107, 'a'), "1 to 107 bytes"},
      {"http://localhost", "no port"},
      {"http://localhost:", "port must be a number"},
      {"http://localhost:http", "port must be a number"},
      {"http://localhost:65536", "port must be a number"},
      {"http://localhost:-1", "port must be a number"},
      {"http://localhost:99999999999", "port must be a number"},
      {"http://:2380", "no valid host"},
      {"http://a b:2380", "no valid host"},
      {"http://[]:2380", "no valid host"},
      {"http://[::1:2380", "']' is missing"},
      {"http://[::1]", "no port"},
      {"http://[::1]x:1", "no port"},
      {"http://::1:2380", "must be in brackets"},
      {"http://localhost:2380/", "without a path"},
      {"http://localhost:2380?a", "without a path"},
      {"http://user@localhost:2380", "without a path"},
  }));
  DYNAMIC_SECTION("'" << row.text << "'") {
    KEELSON_CHECK_ERROR(ParseUrl(row.text), absl::StatusCode::kInvalidArgument, row.why);
  }
}

TEST_CASE("Lists are trimmed and sorted", "[kvstore][url]") {
  KEELSON_ASSIGN_OR_FAIL(const auto urls, ParseUrls(" http://b:2 ,http://a:1"));
  CHECK(Texts(urls) == std::vector<std::string>{"http://a:1", "http://b:2"});
  CHECK_FALSE(ParseUrls("").ok());
  CHECK_FALSE(ParseUrls("http://a:1,").ok());
}

TEST_CASE("Only addresses and localhost can be bound", "[kvstore][url]") {
  CHECK(IsBindable(*ParseUrl("http://127.0.0.1:1")));
  CHECK(IsBindable(*ParseUrl("http://[::1]:1")));
  CHECK(IsBindable(*ParseUrl("http://localhost:1")));
  CHECK_FALSE(IsBindable(*ParseUrl("http://example.com:1")));
}
