#include "base/rpc/internal/http2.h"

namespace keelson::rpc::internal {
namespace {

constexpr size_t kWriteBytes = 256 << 10;

}  // namespace

bool Output::WriteRest(Socket& socket, bool* closed) {
  const Socket::Result result = socket.Write(std::string_view(rest_).substr(position_));
  *closed = result.state == Socket::State::kClosed;
  position_ += result.bytes;
  if (clogged()) return false;
  rest_ = {};
  position_ = 0;
  return true;
}

Output::Result Output::Write(nghttp2_session* session, Socket& socket, std::string& scratch) {
  while (true) {
    bool closed = false;
    if (clogged() && !WriteRest(socket, &closed)) {
      return closed ? Result::kFailed : Result::kClogged;
    }
    scratch.clear();
    while (scratch.size() < kWriteBytes) {
      const uint8_t* data = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session, &data);
      if (size < 0) return Result::kFailed;
      if (size == 0) break;
      scratch.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    }
    if (scratch.empty()) return Result::kWritten;
    const Socket::Result result = socket.Write(scratch);
    if (result.state == Socket::State::kClosed) return Result::kFailed;
    if (result.bytes < scratch.size()) rest_ = scratch.substr(result.bytes);
  }
}

}  // namespace keelson::rpc::internal
