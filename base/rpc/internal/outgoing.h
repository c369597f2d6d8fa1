// Messages on their way into DATA frames.
#ifndef KEELSON_BASE_RPC_INTERNAL_OUTGOING_H_
#define KEELSON_BASE_RPC_INTERNAL_OUTGOING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rpc/internal/wire.h"

namespace keelson::rpc::internal {

// Of messages that wait to be sent in a call, in bytes: from here on Send returns false, and below
// the other its sender hears that there is room again.
inline constexpr size_t kCrowded = 256 << 10;
inline constexpr size_t kRoomy = 64 << 10;

using Pieces = std::vector<std::string>;

// Puts a message with its prefix behind `pieces`. Returns the number of bytes.
inline size_t AddMessage(std::string message, Pieces* pieces) {
  constexpr size_t kCopyIsCheaper = 4096;
  const size_t bytes = kMessagePrefixBytes + message.size();
  pieces->push_back(MessagePrefix(message.size()));
  if (message.size() <= kCopyIsCheaper) {
    pieces->back() += message;
  } else {
    pieces->push_back(std::move(message));
  }
  return bytes;
}

// Not thread-safe.
class OutgoingBytes {
 public:
  [[nodiscard]] bool empty() const { return next_ == pieces_.size(); }

  void Add(Pieces pieces) {
    if (pieces_.empty()) {
      pieces_ = std::move(pieces);
    } else {
      std::move(pieces.begin(), pieces.end(), std::back_inserter(pieces_));
    }
  }

  // Moves up to `size` bytes to `buffer`; returns how many.
  size_t Fill(uint8_t* buffer, size_t size) {
    size_t filled = 0;
    while (filled < size && next_ < pieces_.size()) {
      const std::string_view rest = std::string_view(pieces_[next_]).substr(position_);
      const size_t part = std::min(rest.size(), size - filled);
      std::memcpy(buffer + filled, rest.data(), part);
      filled += part;
      position_ += part;
      if (part == rest.size()) {
        pieces_[next_++] = {};
        position_ = 0;
      }
    }
    if (empty()) {
      pieces_.clear();
      next_ = 0;
    }
    return filled;
  }

 private:
  Pieces pieces_;
  size_t next_ = 0;
  size_t position_ = 0;  // in pieces_[next_]
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_OUTGOING_H_
