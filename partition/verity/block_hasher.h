// Digests of blocks, salted as dm-verity does it. By OpenSSL; SHA-256 of several data blocks, where
// the processor has instructions for it, by two at a time (internal/sha256_pair.h).
#ifndef KEELSON_PARTITION_VERITY_BLOCK_HASHER_H_
#define KEELSON_PARTITION_VERITY_BLOCK_HASHER_H_

#include <memory>
#include <string>
#include <string_view>

#include "partition/verity/verity_params.h"

namespace keelson::partition {

// Movable; each thread needs its own.
class BlockHasher {
 public:
  // INVALID_ARGUMENT: as ShapeOf. UNAVAILABLE: this OpenSSL does not offer the algorithm, as where
  // a policy forbids it.
  static absl::StatusOr<BlockHasher> Create(const VerityParams& params);

  BlockHasher(BlockHasher&&) noexcept;
  BlockHasher& operator=(BlockHasher&&) noexcept;
  ~BlockHasher();

  // Writes DigestBytes(algorithm) bytes to `digest`.
  void Hash(std::string_view block, char* digest);
  std::string Hash(std::string_view block);

  // The same for data blocks that lie one behind the other: faster than each alone. `digests` gets
  // theirs in the same order, with no gaps.
  void HashDataBlocks(std::string_view blocks, char* digests);

 private:
  struct State;
  explicit BlockHasher(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_BLOCK_HASHER_H_
