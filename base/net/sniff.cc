#include "base/net/sniff.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace keelson::net {
namespace {

constexpr uint8_t kHandshakeRecord = 0x16;
constexpr uint8_t kClientHello = 0x01;
constexpr size_t kAlpnExtension = 16;
constexpr std::string_view kHttp2Preface = "PRI ";

// Reads big-endian numbers and vectors from the front of a text; empty when it is too short.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  std::optional<size_t> Number(size_t width) {
    const auto digits = Bytes(width);
    if (!digits) return std::nullopt;
    size_t value = 0;
    for (const char c : *digits) value = value << 8U | static_cast<uint8_t>(c);
    return value;
  }
  std::optional<std::string_view> Bytes(size_t size) {
    if (bytes_.size() < size) return std::nullopt;
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  // A vector with its size before it, in `width` bytes.
  std::optional<std::string_view> Vector(size_t width) {
    const auto size = Number(width);
    if (!size) return std::nullopt;
    return Bytes(*size);
  }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

// The handshake message in the records at the front of `bytes`, as far as it has come.
// Empty when they are not handshake records.
std::optional<std::string> JoinRecords(std::string_view bytes) {
  std::string message;
  while (!bytes.empty()) {
    if (static_cast<uint8_t>(bytes[0]) != kHandshakeRecord) return std::nullopt;
    if (bytes.size() > 1 && bytes[1] != 3) return std::nullopt;  // Major version of SSL 3 and TLS.
    if (bytes.size() < 5) break;
    const size_t size = static_cast<uint8_t>(bytes[3]) * 256U + static_cast<uint8_t>(bytes[4]);
    // RFC 8446, section 5.1: no empty handshake records, none above 2^14 bytes.
    if (size == 0 || size > 16384) return std::nullopt;
    message.append(bytes.substr(5, size));
    bytes.remove_prefix(std::min(bytes.size(), 5 + size));
    // What follows a complete message is none of ours (early data).
    Reader header(message);
    header.Number(1);
    const auto want = header.Number(3);
    if (want && message.size() >= 4 + *want) break;
  }
  return message;
}

// False when the list is malformed.
bool ReadAlpn(std::string_view extension, std::vector<std::string>& alpn) {
  Reader outer(extension);
  const auto list = outer.Vector(2);
  if (!list || !outer.empty() || list->empty()) return false;
  Reader names(*list);
  while (!names.empty()) {
    const auto name = names.Vector(1);
    if (!name || name->empty()) return false;
    alpn.emplace_back(*name);
  }
  return true;
}

// False when the body of the message is malformed.
bool ReadBody(std::string_view body, std::vector<std::string>& alpn) {
  Reader reader(body);
  const auto version_and_random = reader.Bytes(2 + 32);
  const auto session_id = reader.Vector(1);
  const auto cipher_suites = reader.Vector(2);
  const auto compression = reader.Vector(1);
  if (!version_and_random || !session_id || !cipher_suites || !compression) return false;
  if (reader.empty()) return true;  // TLS 1.2 allows no extensions at all.
  const auto extensions = reader.Vector(2);
  if (!extensions || !reader.empty()) return false;
  Reader each(*extensions);
  bool seen = false;
  while (!each.empty()) {
    const auto type = each.Number(2);
    const auto data = each.Vector(2);
    if (!type || !data) return false;
    if (*type != kAlpnExtension) continue;
    if (seen || !ReadAlpn(*data, alpn)) return false;
    seen = true;
  }
  return true;
}

bool Contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Sniffed SniffTls(std::string_view bytes) {
  const ClientHello hello = ParseClientHello(bytes);
  switch (hello.state) {
    case ClientHello::State::kNeedMore:
      return bytes.size() >= kSniffBytesMax ? Sniffed::kNeither : Sniffed::kNeedMore;
    case ClientHello::State::kBroken:
      return Sniffed::kNeither;
    case ClientHello::State::kComplete:
      break;
  }
  if (Contains(hello.alpn, "http/1.1")) return Sniffed::kHttp;
  if (Contains(hello.alpn, "h2") || Contains(hello.alpn, "grpc-exp")) return Sniffed::kGrpc;
  return Sniffed::kHttp;
}

}  // namespace

ClientHello ParseClientHello(std::string_view bytes) {
  using State = ClientHello::State;
  const std::optional<std::string> message = JoinRecords(bytes);
  if (!message) return {.state = State::kBroken};
  if (message->empty()) return {.state = State::kNeedMore};
  Reader reader(*message);
  if (reader.Number(1) != kClientHello) return {.state = State::kBroken};
  const auto size = reader.Number(3);
  if (!size) return {.state = State::kNeedMore};
  if (*size > kSniffBytesMax) return {.state = State::kBroken};
  const auto body = reader.Bytes(*size);
  if (!body) return {.state = State::kNeedMore};
  ClientHello hello{.state = State::kComplete};
  if (!ReadBody(*body, hello.alpn)) return {.state = State::kBroken};
  return hello;
}

bool StartsTls(std::string_view bytes) {
  return static_cast<uint8_t>(bytes[0]) == kHandshakeRecord;
}

Sniffed Sniff(std::string_view bytes, bool tls) {
  if (bytes.empty()) return Sniffed::kNeedMore;
  if (tls) return SniffTls(bytes);
  if (StartsTls(bytes)) return Sniffed::kNeither;
  if (bytes.starts_with(kHttp2Preface)) return Sniffed::kGrpc;
  return kHttp2Preface.starts_with(bytes) ? Sniffed::kNeedMore : Sniffed::kHttp;
}

}  // namespace keelson::net
