#include "base/rpc/server.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/executor.h"
#include "base/net/echo_for_test.grpc.pb.h"
#include "base/net/rpc_sink.h"
#include "base/net/shared_port.h"
#include "base/rpc/health.h"
#include "base/rpc/testing/http2_client.h"
#include "base/rpc/unary.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"
#include "base/tls_grpc.h"

namespace keelson::rpc {
namespace {

using keelson::testing::Http2Client;
using net::testing::Echo;
using net::testing::EchoMessage;

constexpr char kSay[] = "/keelson.net.testing.Echo/Say";
constexpr char kTalk[] = "/keelson.net.testing.Echo/Talk";

class ClosingSink final : public net::ConnectionSink {
 public:
  void Take(UniqueFd, std::string) override {}
};

// Answers each message of a stream by the same.
class TalkHandler final : public CallHandler {
 public:
  explicit TalkHandler(std::shared_ptr<Call> call) : call_(std::move(call)) {}
  void OnMessage(std::string_view message) override { (void)call_->Send(std::string(message)); }
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }

 private:
  const std::shared_ptr<Call> call_;
};

// A server on a port of loopback.
class EchoServer {
 public:
  using Say = ServeUnary<EchoMessage, EchoMessage>;
  using Talk = decltype(Method::start);

  explicit EchoServer(
      Say say,
      Talk talk =
          [](const std::shared_ptr<Call>& call) { return std::make_shared<TalkHandler>(call); },
      const ServerOptions& options = {})
      : server_(Server::Create(options)), sink_(*server_, options.tls != nullptr) {
    auto port = net::SharedPort::Bind({.listen = {"127.0.0.1:0"}, .tls = options.tls != nullptr});
    KEELSON_REQUIRE_OK(port);
    port_ = *std::move(port);
    const auto on_end = [this](const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      ends_.push_back(status.code());
    };
    server_->Register({.path = kSay,
                       .start = Unary<EchoMessage, EchoMessage>(std::move(say)),
                       .on_start = [this] { ++started_; },
                       .on_end = on_end});
    server_->Register({.path = kTalk, .start = std::move(talk), .on_start = {}, .on_end = on_end});
    RegisterHealthService(server_.get());
    server_->Start();
    port_->Start(http_, sink_);
  }
  ~EchoServer() {
    port_->Stop();
    server_->Stop(absl::ZeroDuration());
  }

  Server& server() { return *server_; }
  [[nodiscard]] int started() const { return started_; }

  std::unique_ptr<Echo::Stub> Stub(const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                                       grpc::InsecureChannelCredentials()) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A connection for each stub.
    arguments.SetMaxReceiveMessageSize(-1);
    return Echo::NewStub(grpc::CreateCustomChannel(port_->addresses()[0], credentials, arguments));
  }
  // A connection that the server has taken over.
  UniqueFd Connect() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    REQUIRE(::fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    server_->Adopt(UniqueFd(fds[0]), false);
    return UniqueFd(fds[1]);
  }
  // Waits for the end of a call and returns how it ended.
  absl::StatusCode WaitForEnd() {
    absl::MutexLock lock(&mu_);
    const auto any = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !ends_.empty(); };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&any), absl::Seconds(30)));
    const absl::StatusCode code = ends_.front();
    ends_.erase(ends_.begin());
    return code;
  }

 private:
  absl::Mutex mu_;
  std::vector<absl::StatusCode> ends_ ABSL_GUARDED_BY(mu_);
  std::atomic<int> started_ = 0;
  ClosingSink http_;
  std::unique_ptr<Server> server_;
  net::RpcSink sink_;
  std::unique_ptr<net::SharedPort> port_;
};

void EchoNow(const Call&, const EchoMessage& request, EchoMessage* response, const Done& done) {
  response->set_text(request.text());
  done(absl::OkStatus());
}

std::unique_ptr<grpc::ClientContext> Context(absl::Duration timeout = absl::Seconds(30)) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
  return context;
}

EchoMessage Message(std::string text) {
  EchoMessage message;
  message.set_text(std::move(text));
  return message;
}

TEST_CASE("A gRPC client is answered", "[rpc]") {
  EchoServer echo(
      [](const Call& call, const EchoMessage& request, EchoMessage* response, const Done& done) {
        response->set_text(request.text() + " " + std::string(call.Metadata("hasleader")) + "." +
                           std::string(call.Metadata("absent")));
        done(absl::OkStatus());
      });
  const auto stub = echo.Stub();
  for (int i = 0; i < 3; ++i) {
    const auto context = Context();
    context->AddMetadata("hasleader", "true");
    EchoMessage reply;
    const grpc::Status status = stub->Say(context.get(), Message("hello"), &reply);
    INFO(status.error_message());
    REQUIRE(status.ok());
    CHECK(reply.text() == "hello true.");
    CHECK(echo.WaitForEnd() == absl::StatusCode::kOk);
  }
  CHECK(echo.started() == 3);
  const ServerStats stats = echo.server().Stats();
  CHECK(stats.connections == 1);
  CHECK(stats.calls_total == 3);
  CHECK(stats.calls == 0);
  CHECK(stats.received_bytes_total == 3 * (5 + Message("hello").ByteSizeLong()));
  CHECK(stats.sent_bytes_total == 3 * (5 + Message("hello true.").ByteSizeLong()));
}

TEST_CASE("An error reaches the client with its code and text", "[rpc]") {
  const std::string text = "100% of \"\xc3\xa9\"\n\ttried";
  EchoServer echo([&](const Call&, const EchoMessage&, EchoMessage*, const Done& done) {
    done(absl::FailedPreconditionError(text));
  });
  EchoMessage reply;
  const grpc::Status status = echo.Stub()->Say(Context().get(), Message("x"), &reply);
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(status.error_message() == text);
  CHECK(echo.WaitForEnd() == absl::StatusCode::kFailedPrecondition);
}

// The order of the answers is not that of the requests.
TEST_CASE("Answers come from other threads, each to its call", "[rpc]") {
  constexpr int kCalls = 2000;
  ThreadExecutor worker("answers");
  absl::Mutex mu;
  std::vector<std::function<void()>> waiting;
  EchoServer echo([&](const Call&, const EchoMessage& request, EchoMessage* response, Done done) {
    absl::MutexLock lock(&mu);
    waiting.push_back([&request, response, done = std::move(done)] {
      response->set_text(request.text());
      done(absl::OkStatus());
    });
    if (waiting.size() < 100) return;
    worker.Post([batch = std::exchange(waiting, {})] {
      for (auto it = batch.rbegin(); it != batch.rend(); ++it) (*it)();
    });
  });
  const auto stub = echo.Stub();
  struct Each {
    std::unique_ptr<grpc::ClientContext> context = Context();
    EchoMessage request;
    EchoMessage reply;
  };
  std::vector<Each> calls(kCalls);
  std::atomic<int> good = 0;
  std::atomic<int> left = kCalls;
  absl::Notification finished;
  for (int i = 0; i < kCalls; ++i) {
    Each& each = calls[static_cast<size_t>(i)];
    each.request.set_text(std::to_string(i));
    stub->async()->Say(each.context.get(), &each.request, &each.reply,
                       [&, i](const grpc::Status& status) {
                         const Each& own = calls[static_cast<size_t>(i)];
                         if (status.ok() && own.reply.text() == std::to_string(i)) ++good;
                         if (--left == 0) finished.Notify();
                       });
  }
  finished.WaitForNotification();
  CHECK(good == kCalls);
}

TEST_CASE("Messages larger than every window pass both ways", "[rpc]") {
  EchoServer echo(EchoNow, [](const auto& call) { return std::make_shared<TalkHandler>(call); },
                  {.max_request_bytes = 10 << 20});
  EchoMessage reply;
  const std::string text(9 << 20, 'x');
  REQUIRE(echo.Stub()->Say(Context().get(), Message(text), &reply).ok());
  CHECK(reply.text() == text);
}

TEST_CASE("A message above the limit is refused by name", "[rpc]") {
  EchoServer echo(EchoNow, [](const auto& call) { return std::make_shared<TalkHandler>(call); },
                  {.max_request_bytes = 1000});
  const auto stub = echo.Stub();
  EchoMessage reply;
  const grpc::Status status =
      stub->Say(Context().get(), Message(std::string(2'000'000, 'x')), &reply);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(status.error_message() == "grpc: received message larger than max (2000004 vs. 1000)");
  CHECK(stub->Say(Context().get(), Message("small"), &reply).ok());
}

TEST_CASE("Streams carry messages both ways until one side ends", "[rpc]") {
  EchoServer echo(EchoNow);
  const auto context = Context();
  const auto stub = echo.Stub();
  const auto stream = stub->Talk(context.get());
  EchoMessage reply;
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(stream->Write(Message(std::to_string(i))));
    REQUIRE(stream->Read(&reply));
    CHECK(reply.text() == std::to_string(i));
  }
  REQUIRE(stream->WritesDone());
  CHECK_FALSE(stream->Read(&reply));
  CHECK(stream->Finish().ok());
  CHECK(echo.WaitForEnd() == absl::StatusCode::kOk);
}

// Sends numbered messages for as long as there is room.
class FloodHandler final : public CallHandler {
 public:
  static constexpr int kMessages = 2000;

  FloodHandler(std::shared_ptr<Call> call, std::atomic<int>* sent)
      : call_(std::move(call)), sent_(sent) {}
  void OnMessage(std::string_view) override { SendAll(); }
  void OnHalfClose() override {}
  void OnRoom() override { SendAll(); }

 private:
  void SendAll() {
    while (*sent_ < kMessages) {
      EchoMessage message = Message(std::string(10'000, 'x') + std::to_string(*sent_));
      ++*sent_;
      if (!call_->Send(message.SerializeAsString())) return;
    }
    call_->Finish(absl::OkStatus());
  }

  const std::shared_ptr<Call> call_;
  std::atomic<int>* const sent_;
};

TEST_CASE("A client that does not read holds up its own stream only", "[rpc]") {
  std::atomic<int> sent = 0;
  EchoServer echo(EchoNow, [&](const std::shared_ptr<Call>& call) {
    return std::make_shared<FloodHandler>(call, &sent);
  });
  // One that never opens its window.
  Http2Client deaf(echo.Connect());
  const int32_t id = deaf.Request(Http2Client::CallHeaders(kTalk), Http2Client::Frame(""), false);
  deaf.ReadUntil([&] { return deaf.reply(id).body.size() >= 65'535; });
  CHECK(sent < 200);
  // One that reads.
  const auto stub = echo.Stub();
  EchoMessage reply;
  CHECK(stub->Say(Context().get(), Message("other"), &reply).ok());
  sent = 0;
  const auto context = Context();
  const auto stream = stub->Talk(context.get());
  REQUIRE(stream->Write(Message("go")));
  for (int i = 0; i < FloodHandler::kMessages; ++i) {
    REQUIRE(stream->Read(&reply));
    REQUIRE(reply.text() == std::string(10'000, 'x') + std::to_string(i));
  }
  CHECK_FALSE(stream->Read(&reply));
  CHECK(stream->Finish().ok());
}

// Takes one message at a time, and answers from another thread.
class SlowHandler final : public CallHandler, public std::enable_shared_from_this<SlowHandler> {
 public:
  SlowHandler(std::shared_ptr<Call> call, Executor* executor)
      : call_(std::move(call)), executor_(executor) {}
  void OnMessage(std::string_view message) override {
    KEELSON_CHECK(!busy_.exchange(true)) << "a message while paused";
    call_->Pause();
    executor_->Post([self = shared_from_this(), text = std::string(message)] {
      self->busy_ = false;
      (void)self->call_->Send(text);
      self->call_->Resume();
    });
  }
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }

 private:
  const std::shared_ptr<Call> call_;
  Executor* const executor_;
  std::atomic<bool> busy_ = false;
};

TEST_CASE("A paused call gets its messages later, in order", "[rpc]") {
  ThreadExecutor executor("slow");
  EchoServer echo(EchoNow, [&](const std::shared_ptr<Call>& call) {
    return std::make_shared<SlowHandler>(call, &executor);
  });
  const auto stub = echo.Stub();
  const auto context = Context();
  const auto stream = stub->Talk(context.get());
  // More than the window of a stream, so that flow control stops the client.
  constexpr int kMessages = 300;
  std::thread writer([&] {
    for (int i = 0; i < kMessages; ++i) {
      stream->Write(Message(std::string(10'000, 'x') + std::to_string(i)));
    }
    stream->WritesDone();
  });
  EchoMessage reply;
  for (int i = 0; i < kMessages; ++i) {
    REQUIRE(stream->Read(&reply));
    REQUIRE(reply.text() == std::string(10'000, 'x') + std::to_string(i));
  }
  writer.join();
  CHECK_FALSE(stream->Read(&reply));
  CHECK(stream->Finish().ok());
}

// --- What a client of gRPC does not do ---

// A server whose calls of Say are answered when the test says so.
class Held {
 protected:
  Done TakeDone() {
    absl::MutexLock lock(&mu_);
    const auto any = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !dones_.empty(); };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&any), absl::Seconds(30)));
    Done done = std::move(dones_.front());
    dones_.erase(dones_.begin());
    return done;
  }

  absl::Mutex mu_;
  std::vector<Done> dones_ ABSL_GUARDED_BY(mu_);
  ServerOptions options_;
  EchoServer::Say hold_ = [this](const Call&, const EchoMessage&, EchoMessage*, Done done) {
    absl::MutexLock lock(&mu_);
    dones_.push_back(std::move(done));
  };
};

TEST_CASE_METHOD(Held, "A call whose client goes is cancelled, and a late answer is dropped",
                 "[rpc]") {
  EchoServer echo(hold_);
  auto client = std::make_unique<Http2Client>(echo.Connect());
  const int32_t id = client->Request(Http2Client::CallHeaders(kSay), Http2Client::Frame(""));
  const Done done = TakeDone();
  SECTION("by a reset") { client->Reset(id); }
  SECTION("with its connection") { client.reset(); }

  CHECK(echo.WaitForEnd() == absl::StatusCode::kCancelled);
  done(absl::OkStatus());
  Http2Client next(echo.Connect());
  const int32_t health = next.Request(Http2Client::CallHeaders("/grpc.health.v1.Health/Check"),
                                      Http2Client::Frame(""));
  const Http2Client::Reply& reply = next.ReadReply(health);
  CHECK(reply.headers.at("grpc-status") == "0");
  CHECK(reply.body == Http2Client::Frame("\x08\x01"));
}

TEST_CASE_METHOD(Held, "The server ends a call at its deadline", "[rpc]") {
  EchoServer echo(hold_);
  Http2Client client(echo.Connect());
  const int32_t id = client.Request(Http2Client::CallHeaders(kSay, {{"grpc-timeout", "20m"}}),
                                    Http2Client::Frame(""));
  const Http2Client::Reply& reply = client.ReadReply(id);
  CHECK(reply.headers.at("grpc-status") == "4");
  CHECK(echo.WaitForEnd() == absl::StatusCode::kDeadlineExceeded);
  TakeDone()(absl::OkStatus());
}

TEST_CASE("What is no call of gRPC is refused", "[rpc]") {
  EchoServer echo(EchoNow);
  Http2Client client(echo.Connect());
  const auto status_of = [&](const Http2Client::Headers& headers, const std::string& body) {
    const Http2Client::Reply& reply = client.ReadReply(client.Request(headers, body));
    const auto grpc = reply.headers.find("grpc-status");
    const auto message = reply.headers.find("grpc-message");
    return grpc == reply.headers.end()      ? "HTTP " + reply.headers.at(":status")
           : message == reply.headers.end() ? grpc->second
                                            : grpc->second + " " + message->second;
  };
  const std::string body = Http2Client::Frame("");

  CHECK(status_of(Http2Client::CallHeaders(kSay), body) == "0");
  CHECK(status_of(Http2Client::CallHeaders(kSay, {{":method", "GET"}}), "") == "HTTP 405");
  CHECK(status_of(Http2Client::CallHeaders(kSay, {{"content-type", "text/plain"}}), body) ==
        "HTTP 415");
  CHECK(status_of(Http2Client::CallHeaders("/a.B/C"), body) == "12 unknown service a.B");
  CHECK(status_of(Http2Client::CallHeaders("/keelson.net.testing.Echo/Sing"), body) ==
        "12 unknown method Sing for service keelson.net.testing.Echo");
  CHECK(status_of(Http2Client::CallHeaders("nonsense"), body) ==
        "12 malformed method name: \"nonsense\"");
  CHECK(status_of(Http2Client::CallHeaders(kSay, {{"grpc-timeout", "soon"}}), body) ==
        "13 malformed grpc-timeout: soon");
  CHECK(status_of(Http2Client::CallHeaders(kSay, {{"x", std::string(20'000, 'x')}}), body) ==
        "8 the header fields of the request are too large");
  CHECK(status_of(Http2Client::CallHeaders(kSay), Http2Client::Frame("", 1)) ==
        "12 compressed messages are not supported");
  CHECK(status_of(Http2Client::CallHeaders(kSay), "") == "13 a unary call has one message");
  CHECK(status_of(Http2Client::CallHeaders(kSay), body + body) ==
        "13 a unary call has one message");
  CHECK(status_of(Http2Client::CallHeaders(kSay), body.substr(0, 3)) ==
        "13 the request ends within a message");
  CHECK(status_of(Http2Client::CallHeaders(kSay), Http2Client::Frame("\xff")) ==
        "13 the request cannot be decoded");
  // etcdctl writes a URL where an authority belongs.
  CHECK(status_of(Http2Client::CallHeaders(kSay, {{":authority", "http://127.0.0.1:1"}}), body) ==
        "0");
}

TEST_CASE("An answer before the end of the request resets the rest", "[rpc]") {
  EchoServer echo(EchoNow);
  Http2Client client(echo.Connect());
  const int32_t id = client.Request(Http2Client::CallHeaders("/a.B/C"), "", /*ends=*/false);
  const Http2Client::Reply& reply = client.ReadReply(id);
  CHECK(reply.headers.at("grpc-status") == "12");
  CHECK(reply.error == NGHTTP2_NO_ERROR);
}

TEST_CASE("A client that pings too often is told to calm down", "[rpc]") {
  EchoServer echo(EchoNow);
  Http2Client client(echo.Connect());
  SECTION("without calls") {
    for (int i = 0; i < 4; ++i) client.Ping();
    client.ReadUntilDisconnected();
    CHECK(client.goaway().first == NGHTTP2_ENHANCE_YOUR_CALM);
    CHECK(client.goaway().second == "too_many_pings");
  }
  SECTION("unless it has been sent something") {
    for (int i = 0; i < 10; ++i) {
      client.Ping();
      client.ReadReply(client.Request(Http2Client::CallHeaders(kSay), Http2Client::Frame("")));
    }
    CHECK(client.goaway().second.empty());
  }
}

TEST_CASE("A silent connection is pinged, and closed without an answer", "[rpc]") {
  EchoServer echo(
      EchoNow, [](const auto& call) { return std::make_shared<TalkHandler>(call); },
      {.keepalive_interval = absl::Milliseconds(10), .keepalive_timeout = absl::Milliseconds(10)});
  Http2Client client(echo.Connect());
  client.ReadReply(client.Request(Http2Client::CallHeaders(kSay), Http2Client::Frame("")));
  client.StopAnswering();
  client.ReadUntilDisconnected();
}

TEST_CASE("A connection that does not greet is closed", "[rpc]") {
  EchoServer echo(EchoNow, [](const auto& call) { return std::make_shared<TalkHandler>(call); },
                  {.handshake_timeout = absl::Milliseconds(10)});
  const UniqueFd silent = echo.Connect();
  char byte = 0;
  CHECK(::recv(silent.get(), &byte, 1, 0) == 0);
}

TEST_CASE_METHOD(Held, "Stop lets calls end, for a while", "[rpc]") {
  EchoServer echo(hold_);
  Http2Client client(echo.Connect());
  const int32_t id = client.Request(Http2Client::CallHeaders(kSay), Http2Client::Frame(""));
  const Done done = TakeDone();
  SECTION("long enough") {
    std::thread stop([&] { echo.server().Stop(absl::Seconds(30)); });
    client.ReadUntil([&] { return client.goaway().first == NGHTTP2_NO_ERROR; });
    done(absl::OkStatus());
    CHECK(client.ReadReply(id).headers.at("grpc-status") == "0");
    stop.join();
    CHECK(echo.WaitForEnd() == absl::StatusCode::kOk);
  }
  SECTION("not long enough") {
    echo.server().Stop(absl::Milliseconds(10));
    CHECK(echo.WaitForEnd() == absl::StatusCode::kCancelled);
    client.ReadUntilDisconnected();
    done(absl::OkStatus());
  }
  const UniqueFd late = echo.Connect();
  char byte = 0;
  CHECK(::recv(late.get(), &byte, 1, 0) == 0);
}

class Tls {
 protected:
  TlsMaterial Material(const testing::IssuedCertificate& own) const {
    return {.cert_pem = own.cert_pem,
            .key_pem = own.key_pem,
            .ca_pem = authority_.ca_pem(),
            .require_client_cert = true};
  }

  testing::TestAuthority authority_;
  testing::IssuedCertificate server_ = authority_.Issue("server", "DNS:localhost,IP:127.0.0.1");
  testing::IssuedCertificate client_ = authority_.Issue("alice", "DNS:alice.example");
};

TEST_CASE_METHOD(Tls, "Calls pass through TLS, with certificates on both sides", "[rpc][tls]") {
  auto context = TlsServerContext::Create(Material(server_), TlsServerContext::Protocol::kHttp2);
  KEELSON_REQUIRE_OK(context);
  std::string name;
  EchoServer echo(EchoNow,
                  [&name](const auto& call) {
                    name = std::string(call->ClientCommonName());
                    return std::make_shared<TalkHandler>(call);
                  },
                  {.tls = *context});
  EchoMessage reply;
  SECTION("known") {
    const auto stub = echo.Stub(GrpcChannelCredentials(Material(client_)));
    const std::string text(3 << 20, 'x');
    const grpc::Status status = stub->Say(Context().get(), Message(text), &reply);
    INFO(status.error_message());
    REQUIRE(status.ok());
    CHECK(reply.text() == text);
    const auto call = Context();
    const auto stream = stub->Talk(call.get());
    for (int i = 0; i < 100; ++i) {
      REQUIRE(stream->Write(Message(std::string(20'000, 'x') + std::to_string(i))));
      REQUIRE(stream->Read(&reply));
      CHECK(reply.text() == std::string(20'000, 'x') + std::to_string(i));
    }
    CHECK(name == "alice");
  }
  SECTION("without one") {
    const TlsMaterial none{.ca_pem = authority_.ca_pem()};
    CHECK_FALSE(
        echo.Stub(GrpcChannelCredentials(none))->Say(Context().get(), Message("x"), &reply).ok());
    CHECK(echo.started() == 0);
  }
}

}  // namespace
}  // namespace keelson::rpc
