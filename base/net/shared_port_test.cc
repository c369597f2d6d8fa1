#include "base/net/shared_port.h"

#include <grpcpp/grpcpp.h>
#include <catch2/catch.hpp>

#include <cstdlib>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "base/http/client.h"
#include "base/http/server.h"
#include "base/http/testing/raw_client.h"
#include "base/net/echo_for_test.grpc.pb.h"
#include "base/net/grpc_acceptor.h"
#include "base/net/http_sink.h"
#include "base/testing/certificates.h"
#include "base/testing/status_matchers.h"
#include "base/tls.h"
#include "base/tls_grpc.h"

namespace keelson::net {
namespace {

using keelson::testing::IssuedCertificate;
using keelson::testing::RawClient;
using keelson::testing::TestAuthority;
using keelson::testing::WriteTestFile;
using testing::Echo;
using testing::EchoMessage;

class EchoService final : public Echo::Service {
  grpc::Status Say(grpc::ServerContext* context, const EchoMessage* request,
                   EchoMessage* reply) override {
    std::string text = request->text() + " from " + context->peer();
    for (const grpc::string_ref& name :
         context->auth_context()->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME)) {
      text += " cn=" + std::string(name.data(), name.size());
    }
    reply->set_text(text);
    return grpc::Status::OK;
  }
  grpc::Status Talk(grpc::ServerContext*,
                    grpc::ServerReaderWriter<EchoMessage, EchoMessage>* stream) override {
    EchoMessage message;
    while (stream->Read(&message)) stream->Write(message);
    return grpc::Status::OK;
  }
};

// Both servers behind one port.
class Both {
 public:
  explicit Both(const std::optional<TlsMaterial>& tls = std::nullopt,
                SharedPortOptions options = {}) {
    options.listen = {"127.0.0.1:0"};
    options.tls = tls.has_value();
    auto bound = SharedPort::Bind(options);
    KEELSON_REQUIRE_OK(bound);
    port_ = *std::move(bound);

    grpc::ServerBuilder builder;
    grpc_sink_ = std::make_unique<GrpcSink>(
        builder, tls ? GrpcServerCredentials(*tls) : grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    grpc_server_ = builder.BuildAndStart();
    REQUIRE(grpc_server_ != nullptr);

    http::ServerOptions http_options;
    if (tls) {
      auto context = TlsServerContext::Create(*tls);
      KEELSON_REQUIRE_OK(context);
      http_options.tls = *context;
    }
    auto http_server = http::Server::Start(
        http_options,
        [](const http::Request& request, const std::shared_ptr<http::ResponseWriter>& writer) {
          std::string text = "http " + request.target;
          if (request.peer_certificate) text += " cn=" + request.peer_certificate->common_name;
          writer->Send(http::TextResponse(200, text));
        });
    KEELSON_REQUIRE_OK(http_server);
    http_server_ = *std::move(http_server);
    http_sink_ = std::make_unique<HttpSink>(*http_server_, tls.has_value());
    port_->Start(*http_sink_, *grpc_sink_);
  }
  ~Both() {
    port_->Stop();
    grpc_server_->Shutdown(std::chrono::system_clock::now());
  }

  SharedPort& port() { return *port_; }

  std::unique_ptr<Echo::Stub> Stub(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A connection for each stub.
    return Echo::NewStub(grpc::CreateCustomChannel(port_->addresses()[0], credentials, arguments));
  }

 private:
  EchoService service_;
  std::unique_ptr<SharedPort> port_;
  std::unique_ptr<GrpcSink> grpc_sink_;
  std::unique_ptr<grpc::Server> grpc_server_;
  std::unique_ptr<http::Server> http_server_;
  std::unique_ptr<HttpSink> http_sink_;
};

grpc::Status Say(Echo::Stub& stub, EchoMessage& reply) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  EchoMessage request;
  request.set_text("hello");
  return stub.Say(&context, request, &reply);
}

std::unique_ptr<http::Client> NewClient(http::ClientOptions options = {}) {
  auto client = http::Client::Create(options);
  KEELSON_REQUIRE_OK(client);
  return *std::move(client);
}

TEST_CASE("gRPC and HTTP are served on one plain port", "[net][shared_port]") {
  Both both;
  const auto client = NewClient({.idle_connections_max = 0});

  for (int i = 0; i < 20; ++i) {
    const auto stub = both.Stub(grpc::InsecureChannelCredentials());
    EchoMessage reply;
    const grpc::Status status = Say(*stub, reply);
    INFO(status.error_message());
    REQUIRE(status.ok());
    CHECK(reply.text().starts_with("hello from ipv4:127.0.0.1:"));
    KEELSON_ASSIGN_OR_FAIL(
        const http::Response response,
        client->FetchBlocking({.url = "http://" + both.port().addresses()[0] + "/x"}));
    CHECK(response.body == "http /x");
  }

  CHECK(both.port().Stats().grpc_total == 20);
  CHECK(both.port().Stats().http_total == 20);
  CHECK(both.port().Stats().unknown_total == 0);
}

TEST_CASE("gRPC streams run through the shared port", "[net][shared_port]") {
  Both both;
  const auto stub = both.Stub(grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  const auto stream = stub->Talk(&context);

  EchoMessage message;
  for (int i = 0; i < 100; ++i) {
    message.set_text(std::string(10'000, 'x') + std::to_string(i));
    REQUIRE(stream->Write(message));
    EchoMessage reply;
    REQUIRE(stream->Read(&reply));
    CHECK(reply.text() == message.text());
  }
  REQUIRE(stream->WritesDone());
  CHECK(stream->Finish().ok());
}

class TlsPort {
 protected:
  TlsMaterial Material(const IssuedCertificate& own, bool require = false) const {
    return {.cert_pem = own.cert_pem,
            .key_pem = own.key_pem,
            .ca_pem = authority_.ca_pem(),
            .require_client_cert = require};
  }
  std::unique_ptr<http::Client> HttpClient(const TlsMaterial& material) const {
    auto context = TlsClientContext::Create(material);
    KEELSON_REQUIRE_OK(context);
    return NewClient({.tls = *context});
  }

  TestAuthority authority_;
  IssuedCertificate server_cert_ = authority_.Issue("server", "DNS:localhost,IP:127.0.0.1");
  IssuedCertificate client_cert_ = authority_.Issue("alice", "DNS:alice.example");
};

TEST_CASE_METHOD(TlsPort, "gRPC and HTTP are served on one port with client certificates",
                 "[net][shared_port][tls]") {
  Both both(Material(server_cert_, true));
  const TlsMaterial alice = Material(client_cert_);
  const auto stub = both.Stub(GrpcChannelCredentials(alice));

  EchoMessage reply;
  const grpc::Status status = Say(*stub, reply);
  KEELSON_ASSIGN_OR_FAIL(
      const http::Response response,
      HttpClient(alice)->FetchBlocking({.url = "https://" + both.port().addresses()[0] + "/x"}));

  INFO(status.error_message());
  REQUIRE(status.ok());
  CHECK(reply.text().ends_with(" cn=alice"));
  CHECK(response.body == "http /x cn=alice");
  CHECK(both.port().Stats().grpc_total == 1);
  CHECK(both.port().Stats().http_total == 1);
}

// One set of settings: what one listener refuses, the other refuses too.
TEST_CASE_METHOD(TlsPort, "Both protocols turn the same clients away", "[net][shared_port][tls]") {
  Both both(Material(server_cert_, true));
  const TestAuthority stranger;
  const IssuedCertificate mallory = stranger.Issue("mallory", "");
  TlsMaterial material{.ca_pem = authority_.ca_pem()};
  SECTION("no certificate") {}
  SECTION("a certificate of a stranger") {
    material.cert_pem = mallory.cert_pem;
    material.key_pem = mallory.key_pem;
  }

  EchoMessage reply;
  CHECK_FALSE(Say(*both.Stub(GrpcChannelCredentials(material)), reply).ok());
  CHECK_FALSE(HttpClient(material)
                  ->FetchBlocking({.url = "https://" + both.port().addresses()[0] + "/x"})
                  .ok());
}

TEST_CASE_METHOD(TlsPort, "Old TLS is refused for both protocols",
                 "[net][shared_port][tls][interop]") {
  if (std::system("command -v openssl >/dev/null 2>&1") != 0) {
    WARN("SKIPPED: the program openssl is not installed");
    return;
  }
  Both both(Material(server_cert_));
  const auto handshake = [&](const std::string& options) {
    return std::system(("openssl s_client -brief -connect " + both.port().addresses()[0] + " " +
                        options + " </dev/null >/dev/null 2>&1")
                           .c_str());
  };

  for (const char* alpn : {"-alpn h2 ", "-alpn http/1.1 "}) {
    CAPTURE(alpn);
    CHECK(handshake(std::string(alpn) + "-tls1_3") == 0);
    CHECK(handshake(std::string(alpn) + "-tls1_2") == 0);
    CHECK(handshake(std::string(alpn) + "-tls1_1 -cipher DEFAULT@SECLEVEL=0") != 0);
    CHECK(handshake(std::string(alpn) + "-tls1_2 -cipher AES128-SHA") != 0);
  }
}

TEST_CASE_METHOD(TlsPort, "curl is served over TLS", "[net][shared_port][tls][interop]") {
  if (std::system("command -v curl >/dev/null 2>&1") != 0) {
    WARN("SKIPPED: the program curl is not installed");
    return;
  }
  Both both(Material(server_cert_, true));
  const std::string command = "curl -sS --fail --noproxy '*' -o /dev/null --cacert " +
                              WriteTestFile("ca.crt", authority_.ca_pem()) + " --cert " +
                              WriteTestFile("alice.crt", client_cert_.cert_pem) + " --key " +
                              WriteTestFile("alice.key", client_cert_.key_pem) + " https://" +
                              both.port().addresses()[0] + "/x";

  CHECK(std::system(command.c_str()) == 0);

  CHECK(both.port().Stats().http_total == 1);
}

// Counts what it is given and closes it.
class ClosingSink final : public ConnectionSink {
 public:
  void Take(UniqueFd, std::string) override {
    absl::MutexLock lock(&mu_);
    ++taken_;
  }
  void WaitFor(int count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return taken_ >= count; };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30)));
  }

 private:
  absl::Mutex mu_;
  int taken_ ABSL_GUARDED_BY(mu_) = 0;
};

class Sinks {
 protected:
  std::unique_ptr<SharedPort> Start(SharedPortOptions options) {
    options.listen = {"127.0.0.1:0"};
    auto port = SharedPort::Bind(options);
    KEELSON_REQUIRE_OK(port);
    (*port)->Start(http_, grpc_);
    return *std::move(port);
  }
  ClosingSink http_;
  ClosingSink grpc_;
};

TEST_CASE_METHOD(Sinks, "First bytes that come one by one are waited for", "[net][shared_port]") {
  const auto port = Start({});
  RawClient grpc(port->port());
  for (const char c : std::string("PRI ")) CHECK(grpc.Send(std::string_view(&c, 1)));
  grpc_.WaitFor(1);
  RawClient http(port->port());
  CHECK(http.Send("P"));
  CHECK(http.Send("UT"));
  http_.WaitFor(1);
  CHECK(port->Stats().sniffing == 0);
}

TEST_CASE_METHOD(Sinks, "A silent connection is closed after the limit", "[net][shared_port]") {
  const auto port = Start({.sniff_timeout = absl::Milliseconds(50)});
  RawClient silent(port->port());
  RawClient half(port->port());
  CHECK(half.Send("PR"));

  CHECK(silent.ReadAll().empty());
  CHECK(half.ReadAll().empty());
  CHECK(port->Stats().timeouts_total == 2);
}

TEST_CASE_METHOD(Sinks, "A connection that ends early or speaks neither protocol is closed",
                 "[net][shared_port]") {
  const bool tls = GENERATE(false, true);
  const std::string bytes = tls ? GENERATE("", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01")
                                : GENERATE("", "PR", "\x16\x03\x01");
  CAPTURE(tls, bytes);
  const auto port = Start({.tls = tls});
  RawClient client(port->port());
  CHECK(client.Send(bytes));
  client.ShutdownSend();

  CHECK(client.ReadAll().empty());
  CHECK(port->Stats().unknown_total == 1);
}

TEST_CASE_METHOD(Sinks, "Connections beyond the budget are closed at once", "[net][shared_port]") {
  SharedPortOptions options;
  SECTION("of those that say nothing") { options.sniffing_max = 1; }
  SECTION("of descriptors") {
    // The client's end and the server's each take the lowest free number.
    const RawClient probe(Start({})->port());
    options.fd_max = probe.fd() + 6;
  }
  const auto port = Start(options);
  RawClient first(port->port());
  while (port->Stats().sniffing == 0) std::this_thread::yield();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(std::make_unique<RawClient>(port->port()));

  CHECK(clients.back()->ReadAll().empty());
  CHECK(port->Stats().refused_total > 0);
  CHECK(port->Stats().sniffing > 0);
  CHECK(first.Send("GET"));  // Those within the budget are served all the same.
  http_.WaitFor(1);
}

TEST_CASE_METHOD(Sinks, "Stopping closes what was not handed over", "[net][shared_port]") {
  const auto port = Start({});
  RawClient client(port->port());
  CHECK(client.Send("P"));
  while (port->Stats().sniffing == 0) std::this_thread::yield();

  port->Stop();

  CHECK(client.ReadAll().empty());
  port->Stop();
}

TEST_CASE("A port that never starts closes its clients too", "[net][shared_port]") {
  auto port = SharedPort::Bind({.listen = {"127.0.0.1:0"}});
  KEELSON_REQUIRE_OK(port);
  RawClient client((*port)->port());

  port->reset();

  CHECK(client.ReadAll().empty());
}

TEST_CASE("Options that cannot be used are refused", "[net][shared_port]") {
  KEELSON_CHECK_ERROR(SharedPort::Bind({}), absl::StatusCode::kInvalidArgument, "no address");
  KEELSON_CHECK_ERROR(SharedPort::Bind({.listen = {"x"}}), absl::StatusCode::kInvalidArgument,
                      "'x'");
  KEELSON_CHECK_ERROR(
      SharedPort::Bind({.listen = {"127.0.0.1:0"}, .sniff_timeout = absl::ZeroDuration()}),
      absl::StatusCode::kInvalidArgument, "limit");
}

}  // namespace
}  // namespace keelson::net
