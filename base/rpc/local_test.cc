#include "base/rpc/local.h"

#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace keelson::rpc {
namespace {

// A loop that runs when it is told to, until it is gone.
class ManualLoop final : public Executor {
 public:
  void Post(Task task) override {
    if (gone) ++posts_too_late;
    tasks_.push_back(std::move(task));
  }
  void PostAfter(absl::Duration /*delay*/, Task task) override { Post(std::move(task)); }
  void Run() {
    while (!tasks_.empty()) {
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

  bool gone = false;
  int posts_too_late = 0;

 private:
  std::deque<Task> tasks_;
};

const auto kAtOnce = [](const Executor::Task& task) { task(); };

class SilentHandler final : public CallHandler {
 public:
  void OnMessage(std::string_view) override {}
  void OnHalfClose() override {}
};

class Ending final : public ResponseHandler {
 public:
  void OnMessage(std::string_view) override { ++messages; }
  void OnDone(const absl::Status& status) override {
    ++ends;
    end = status;
  }
  int messages = 0;
  int ends = 0;
  absl::Status end;
};

struct World {
  ManualLoop server_loop;
  ManualLoop client_loop;
  std::shared_ptr<Call> call;  // as the server has it
  std::unique_ptr<LocalServer> server =
      LocalServer::Create({.loop = &server_loop, .run_on_loop = kAtOnce});
  std::unique_ptr<LocalChannel> channel;
  std::shared_ptr<Ending> ending = std::make_shared<Ending>();

  World() {
    server->Register({.path = "/test/Talk", .start = [this](const std::shared_ptr<Call>& begun) {
                        call = begun;
                        return std::make_shared<SilentHandler>();
                      }});
    server->Start();
    channel = server->Connect({.name = "here", .loop = &client_loop, .run_on_loop = kAtOnce});
    (void)channel->Start({.path = "/test/Talk"}, ending);
    server_loop.Run();
    REQUIRE(call != nullptr);
  }
};

TEST_CASE("What a server says arrives on the client's loop", "[rpc][local]") {
  World world;
  (void)world.call->Send("hello");
  world.call->Finish(absl::AbortedError("enough"));
  CHECK(world.ending->messages == 0);
  world.client_loop.Run();
  CHECK(world.ending->messages == 1);
  CHECK(world.ending->end == absl::AbortedError("enough"));
}

TEST_CASE("A server that goes after its client's loop does not call it", "[rpc][local]") {
  World world;
  world.channel->Close();
  CHECK(world.ending->ends == 1);
  CHECK(absl::IsCancelled(world.ending->end));
  world.client_loop.gone = true;

  // It does not know yet that the client has gone, and tells it of its own end.
  SECTION("a call says something") {
    (void)world.call->Send("late");
    world.call->Finish(absl::OkStatus());
  }
  SECTION("it stops") { world.server->Stop(absl::ZeroDuration()); }
  world.server_loop.Run();
  CHECK(world.client_loop.posts_too_late == 0);
  CHECK(world.ending->ends == 1);
}

}  // namespace
}  // namespace keelson::rpc
