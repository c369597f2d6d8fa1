#include "kvstore/config/srv.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"

using namespace keelson;
using namespace keelson::kvstore;

namespace {

std::string Number(uint32_t value, int bytes) {
  std::string out;
  for (int n = bytes - 1; n >= 0; --n) out += static_cast<char>(value >> (8 * n));
  return out;
}

std::string Labels(const std::string& name) {
  std::string out;
  for (const absl::string_view label : absl::StrSplit(name, '.')) {
    absl::StrAppend(&out, Number(static_cast<uint32_t>(label.size()), 1), label);
  }
  return out + '\0';
}

std::string Row(const SrvRecord& record) {
  return absl::StrCat(Number(record.priority, 2), Number(record.weight, 2), Number(record.port, 2),
                      record.target == "." ? std::string(1, '\0') : Labels(record.target));
}

// A domain name server on a port of loopback, which answers every question with the same rows.
class DnsServer {
 public:
  // `rcode`: 0, or 3 for a name that does not exist.
  DnsServer(std::vector<std::string> rows, uint8_t rcode = 0)
      : rows_(std::move(rows)), rcode_(rcode) {
    socket_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    REQUIRE(::bind(socket_.get(), AsAddress(), size) == 0);
    REQUIRE(::getsockname(socket_.get(), AsAddress(), &size) == 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~DnsServer() {
    (void)::sendto(socket_.get(), "", 0, 0, AsAddress(), sizeof(address_));  // ends Serve
    thread_.join();
  }
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  [[nodiscard]] std::string address() const {
    return absl::StrCat("127.0.0.1:", ntohs(address_.sin_port));
  }

 private:
  sockaddr* AsAddress() { return reinterpret_cast<sockaddr*>(&address_); }

  void Serve() {
    for (;;) {
      std::string question(512, '\0');
      sockaddr_in client{};
      socklen_t size = sizeof(client);
      const ssize_t got = ::recvfrom(socket_.get(), question.data(), question.size(), 0,
                                     reinterpret_cast<sockaddr*>(&client), &size);
      if (got <= 12) return;
      // The header and the question, without what the resolver says of itself behind it.
      const size_t end = question.find('\0', 12) + 5;
      const std::string id = question.substr(0, 2);
      std::string answer = absl::StrCat(id, Number(0x8180U | rcode_, 2), Number(1, 2),
                                        Number(static_cast<uint32_t>(rows_.size()), 2),
                                        Number(0, 4), question.substr(12, end - 12));
      for (const std::string& row : rows_) {
        // The name is that of the question; type SRV, class IN, a minute.
        absl::StrAppend(&answer, Number(0xc00c, 2), Number(33, 2), Number(1, 2), Number(60, 4),
                        Number(static_cast<uint32_t>(row.size()), 2), row);
      }
      (void)::sendto(socket_.get(), answer.data(), answer.size(), 0,
                     reinterpret_cast<const sockaddr*>(&client), size);
    }
  }

  const std::vector<std::string> rows_;
  const uint8_t rcode_;
  UniqueFd socket_;
  sockaddr_in address_{};
  std::thread thread_;
};

// Records by the name that they are asked for; hosts have the addresses below.
struct FakeDns {
  std::map<std::string, std::vector<SrvRecord>> records;
  std::map<std::string, std::string> hosts = {
      {"a.example", "10.0.0.1"}, {"b.example", "10.0.0.2"}, {"10.0.0.1", "10.0.0.1"}};

  [[nodiscard]] SrvWorld World() const {
    return {.records = [this](const std::string& name) -> absl::StatusOr<std::vector<SrvRecord>> {
              const auto found = records.find(name);
              if (found == records.end()) return absl::NotFoundError("no " + name);
              return found->second;
            },
            .addresses = [this](const std::string& host,
                                uint16_t port) -> absl::StatusOr<std::vector<std::string>> {
              const auto found = hosts.find(host);
              if (found == hosts.end()) return absl::UnavailableError("no host " + host);
              return std::vector{absl::StrCat(found->second, ":", port)};
            }};
  }
};

std::vector<Url> UrlsOf(const std::string& text) {
  KEELSON_ASSIGN_OR_FAIL(std::vector<Url> urls, ParseUrls(text));
  return urls;
}

}  // namespace

TEST_CASE("SRV records are read off the wire, best first", "[kvstore][srv]") {
  const DnsServer server({Row({.target = "c.example", .port = 3, .priority = 2, .weight = 9}),
                          Row({.target = "a.example", .port = 2380, .priority = 1, .weight = 1}),
                          Row({.target = ".", .port = 1, .priority = 0, .weight = 0}),
                          Row({.target = "b.example", .port = 65535, .priority = 1, .weight = 5})});
  KEELSON_ASSIGN_OR_FAIL(const auto records,
                         LookupSrv("_etcd-server._tcp.example", server.address()));
  REQUIRE(records.size() == 3);
  CHECK(records[0] == SrvRecord{"b.example", 65535, 1, 5});
  CHECK(records[1] == SrvRecord{"a.example", 2380, 1, 1});
  CHECK(records[2] == SrvRecord{"c.example", 3, 2, 9});
}

TEST_CASE("An answer without records, or of damaged ones, is told", "[kvstore][srv]") {
  using Code = absl::StatusCode;
  struct Case {
    std::vector<std::string> rows;
    uint8_t rcode;
    Code code;
  };
  const Case c = GENERATE(values<Case>({{{}, 3, Code::kNotFound},
                                        {{}, 0, Code::kNotFound},
                                        {{Row({.target = ".", .port = 1})}, 0, Code::kNotFound},
                                        {{""}, 0, Code::kDataLoss},
                                        {{std::string(6, '\1')}, 0, Code::kDataLoss},
                                        {{std::string(6, '\0') + "\x3f"}, 0, Code::kDataLoss}}));
  const DnsServer server(c.rows, c.rcode);
  const auto records = LookupSrv("_etcd-server._tcp.example", server.address());
  CHECK(records.status().code() == c.code);
  CHECK(std::string(records.status().message()).find("_etcd-server._tcp.example") !=
        std::string::npos);
}

TEST_CASE("A server is an IPv4 address and a port", "[kvstore][srv]") {
  const std::string server = GENERATE("127.0.0.1", "example:53", "127.0.0.1:65536", "::1:53");
  CHECK(LookupSrv("x", server).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Founders are named by where their records lead", "[kvstore][srv]") {
  FakeDns dns;
  dns.records["_etcd-server._tcp.example"] = {
      {"b.example", 2380}, {"a.example", 2380}, {"nowhere.example", 2380}, {"b.example", 2480}};
  const SrvDomain where{.domain = "example", .service_name = ""};

  KEELSON_ASSIGN_OR_FAIL(
      const std::string founders,
      FoundersFromSrv(dns.World(), where, "infra0", UrlsOf("http://10.0.0.1:2380")));
  CHECK(founders == "0=http://b.example:2380,infra0=http://a.example:2380,1=http://b.example:2480");

  // Both kinds are one cluster.
  dns.records["_etcd-server-ssl._tcp.example"] = {{"a.example", 2379}};
  KEELSON_ASSIGN_OR_FAIL(const std::string both, FoundersFromSrv(dns.World(), where, "infra0",
                                                                 UrlsOf("http://10.0.0.1:2380")));
  CHECK(both == absl::StrCat("0=https://a.example:2379,1=http://b.example:2380,"
                             "infra0=http://a.example:2380,2=http://b.example:2480"));
}

TEST_CASE("A service name picks its own records", "[kvstore][srv]") {
  FakeDns dns;
  dns.records["_etcd-server-ssl-blue._tcp.example"] = {{"a.example", 2380}};
  KEELSON_ASSIGN_OR_FAIL(const std::string founders,
                         FoundersFromSrv(dns.World(), {.domain = "example", .service_name = "blue"},
                                         "x", UrlsOf("https://a.example:2380")));
  CHECK(founders == "x=https://a.example:2380");
}

TEST_CASE("Founders that cannot be told are errors with etcd's texts", "[kvstore][srv]") {
  FakeDns dns;
  const SrvDomain where{.domain = "example", .service_name = ""};
  const auto ask = [&](const std::string& urls) {
    return FoundersFromSrv(dns.World(), where, "infra0", UrlsOf(urls)).status();
  };
  CHECK(ask("http://10.0.0.1:2380").code() == absl::StatusCode::kNotFound);
  CHECK(ask("http://unknown:2380").code() == absl::StatusCode::kUnavailable);

  dns.records["_etcd-server._tcp.example"] = {{"b.example", 2380}};
  CHECK(ask("http://10.0.0.1:2380").message() ==
        "cannot find local etcd member \"infra0\" in SRV records");
  CHECK(ask("https://b.example:2380").message() ==
        "bootstrap at http://b.example:2380 from DNS for _etcd-server._tcp.example has scheme "
        "mismatch with expected peer https://b.example:2380");
}

TEST_CASE("Clients get URLs, those with TLS first", "[kvstore][srv]") {
  FakeDns dns;
  const SrvDomain where{.domain = "example", .service_name = ""};
  CHECK(ClientsFromSrv(dns.World(), where).status().message() ==
        "dns lookup errors: no _etcd-client-ssl._tcp.example and no _etcd-client._tcp.example");
  dns.records["_etcd-client._tcp.example"] = {{"a.example", 2379}};
  dns.records["_etcd-client-ssl._tcp.example"] = {{"b.example", 2379}};
  KEELSON_ASSIGN_OR_FAIL(const auto urls, ClientsFromSrv(dns.World(), where));
  CHECK(urls == std::vector<std::string>{"https://b.example:2379", "http://a.example:2379"});
}
