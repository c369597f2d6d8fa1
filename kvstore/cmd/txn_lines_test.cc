#include "kvstore/cmd/txn_lines.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

namespace keelson::kvctl {
namespace {

using etcdserverpb::Compare;
using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("A comparison names target, key, operator and value", "[kvctl][txn]") {
  Compare compare;
  SECTION("modification") {
    REQUIRE(ParseCompare(R"(mod("a\x41") > "5")", &compare).exit == Exit::kOk);
    CHECK(compare.key() == "aA");
    CHECK(compare.target() == Compare::MOD);
    CHECK(compare.result() == Compare::GREATER);
    CHECK(compare.mod_revision() == 5);
  }
  SECTION("version, long and short, with spaces") {
    REQUIRE(ParseCompare(R"(version("a")   !=   "-1")", &compare).exit == Exit::kOk);
    CHECK(compare.target() == Compare::VERSION);
    CHECK(compare.result() == Compare::NOT_EQUAL);
    CHECK(compare.version() == -1);
  }
  SECTION("value with a quote and a parenthesis") {
    REQUIRE(ParseCompare(R"x(val("k(") = "x\")")x", &compare).exit == Exit::kOk);
    CHECK(compare.key() == "k(");
    CHECK(compare.value() == "x\")");
  }
  SECTION("creation") {
    REQUIRE(ParseCompare(R"(create("a") < "7")", &compare).exit == Exit::kOk);
    CHECK(compare.result() == Compare::LESS);
    CHECK(compare.create_revision() == 7);
  }
  SECTION("lease in hex") {
    REQUIRE(ParseCompare(R"(lease("a") = "1f")", &compare).exit == Exit::kOk);
    CHECK(compare.lease() == 0x1f);
  }
}

TEST_CASE("A comparison that cannot be read is refused with etcdctl's text", "[kvctl][txn]") {
  struct Row {
    std::string line, error;
  };
  const auto row = GENERATE(values<Row>({
      {"", "malformed comparison: "},
      {"garbage", "malformed comparison: garbage"},
      {"# comment", "malformed comparison: # comment"},
      {R"(foo("a") = "0")", R"(malformed comparison: foo("a") = "0" (unknown target foo))"},
      {R"(mod("a") = "x")", R"(invalid txn compare request: mod("a") = "x")"},
      {R"(mod("a") = "99999999999999999999")",
       R"(invalid txn compare request: mod("a") = "99999999999999999999")"},
      {R"(mod(a) = "1")", R"(malformed comparison: mod(a) = "1"; got mod("")  "")"},
      {R"(mod("a") = 1)", R"(malformed comparison: mod("a") = 1; got mod("a") = "")"},
      {R"(mod("a")>"0")", R"(malformed comparison: mod("a")>"0"; got mod("a")  "")"},
      {R"(mod("a) = "1")", R"(malformed comparison: mod("a) = "1"; got mod("a) = ")  "")"},
      {R"(mod("a") = "1)", R"(malformed comparison: mod("a") = "1; got mod("a") = "")"},
      {R"(mod("a") ~ "0")", R"(malformed comparison: mod("a") ~ "0" (unknown operator ~))"},
  }));
  Compare compare;
  const Outcome outcome = ParseCompare(row.line, &compare);
  INFO(row.line);
  CHECK(outcome.exit == Exit::kInvalidInput);
  CHECK(outcome.error == row.error);
}

TEST_CASE("Words may be quoted", "[kvctl][txn]") {
  CHECK(SplitWords("  put  a\tb ") == Words{"put", "a", "b"});
  CHECK(SplitWords(R"(put "key with space" "v\n\x41é")") ==
        Words{"put", "key with space", "v\nA\xc3\xa9"});
  CHECK(SplitWords(R"(put 'a "b" \n' '')") == Words{"put", R"(a "b" \n)", ""});
  CHECK(SplitWords(R"("\101\u00e9\U0001F600")") == Words{"A\xc3\xa9\xf0\x9f\x98\x80"});
  CHECK(SplitWords("") == Words{});
}

TEST_CASE("A quote that is open or an escape that is none is refused", "[kvctl][txn]") {
  const std::string line =
      GENERATE(R"(put "a)", "put 'a", R"("\)", R"("\q")", R"("\x4")", R"("\x4g")", R"("\400")",
               R"("\ud800")", R"("\U00110000")", R"("\u12")");
  INFO(line);
  CHECK(SplitWords(line) == std::nullopt);
}

TEST_CASE("Operations are read like command lines", "[kvctl][txn]") {
  etcdserverpb::RequestOp op;
  SECTION("put") {
    REQUIRE(ParseOperation("put a [1,2] --prev-kv --lease=1f", &op).exit == Exit::kOk);
    CHECK(op.request_put().key() == "a");
    CHECK(op.request_put().value() == "[1,2]");
    CHECK(op.request_put().prev_kv());
    CHECK(op.request_put().lease() == 0x1f);
  }
  SECTION("put of an empty value") {
    REQUIRE(ParseOperation(R"(put a "")", &op).exit == Exit::kOk);
    CHECK(op.request_put().value().empty());
  }
  SECTION("get of a prefix, sorted") {
    REQUIRE(
        ParseOperation("get --prefix a/ --sort-by=modify --order descend --limit 3", &op).exit ==
        Exit::kOk);
    CHECK(op.request_range().range_end() == "a0");
    CHECK(op.request_range().sort_target() == etcdserverpb::RangeRequest::MOD);
    CHECK(op.request_range().sort_order() == etcdserverpb::RangeRequest::DESCEND);
    CHECK(op.request_range().limit() == 3);
  }
  SECTION("del of a range") {
    REQUIRE(ParseOperation("del a c", &op).exit == Exit::kOk);
    CHECK(op.request_delete_range().range_end() == "c");
  }
}

TEST_CASE("An operation that cannot be read is refused", "[kvctl][txn]") {
  struct Row {
    std::string line;
    Exit exit;
  };
  const auto row = GENERATE(values<Row>({
      {"foo a", Exit::kInvalidInput},
      {"\"\"", Exit::kInvalidInput},
      {"put a b --bad", Exit::kInvalidInput},
      {"put a b c", Exit::kInvalidInput},
      {"get a -w json", Exit::kInvalidInput},
      {"put \"a", Exit::kInvalidInput},
      {"put a", Exit::kBadArguments},
      {"put a b --ignore-value", Exit::kBadArguments},
      {"put a b --lease=zz", Exit::kBadArguments},
      {"get", Exit::kBadArguments},
      {"get a --limit=x", Exit::kBadArguments},
      {"get a b --prefix", Exit::kBadArguments},
      {"get a --order=sideways", Exit::kBadFeature},
      {"del", Exit::kBadArguments},
  }));
  etcdserverpb::RequestOp op;
  const Outcome outcome = ParseOperation(row.line, &op);
  INFO(row.line << ": " << outcome.error);
  CHECK(outcome.exit == row.exit);
  CHECK_FALSE(outcome.error.empty());
}

}  // namespace keelson::kvctl
