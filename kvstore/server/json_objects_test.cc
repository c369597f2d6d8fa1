#include "kvstore/server/json_objects.h"

#include <catch2/catch.hpp>

namespace keelson::kvstore {
namespace {

using Objects = std::vector<std::string>;

TEST_CASE("A body is split into its objects", "[gateway]") {
  CHECK(SplitJsonObjects("") == Objects{"{}"});
  CHECK(SplitJsonObjects(" \n") == Objects{"{}"});
  CHECK(SplitJsonObjects("{}") == Objects{"{}"});
  CHECK(SplitJsonObjects(R"({"a":1} {"b":{"c":2}})") == Objects{R"({"a":1})", R"({"b":{"c":2}})"});
  CHECK(SplitJsonObjects("{}{}\r\n{}") == Objects{"{}", "{}", "{}"});
}

TEST_CASE("Braces in strings are no ends of objects", "[gateway]") {
  const std::string tricky = R"({"}":"{\"}\\"})";
  CHECK(SplitJsonObjects(tricky + tricky) == Objects{tricky, tricky});
}

TEST_CASE("What is no row of objects is refused", "[gateway]") {
  const auto bad = GENERATE(values<std::string>(
      {"{", "}", "[]", "x{}", "{}x", "{},{}", "{\"", "{\"}", "{\"\\", "{{}", "{}}", "null"}));
  CHECK(SplitJsonObjects(bad) == std::nullopt);
}

}  // namespace
}  // namespace keelson::kvstore
