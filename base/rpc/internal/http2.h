// What server and client have in common in their use of nghttp2.
#ifndef KEELSON_BASE_RPC_INTERNAL_HTTP2_H_
#define KEELSON_BASE_RPC_INTERNAL_HTTP2_H_

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/rpc/internal/socket.h"

namespace keelson::rpc::internal {

inline constexpr int32_t kStreamWindow = 1 << 20;
inline constexpr int32_t kConnectionWindow = 4 << 20;

// Neither name nor value is copied: both live until the frame has been made.
inline nghttp2_nv Field(std::string_view name, std::string_view value, bool copy_value = false) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  const int flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | (copy_value ? 0 : NGHTTP2_NV_FLAG_NO_COPY_VALUE);
  return {bytes(name), bytes(value), name.size(), value.size(), static_cast<uint8_t>(flags)};
}

inline bool EndsStream(const nghttp2_frame& frame) {
  return (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

// How much a header field counts (RFC 9113, section 6.5.2).
inline size_t FieldBytes(std::string_view name, std::string_view value) {
  return name.size() + value.size() + 32;
}

// What a session has to write, and what of it did not fit into the socket.
class Output {
 public:
  // Some is left that the socket did not take.
  [[nodiscard]] bool clogged() const { return position_ < rest_.size(); }

  enum class Result {
    kWritten,  // All of it.
    kClogged,
    kFailed,  // The socket is closed, or the session has no memory.
  };
  // Writes as much as there is and the socket takes. `scratch` holds bytes for the time of the
  // call; connections share it.
  Result Write(nghttp2_session* session, Socket& socket, std::string& scratch);

 private:
  bool WriteRest(Socket& socket, bool* closed);

  std::string rest_;
  size_t position_ = 0;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_HTTP2_H_
