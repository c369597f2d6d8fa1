// Calls that are refused before they are served: by a learner, and of users with too many requests.
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/http/testing/recording_writer.h"
#include "base/testing/fake_clock.h"
#include "kvstore/server/service_support.h"
#include "kvstore/server/testing/fake_store.h"
#include "kvstore/server/testing/manual_executor.h"
#include "kvstore/server/v2_endpoints.h"

namespace keelson::kvstore {
namespace {

constexpr uint64_t kSelf = 22;

struct Fixture {
  explicit Fixture(Server::Options options, bool is_learner) {
    options.member_id = kSelf;
    store.SetMembers({{.id = kSelf, .name = "self", .is_learner = is_learner}});
    server.emplace(options, Server::Env{.clock = &clock,
                                        .file_system = &RealFileSystem(),
                                        .timers = &timers,
                                        .delivery = &timers,
                                        .catch_up = &timers,
                                        .readers = {}});
    server->SetStore(&store);
    server->OnMembership({.voters = {kSelf}});
  }

  FakeClock clock;
  FakeStore store;
  ManualExecutor timers{&clock};
  std::optional<Server> server;
};

// Keeps the methods, to call them.
class Methods final : public rpc::Server {
 public:
  void Register(rpc::Method method) override { methods[method.path] = std::move(method); }
  void Start() override {}
  void Adopt(UniqueFd, bool) override {}
  void Stop(absl::Duration) override {}
  [[nodiscard]] rpc::ServerStats Stats() const override { return {}; }
  std::map<std::string, rpc::Method> methods;
};

class FakeCall final : public rpc::Call {
 public:
  [[nodiscard]] std::string_view Metadata(std::string_view) const override { return {}; }
  [[nodiscard]] const rpc::Metadata& AllMetadata() const override { return metadata_; }
  [[nodiscard]] const rpc::Peer& peer() const override { return peer_; }
  void Accept(rpc::Metadata) override {}
  bool Send(std::string) override { return true; }
  void Finish(const absl::Status& status) override {
    if (!end.has_value()) end = status;
  }
  void Answer(std::string) override {}
  void Pause() override {}
  void Resume() override {}
  std::optional<absl::Status> end;

 private:
  rpc::Metadata metadata_;
  rpc::Peer peer_;
};

TEST_CASE("A stream that a learner refuses is not begun", "[kvstore][services]") {
  const bool is_learner = GENERATE(true, false);
  Fixture f({}, is_learner);
  Methods methods;
  MetricRegistry metrics;
  MethodRegistrar registrar(&methods, &*f.server, &metrics, "etcdserverpb.Any");
  int begun = 0;
  const auto start = [&begun](const std::shared_ptr<rpc::Call>&) {
    ++begun;
    return std::make_shared<RefusedCall>();
  };
  registrar.Stream("Watch", start);
  registrar.ServerStream("Snapshot", start);

  const auto call = std::make_shared<FakeCall>();
  const auto handler = methods.methods.at("/etcdserverpb.Any/Watch").start(call);
  REQUIRE(handler != nullptr);
  handler->OnMessage("ignored");
  CHECK(begun == (is_learner ? 0 : 1));
  CHECK(call->end.has_value() == is_learner);

  // A backup may be taken of a learner too.
  const auto backup = std::make_shared<FakeCall>();
  (void)methods.methods.at("/etcdserverpb.Any/Snapshot").start(backup);
  CHECK(begun == (is_learner ? 1 : 2));
  CHECK_FALSE(backup->end.has_value());
}

int StatusOf(http::Router& router, http::Request request) {
  const auto writer = std::make_shared<http::RecordingWriter>();
  router(std::move(request), writer);
  return writer->Wait().status;
}

TEST_CASE("Requests of the version 2 API are counted like all others", "[kvstore][v2][rate]") {
  Fixture f({.user_requests_per_second = 2}, false);
  http::Router router;
  AddV2Endpoints(router, &*f.server, &f.clock);
  const auto get = [&router](const std::string& address) {
    return StatusOf(router, {.method = "GET", .target = "/v2/keys/a", .peer_address = address});
  };

  CHECK(get("10.0.0.1:5") == 404);  // There is no such key.
  CHECK(get("10.0.0.1:6") == 404);
  CHECK(get("10.0.0.1:7") == 429);
  CHECK(StatusOf(router,
                 {.method = "PUT", .target = "/v2/auth/enable", .peer_address = "10.0.0.1:8"}) ==
        429);
  CHECK(get("10.0.0.2:5") == 404);
  CHECK(StatusOf(router,
                 {.method = "GET", .target = "/v2/stats/store", .peer_address = "10.0.0.1:9"}) ==
        200);
  f.clock.Advance(absl::Seconds(1));
  CHECK(get("10.0.0.1:5") == 404);
}

}  // namespace
}  // namespace keelson::kvstore
