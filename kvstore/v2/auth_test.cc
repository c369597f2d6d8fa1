#include "kvstore/v2/auth.h"

#include <catch2/catch.hpp>

namespace keelson::kvstore::v2 {
namespace {

using Names = std::vector<std::string>;

std::string MessageOf(const auto& result) { return std::get<AuthError>(result).message; }

TEST_CASE("JSON of users and roles is etcd's", "[kvstore][v2auth]") {
  const auto user = ParseAuthUser(R"({"user":"foo", "password":"pass"})");
  REQUIRE(user.has_value());
  CHECK(AuthUserJson(*user) == R"({"user":"foo","password":"pass","roles":null})");
  const auto role = ParseAuthRole(R"({"role":"r","permissions":{"kv":{"read":["/foo/*"]}}})");
  REQUIRE(role.has_value());
  CHECK(AuthRoleJson(*role) ==
        R"({"role":"r","permissions":{"kv":{"read":["/foo/*"],"write":null}}})");
  // Names of fields in any case, and fields that nobody knows.
  const auto loose = ParseAuthUser(R"({"USER":"x","Roles":[],"color":{"a":1}})");
  REQUIRE(loose.has_value());
  CHECK(AuthUserJson(*loose) == R"({"user":"x","roles":[]})");
}

TEST_CASE("What is not such an object is refused", "[kvstore][v2auth]") {
  const auto bad = GENERATE(as<std::string>(), "", "{", "[]", "null", R"({"user":1})",
                            R"({"user":"a","roles":"b"})", R"({"user":"a","roles":[1]})",
                            R"({"user":"a","grant":{}})");
  CHECK_FALSE(ParseAuthUser(bad).has_value());
  CHECK_FALSE(ParseAuthRole(R"({"role":"r","permissions":[]})").has_value());
  CHECK_FALSE(ParseAuthRole(R"({"role":"r","grant":{"kv":{"read":"x"}}})").has_value());
}

TEST_CASE("Roles are granted once and revoked once", "[kvstore][v2auth]") {
  const AuthUser user{.name = "u", .password = "hash", .roles = Names{"b"}};
  const auto merged = Merge(user, {.grant = {"c", "a"}, .revoke = {"b"}});
  CHECK(std::get<AuthUser>(merged).roles == Names{"a", "c"});
  CHECK(std::get<AuthUser>(merged).password == "hash");
  CHECK(MessageOf(Merge(user, {.grant = {"b"}})) == "auth: Granting duplicate role b for user u");
  CHECK(MessageOf(Merge(user, {.revoke = {"x"}})) == "auth: Revoking ungranted role x for user u");
}

TEST_CASE("Patterns are granted once; revoking what is not there is nothing", "[kvstore][v2auth]") {
  const AuthRole role{.name = "r", .rights = {.read = Names{"/a"}}};
  const auto merged =
      Merge(role, {.grant = {.write = Names{"/b/*"}}, .revoke = {.read = Names{"/a", "/x"}}});
  CHECK(std::get<AuthRole>(merged).rights.read == Names{});
  CHECK(std::get<AuthRole>(merged).rights.write == Names{"/b/*"});
  CHECK(MessageOf(Merge(role, {.grant = {.read = Names{"/a"}}})) ==
        "auth: Granting duplicate read permission /a");
}

TEST_CASE("A pattern opens a key, or with * all that begins so", "[kvstore][v2auth]") {
  const AuthRole role{.name = "r",
                      .rights = {.read = Names{"/a", "/b/*"}, .write = Names{"/w*", ""}}};
  CHECK(Opens(role, "/a", false, false));
  CHECK_FALSE(Opens(role, "/a", false, true));
  CHECK_FALSE(Opens(role, "/a/b", false, false));
  CHECK(Opens(role, "/b/c", false, true));
  CHECK(Opens(role, "/b/", false, false));
  CHECK_FALSE(Opens(role, "/b", false, false));
  CHECK_FALSE(Opens(role, "/a", true, false));
  CHECK(Opens(role, "/wide", true, true));
  CHECK(Opens(AllKeys("guest"), "/x", true, true));
  CHECK(Opens({.name = "root"}, "/x", true, true));
}

TEST_CASE("Basic credentials may have colons in the password", "[kvstore][v2auth]") {
  const auto said = ParseBasicCredentials("basic cm9vdDphOmI=");
  REQUIRE(said.has_value());
  CHECK(said->user == "root");
  CHECK(said->password == "a:b");
  for (const char* bad : {"", "Basic", "Bearer cm9vdDph", "Basic !!", "Basic cm9vdA=="}) {
    CHECK_FALSE(ParseBasicCredentials(bad).has_value());
  }
}

}  // namespace
}  // namespace keelson::kvstore::v2
