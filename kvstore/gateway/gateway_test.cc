#include <fcntl.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "base/net/address.h"
#include "base/net/resolver.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"
#include "kvstore/gateway/command.h"
#include "kvstore/gateway/tcp_proxy.h"

namespace keelson::kvstore {
namespace {

// Answers each connection with its name and what the client sends until it ends.
class EchoServer {
 public:
  explicit EchoServer(std::string name) : name_(std::move(name)) {
    auto listener = net::Listen("127.0.0.1:0");
    REQUIRE(listener.ok());
    listener_ = *std::move(listener);
    const int flags = 0;
    REQUIRE(::fcntl(listener_.fd.get(), F_SETFL, flags) == 0);  // Blocking.
    thread_ = std::thread([this] { Run(); });
  }
  ~EchoServer() {
    (void)::shutdown(listener_.fd.get(), SHUT_RDWR);
    thread_.join();
  }
  [[nodiscard]] const std::string& address() const { return listener_.address; }

 private:
  void Run() {
    while (true) {
      const UniqueFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd.ok()) return;
      (void)::send(fd.get(), name_.data(), name_.size(), MSG_NOSIGNAL);
      char buffer[4096];
      ssize_t size = 0;
      while ((size = ::recv(fd.get(), buffer, sizeof(buffer), 0)) > 0) {
        (void)::send(fd.get(), buffer, static_cast<size_t>(size), MSG_NOSIGNAL);
      }
    }
  }

  const std::string name_;
  net::Listener listener_;
  std::thread thread_;
};

// All that comes back for `text`.
std::string Ask(const std::string& address, const std::string& text) {
  const auto to = net::ParseSocketAddress(address);
  REQUIRE(to.ok());
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to->bytes), to->size) == 0);
  std::thread writer([&] {
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t size = ::send(fd.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (size <= 0) break;
      sent += static_cast<size_t>(size);
    }
    (void)::shutdown(fd.get(), SHUT_WR);
  });
  std::string answer;
  char buffer[65536];
  ssize_t size = 0;
  while ((size = ::recv(fd.get(), buffer, sizeof(buffer), 0)) > 0) {
    answer.append(buffer, static_cast<size_t>(size));
  }
  writer.join();
  return answer;
}

// An address where nobody listens.
std::string Nowhere() {
  const auto listener = net::Listen("127.0.0.1:0");
  REQUIRE(listener.ok());
  return listener->address;
}

TEST_CASE("Connections go to the endpoints in turn, and all bytes with them", "[gateway]") {
  EchoServer a("a"), b("b");
  EventLoop loop("gateway");
  KEELSON_ASSIGN_OR_FAIL(
      const auto proxy,
      TcpProxy::Start(loop, {.listen = "127.0.0.1:0", .endpoints = {a.address(), b.address()}}));
  CHECK(Ask(proxy->address(), "1") == "a1");
  CHECK(Ask(proxy->address(), "2") == "b2");
  const std::string many(1 << 20, 'x');
  CHECK(Ask(proxy->address(), many) == "a" + many);
}

TEST_CASE("An endpoint that does not answer is passed over", "[gateway]") {
  EchoServer a("a");
  std::vector<std::string> unreachable;  // the loop's
  EventLoop loop("gateway");
  const std::string nowhere = Nowhere();
  KEELSON_ASSIGN_OR_FAIL(
      auto proxy,
      TcpProxy::Start(loop, {.listen = "127.0.0.1:0",
                             .endpoints = {nowhere, a.address()},
                             .on_unreachable = [&](const std::string& endpoint, const auto&) {
                               unreachable.push_back(endpoint);
                             }}));
  for (int i = 0; i < 4; ++i) CHECK(Ask(proxy->address(), "x") == "ax");
  loop.Await([&] { CHECK(unreachable == std::vector{nowhere}); });
  CHECK(proxy->GetStats().failed_total == 0);
}

TEST_CASE("When nobody answers the client is let go, and later tried again", "[gateway]") {
  EventLoop loop("gateway");
  const std::string nowhere = Nowhere();
  KEELSON_ASSIGN_OR_FAIL(auto proxy,
                         TcpProxy::Start(loop, {.listen = "127.0.0.1:0", .endpoints = {nowhere}}));
  CHECK(Ask(proxy->address(), "x").empty());
  CHECK(Ask(proxy->address(), "x").empty());
  CHECK(proxy->GetStats().failed_total == 2);
  CHECK_FALSE(TcpProxy::Start(loop, {.listen = "127.0.0.1:0"}).ok());
  CHECK_FALSE(TcpProxy::Start(loop, {.listen = proxy->address(), .endpoints = {"a:1"}}).ok());
}

TEST_CASE("Host names are looked up", "[gateway]") {
  EchoServer a("a");
  EventLoop loop("gateway");
  const std::string port = a.address().substr(a.address().rfind(':'));
  KEELSON_ASSIGN_OR_FAIL(
      const auto proxy,
      TcpProxy::Start(loop, {.listen = "127.0.0.1:0", .endpoints = {"localhost" + port}}));
  CHECK(Ask(proxy->address(), "x") == "ax");
}

TEST_CASE("The command line is etcd's", "[gateway]") {
  using Words = std::vector<std::string>;
  KEELSON_ASSIGN_OR_FAIL(
      const GatewayCommand command,
      ParseGatewayCommand(Words{"--endpoints=http://a:1, https://b:2,c:3,unix:///x", "start",
                                "--listen-addr", "127.0.0.1:9", "--retry-delay=2s"}));
  CHECK(command.options.endpoints == Words{"a:1", "b:2", "c:3", "unix:/x"});
  CHECK(command.options.listen == "127.0.0.1:9");
  CHECK(command.options.retry_delay == absl::Seconds(2));
  for (const Words& bad : {Words{}, Words{"--endpoints=a:1"}, Words{"start", "--endpoints="},
                           Words{"start", "--endpoints=a"}, Words{"start", "stop"},
                           Words{"start", "--colour=red"}, Words{"start", "--retry-delay=-1s"}}) {
    CHECK_FALSE(ParseGatewayCommand(bad).ok());
  }
  CHECK(ParseGatewayCommand(Words{"--help"})->help.has_value());
}

TEST_CASE("Members are found by SRV records, without TLS only if that is wanted", "[gateway]") {
  using Words = std::vector<std::string>;
  const SrvWorld world{
      .records = [](const std::string& name) -> absl::StatusOr<std::vector<SrvRecord>> {
        if (name == "_etcd-client-x._tcp.example") return std::vector<SrvRecord>{{"a", 1}};
        if (name == "_etcd-client-ssl-x._tcp.example") return std::vector<SrvRecord>{{"b", 2}};
        return absl::NotFoundError(name);
      },
      .addresses = nullptr};
  Words words = {"start", "--discovery-srv=example", "--discovery-srv-name=x"};
  KEELSON_ASSIGN_OR_FAIL(const GatewayCommand safe, ParseGatewayCommand(words, world));
  CHECK(safe.options.endpoints == Words{"b:2"});
  words.emplace_back("--insecure-discovery");
  KEELSON_ASSIGN_OR_FAIL(const GatewayCommand all, ParseGatewayCommand(words, world));
  CHECK(all.options.endpoints == Words{"b:2", "a:1"});
  CHECK_FALSE(ParseGatewayCommand(Words{"start", "--discovery-srv=example"}, world).ok());
}

}  // namespace
}  // namespace keelson::kvstore
