// The parts of gRPC over HTTP/2 that are no HTTP/2: message framing and header values. Pure.
// Source: the gRPC protocol document "gRPC over HTTP2".
#ifndef KEELSON_BASE_RPC_INTERNAL_WIRE_H_
#define KEELSON_BASE_RPC_INTERNAL_WIRE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace keelson::rpc::internal {

inline constexpr size_t kMessagePrefixBytes = 5;  // A flag, and the length in network order.

// What stands before a message of `size` bytes.
std::string MessagePrefix(size_t size);

// Cuts a stream of bytes into messages.
class MessageReader {
 public:
  explicit MessageReader(size_t max_bytes) : max_bytes_(max_bytes) {}

  void Add(std::string_view bytes);
  // The next whole message, valid until the next Add; nothing when more bytes are needed.
  // UNIMPLEMENTED for a compressed message, RESOURCE_EXHAUSTED for one above the limit,
  // INTERNAL for an unknown flag; and again ever after.
  absl::StatusOr<std::optional<std::string_view>> Next();
  // Bytes that are not a whole message yet.
  [[nodiscard]] size_t rest() const { return buffer_.size() - position_; }

 private:
  const size_t max_bytes_;
  std::string buffer_;
  size_t position_ = 0;
};

// The value of "grpc-timeout": 1 to 8 digits and a unit. Nothing when it is malformed.
std::optional<absl::Duration> ParseTimeout(std::string_view value);
// That value for `timeout`, which may be longer by less than the unit; at least a nanosecond.
std::string FormatTimeout(absl::Duration timeout);

// The value of "grpc-message": bytes outside of printable ASCII, and '%', as %XX.
std::string EncodeStatusMessage(std::string_view message);
// And back. What is not so encoded stays as it is.
std::string DecodeStatusMessage(std::string_view value);

// Whether a "content-type" is gRPC's with protobuf messages.
bool IsGrpcContentType(std::string_view value);

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_WIRE_H_
