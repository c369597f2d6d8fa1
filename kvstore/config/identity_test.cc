#include "kvstore/config/identity.h"

#include <catch2/catch.hpp>

using namespace keelson::kvstore;

// Every constant below was printed by etcd 3.4.23 started with these peer URLs
// and tokens
// ("starting member ... in cluster ...", "added member ...").
TEST_CASE("Member and cluster ids are those of etcd", "[kvstore][identity]") {
  SECTION("the default configuration") {
    const uint64_t id = FoundingMemberId({"http://localhost:2380"}, "etcd-cluster");
    CHECK(FormatId(id) == "8e9e05c52164694d");
    CHECK(FormatId(ClusterId({id})) == "cdf818194e3a8c32");
  }
  SECTION("three members; the order in which ids are given does not matter") {
    const uint64_t a = FoundingMemberId({"http://127.0.0.1:2380"}, "tok");
    const uint64_t b = FoundingMemberId({"http://127.0.0.1:2381"}, "tok");
    const uint64_t c = FoundingMemberId({"http://127.0.0.1:2382"}, "tok");
    CHECK(FormatId(a) == "71405583d3e2d5ce");
    CHECK(FormatId(b) == "321b4ccd5c32edea");
    CHECK(FormatId(c) == "bf923f8405cbb3bc");
    CHECK(FormatId(ClusterId({a, b, c})) == "62e51227d18cf864");
    CHECK(ClusterId({c, a, b}) == ClusterId({a, b, c}));
  }
  SECTION("a member with two URLs, which are sorted first") {
    const uint64_t id = FoundingMemberId({"http://127.0.0.1:2390", "http://10.0.0.1:2380"}, "t2");
    CHECK(FormatId(id) == "87d32bdf53fd835d");
    CHECK(FormatId(ClusterId({id})) == "66d8d096e95775aa");
  }
  SECTION("IPv6 and https") {
    const uint64_t a = FoundingMemberId({"http://[::1]:2380"}, "etcd-cluster-1");
    const uint64_t b = FoundingMemberId({"https://example.com:2380"}, "etcd-cluster-1");
    CHECK(FormatId(a) == "3006eae1be54e358");
    CHECK(FormatId(b) == "b3f04ec8f14b997f");
    CHECK(FormatId(ClusterId({a, b})) == "a5bf8e045fdb0678");
  }
}

TEST_CASE("Ids print without leading zeros", "[kvstore][identity]") {
  CHECK(FormatId(0) == "0");
  CHECK(FormatId(0x00ab) == "ab");
  CHECK(FormatId(~uint64_t{0}) == "ffffffffffffffff");
}
