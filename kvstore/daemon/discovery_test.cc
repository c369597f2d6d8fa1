#include "kvstore/daemon/discovery.h"

#include <catch2/catch.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"

namespace keelson::kvstore {
namespace {

constexpr char kFolder[] = "http://d:1/v2/keys/t";

// A folder of a service, and what happens to it while somebody waits.
struct FakeService {
  std::string size = "2";
  std::vector<std::pair<std::string, std::string>> members;  // in the order of their creation
  std::vector<std::pair<std::string, std::string>> later;    // one for each wait
  int failures = 0;
  int slept = 0;
  int asked = 0;
  int give_up_after = 100;

  absl::StatusOr<http::Response> Serve(const http::FetchRequest& request) {
    ++asked;
    if (failures > 0) {
      --failures;
      return absl::UnavailableError("no route");
    }
    if (request.url == absl::StrCat(kFolder, "/_config/size")) {
      if (size.empty()) return http::JsonResponse(404, R"({"errorCode":100})");
      return http::JsonResponse(200, absl::StrCat(R"({"node":{"value":")", size, R"("}})"));
    }
    if (request.method == "PUT") {
      const std::string id = request.url.substr(sizeof(kFolder), 1);
      CHECK(absl::EndsWith(request.url, "?prevExist=false"));
      CHECK(absl::StartsWith(request.body, "value="));
      members.emplace_back(id, *http::PercentDecode(request.body.substr(6)));
      return http::JsonResponse(201, "{}");
    }
    if (absl::StrContains(request.url, "wait=true")) {
      if (later.empty()) return absl::DeadlineExceededError("nothing");
      members.push_back(later.front());
      later.erase(later.begin());
      return http::JsonResponse(200, "{}");
    }
    CHECK(request.url == kFolder);
    std::string nodes = R"({"key":"/t/_config","dir":true,"createdIndex":3})";
    for (size_t i = members.size(); i-- > 0;) {
      absl::StrAppend(&nodes, R"(,{"key":"/t/)", members[i].first, R"(","value":")",
                      members[i].second, R"(","createdIndex":)", 10 + i, "}");
    }
    return http::JsonResponse(200, absl::StrCat(R"({"node":{"nodes":[)", nodes, "]}}"));
  }

  absl::StatusOr<std::string> Join(const std::string& id, const std::string& value) {
    const DiscoveryFetch fetch = [this](const http::FetchRequest& fetched) {
      return Serve(fetched);
    };
    const DiscoveryWorld world{.sleep = [this](absl::Duration) { ++slept; },
                               .go_on = [this] { return asked < give_up_after; }};
    return JoinByDiscovery(fetch, world, kFolder, {.id = id, .members = value});
  }
};

TEST_CASE("A member registers and waits for the others", "[kvstore][discovery]") {
  FakeService service{.later = {{"b", "two=http://b:2"}}};
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=http://a:1"));
  CHECK(all == "one=http://a:1,two=http://b:2");
}

TEST_CASE("The last to come is not waited for", "[kvstore][discovery]") {
  FakeService service{.members = {{"b", "two=http://b:2"}}, .failures = 3};
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=http://a:1,one=http://a:3"));
  CHECK(all == "two=http://b:2,one=http://a:1,one=http://a:3");
  CHECK(service.slept == 1 + 2 + 4);
}

TEST_CASE("Who cannot join hears why", "[kvstore][discovery]") {
  FakeService full{.members = {{"b", "two=x"}, {"c", "three=y"}}};
  KEELSON_CHECK_ERROR(full.Join("a", "one=z"), absl::StatusCode::kFailedPrecondition,
                      "discovery: cluster is full");
  FakeService again{.members = {{"a", "one=x"}}};
  KEELSON_CHECK_ERROR(again.Join("a", "one=z"), absl::StatusCode::kAlreadyExists,
                      "discovery: found duplicate id");
  FakeService named{.members = {{"b", "one=x"}}};
  KEELSON_CHECK_ERROR(named.Join("a", "one=z"), absl::StatusCode::kAlreadyExists,
                      "discovery: found duplicate name 'one'");
  FakeService nothing{.size = ""};
  KEELSON_CHECK_ERROR(nothing.Join("a", "one=z"), absl::StatusCode::kNotFound,
                      "discovery: size key not found");
  for (const char* size : {"0", "-1", "many", "100000"}) {
    FakeService bad{.size = size};
    KEELSON_CHECK_ERROR(bad.Join("a", "one=z"), absl::StatusCode::kInvalidArgument,
                        "discovery: size key is bad");
  }
}

TEST_CASE("Waiting ends with the process", "[kvstore][discovery]") {
  FakeService alone{.give_up_after = 20};
  KEELSON_CHECK_ERROR(alone.Join("a", "one=z"), absl::StatusCode::kCancelled, "is to end");
}

}  // namespace
}  // namespace keelson::kvstore
