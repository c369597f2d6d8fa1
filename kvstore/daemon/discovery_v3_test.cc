#include "kvstore/daemon/discovery_v3.h"

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/testing/simulated_cluster.h"

namespace keelson::kvstore {
namespace {

constexpr char kSize[] = "/_etcd/registry/t/_config/size";
constexpr char kMembers[] = "/_etcd/registry/t/members/";

// A registry in a cluster on simulated time, and what happens in it while somebody joins.
struct Service {
  std::unique_ptr<SimulatedCluster> cluster = SimulatedCluster::Start({.members = 1});
  std::unique_ptr<Client> client = cluster->NewClient("registry");
  std::unique_ptr<Client> member = cluster->NewClient("member");
  // At the n-th time that the member asks whether to go on, from 1.
  std::function<void(int turn)> at_turn = [](int) {};
  int turn = 0;
  int give_up_after = 200;
  absl::Duration slept = absl::ZeroDuration();

  explicit Service(const std::string& size = "2") {
    if (!size.empty()) Put(kSize, size);
  }
  void Put(const std::string& key, const std::string& value) {
    KEELSON_REQUIRE_OK(client->Put(PutOf(key, value)));
  }
  void Register(const std::string& id, const std::string& value) {
    Put(absl::StrCat(kMembers, id), value);
  }
  std::string Registered(const std::string& id) {
    KEELSON_ASSIGN_OR_FAIL(const auto found, client->Range(RangeOf(absl::StrCat(kMembers, id))));
    return found.kvs().empty() ? "" : found.kvs(0).value();
  }
  absl::StatusOr<std::string> Join(const std::string& id, const std::string& value) {
    const DiscoveryWorld world{.sleep =
                                   [this](absl::Duration time) {
                                     slept += time;
                                     cluster->RunFor(time);
                                   },
                               .go_on =
                                   [this] {
                                     at_turn(++turn);
                                     return turn < give_up_after;
                                   }};
    return JoinByDiscoveryV3(*member, world, "t", {.id = id, .members = value});
  }
};

TEST_CASE("A member registers in the keys and waits for the others", "[kvstore][discovery]") {
  Service service("3");
  service.at_turn = [&service](int turn) {
    if (turn == 6) service.Register("b", "two=http://b:2,two=http://b:3\n");
    if (turn == 9) service.Put("/_etcd/registry/t/elsewhere", "x=y");
    if (turn == 12) service.Register("c", "three=http://c:2");
  };
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=http://a:1"));
  CHECK(all == "one=http://a:1,two=http://b:2,two=http://b:3,three=http://c:2");
  CHECK(service.Registered("a") == "one=http://a:1");
  CHECK(service.turn > 12);
}

TEST_CASE("The last founder to register waits for nobody", "[kvstore][discovery]") {
  Service service;
  service.Register("z", "two=http://b:2");
  service.Register("c", "no URL, so nobody");
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=http://a:1"));
  CHECK(all == "two=http://b:2,one=http://a:1");
  CHECK(service.slept == absl::ZeroDuration());
}

TEST_CASE("A registered member goes on until the cluster can have been founded",
          "[kvstore][discovery]") {
  Service service;
  service.Register("a", "one=http://a:1");
  service.at_turn = [&service](int turn) {
    if (turn == 6) service.Register("b", "two=http://b:2");
  };
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=http://a:1"));
  CHECK(all == "one=http://a:1,two=http://b:2");

  KEELSON_CHECK_ERROR(service.Join("a", "one=http://a:1"), absl::StatusCode::kAlreadyExists,
                      "discovery: found duplicate id");
  Service renamed;
  renamed.Register("a", "one=http://a:1");
  KEELSON_CHECK_ERROR(renamed.Join("a", "uno=http://a:1"), absl::StatusCode::kAlreadyExists,
                      "discovery: found duplicate id");
}

TEST_CASE("Who is too late, or is told nonsense, hears why", "[kvstore][discovery]") {
  Service full;
  full.Register("b", "two=x");
  full.Register("c", "three=y");
  KEELSON_CHECK_ERROR(full.Join("a", "one=z"), absl::StatusCode::kFailedPrecondition,
                      "discovery: cluster is full");
  CHECK(full.Registered("a").empty());

  Service named;
  named.Register("b", "one=x");
  KEELSON_CHECK_ERROR(named.Join("a", "one=z"), absl::StatusCode::kAlreadyExists,
                      "discovery: found duplicate name 'one'");
  Service nothing("");
  KEELSON_CHECK_ERROR(nothing.Join("a", "one=z"), absl::StatusCode::kNotFound,
                      "discovery: size key not found");
  for (const char* size : {"0", "-1", "many", "100000", " "}) {
    Service bad(size);
    KEELSON_CHECK_ERROR(bad.Join("a", "one=z"), absl::StatusCode::kInvalidArgument,
                        "discovery: size key is bad");
  }
}

TEST_CASE("Of more members than are wanted the first to register are the founders",
          "[kvstore][discovery]") {
  Service service;
  service.Register("b", "two=x");
  service.at_turn = [&service](int turn) {
    if (turn == 3) service.Register("c", "three=y");  // After the member has looked.
  };
  KEELSON_CHECK_ERROR(service.Join("a", "one=z"), absl::StatusCode::kFailedPrecondition,
                      "discovery: cluster is full");
  CHECK(service.Registered("a") == "one=z");
}

TEST_CASE("A registry that is away is waited for", "[kvstore][discovery]") {
  Service service("1");
  service.cluster->Crash(1);
  service.at_turn = [&service](int turn) {
    if (turn == 6) service.cluster->Restart(1);
  };
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=z"));
  CHECK(all == "one=z");
  CHECK(service.slept >= absl::Seconds(3));
}

TEST_CASE("A wait whose history is compacted away looks again", "[kvstore][discovery]") {
  Service service;
  service.at_turn = [&service](int turn) {
    if (turn != 5) return;  // The member has looked, and its watch begins.
    service.Register("b", "two=y");
    service.Put("other", "1");
    service.Put("other", "2");
    etcdserverpb::CompactionRequest compact;
    KEELSON_ASSIGN_OR_FAIL(const auto now, service.client->Range(RangeOf("other")));
    compact.set_revision(now.header().revision());
    KEELSON_REQUIRE_OK(service.client->Compact(compact));
  };
  KEELSON_ASSIGN_OR_FAIL(const std::string all, service.Join("a", "one=z"));
  CHECK(all == "one=z,two=y");
}

TEST_CASE("A member whose key is deleted does not wait for ever", "[kvstore][discovery]") {
  Service service;
  service.at_turn = [&service](int turn) {
    if (turn == 6) {
      KEELSON_REQUIRE_OK(service.client->DeleteRange(DeleteOf(absl::StrCat(kMembers, "a"))));
    }
  };
  KEELSON_CHECK_ERROR(service.Join("a", "one=z"), absl::StatusCode::kUnavailable,
                      "discovery: unregistered");
}

TEST_CASE("The wait for founders ends with the process", "[kvstore][discovery]") {
  Service alone;
  alone.give_up_after = 20;
  KEELSON_CHECK_ERROR(alone.Join("a", "one=z"), absl::StatusCode::kCancelled, "is to end");
}

TEST_CASE("A user who may not read the registry hears so at once", "[kvstore][discovery]") {
  Service service;
  const auto call = [&service](const std::string& method, const auto& request) {
    KEELSON_REQUIRE_OK(
        service.client->Invoke("/etcdserverpb.Auth/" + method, request.SerializeAsString(), false));
  };
  for (const char* name : {"root", "nobody"}) {
    etcdserverpb::AuthUserAddRequest add;
    add.set_name(name);
    add.set_password("secret");
    call("UserAdd", add);
  }
  etcdserverpb::AuthUserGrantRoleRequest grant;
  grant.set_user("root");
  grant.set_role("root");
  call("UserGrantRole", grant);
  call("AuthEnable", etcdserverpb::AuthEnableRequest());

  service.member = service.cluster->NewClient("nobody", {.user = "nobody", .password = "secret"});
  KEELSON_CHECK_ERROR(service.Join("a", "one=z"), absl::StatusCode::kPermissionDenied, "");
  service.member = service.cluster->NewClient("liar", {.user = "nobody", .password = "wrong"});
  KEELSON_CHECK_ERROR(service.Join("a", "one=z"), absl::StatusCode::kInvalidArgument,
                      "authentication failed");
  CHECK(service.slept == absl::ZeroDuration());
}

}  // namespace
}  // namespace keelson::kvstore
