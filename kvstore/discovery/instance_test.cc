#include "kvstore/discovery/instance.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/testing/status_matchers.h"

namespace keelson::kvstore::discovery {

using absl::StatusCode;

TEST_CASE("An entry is written as etcd's clients write it", "[discovery][naming]") {
  CHECK(NamingKey("services/web", "10.0.0.7:80") == "services/web/10.0.0.7:80");
  CHECK(*NamingValue({.address = "10.0.0.7:80"}) ==
        R"({"Op":0,"Addr":"10.0.0.7:80","Metadata":null})");
  CHECK(*NamingValue({.address = "[::1]:80", .metadata = R"({"zone": "a"})"}) ==
        R"({"Op":0,"Addr":"[::1]:80","Metadata":{"zone":"a"}})");
  CHECK(*NamingValue({.address = "h:1", .priority = 1, .weight = 0, .metadata = R"({"z":1})"}) ==
        R"({"Op":0,"Addr":"h:1","Metadata":{"z":1,"priority":1,"weight":0}})");
}

TEST_CASE("What is written is read back", "[discovery][naming]") {
  const auto instance = GENERATE(values<Instance>({
      {.address = "10.0.0.7:80"},
      {.address = "h.example:65535", .priority = 0, .weight = 65535},
      {.address = "[::1]:1", .metadata = R"({"zone":"a","list":[1,{"x":null}]})"},
  }));
  const auto value = NamingValue(instance);
  KEELSON_REQUIRE_OK(value);
  const auto read = ParseNamingValue(*value);
  KEELSON_REQUIRE_OK(read);
  CHECK(*read == instance);
}

TEST_CASE("Entries of other programs are read", "[discovery][naming]") {
  struct Row {
    std::string value, address, metadata;
    int priority = kDefaultPriority;
    int weight = kDefaultWeight;
  };
  const auto row = GENERATE(values<Row>({
      {R"({"Op":0,"Addr":"a:1","Metadata":null})", "a:1", ""},
      {R"({"Addr":"a:1"})", "a:1", ""},
      {R"({"Addr":"a:1","Metadata":"text"})", "a:1", R"("text")"},
      {R"({"Addr":"a:1","Metadata":[1]})", "a:1", "[1]"},
      // grpc-proxy's
      {R"({"Op":0,"Addr":"127.0.0.1:23790","Metadata":{"name":"host"}})", "127.0.0.1:23790",
       R"({"name":"host"})"},
      {R"({"Addr":"a:1","Metadata":{"weight":7}})", "a:1", "", 10, 7},
      // Numbers that are not ours stay theirs.
      {R"({"Addr":"a:1","Metadata":{"weight":70000}})", "a:1", R"({"weight":70000})"},
      {R"({"Addr":"a:1","Metadata":{"priority":"high"}})", "a:1", R"({"priority":"high"})"},
      {R"({"Addr":"a:1","Metadata":{"weight":18446744073709551615}})", "a:1",
       R"({"weight":18446744073709551615})"},
  }));
  INFO(row.value);
  const auto read = ParseNamingValue(row.value);
  KEELSON_REQUIRE_OK(read);
  CHECK(read->address == row.address);
  CHECK(read->metadata == row.metadata);
  CHECK(read->priority == row.priority);
  CHECK(read->weight == row.weight);
}

TEST_CASE("What is no entry is refused", "[discovery][naming]") {
  const std::string value =
      GENERATE("", "{", "null", "[]", "7", R"({"Op":1,"Addr":"a:1"})", R"({"Op":"0","Addr":"a:1"})",
               R"({"Op":0})", R"({"Addr":""})", R"({"Addr":7})", R"({"Addr":"a:1"} x)");
  INFO(value);
  KEELSON_CHECK_ERROR(ParseNamingValue(value), StatusCode::kInvalidArgument, "");
}

TEST_CASE("A value that nests without end is refused", "[discovery][naming]") {
  KEELSON_CHECK_ERROR(ParseNamingValue(R"({"Addr":"a:1","Metadata":)" + std::string(100000, '[')),
                      StatusCode::kInvalidArgument, "");
  KEELSON_CHECK_ERROR(ParseNamingValue(R"({"Addr":"a:1","Metadata":)" + std::string(100, '[') +
                                       std::string(100, ']') + "}"),
                      StatusCode::kInvalidArgument, "");
}

TEST_CASE("What cannot be published is refused", "[discovery][naming]") {
  KEELSON_CHECK_ERROR(NamingValue({.address = "no-port"}), StatusCode::kInvalidArgument, "no-port");
  KEELSON_CHECK_ERROR(NamingValue({.address = "a:1", .priority = -1}), StatusCode::kInvalidArgument,
                      "priority -1");
  KEELSON_CHECK_ERROR(NamingValue({.address = "a:1", .weight = 65536}),
                      StatusCode::kInvalidArgument, "weight 65536");
  KEELSON_CHECK_ERROR(NamingValue({.address = "a:1", .metadata = "[1]"}),
                      StatusCode::kInvalidArgument, "metadata");
  KEELSON_CHECK_ERROR(NamingValue({.address = "a:1", .metadata = "{"}),
                      StatusCode::kInvalidArgument, "metadata");
}

TEST_CASE("A record is written as SkyDNS and CoreDNS read it", "[discovery][skydns]") {
  const SkyDnsName name{
      .name = "1.Rails.production.east.skydns.local", .ttl = absl::Seconds(30), .text = "hello"};
  CHECK(*SkyDnsKey(name) == "/skydns/local/skydns/east/production/rails/1");
  CHECK(*SkyDnsValue(name, {.address = "10.0.0.7:80", .weight = 7}) ==
        R"({"host":"10.0.0.7","port":80,"priority":10,"weight":7,"text":"hello","ttl":30})");
  CHECK(*SkyDnsKey({.name = "a.b.", .prefix = "/coredns"}) == "/coredns/b/a");
  CHECK(*SkyDnsValue({.name = "a"}, {.address = "[::1]:53"}) ==
        R"({"host":"::1","port":53,"priority":10,"weight":100})");
}

TEST_CASE("What is no DNS name is refused", "[discovery][skydns]") {
  const std::string name = GENERATE("", ".", "a..b", "a/b.c", "a b", std::string(64, 'a'));
  INFO(name);
  KEELSON_CHECK_ERROR(SkyDnsKey({.name = name}), StatusCode::kInvalidArgument, "DNS name");
}

}  // namespace keelson::kvstore::discovery
