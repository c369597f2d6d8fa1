#include <catch2/catch.hpp>
#include <set>

#include "kvstore/auth/secrets.h"
#include "kvstore/auth/token_table.h"

namespace keelson::kvstore::auth {
namespace {

TEST_CASE("A password matches its own hash only", "[auth]") {
  const std::string hash = HashPassword("secret", kMinCost);
  CHECK(hash.starts_with("$2a$04$"));
  CHECK(hash.size() == 60);
  CHECK(hash != HashPassword("secret", kMinCost));  // another salt

  CHECK(PasswordMatches("secret", hash));
  CHECK_FALSE(PasswordMatches("Secret", hash));
  CHECK_FALSE(PasswordMatches("", hash));
  CHECK_FALSE(PasswordMatches("secret", ""));
  CHECK_FALSE(PasswordMatches("secret", "$2a$04$short"));
  CHECK_FALSE(PasswordMatches("secret", "$1$salt$hash"));
  CHECK_FALSE(PasswordMatches("secret", hash + "x"));
}

// The published test vector of bcrypt that Go's library is tested with.
TEST_CASE("A hash of Go's bcrypt is understood", "[auth]") {
  CHECK(PasswordMatches("allmine", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"));
}

TEST_CASE("Tokens are 16 letters and never the same", "[auth]") {
  std::set<std::string> tokens;
  for (int i = 0; i < 100; ++i) {
    const std::string token = NewToken();
    CHECK(token.size() == 16);
    CHECK(token.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") ==
          std::string::npos);
    tokens.insert(token);
  }
  CHECK(tokens.size() == 100);
}

TEST_CASE("A token lives as long as it is used", "[auth]") {
  TokenTable table(absl::Seconds(10));
  table.Assign("t", "u", absl::Seconds(0));

  CHECK(table.Resolve("t", absl::Seconds(9)) == "u");
  CHECK(table.Resolve("t", absl::Seconds(18)) == "u");
  CHECK(table.Resolve("t", absl::Seconds(28)) == std::nullopt);
  CHECK(table.Resolve("t", absl::Seconds(18)) == std::nullopt);
}

TEST_CASE("Tokens go with their user, with time, and all at once", "[auth]") {
  TokenTable table(absl::Seconds(10));
  table.Assign("t1", "u", absl::Seconds(0));
  table.Assign("t2", "u", absl::Seconds(0));
  table.Assign("t3", "v", absl::Seconds(5));

  SECTION("with their user") {
    table.InvalidateUser("u");
    CHECK(table.Resolve("t1", absl::Seconds(1)) == std::nullopt);
    CHECK(table.Resolve("t2", absl::Seconds(1)) == std::nullopt);
    CHECK(table.Resolve("t3", absl::Seconds(6)) == "v");
  }
  SECTION("with time") {
    table.Expire(absl::Seconds(10));
    CHECK(table.Resolve("t1", absl::Seconds(1)) == std::nullopt);
    CHECK(table.Resolve("t3", absl::Seconds(6)) == "v");
  }
  SECTION("all at once") {
    table.Clear();
    CHECK(table.Resolve("t3", absl::Seconds(6)) == std::nullopt);
  }
}

}  // namespace
}  // namespace keelson::kvstore::auth
