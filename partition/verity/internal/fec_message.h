// Reads the message of error correction, block by block.
#ifndef KEELSON_PARTITION_VERITY_INTERNAL_FEC_MESSAGE_H_
#define KEELSON_PARTITION_VERITY_INTERNAL_FEC_MESSAGE_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "absl/status/status.h"
#include "base/status.h"
#include "partition/verity/fec.h"

namespace keelson::partition {

class MessageReader {
 public:
  // `message` outlives this.
  explicit MessageReader(const FecMessage& message) : message_(message) {}

  // Fills `buffer`, whole blocks, from message block `first`; zeros behind the end.
  absl::Status Read(uint64_t first, std::span<char> buffer) const {
    const VerityPlace& place = message_.place;
    const uint64_t block_bytes = place.params.data_block_bytes;
    const uint64_t data_blocks = place.params.data_blocks;
    uint64_t left = buffer.size() / block_bytes;
    while (left > 0) {
      const bool in_data = first < data_blocks;
      const uint64_t end = in_data ? data_blocks : data_blocks + message_.hash_blocks;
      const uint64_t blocks = first < end ? std::min(left, end - first) : left;
      const std::span<char> part = buffer.first(blocks * block_bytes);
      if (first >= end) {
        std::memset(part.data(), 0, part.size());
      } else if (in_data) {
        KEELSON_RETURN_IF_ERROR(place.data->Read(first * block_bytes, part));
      } else {
        const uint64_t offset = place.tree_offset + (first - data_blocks) * block_bytes;
        KEELSON_RETURN_IF_ERROR(place.hash->Read(offset, part));
      }
      first += blocks;
      left -= blocks;
      buffer = buffer.subspan(part.size());
    }
    return absl::OkStatus();
  }

 private:
  const FecMessage& message_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_INTERNAL_FEC_MESSAGE_H_
