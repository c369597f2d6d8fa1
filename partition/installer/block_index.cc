#include "partition/installer/block_index.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "partition/verity/hash_tree.h"

namespace keelson::partition {

absl::StatusOr<std::string> DigestsOf(const BlockDevice& device, const VerityParams& params,
                                      uint64_t blocks, const WorkOptions& options) {
  VerityParams here = params;
  here.data_blocks = blocks;
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(here));
  std::string digests;
  digests.reserve(blocks * shape.digest_bytes);
  // The leaves of a tree are the digests, block by block and in order.
  const uint64_t leaves = shape.levels.empty() ? 0 : shape.levels[0].first_block;
  const auto sink = [&](uint64_t offset, std::string_view block) {
    if (offset / here.hash_block_bytes < leaves) return absl::OkStatus();
    for (uint64_t i = 0; i < shape.digests_per_block; ++i) {
      if (digests.size() == blocks * shape.digest_bytes) break;
      digests.append(block.substr(i * shape.slot_bytes, shape.digest_bytes));
    }
    return absl::OkStatus();
  };
  KEELSON_ASSIGN_OR_RETURN(std::string root, BuildHashTree(device, here, sink, options));
  return shape.levels.empty() ? std::move(root) : std::move(digests);
}

BlockIndex::BlockIndex(std::string digests, uint32_t digest_bytes)
    : digests_(std::move(digests)),
      digest_bytes_(digest_bytes),
      order_(digests_.size() / digest_bytes) {
  std::iota(order_.begin(), order_.end(), uint64_t{0});
  std::sort(order_.begin(), order_.end(),
            [this](uint64_t a, uint64_t b) { return Digest(a) < Digest(b); });
}

uint64_t BlockIndex::Find(std::string_view digest) const {
  const auto found =
      std::lower_bound(order_.begin(), order_.end(), digest,
                       [this](uint64_t block, std::string_view d) { return Digest(block) < d; });
  return found == order_.end() || Digest(*found) != digest ? kNone : *found;
}

std::vector<BlockRange> RangesOf(const std::vector<bool>& wanted) {
  std::vector<BlockRange> ranges;
  for (uint64_t block = 0; block < wanted.size(); ++block) {
    if (!wanted[block]) continue;
    if (!ranges.empty() && ranges.back().first + ranges.back().count == block) {
      ++ranges.back().count;
    } else {
      ranges.push_back({.first = block, .count = 1});
    }
  }
  return ranges;
}

}  // namespace keelson::partition
