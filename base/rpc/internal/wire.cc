#include "base/rpc/internal/wire.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace keelson::rpc::internal {

std::string MessagePrefix(size_t size) {
  std::string prefix(kMessagePrefixBytes, '\0');
  for (size_t i = 0; i < 4; ++i) prefix[4 - i] = static_cast<char>(size >> (8 * i));
  return prefix;
}

void MessageReader::Add(std::string_view bytes) {
  if (position_ > 0) {
    buffer_.erase(0, position_);
    position_ = 0;
  }
  buffer_.append(bytes);
}

absl::StatusOr<std::optional<std::string_view>> MessageReader::Next() {
  const std::string_view bytes = std::string_view(buffer_).substr(position_);
  if (bytes.size() < kMessagePrefixBytes) return std::nullopt;
  if (bytes[0] == 1) {
    return absl::UnimplementedError("compressed messages are not supported");
  }
  if (bytes[0] != 0) return absl::InternalError("a message with an unknown flag");
  uint32_t size = 0;
  for (size_t i = 1; i < kMessagePrefixBytes; ++i)
    size = size << 8 | static_cast<uint8_t>(bytes[i]);
  if (size > max_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("grpc: received message larger than max (", size, " vs. ", max_bytes_, ")"));
  }
  if (bytes.size() - kMessagePrefixBytes < size) return std::nullopt;
  position_ += kMessagePrefixBytes + size;
  return bytes.substr(kMessagePrefixBytes, size);
}

std::optional<absl::Duration> ParseTimeout(std::string_view value) {
  if (value.size() < 2 || value.size() > 9) return std::nullopt;
  int64_t number = 0;
  for (const char c : value.substr(0, value.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  switch (value.back()) {
    case 'H':
      return absl::Hours(number);
    case 'M':
      return absl::Minutes(number);
    case 'S':
      return absl::Seconds(number);
    case 'm':
      return absl::Milliseconds(number);
    case 'u':
      return absl::Microseconds(number);
    case 'n':
      return absl::Nanoseconds(number);
    default:
      return std::nullopt;
  }
}

std::string EncodeStatusMessage(std::string_view message) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(message.size());
  for (const char c : message) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      encoded += '%';
      encoded += kHex[byte >> 4];
      encoded += kHex[byte & 15];
    }
  }
  return encoded;
}

bool IsGrpcContentType(std::string_view value) {
  constexpr std::string_view kGrpc = "application/grpc";
  if (!value.starts_with(kGrpc)) return false;
  value.remove_prefix(kGrpc.size());
  return value.empty() || value[0] == ';' || value == "+proto" || value.starts_with("+proto;");
}

}  // namespace keelson::rpc::internal
