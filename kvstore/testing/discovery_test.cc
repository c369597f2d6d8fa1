// Health, choice and registration; the latter on a simulated cluster, where no time passes.
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "kvstore/discovery/endpoint_list.h"
#include "kvstore/discovery/health.h"
#include "kvstore/discovery/registration.h"
#include "kvstore/testing/simulated_cluster.h"

namespace keelson::kvstore::discovery {
namespace {

using absl::StatusCode;

constexpr absl::Duration kZero = absl::ZeroDuration();
constexpr absl::Duration kLimit = absl::Minutes(5);
const absl::Status kWell = absl::OkStatus();
const absl::Status kIll = absl::UnavailableError("ill");

// Answers as the test says.
class FakeProber final : public Prober {
 public:
  explicit FakeProber(SimulatedCluster& cluster) : cluster_(cluster) {}
  void Probe(const HealthCheck& /*check*/, std::function<void(absl::Status)> done) override {
    ++probes;
    cluster_.executor().Post([done = std::move(done), answer = answer] { done(answer); });
  }
  absl::Status answer = absl::UnavailableError("ill");
  int probes = 0;

 private:
  SimulatedCluster& cluster_;
};

struct World {
  std::unique_ptr<SimulatedCluster> cluster = SimulatedCluster::Start({.members = 1});
  FakeProber prober{*cluster};
  std::unique_ptr<Client> service = cluster->NewClient("service");
  std::unique_ptr<Client> user = cluster->NewClient("user");
  std::vector<std::string> changes;

  std::unique_ptr<Registration> Register(HealthCheck check) {
    RegistrationOptions options;
    options.service = "services/web";
    options.instance = {.address = "10.0.0.7:80"};
    options.ttl = absl::Seconds(10);
    options.check = std::move(check);
    options.dns = SkyDnsName{.name = "w1.web.local"};
    options.on_change = [this](const absl::Status& status) {
      changes.emplace_back(status.ok() ? "published" : status.message());
    };
    auto registration = Registration::StartIn({.executor = &cluster->executor(), .prober = &prober},
                                              *service, options);
    KEELSON_REQUIRE_OK(registration);
    return *std::move(registration);
  }
  // The keys that are there.
  std::vector<std::string> Keys() {
    std::vector<std::string> keys;
    const auto found = user->Range(RangeOfPrefix(""));
    KEELSON_REQUIRE_OK(found);
    for (const auto& pair : found->kvs()) keys.push_back(pair.key());
    return keys;
  }
  bool Published() { return !changes.empty() && changes.back() == "published"; }
};

const std::vector<std::string> kBoth = {"/skydns/local/web/w1", "services/web/10.0.0.7:80"};

}  // namespace

TEST_CASE("Health changes after so many outcomes in a row", "[discovery][health]") {
  HealthJudge judge({.kind = HealthCheck::Kind::kTcp, .target = "a:1", .rise = 2, .fall = 3});
  const auto healthy = [&judge] { return judge.Judge(kZero).ok(); };
  CHECK_FALSE(healthy());
  judge.OnProbe(kWell);
  CHECK_FALSE(healthy());
  judge.OnProbe(kIll);
  judge.OnProbe(kWell);
  CHECK_FALSE(healthy());
  judge.OnProbe(kWell);
  CHECK(healthy());
  judge.OnProbe(kIll);
  judge.OnProbe(kIll);
  judge.OnProbe(kWell);
  judge.OnProbe(kIll);
  judge.OnProbe(kIll);
  CHECK(healthy());
  judge.OnProbe(kIll);
  KEELSON_CHECK_ERROR(judge.Judge(kZero), StatusCode::kUnavailable, "ill");
}

TEST_CASE("Who has to say by itself that it is well is unhealthy when it falls silent",
          "[discovery][health]") {
  HealthJudge judge({.kind = HealthCheck::Kind::kTtl, .ttl = absl::Seconds(5)});
  KEELSON_CHECK_ERROR(judge.Judge(kZero), StatusCode::kUnavailable, "not checked yet");
  judge.OnPass(absl::Seconds(1));
  CHECK(judge.Judge(absl::Seconds(6)).ok());
  KEELSON_CHECK_ERROR(judge.Judge(absl::Seconds(7)), StatusCode::kUnavailable, "no sign of life");
  judge.OnPass(absl::Seconds(8));
  judge.OnFail("no disk");
  KEELSON_CHECK_ERROR(judge.Judge(absl::Seconds(8)), StatusCode::kUnavailable, "no disk");
}

TEST_CASE("A health check that cannot work is refused", "[discovery][health]") {
  using Kind = HealthCheck::Kind;
  const auto check = GENERATE(values<HealthCheck>({
      {.kind = Kind::kTtl, .ttl = kZero},
      {.kind = Kind::kTcp, .target = "no-port"},
      {.kind = Kind::kGrpc},
      {.kind = Kind::kHttp, .target = "a:1"},
      {.kind = Kind::kTcp, .target = "a:1", .interval = kZero},
      {.kind = Kind::kTcp, .target = "a:1", .timeout = kZero},
      {.kind = Kind::kTcp, .target = "a:1", .rise = 0},
  }));
  KEELSON_CHECK_ERROR(ValidateHealthCheck(check), StatusCode::kInvalidArgument, "health check");
}

TEST_CASE("Calls are spread by weight among the first priority", "[discovery][choice]") {
  EndpointPicker picker;
  CHECK_FALSE(picker.Pick(kZero).has_value());
  picker.Set({{.address = "a:1", .weight = 2},
              {.address = "b:1", .weight = 1},
              {.address = "idle:1", .weight = 0},
              {.address = "spare:1", .priority = 20}});
  std::string turns;
  for (int i = 0; i < 6; ++i) turns += picker.Pick(kZero)->address.substr(0, 1);
  CHECK(turns == "abaaba");
  CHECK(picker.All().back().address == "spare:1");
}

TEST_CASE("Who fails is avoided for a while, and the next priority comes in",
          "[discovery][choice]") {
  EndpointPicker picker;
  picker.Set({{.address = "a:1"}, {.address = "b:1"}, {.address = "spare:1", .priority = 20}});
  picker.Report("a:1", false, kZero);
  for (int i = 0; i < 3; ++i) CHECK(picker.Pick(kZero)->address == "b:1");
  picker.Report("b:1", false, kZero);
  CHECK(picker.Pick(kZero)->address == "spare:1");
  picker.Report("spare:1", false, kZero);
  // All are bad: then none is worse than another.
  CHECK(picker.Pick(kZero)->address == "a:1");
  CHECK(picker.Pick(absl::Seconds(1))->priority == kDefaultPriority);
  picker.Report("a:1", false, absl::Seconds(1));
  CHECK(picker.Pick(absl::Seconds(2))->address == "b:1");
  picker.Report("a:1", true, absl::Seconds(2));
  CHECK(picker.Pick(absl::Seconds(2))->address == "a:1");
  picker.Report("nobody:1", false, kZero);
}

TEST_CASE("Without weights all get the same", "[discovery][choice]") {
  EndpointPicker picker;
  picker.Set({{.address = "a:1", .weight = 0}, {.address = "b:1", .weight = 0}});
  CHECK(picker.Pick(kZero)->address == "a:1");
  CHECK(picker.Pick(kZero)->address == "b:1");
}

TEST_CASE("An instance is in the registry while it is healthy, and only then",
          "[discovery][registration]") {
  World world;
  auto registration = world.Register(
      {.kind = HealthCheck::Kind::kTcp, .target = "10.0.0.7:80", .interval = absl::Seconds(1)});
  world.cluster->RunFor(absl::Seconds(30));
  CHECK(world.Keys().empty());
  CHECK(world.prober.probes >= 20);
  KEELSON_CHECK_ERROR(registration->status(), StatusCode::kUnavailable, "ill");

  world.prober.answer = kWell;
  REQUIRE(world.cluster->RunUntil([&] { return world.Published(); }, kLimit));
  CHECK(world.Keys() == kBoth);
  world.cluster->RunFor(absl::Minutes(3));  // Many times the TTL.
  CHECK(world.Keys() == kBoth);

  world.prober.answer = kIll;
  REQUIRE(world.cluster->RunUntil([&] { return !world.Published(); }, absl::Seconds(6)));
  CHECK(world.Keys().empty());

  world.prober.answer = kWell;
  REQUIRE(world.cluster->RunUntil([&] { return world.Published(); }, kLimit));
  CHECK(world.changes == std::vector<std::string>{"published", "ill", "published"});
  registration.reset();
  CHECK(world.Keys().empty());
}

TEST_CASE("A service that falls silent goes, and comes back when it speaks",
          "[discovery][registration]") {
  World world;
  const auto registration =
      world.Register({.kind = HealthCheck::Kind::kTtl, .ttl = absl::Seconds(5)});
  registration->Pass();
  REQUIRE(world.cluster->RunUntil([&] { return world.Published(); }, kLimit));
  world.cluster->RunFor(absl::Seconds(7));
  CHECK(world.Keys().empty());
  registration->Pass();
  world.cluster->RunFor(absl::Seconds(1));
  CHECK(world.Keys() == kBoth);
  registration->Fail("no disk");
  world.cluster->RunFor(absl::Seconds(1));
  CHECK(world.Keys().empty());
  CHECK(world.changes.back() == "no disk");
}

TEST_CASE("An instance that cannot reach the store goes with its lease, and comes back",
          "[discovery][registration]") {
  World world;
  const auto registration = world.Register({});
  REQUIRE(world.cluster->RunUntil([&] { return world.Published(); }, kLimit));
  world.cluster->Cut("service", "member-1");
  world.cluster->RunFor(absl::Seconds(15));
  CHECK(world.Keys().empty());
  world.cluster->Heal();
  world.cluster->RunFor(absl::Minutes(1));
  CHECK(world.Keys() == kBoth);
}

TEST_CASE("Options that cannot work are refused", "[discovery][registration]") {
  World world;
  RegistrationOptions options;
  options.service = "services/web";
  options.instance = {.address = "10.0.0.7:80"};
  SECTION("no service") { options.service.clear(); }
  SECTION("a slash at the end") { options.service += "/"; }
  SECTION("no port") { options.instance.address = "10.0.0.7"; }
  SECTION("a TTL of nothing") { options.ttl = kZero; }
  SECTION("no DNS name") { options.dns = SkyDnsName{.name = "a..b"}; }
  SECTION("a check of nothing") { options.check.kind = HealthCheck::Kind::kHttp; }
  KEELSON_CHECK_ERROR(
      Registration::StartIn({.executor = &world.cluster->executor(), .prober = &world.prober},
                            *world.service, options),
      StatusCode::kInvalidArgument, "");
}

TEST_CASE("A list follows the registry", "[discovery][list]") {
  World world;
  auto registration = world.Register({});
  int changes = 0;
  auto list = EndpointList::Start(*world.user, "services/web",
                                  {.on_change = [&](const auto&) { ++changes; }});
  KEELSON_REQUIRE_OK(list);
  REQUIRE(world.cluster->RunUntil([&] { return (*list)->All().size() == 1; }, kLimit));
  CHECK((*list)->Pick()->address == "10.0.0.7:80");
  // What etcd's own clients write, and what nobody should have written.
  KEELSON_REQUIRE_OK(world.user->Put(
      PutOf("services/web/other", R"({"Op":0,"Addr":"10.0.0.8:80","Metadata":{"priority":1}})")));
  KEELSON_REQUIRE_OK(world.user->Put(PutOf("services/web/odd", "hello")));
  KEELSON_REQUIRE_OK(world.user->Put(PutOf("services/website/x", R"({"Addr":"x:1"})")));
  REQUIRE(world.cluster->RunUntil([&] { return (*list)->foreign_keys() == 1; }, kLimit));
  CHECK((*list)->All().size() == 2);
  CHECK((*list)->Pick()->address == "10.0.0.8:80");
  (*list)->Report("10.0.0.8:80", false);
  CHECK((*list)->Pick()->address == "10.0.0.7:80");
  CHECK(changes >= 3);

  // What is known stays known while the store is away.
  world.cluster->Crash(1);
  world.cluster->RunFor(absl::Minutes(1));
  CHECK((*list)->All().size() == 2);
}

}  // namespace keelson::kvstore::discovery
