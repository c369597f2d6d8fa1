#include "base/rpc/client.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/socket.h>
#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "base/net/address.h"
#include "base/net/echo_for_test.grpc.pb.h"
#include "base/rpc/client_unary.h"
#include "base/rpc/listener.h"
#include "base/rpc/server.h"
#include "base/rpc/unary.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"
#include "base/tls_grpc.h"

namespace keelson::rpc {
namespace {

using absl::StatusCode;
using net::testing::Echo;
using net::testing::EchoMessage;

constexpr char kSay[] = "/keelson.net.testing.Echo/Say";
constexpr char kTalk[] = "/keelson.net.testing.Echo/Talk";
constexpr absl::Duration kLong = absl::Seconds(60);  // A bound for a broken test.

EchoMessage Text(std::string text) {
  EchoMessage message;
  message.set_text(std::move(text));
  return message;
}

// Remembers what comes.
class Recorder : public ResponseHandler {
 public:
  void OnAccepted(const Metadata& fields) override {
    absl::MutexLock lock(&mu_);
    accepted_ = true;
    fields_ = fields;
  }
  void OnMessage(std::string_view message) override {
    absl::MutexLock lock(&mu_);
    messages_.emplace_back(message);
  }
  void OnRoom() override { ++rooms; }
  void OnDone(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    CHECK_FALSE(done_);
    done_ = true;
    status_ = status;
  }

  absl::Status WaitForEnd() {
    absl::MutexLock lock(&mu_);
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&done_), kLong));
    return status_;
  }
  std::vector<std::string> WaitForMessages(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return messages_.size() >= count || done_;
    };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&enough), kLong));
    return messages_;
  }
  void WaitForAccepted() {
    absl::MutexLock lock(&mu_);
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&accepted_), kLong));
  }
  Metadata fields() {
    absl::MutexLock lock(&mu_);
    return fields_;
  }
  bool done() {
    absl::MutexLock lock(&mu_);
    return done_;
  }
  std::atomic<int> rooms{0};

 private:
  absl::Mutex mu_;
  bool accepted_ ABSL_GUARDED_BY(mu_) = false;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  Metadata fields_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> messages_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

// --- Servers ---

class TestServer {
 public:
  virtual ~TestServer() = default;
  [[nodiscard]] virtual std::string address() const = 0;
};

// "fail": an error. "headers": the value of the field "question". Else the same text.
absl::Status Answer(const std::string& question, std::string_view field, std::string* text) {
  if (question == "fail") return absl::NotFoundError("100 % gone: caf\xc3\xa9");
  *text = question == "headers" ? std::string(field) : question;
  return absl::OkStatus();
}

class TalkHandler final : public CallHandler {
 public:
  explicit TalkHandler(std::shared_ptr<Call> call) : call_(std::move(call)) {
    call_->Accept({{"mood", "good"}});
  }
  void OnMessage(std::string_view message) override { (void)call_->Send(std::string(message)); }
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }

 private:
  const std::shared_ptr<Call> call_;
};

class OurServer final : public TestServer {
 public:
  explicit OurServer(
      const TlsMaterial& tls = {},
      decltype(Method::start) talk = [](const std::shared_ptr<Call>& call) {
        return std::make_shared<TalkHandler>(call);
      }) {
    ServerOptions options;
    options.loops = {&loop_};
    options.max_request_bytes = 64 << 20;
    if (!tls.cert_pem.empty()) {
      KEELSON_ASSIGN_OR_FAIL(options.tls, TlsServerContext::Create(tls, TlsProtocol::kHttp2));
    }
    server_ = Server::Create(options);
    server_->Register(
        {.path = kSay,
         .start = Unary<EchoMessage, EchoMessage>([](const Call& call, const EchoMessage& request,
                                                     EchoMessage* response, const Done& done) {
           const absl::Status status =
               Answer(request.text(), call.Metadata("question"), response->mutable_text());
           if (request.text() != "silence") done(status);
         }),
         .on_start = {},
         .on_end = [this](const absl::Status& status) {
           cancelled += status.code() == StatusCode::kCancelled ? 1 : 0;
         }});
    server_->Register({.path = kTalk, .start = std::move(talk), .on_start = {}, .on_end = {}});
    server_->Start();
    KEELSON_ASSIGN_OR_FAIL(listener_,
                           Listener::Open(loop_, *server_, "127.0.0.1:0", options.tls != nullptr));
  }
  ~OurServer() override { Stop(absl::ZeroDuration()); }
  void Stop(absl::Duration grace) {
    listener_.reset();
    server_->Stop(grace);
  }
  [[nodiscard]] std::string address() const override {
    return absl::StrCat("localhost:", listener_->port());
  }
  Server& server() { return *server_; }
  std::atomic<int> cancelled{0};

 private:
  EventLoop loop_{"server"};
  std::unique_ptr<Server> server_;
  std::unique_ptr<Listener> listener_;
};

class GrpcServer final : public TestServer, public Echo::Service {
 public:
  explicit GrpcServer(const TlsMaterial& tls = {}) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.AddListeningPort(
        "127.0.0.1:0",
        tls.cert_pem.empty() ? grpc::InsecureServerCredentials() : GrpcServerCredentials(tls),
        &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~GrpcServer() override { server_->Shutdown(std::chrono::system_clock::now()); }
  [[nodiscard]] std::string address() const override { return absl::StrCat("localhost:", port_); }

  grpc::Status Say(grpc::ServerContext* context, const EchoMessage* request,
                   EchoMessage* response) override {
    const auto field = context->client_metadata().find("question");
    const std::string value = field == context->client_metadata().end()
                                  ? ""
                                  : std::string(field->second.data(), field->second.size());
    const absl::Status status = Answer(request->text(), value, response->mutable_text());
    return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
  }
  grpc::Status Talk(grpc::ServerContext* context,
                    grpc::ServerReaderWriter<EchoMessage, EchoMessage>* stream) override {
    context->AddInitialMetadata("mood", "good");
    EchoMessage message;
    while (stream->Read(&message)) stream->Write(message);
    return grpc::Status::OK;
  }

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

struct Client {
  explicit Client(ChannelOptions options) {
    options.resolver = &resolver;
    channel = Channel::Create(loop, std::move(options));
  }
  absl::StatusOr<EchoMessage> Say(const std::string& text, absl::Duration timeout = kLong) const {
    absl::StatusOr<EchoMessage> result;
    absl::Notification done;
    (void)CallUnary<EchoMessage>(
        *channel, {.path = kSay, .metadata = {{"question", "why"}}, .timeout = timeout}, Text(text),
        [&](absl::StatusOr<EchoMessage> answer) {
          result = std::move(answer);
          done.Notify();
        });
    REQUIRE(done.WaitForNotificationWithTimeout(2 * kLong));
    return result;
  }
  [[nodiscard]] std::pair<std::shared_ptr<ClientCall>, std::shared_ptr<Recorder>> Talk() const {
    auto recorder = std::make_shared<Recorder>();
    auto call = channel->Start({.path = kTalk}, recorder);
    return {call, recorder};
  }

  net::Resolver resolver;
  mutable EventLoop loop{"client"};
  std::unique_ptr<Channel> channel;
};

void CheckAllKindsOfCalls(const ChannelOptions& options) {
  const Client client(options);
  KEELSON_ASSIGN_OR_FAIL(const EchoMessage hello, client.Say("hello"));
  CHECK(hello.text() == "hello");
  KEELSON_ASSIGN_OR_FAIL(const EchoMessage field, client.Say("headers"));
  CHECK(field.text() == "why");
  KEELSON_CHECK_ERROR(client.Say("fail"), StatusCode::kNotFound, "100 % gone: caf\xc3\xa9");
  // More than all windows.
  const std::string large(3 << 20, 'x');
  KEELSON_ASSIGN_OR_FAIL(const EchoMessage back, client.Say(large));
  CHECK((back.text() == large));

  const auto [call, recorder] = client.Talk();
  (void)call->Send("");
  recorder->WaitForAccepted();
  const Metadata fields = recorder->fields();
  CHECK(std::find(fields.begin(), fields.end(),
                  std::pair<std::string, std::string>("mood", "good")) != fields.end());
  for (int i = 0; i < 1000; ++i) (void)call->Send(Text(absl::StrCat(i)).SerializeAsString());
  call->HalfClose();
  KEELSON_REQUIRE_OK(recorder->WaitForEnd());
  const std::vector<std::string> messages = recorder->WaitForMessages(1001);
  REQUIRE(messages.size() == 1001);
  for (int i = 0; i < 1000; ++i) {
    CHECK(messages[i + 1] == Text(absl::StrCat(i)).SerializeAsString());
  }

  auto unknown = std::make_shared<Recorder>();
  (void)client.channel->Start({.path = "/no.Such/Method"}, unknown)->HalfClose();
  CHECK(unknown->WaitForEnd().code() == StatusCode::kUnimplemented);
}

TEST_CASE("Calls of all kinds reach our server and gRPC's", "[rpc][client]") {
  SECTION("ours") {
    const OurServer server;
    CheckAllKindsOfCalls({.address = server.address()});
  }
  SECTION("gRPC C++") {
    const GrpcServer server;
    CheckAllKindsOfCalls({.address = server.address()});
  }
}

TlsMaterial Material(const keelson::testing::TestAuthority& authority, const std::string& names) {
  const auto issued = authority.Issue("test", names);
  return {.cert_pem = issued.cert_pem,
          .key_pem = issued.key_pem,
          .ca_pem = authority.ca_pem(),
          .require_client_cert = true};
}

std::shared_ptr<const TlsClientContext> ClientTls(const TlsMaterial& material) {
  auto context = TlsClientContext::Create(material, TlsProtocol::kHttp2);
  KEELSON_REQUIRE_OK(context);
  return *context;
}

TEST_CASE("Calls of all kinds pass through TLS with certificates on both sides",
          "[rpc][client][tls]") {
  const keelson::testing::TestAuthority authority;
  const TlsMaterial material = Material(authority, "DNS:localhost");
  SECTION("ours") {
    const OurServer server(material);
    CheckAllKindsOfCalls({.address = server.address(), .tls = ClientTls(material)});
  }
  SECTION("gRPC C++") {
    const GrpcServer server(material);
    CheckAllKindsOfCalls({.address = server.address(), .tls = ClientTls(material)});
  }
}

TEST_CASE("A certificate that is not good ends the attempt, with the reason",
          "[rpc][client][tls]") {
  const keelson::testing::TestAuthority authority;
  const keelson::testing::TestAuthority stranger("Another authority");
  TlsMaterial client = Material(authority, "DNS:localhost");
  TlsMaterial server = client;
  std::string why;
  SECTION("of the server, by its authority") {
    client.ca_pem = stranger.ca_pem();
    why = "certificate";
  }
  SECTION("of the server, by its name") {
    server = Material(authority, "DNS:elsewhere");
    why = "hostname mismatch";
  }
  SECTION("of the client: none") {
    // The reason is the server's to say, and may be lost with the connection.
    client.cert_pem.clear();
  }
  SECTION("of the client, by its authority") {
    const TlsMaterial other = Material(stranger, "DNS:localhost");
    client.cert_pem = other.cert_pem;
    client.key_pem = other.key_pem;
  }
  const OurServer listening(server);
  const Client caller({.address = listening.address(), .tls = ClientTls(client)});
  KEELSON_CHECK_ERROR(caller.Say("hello"), StatusCode::kUnavailable, why);
  KEELSON_CHECK_ERROR(caller.Say("hello"), StatusCode::kUnavailable, listening.address());
}

TEST_CASE("Without verification any certificate will do", "[rpc][client][tls]") {
  const keelson::testing::TestAuthority authority;
  const keelson::testing::TestAuthority stranger("Another authority");
  TlsMaterial server = Material(authority, "");
  server.require_client_cert = false;
  server.verify_peer = false;
  TlsMaterial client = Material(stranger, "");
  client.require_client_cert = false;
  client.verify_peer = false;
  const OurServer listening(server);
  const Client caller({.address = listening.address(), .tls = ClientTls(client)});
  KEELSON_REQUIRE_OK(caller.Say("hello"));
}

TEST_CASE("A handler knows who calls", "[rpc][client][tls]") {
  const keelson::testing::TestAuthority authority;
  const TlsMaterial material = Material(authority, "DNS:localhost,IP:127.0.0.1");
  Peer seen;
  const OurServer server(material, [&seen](const std::shared_ptr<Call>& call) {
    seen = call->peer();
    return std::make_shared<TalkHandler>(call);
  });
  const Client client({.address = server.address(), .tls = ClientTls(material)});
  const auto [call, recorder] = client.Talk();
  recorder->WaitForAccepted();
  CHECK(seen.address.starts_with("127.0.0.1:"));
  REQUIRE(seen.certificate != nullptr);
  CHECK(seen.certificate->dns_names == std::vector<std::string>{"localhost"});
}

// --- Ends ---

TEST_CASE("A call ends at its deadline, and the server hears of it", "[rpc][client]") {
  const OurServer server;
  const Client client({.address = server.address()});
  // Each side ends it by itself.
  CHECK(client.Say("silence", absl::Milliseconds(20)).status().code() ==
        StatusCode::kDeadlineExceeded);
  // The connection lives on.
  KEELSON_REQUIRE_OK(client.Say("hello"));
}

TEST_CASE("A call that is cancelled ends here and there", "[rpc][client]") {
  const OurServer server;
  const Client client({.address = server.address()});
  auto recorder = std::make_shared<Recorder>();
  const auto call = client.channel->Start({.path = kSay}, recorder);
  (void)call->Send(Text("silence").SerializeAsString());
  call->HalfClose();
  KEELSON_REQUIRE_OK(client.Say("hello"));
  call->Cancel();
  CHECK(recorder->WaitForEnd().code() == StatusCode::kCancelled);
  call->Cancel();
  (void)call->Send("nothing");
  while (server.cancelled == 0) std::this_thread::yield();
}

TEST_CASE("Nobody there: the text names whom was called and why it failed", "[rpc][client]") {
  std::string address;
  {
    KEELSON_ASSIGN_OR_FAIL(const net::Listener taken, net::Listen("127.0.0.1:0"));
    address = taken.address;
  }
  const Client client({.address = address});
  KEELSON_CHECK_ERROR(client.Say("x"), StatusCode::kUnavailable,
                      absl::StrCat("'", address, "': connect: Connection refused"));
  const Client nameless({.address = "no-such-host.invalid:1"});
  KEELSON_CHECK_ERROR(nameless.Say("x"), StatusCode::kUnavailable,
                      "look up 'no-such-host.invalid'");
  const Client wrong({.address = "not an address"});
  KEELSON_CHECK_ERROR(wrong.Say("x"), StatusCode::kUnavailable, "'not an address'");
}

TEST_CASE("After a failure calls fail at once for a while, if so wanted", "[rpc][client]") {
  std::string address;
  {
    KEELSON_ASSIGN_OR_FAIL(const net::Listener taken, net::Listen("127.0.0.1:0"));
    address = taken.address;
  }
  const Client client(
      {.address = address, .backoff_initial = absl::Hours(1), .backoff_max = absl::Hours(1)});
  CHECK_FALSE(client.Say("x").ok());
  KEELSON_ASSIGN_OR_FAIL(const net::Listener there, net::Listen(address));
  CHECK_FALSE(client.Say("x").ok());
  pollfd poll{.fd = there.fd.get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&poll, 1, 0) == 0);
}

TEST_CASE("A server that comes back is found by the next call", "[rpc][client]") {
  auto server = std::make_unique<OurServer>();
  const std::string address = server->address();
  const Client client({.address = address});
  KEELSON_REQUIRE_OK(client.Say("hello"));
  const auto [call, recorder] = client.Talk();
  recorder->WaitForAccepted();
  server.reset();
  CHECK(recorder->WaitForEnd().code() == StatusCode::kUnavailable);
  CHECK_FALSE(client.Say("hello").ok());
}

TEST_CASE("A server that goes away keeps the calls it has, and gets no new ones", "[rpc][client]") {
  OurServer server;
  const Client client({.address = server.address()});
  const auto [call, recorder] = client.Talk();
  recorder->WaitForAccepted();
  std::thread stopper([&] { server.Stop(kLong); });
  // The port is closed first, so a call that needs a new connection fails.
  while (client.Say("hello").ok()) std::this_thread::yield();
  (void)call->Send("still there");
  CHECK(recorder->WaitForMessages(1) == std::vector<std::string>{"still there"});
  call->HalfClose();
  KEELSON_REQUIRE_OK(recorder->WaitForEnd());
  stopper.join();
}

TEST_CASE("Close ends all calls, and nothing comes after it", "[rpc][client]") {
  const OurServer server;
  Client client({.address = server.address()});
  const auto [call, recorder] = client.Talk();
  recorder->WaitForAccepted();
  const auto [waiting, early] = client.Talk();
  client.channel->Close();
  CHECK(recorder->done());
  CHECK(recorder->WaitForEnd().code() == StatusCode::kCancelled);
  client.channel->Close();
  (void)call->Send("x");
  const auto [late, never] = client.Talk();
  client.loop.Await([] {});
  CHECK_FALSE(never->done());
}

// --- Flow control ---

TEST_CASE("A sender is told when there is much, and when there is room again",
          "[rpc][client][flow]") {
  std::shared_ptr<Call> held;
  absl::Notification started;
  class Deaf final : public CallHandler {
   public:
    explicit Deaf(std::shared_ptr<Call> call) : call_(std::move(call)) {
      call_->Accept({});
      call_->Pause();
    }
    void OnMessage(std::string_view message) override { bytes += message.size(); }
    void OnHalfClose() override { call_->Answer(absl::StrCat(bytes)); }
    size_t bytes = 0;

   private:
    const std::shared_ptr<Call> call_;
  };
  const OurServer server({}, [&](const std::shared_ptr<Call>& call) {
    held = call;
    started.Notify();
    return std::make_shared<Deaf>(call);
  });
  const Client client({.address = server.address()});
  const auto [call, recorder] = client.Talk();
  started.WaitForNotification();
  size_t sent = 0;
  const std::string message(64 << 10, 'm');
  // The server reads nothing, so its windows fill up, and then what waits here.
  for (bool room = true; room && sent < (64 << 20);) {
    room = call->Send(message);
    sent += message.size();
    client.loop.Await([] {});
  }
  CHECK(sent < (16 << 20));
  CHECK(recorder->rooms == 0);
  // Other calls of the connection pass.
  KEELSON_REQUIRE_OK(client.Say("hello"));
  held->Resume();
  while (recorder->rooms == 0) std::this_thread::yield();
  call->HalfClose();
  KEELSON_REQUIRE_OK(recorder->WaitForEnd());
  CHECK(recorder->WaitForMessages(1) == std::vector<std::string>{absl::StrCat(sent)});
}

TEST_CASE("A paused call gets its messages and its end later, in order", "[rpc][client][flow]") {
  class Paused final : public Recorder {
   public:
    void OnMessage(std::string_view message) override {
      Recorder::OnMessage(message);
      if (!std::exchange(once_, true)) call->Pause();
    }
    std::shared_ptr<ClientCall> call;

   private:
    bool once_ = false;
  };
  const OurServer server;
  const Client client({.address = server.address()});
  auto recorder = std::make_shared<Paused>();
  client.loop.Await([&] { recorder->call = client.channel->Start({.path = kTalk}, recorder); });
  for (int i = 0; i < 100; ++i) (void)recorder->call->Send(std::string(50'000, 'a'));
  recorder->call->HalfClose();
  CHECK(recorder->WaitForMessages(1).size() == 1);
  for (int i = 0; i < 20; ++i) KEELSON_REQUIRE_OK(client.Say("hello"));
  CHECK(recorder->WaitForMessages(1).size() == 1);
  CHECK_FALSE(recorder->done());
  recorder->call->Resume();
  KEELSON_REQUIRE_OK(recorder->WaitForEnd());
  CHECK(recorder->WaitForMessages(100).size() == 100);
  recorder->call = nullptr;
}

// --- Servers that do wrong ---

// Accepts one connection after the other and says `bytes` on each once the client has spoken.
class RawServer {
 public:
  RawServer(std::string bytes, bool close) : bytes_(std::move(bytes)), close_(close) {
    auto listener = net::Listen("127.0.0.1:0");
    KEELSON_REQUIRE_OK(listener);
    listener_ = *std::move(listener);
    thread_ = std::thread([this] { Run(); });
  }
  ~RawServer() {
    stop_ = true;
    ::shutdown(listener_.fd.get(), SHUT_RDWR);
    thread_.join();
  }
  [[nodiscard]] const std::string& address() const { return listener_.address; }

 private:
  void Run() {
    std::vector<UniqueFd> open;
    while (!stop_) {
      pollfd poll{.fd = listener_.fd.get(), .events = POLLIN, .revents = 0};
      (void)::poll(&poll, 1, 1000);
      UniqueFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd.ok()) continue;
      char buffer[4096];
      (void)!::recv(fd.get(), buffer, sizeof(buffer), 0);
      (void)!::send(fd.get(), bytes_.data(), bytes_.size(), MSG_NOSIGNAL);
      if (close_) ::shutdown(fd.get(), SHUT_RDWR);
      open.push_back(std::move(fd));
    }
  }

  const std::string bytes_;
  const bool close_;
  net::Listener listener_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

std::string Number(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
  return text;
}
std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  return Number(static_cast<uint32_t>(payload.size()), 3) + Number(type, 1) + Number(flags, 1) +
         Number(stream, 4) + payload;
}
std::string HeaderField(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + Number(static_cast<uint32_t>(name.size()), 1) + name +
         Number(static_cast<uint32_t>(value.size()), 1) + value;
}
std::string Message(const std::string& bytes, char flag = 0) {
  return std::string(1, flag) + Number(static_cast<uint32_t>(bytes.size()), 4) + bytes;
}

const std::string kSettings = Frame(4, 0, 0, "");
const std::string kOk = "\x88" + HeaderField("content-type", "application/grpc");
constexpr uint8_t kEndHeaders = 4;
constexpr uint8_t kEndStream = 1;

TEST_CASE("What no gRPC server says ends the call, and says why", "[rpc][client][hostile]") {
  struct Row {
    std::string name;
    std::string bytes;
    bool close;
    StatusCode code;
    std::string why;
  };
  const std::string accepted = kSettings + Frame(1, kEndHeaders, 1, kOk);
  const std::string hello = Message(Text("hello").SerializeAsString());
  const std::string good_end =
      Frame(1, kEndHeaders | kEndStream, 1, HeaderField("grpc-status", "0"));
  auto row = GENERATE_COPY(values<Row>({
      {"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n", false, StatusCode::kUnavailable, "HTTP/2"},
      {"nothing, and closes", "", true, StatusCode::kUnavailable, "closed by the other side"},
      {"a frame cut off", accepted.substr(0, accepted.size() - 3), true, StatusCode::kUnavailable,
       "closed"},
      {"a frame above the limit",
       kSettings + Number(0xffffff, 3) + std::string(1, 0) + Number(0, 5), false,
       StatusCode::kUnavailable, ""},
      {"an HTML page",
       kSettings + Frame(1, kEndHeaders, 1, "\x88" + HeaderField("content-type", "text/html")) +
           Frame(0, kEndStream, 1, "<html>"),
       false, StatusCode::kUnknown, "content of type 'text/html'"},
      {"HTTP 404", kSettings + Frame(1, kEndHeaders | kEndStream, 1, "\x8d"), false,
       StatusCode::kUnimplemented, "HTTP 404"},
      {"HTTP 503", kSettings + Frame(1, kEndHeaders | kEndStream, 1, HeaderField(":status", "503")),
       false, StatusCode::kUnavailable, "HTTP 503"},
      {"an end without a status", accepted + Frame(0, kEndStream, 1, hello), false,
       StatusCode::kInternal, "ended without a status"},
      {"a status that is no number",
       accepted + Frame(1, kEndHeaders | kEndStream, 1, HeaderField("grpc-status", "x")), false,
       StatusCode::kUnknown, ""},
      {"half a message", accepted + Frame(0, 0, 1, hello.substr(0, 7)) + good_end, false,
       StatusCode::kInternal, "ends within a message"},
      {"no message", accepted + good_end, false, StatusCode::kInternal,
       "no message in the response"},
      {"two messages", accepted + Frame(0, 0, 1, hello + hello) + good_end, false,
       StatusCode::kInternal, "more than one"},
      {"a message that is none", accepted + Frame(0, 0, 1, Message("\xff\xff")) + good_end, false,
       StatusCode::kInternal, "cannot be decoded"},
      {"a compressed message", accepted + Frame(0, 0, 1, Message("x", 1)), false,
       StatusCode::kUnimplemented, "compressed"},
      {"an unknown flag", accepted + Frame(0, 0, 1, Message("x", 7)), false, StatusCode::kInternal,
       "flag"},
      {"a huge message", accepted + Frame(0, 0, 1, std::string(1, 0) + Number(0x7fffffff, 4)),
       false, StatusCode::kResourceExhausted, "larger than max"},
      {"huge fields",
       kSettings + Frame(1, kEndHeaders, 1,
                         kOk + HeaderField("a", std::string(100, 'a')) +
                             HeaderField("b", std::string(100, 'b')) +
                             HeaderField("c", std::string(120, 'c'))),
       false, StatusCode::kResourceExhausted, "header fields"},
      {"a reset", accepted + Frame(3, 0, 1, Number(7, 4)), false, StatusCode::kUnavailable,
       "reset the stream"},
      {"a reset for an inner error", accepted + Frame(3, 0, 1, Number(2, 4)), false,
       StatusCode::kInternal, "INTERNAL_ERROR"},
      {"a farewell before it took the call",
       kSettings + Frame(7, 0, 0, Number(0, 4) + Number(11, 4) + "too_many_pings"), false,
       StatusCode::kUnavailable, "too_many_pings"},
      {"data before the header", kSettings + Frame(0, 0, 1, hello), false, StatusCode::kUnavailable,
       "HTTP/2"},
  }));
  DYNAMIC_SECTION(row.name) {
    const RawServer server(row.bytes, row.close);
    const Client client({.address = server.address(), .max_metadata_bytes = 400});
    KEELSON_CHECK_ERROR(client.Say("hello"), row.code, row.why);
  }
}

TEST_CASE("A call ends at its deadline, whatever the server does", "[rpc][client][hostile]") {
  const RawServer server(kSettings, false);
  const Client client({.address = server.address()});
  KEELSON_CHECK_ERROR(client.Say("hello", absl::Milliseconds(20)), StatusCode::kDeadlineExceeded,
                      "no answer within 20ms");
}

TEST_CASE("It is told apart what certainly never reached a server", "[rpc][client]") {
  const auto ended = [](const std::string& address) {
    return Client({.address = address, .connect_timeout = absl::Milliseconds(40)})
        .Say("hello")
        .status();
  };
  SECTION("nobody listens") {
    std::string address;
    {
      KEELSON_ASSIGN_OR_FAIL(const net::Listener taken, net::Listen("127.0.0.1:0"));
      address = taken.address;
    }
    CHECK(WasNeverSent(ended(address)));
  }
  SECTION("a farewell that leaves the call out") {
    const RawServer server(kSettings + Frame(7, 0, 0, Number(0, 4) + Number(0, 4)), false);
    CHECK(WasNeverSent(ended(server.address())));
  }
  SECTION("a stream that was refused") {
    const RawServer server(kSettings + Frame(3, 0, 1, Number(7, 4)), false);
    CHECK(WasNeverSent(ended(server.address())));
  }
  SECTION("sent, and no answer: perhaps done") {
    const RawServer server("", true);
    CHECK_FALSE(WasNeverSent(ended(server.address())));
  }
  SECTION("sent, and a broken stream: perhaps done") {
    const RawServer server(kSettings + Frame(3, 0, 1, Number(2, 4)), false);
    CHECK_FALSE(WasNeverSent(ended(server.address())));
  }
  SECTION("an answer of the server") { CHECK_FALSE(WasNeverSent(absl::OkStatus())); }
}

TEST_CASE("A certificate that is refused keeps the call from being sent", "[rpc][client][tls]") {
  const keelson::testing::TestAuthority authority;
  const keelson::testing::TestAuthority stranger("Another authority");
  TlsMaterial client = Material(authority, "DNS:localhost");
  const OurServer listening(client);
  client.ca_pem = stranger.ca_pem();
  const Client caller({.address = listening.address(), .tls = ClientTls(client)});
  CHECK(WasNeverSent(caller.Say("hello").status()));
}

TEST_CASE("A server that does not greet is given up", "[rpc][client][hostile]") {
  const RawServer server("", false);
  const Client client({.address = server.address(), .connect_timeout = absl::Milliseconds(40)});
  KEELSON_CHECK_ERROR(client.Say("hello"), StatusCode::kUnavailable, "no greeting within 40ms");
}

TEST_CASE("A connection that falls silent is pinged and given up", "[rpc][client][hostile]") {
  const RawServer server(kSettings, false);
  const Client client({.address = server.address(),
                       .keepalive_interval = absl::Milliseconds(20),
                       .keepalive_timeout = absl::Milliseconds(20)});
  KEELSON_CHECK_ERROR(client.Say("hello"), StatusCode::kUnavailable, "silent for");
}

TEST_CASE("A silent connection is pinged, and what the server says of it is passed on",
          "[rpc][client]") {
  const OurServer server;  // Allows a ping every five seconds.
  const Client client({.address = server.address(),
                       .keepalive_interval = absl::Milliseconds(5),
                       .keepalive_timeout = kLong});
  const auto [call, recorder] = client.Talk();
  KEELSON_CHECK_ERROR(recorder->WaitForEnd(), StatusCode::kUnavailable, "too_many_pings");
}

}  // namespace
}  // namespace keelson::rpc
