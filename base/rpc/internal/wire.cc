#include "base/rpc/internal/wire.h"

#include <algorithm>
#include <cstdint>
#include <utility>

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

std::string FormatTimeout(absl::Duration timeout) {
  constexpr int64_t kMax = 99'999'999;
  constexpr std::pair<char, int64_t> kUnits[] = {{'n', 1},
                                                 {'u', 1'000},
                                                 {'m', 1'000'000},
                                                 {'S', 1'000'000'000},
                                                 {'M', 60'000'000'000},
                                                 {'H', 3'600'000'000'000}};
  const int64_t nanos = std::max<int64_t>(absl::ToInt64Nanoseconds(timeout), 1);
  for (const auto& [unit, size] : kUnits) {
    const int64_t number = nanos / size + (nanos % size == 0 ? 0 : 1);
    if (number <= kMax) return absl::StrCat(number, std::string(1, unit));
  }
  return absl::StrCat(kMax, "H");
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

std::string DecodeStatusMessage(std::string_view value) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string message;
  for (size_t i = 0; i < value.size(); ++i) {
    const bool whole = value[i] == '%' && i + 2 < value.size();
    if (whole && digit(value[i + 1]) >= 0 && digit(value[i + 2]) >= 0) {
      message += static_cast<char>(digit(value[i + 1]) * 16 + digit(value[i + 2]));
      i += 2;
    } else {
      message += value[i];
    }
  }
  return message;
}

bool IsGrpcContentType(std::string_view value) {
  constexpr std::string_view kGrpc = "application/grpc";
  if (!value.starts_with(kGrpc)) return false;
  value.remove_prefix(kGrpc.size());
  return value.empty() || value[0] == ';' || value == "+proto" || value.starts_with("+proto;");
}

}  // namespace keelson::rpc::internal
