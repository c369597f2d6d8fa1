// The socket of both fuzz tests of connections.
#ifndef KEELSON_BASE_RPC_INTERNAL_FUZZ_SOCKET_H_
#define KEELSON_BASE_RPC_INTERNAL_FUZZ_SOCKET_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/rpc/internal/socket.h"

namespace keelson::rpc::internal {

// Hands out the input piece by piece; takes what is written, at times only a part.
class FuzzSocket final : public Socket {
 public:
  explicit FuzzSocket(std::string_view input) : input_(input) {}

  Result Read(char* buffer, size_t size) override {
    if (input_.empty()) return {State::kClosed};
    const size_t piece = std::min({size, input_.size(), static_cast<size_t>(1) + (turn_ % 37) * 7});
    std::copy_n(input_.data(), piece, buffer);
    input_.remove_prefix(piece);
    return {State::kDone, piece};
  }
  Result Write(std::string_view bytes) override {
    if (++turn_ % 5 == 0) return {State::kWait};
    return {State::kDone, turn_ % 3 == 0 ? (bytes.size() + 1) / 2 : bytes.size()};
  }
  int fd() const override { return -1; }
  std::string Why() const override { return "the end of the input"; }

 private:
  std::string_view input_;
  size_t turn_ = 0;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_FUZZ_SOCKET_H_
