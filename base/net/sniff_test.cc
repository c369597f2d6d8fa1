#include "base/net/sniff.h"

#include <catch2/catch.hpp>

#include <optional>

namespace keelson::net {
namespace {

std::string Number(size_t value, size_t width) {
  std::string out(width, '\0');
  for (size_t i = 0; i < width; ++i) out[width - 1 - i] = static_cast<char>(value >> (8 * i));
  return out;
}
std::string Vector(const std::string& content, size_t width) {
  return Number(content.size(), width) + content;
}
std::string Extension(size_t type, const std::string& data) {
  return Number(type, 2) + Vector(data, 2);
}
std::string Alpn(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += Vector(name, 1);
  return Extension(16, Vector(list, 2));
}
const std::string kServerName =
    Extension(0, Vector(std::string("\0", 1) + Vector("h.example", 2), 2));

// The body of a ClientHello; without extensions when empty.
std::string Body(const std::optional<std::string>& extensions) {
  return "\x03\x03" + std::string(32, 'r') + Vector(std::string(32, 's'), 1) +
         Vector("\x13\x01\x13\x02", 2) + Vector(std::string(1, '\0'), 1) +
         (extensions ? Vector(*extensions, 2) : "");
}
std::string Message(const std::string& body) { return "\x01" + Vector(body, 3); }

// In records of at most `size` bytes each.
std::string Records(std::string message, size_t size = 16384) {
  std::string out;
  while (!message.empty()) {
    const std::string piece = message.substr(0, size);
    out += "\x16\x03\x01" + Vector(piece, 2);
    message.erase(0, piece.size());
  }
  return out;
}
std::string Hello(const std::string& extensions) { return Records(Message(Body(extensions))); }

TEST_CASE("Plain text is told by its first four bytes", "[net][sniff]") {
  struct Row {
    std::string bytes;
    Sniffed want;
  };
  for (const Row& row : std::vector<Row>{
           {"", Sniffed::kNeedMore},
           {"P", Sniffed::kNeedMore},
           {"PRI", Sniffed::kNeedMore},
           {"PRI ", Sniffed::kGrpc},
           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sniffed::kGrpc},
           {"PRIX", Sniffed::kHttp},
           {"PR ", Sniffed::kHttp},
           {"PUT", Sniffed::kHttp},
           {"G", Sniffed::kHttp},
           {"pri ", Sniffed::kHttp},
           {std::string(1, '\0'), Sniffed::kHttp},
           {"\x16", Sniffed::kNeither},  // TLS where none is spoken.
       }) {
    CAPTURE(row.bytes);
    CHECK(Sniff(row.bytes, false) == row.want);
  }
}

TEST_CASE("TLS is told by the ALPN list", "[net][sniff]") {
  struct Row {
    std::string name;
    std::string extensions;
    Sniffed want;
  };
  for (const Row& row : std::vector<Row>{
           {"no ALPN", kServerName, Sniffed::kHttp},
           {"no extension", "", Sniffed::kHttp},
           {"gRPC core", Alpn({"grpc-exp", "h2"}), Sniffed::kGrpc},
           {"gRPC of Go and Java", kServerName + Alpn({"h2"}), Sniffed::kGrpc},
           {"grpc-exp alone", Alpn({"grpc-exp"}), Sniffed::kGrpc},
           {"curl and browsers", Alpn({"h2", "http/1.1"}) + kServerName, Sniffed::kHttp},
           {"http/1.1", Alpn({"http/1.1"}), Sniffed::kHttp},
           {"something else", Alpn({"acme-tls/1"}), Sniffed::kHttp},
           {"a name that begins like h2", Alpn({"h2c"}), Sniffed::kHttp},
       }) {
    CAPTURE(row.name);
    const std::string bytes = Hello(row.extensions);
    CHECK(Sniff(bytes, true) == row.want);
    CHECK(Sniff(bytes + "early data", true) == row.want);
    for (size_t n = 0; n < bytes.size(); ++n) {
      if (Sniff(bytes.substr(0, n), true) != Sniffed::kNeedMore) FAIL("told after " << n);
    }
  }
  CHECK(Sniff(Records(Message(Body(std::nullopt))), true) == Sniffed::kHttp);
}

TEST_CASE("A ClientHello may span records", "[net][sniff]") {
  const std::string message = Message(Body(kServerName + Alpn({"h2"})));
  for (const size_t size : {1, 2, 3, 5, 50, 100}) {
    CAPTURE(size);
    const std::string bytes = Records(message, size);
    CHECK(Sniff(bytes, true) == Sniffed::kGrpc);
    CHECK(Sniff(bytes.substr(0, bytes.size() - 1), true) == Sniffed::kNeedMore);
  }
}

TEST_CASE("ALPN names come out in the client's order", "[net][sniff]") {
  const ClientHello hello = ParseClientHello(Hello(Alpn({"b", "a", "http/1.1"})));
  CHECK(hello.state == ClientHello::State::kComplete);
  CHECK(hello.alpn == std::vector<std::string>{"b", "a", "http/1.1"});
}

TEST_CASE("What is no ClientHello is turned away", "[net][sniff]") {
  const std::string good = Message(Body(Alpn({"h2"})));
  struct Row {
    std::string name;
    std::string bytes;
  };
  for (const Row& row : std::vector<Row>{
           {"HTTP", "GET / HTTP/1.1\r\n\r\n"},
           {"HTTP/2 preface", "PRI * HTTP/2.0\r\n"},
           {"SSL 2", std::string("\x80\x2e\x01\x03\x01", 5)},
           {"an alert record", std::string("\x15\x03\x01\x00\x02\x01\x00", 7)},
           {"record version 4", std::string("\x16\x04\x01\x00\x01\x01", 6)},
           {"an empty record", std::string("\x16\x03\x01\x00\x00", 5)},
           {"a record beyond 16 KiB", std::string("\x16\x03\x01\x40\x01", 5)},
           {"a ServerHello", Records("\x02" + Vector(Body(""), 3))},
           {"a message beyond 16 KiB", Records("\x01" + Number(16 * 1024 + 1, 3))},
           {"another record inside", Records(good.substr(0, 50)) + "\x17\x03\x03"},
           {"an empty body", Records(Message(""))},
           {"a cut body", Records(Message(Body("").substr(0, 40)))},
           {"bytes behind the extensions", Records(Message(Body("") + "x"))},
           {"an extension too long", Hello(Number(16, 2) + Number(100, 2) + "x")},
           {"half an extension", Hello(std::string(1, '\0'))},
           {"an empty ALPN list", Hello(Extension(16, Vector("", 2)))},
           {"an empty ALPN name", Hello(Extension(16, Vector(Vector("", 1), 2)))},
           {"an ALPN name too long", Hello(Extension(16, Vector("\x09h2", 2)))},
           {"bytes behind the ALPN list", Hello(Extension(16, Vector(Vector("h2", 1), 2) + "x"))},
           {"an ALPN extension without list", Hello(Extension(16, ""))},
           {"two ALPN extensions", Hello(Alpn({"h2"}) + Alpn({"http/1.1"}))},
       }) {
    CAPTURE(row.name);
    CHECK(Sniff(row.bytes, true) == Sniffed::kNeither);
  }
}

TEST_CASE("A ClientHello without end is given up at the limit", "[net][sniff]") {
  // 1-byte records stay below the message's limit while the bytes grow beyond it.
  const std::string bytes = Records("\x01" + Vector(std::string(10'000, 'x'), 3), 1);
  CHECK(Sniff(bytes.substr(0, kSniffBytesMax - 1), true) == Sniffed::kNeedMore);
  CHECK(Sniff(bytes.substr(0, kSniffBytesMax), true) == Sniffed::kNeither);
}

}  // namespace
}  // namespace keelson::net
