// What it costs to send 200 bytes to another process' thread and to get them back, one at a time, on a
// stream that is open: gRPC C++ with its callbacks, and base/rpc with both ends on an EventLoop each.
//
//   rpc_bench --seconds=2
//
// Prints a line of JSON for each: round trips a second, and microseconds of CPU time of both ends
// for one.
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/event_loop.h"
#include "base/net/echo_for_test.grpc.pb.h"
#include "base/rpc/client.h"
#include "base/rpc/listener.h"
#include "base/rpc/server.h"

namespace {

namespace rpc = keelson::rpc;
using keelson::EventLoop;
using keelson::net::testing::Echo;
using keelson::net::testing::EchoMessage;
using SteadyClock = std::chrono::steady_clock;

constexpr char kTalk[] = "/keelson.net.testing.Echo/Talk";

double CpuSeconds() {
  rusage usage{};
  (void)::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Counts the answers until the time is over.
class Turns {
 public:
  explicit Turns(double seconds)
      : cpu_(CpuSeconds()),
        start_(SteadyClock::now()),
        end_(start_ + std::chrono::duration_cast<SteadyClock::duration>(
                          std::chrono::duration<double>(seconds))) {}

  // True when another one is to be sent.
  bool Next() {
    ++count_;
    return SteadyClock::now() < end_;
  }
  void Report(const char* name) const {
    const double elapsed = std::chrono::duration<double>(SteadyClock::now() - start_).count();
    const auto count = static_cast<double>(count_);
    std::printf("{\"transport\":\"%s\",\"round_trips_per_second\":%.0f,\"cpu_us\":%.1f}\n", name,
                count / elapsed, (CpuSeconds() - cpu_) * 1e6 / count);
  }

 private:
  const double cpu_;
  const SteadyClock::time_point start_;
  const SteadyClock::time_point end_;
  uint64_t count_ = 0;
};

// --- gRPC C++ ---

class GrpcEcho final : public grpc::ServerBidiReactor<EchoMessage, EchoMessage> {
 public:
  GrpcEcho() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartWrite(&message_);
  }
  void OnWriteDone(bool) override { StartRead(&message_); }
  void OnDone() override { delete this; }

 private:
  EchoMessage message_;
};

class GrpcService final : public Echo::CallbackService {
  grpc::ServerBidiReactor<EchoMessage, EchoMessage>* Talk(grpc::CallbackServerContext*) override {
    return new GrpcEcho();
  }
};

class GrpcCaller final : public grpc::ClientBidiReactor<EchoMessage, EchoMessage> {
 public:
  GrpcCaller(Echo::Stub& stub, const EchoMessage& message, double seconds)
      : message_(message), turns_(seconds) {
    stub.async()->Talk(&context_, this);
    StartRead(&answer_);
    StartWrite(&message_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (ok) Half();
  }
  void OnWriteDone(bool ok) override {
    if (ok) Half();
  }
  void OnDone(const grpc::Status&) override { done_.Notify(); }
  void Wait() const { done_.WaitForNotification(); }
  [[nodiscard]] const Turns& turns() const { return turns_; }

 private:
  // The answer may be here before the write counts as done.
  void Half() {
    if (halves_.fetch_add(1) % 2 == 0) return;
    if (!turns_.Next()) return StartWritesDone();
    StartRead(&answer_);
    StartWrite(&message_);
  }

  grpc::ClientContext context_;
  const EchoMessage message_;
  EchoMessage answer_;
  std::atomic<uint64_t> halves_{0};
  Turns turns_;
  absl::Notification done_;
};

void MeasureGrpc(const EchoMessage& message, double seconds) {
  GrpcService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto stub = Echo::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  GrpcCaller caller(*stub, message, seconds);
  caller.Wait();
  caller.turns().Report("grpc");
  server->Shutdown();
}

// --- base/rpc ---

class EchoHandler final : public rpc::CallHandler {
 public:
  explicit EchoHandler(std::shared_ptr<rpc::Call> call) : call_(std::move(call)) {}
  void OnMessage(std::string_view message) override { (void)call_->Send(std::string(message)); }
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }

 private:
  const std::shared_ptr<rpc::Call> call_;
};

class Caller final : public rpc::ResponseHandler {
 public:
  Caller(rpc::Channel& channel, const EchoMessage& message, double seconds)
      : channel_(channel), bytes_(message.SerializeAsString()), turns_(seconds) {}
  // On the loop.
  void Begin(const std::shared_ptr<Caller>& self) {
    call_ = channel_.Start({.path = kTalk}, self);
    (void)call_->Send(bytes_);
  }
  void OnMessage(std::string_view) override {
    if (turns_.Next()) {
      (void)call_->Send(bytes_);
    } else {
      call_->HalfClose();
    }
  }
  void OnDone(const absl::Status& status) override {
    KEELSON_CHECK(status.ok()) << status.ToString();
    call_ = nullptr;
    done_.Notify();
  }
  void Wait() const { done_.WaitForNotification(); }
  [[nodiscard]] const Turns& turns() const { return turns_; }

 private:
  rpc::Channel& channel_;
  const std::string bytes_;
  std::shared_ptr<rpc::ClientCall> call_;
  Turns turns_;
  absl::Notification done_;
};

void MeasureOurs(const EchoMessage& message, double seconds) {
  EventLoop there("there");
  EventLoop here("here");
  const auto server = rpc::Server::Create({.loops = {&there}});
  server->Register({.path = kTalk,
                    .start =
                        [](const std::shared_ptr<rpc::Call>& call) {
                          return std::make_shared<EchoHandler>(call);
                        },
                    .on_start = {},
                    .on_end = {}});
  server->Start();
  auto listener = rpc::Listener::Open(there, *server, "127.0.0.1:0", false);
  KEELSON_CHECK(listener.ok()) << listener.status().ToString();
  const auto channel =
      rpc::Channel::Create(here, {.address = "127.0.0.1:" + std::to_string((*listener)->port())});
  const auto caller = std::make_shared<Caller>(*channel, message, seconds);
  here.Await([&] { caller->Begin(caller); });
  caller->Wait();
  caller->turns().Report("base/rpc");
  channel->Close();
  listener->reset();
  server->Stop(absl::ZeroDuration());
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 2;
  size_t bytes = 200;
  CLI::App app{"Round trips of a small message"};
  app.add_option("--seconds", seconds, "length of each measurement");
  app.add_option("--bytes", bytes, "size of the message");
  CLI11_PARSE(app, argc, argv);
  EchoMessage message;
  message.set_text(std::string(bytes, 'x'));
  MeasureGrpc(message, seconds);
  MeasureOurs(message, seconds);
  return 0;
}
