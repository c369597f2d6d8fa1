// What a request to /v2/keys asks for, and what is wrong with it.
#include <catch2/catch.hpp>

#include <limits>
#include <string>
#include <variant>

#include "kvstore/v2/keys_request.h"

namespace keelson::kvstore::v2 {
namespace {

constexpr int64_t kNow = int64_t{1'700'000'000} * 1'000'000'000;

std::variant<KeysRequest, Error> Parse(const std::string& method, const std::string& target,
                                       const std::string& form = "") {
  http::Request request{.method = method, .target = target, .body = form};
  if (!form.empty()) request.headers.Add("Content-Type", "application/x-www-form-urlencoded");
  return ParseKeysRequest(request, kNow);
}

TEST_CASE("Method and fields choose the operation", "[kvstore][v2]") {
  struct Row {
    std::string method, target;
    V2Request::Operation operation;
  };
  const auto row = GENERATE(values<Row>({
      {"PUT", "/v2/keys/a?value=1", V2Request::SET},
      {"PUT", "/v2/keys/a?prevExist=false&prevValue=1", V2Request::CREATE},
      {"PUT", "/v2/keys/a?prevExist=true", V2Request::UPDATE},
      {"PUT", "/v2/keys/a?prevExist=true&prevIndex=7", V2Request::COMPARE_AND_SWAP},
      {"PUT", "/v2/keys/a?prevValue=x", V2Request::COMPARE_AND_SWAP},
      {"PUT", "/v2/keys/a?prevIndex=0", V2Request::SET},
      {"POST", "/v2/keys/a", V2Request::CREATE_IN_ORDER},
      {"DELETE", "/v2/keys/a", V2Request::DELETE},
      {"DELETE", "/v2/keys/a?prevValue=x", V2Request::COMPARE_AND_DELETE},
  }));
  const auto parsed = Parse(row.method, row.target);
  REQUIRE(std::holds_alternative<KeysRequest>(parsed));
  CHECK(std::get<KeysRequest>(parsed).kind == KeysRequest::Kind::kWrite);
  CHECK(std::get<KeysRequest>(parsed).write.operation() == row.operation);
}

TEST_CASE("The body's fields count before those of the query", "[kvstore][v2]") {
  const auto parsed = Parse("PUT", "/v2/keys/a%20b/?value=query&dir=true", "value=form");
  REQUIRE(std::holds_alternative<KeysRequest>(parsed));
  const V2Request& write = std::get<KeysRequest>(parsed).write;
  CHECK(write.path() == "/a b");
  CHECK(write.value() == "form");
  CHECK(write.directory());
}

TEST_CASE("A time to live is counted from now, up to the end of time", "[kvstore][v2]") {
  const auto expiration = [](const std::string& fields) {
    return std::get<KeysRequest>(Parse("PUT", "/v2/keys/a?" + fields)).write.expiration();
  };
  CHECK(expiration("value=1") == 0);
  CHECK(expiration("ttl=") == 0);
  CHECK(expiration("ttl=0") == kNow);
  CHECK(expiration("ttl=2") == kNow + 2'000'000'000);
  CHECK(expiration("ttl=18446744073709551615") == std::numeric_limits<int64_t>::max());
}

TEST_CASE("The first thing wrong with a request is named", "[kvstore][v2]") {
  struct Row {
    std::string method, target;
    ErrorCode code;
    std::string cause;
  };
  const auto row = GENERATE(values<Row>({
      {"PUT", "/v2/keys/a?prevIndex=x&ttl=y", ErrorCode::kIndexNotNumber,
       "invalid value for \"prevIndex\""},
      {"PUT", "/v2/keys/a?prevIndex=-1", ErrorCode::kIndexNotNumber,
       "invalid value for \"prevIndex\""},
      {"GET", "/v2/keys/a?waitIndex=", ErrorCode::kIndexNotNumber,
       "invalid value for \"waitIndex\""},
      {"GET", "/v2/keys/a?wait=yes", ErrorCode::kInvalidField, "invalid value for \"wait\""},
      {"PUT", "/v2/keys/a?prevExist=yes", ErrorCode::kInvalidField, "invalid value for prevExist"},
      {"PUT", "/v2/keys/a?wait=true", ErrorCode::kInvalidField,
       "\"wait\" can only be used with GET requests"},
      {"PUT", "/v2/keys/a?prevValue=", ErrorCode::kPrevValueRequired,
       "\"prevValue\" cannot be empty"},
      {"PUT", "/v2/keys/a?ttl=99999999999999999999", ErrorCode::kTtlNotNumber,
       "invalid value for \"ttl\""},
      {"PUT", "/v2/keys/a?refresh=true&ttl=1&value=x", ErrorCode::kRefreshValue,
       "A value was provided on a refresh"},
      {"PUT", "/v2/keys/a?refresh=true", ErrorCode::kRefreshTtlRequired, "No TTL value set"},
      {"GET", "/v2/keys/a?x=%zz", ErrorCode::kInvalidForm, "invalid URL escape"},
      {"GET", "/v2/keys/%zz", ErrorCode::kInvalidForm, "incorrect key prefix"},
      {"GET", "/elsewhere", ErrorCode::kInvalidForm, "incorrect key prefix"},
  }));
  const auto parsed = Parse(row.method, row.target);
  REQUIRE(std::holds_alternative<Error>(parsed));
  CHECK(std::get<Error>(parsed).code == row.code);
  CHECK(std::get<Error>(parsed).cause == row.cause);
}

TEST_CASE("The folder of users and roles cannot be named", "[kvstore][v2]") {
  for (const char* target : {"/v2/keys/_%00auth", "/v2/keys/_%00auth/users/root",
                             "/v2/keys//a/../_%00auth/enabled?wait=true"}) {
    for (const char* method : {"GET", "PUT", "POST", "DELETE"}) {
      const auto parsed = Parse(method, target);
      REQUIRE(std::holds_alternative<Error>(parsed));
      CHECK(std::get<Error>(parsed).code == ErrorCode::kInvalidForm);
    }
  }
  CHECK(std::holds_alternative<KeysRequest>(Parse("GET", "/v2/keys/_auth")));
}

}  // namespace
}  // namespace keelson::kvstore::v2
