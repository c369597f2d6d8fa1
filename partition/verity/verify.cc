#include "partition/verity/verify.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "partition/verity/block_hasher.h"
#include "partition/verity/internal/ordered_parallel.h"

namespace keelson::partition {
namespace {

// Hash blocks that one thread judges at a time, each with all that is below it.
constexpr uint64_t kLeavesAtOnce = 2;
// Data that is read at a time.
constexpr uint64_t kReadBytes = 1 << 20;

// A level whose blocks have been judged: bytes of the sound ones, in memory.
struct Judged {
  std::string bytes;
  std::vector<bool> sound;
};

class Verifier {
 public:
  struct Worker {
    BlockHasher hasher;
    std::string buffer;
  };

  // What was found in the blocks [first, first + n) of a level.
  struct Findings {
    std::vector<VerityFault> hash_faults;
    std::vector<VerityFault> data_faults;
    uint64_t unjudged = 0;
  };

  Verifier(const VerityPlace& place, TreeShape shape, std::string_view root_hash)
      : place_(place), params_(place.params), shape_(std::move(shape)), root_hash_(root_hash) {}

  absl::StatusOr<VerityReport> Run(const WorkOptions& options) {
    for (int i = 0; i < ThreadCount(options); ++i) {
      KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params_));
      workers_.push_back({.hasher = std::move(hasher)});
    }
    if (shape_.levels.empty()) {
      Findings findings;
      KEELSON_RETURN_IF_ERROR(JudgeData(0, 1, root_hash_, findings, workers_[0]));
      Take(std::move(findings));
      return std::move(report_);
    }
    for (size_t level = shape_.levels.size() - 1; level > 0; --level) {
      KEELSON_RETURN_IF_ERROR(JudgeUpperLevel(level));
    }
    KEELSON_RETURN_IF_ERROR(JudgeLeaves(options));
    std::move(data_faults_.begin(), data_faults_.end(), std::back_inserter(report_.faults));
    return std::move(report_);
  }

 private:
  [[nodiscard]] uint64_t HashOffset(size_t level, uint64_t block) const {
    return place_.tree_offset +
           (shape_.levels[level].first_block + block) * params_.hash_block_bytes;
  }

  // The digest that the level above holds of a hash block; empty if that is not sound.
  [[nodiscard]] std::string_view Expected(size_t level, uint64_t block) const {
    if (level + 1 == shape_.levels.size()) return root_hash_;
    const uint64_t parent = block / shape_.digests_per_block;
    if (!above_.sound[parent]) return {};
    return std::string_view(above_.bytes)
        .substr(parent * params_.hash_block_bytes +
                    block % shape_.digests_per_block * shape_.slot_bytes,
                shape_.digest_bytes);
  }

  [[nodiscard]] VerityFault MakeFault(int level, uint64_t block, std::string_view expected,
                                      const std::string& found) const {
    const bool data = level == VerityFault::kData;
    const uint64_t offset = data ? block * params_.data_block_bytes : HashOffset(level, block);
    const std::string what = data ? "data block " : absl::StrCat("level ", level, " hash block ");
    return {.level = level,
            .block = block,
            .offset = offset,
            .expected = std::string(expected),
            .message = absl::StrCat(what, block, " at byte ", offset, " of '",
                                    (data ? place_.data : place_.hash)->name(), "': expected ",
                                    params_.algorithm, " ",
                                    absl::BytesToHexString({expected.data(), expected.size()}),
                                    ", found ", absl::BytesToHexString(found))};
  }

  // Digests of data blocks [first, first + count) against `digests`, in slots.
  absl::Status JudgeData(uint64_t first, uint64_t count, std::string_view digests,
                         Findings& findings, Worker& worker) {
    const uint64_t at_once = std::max<uint64_t>(1, kReadBytes / params_.data_block_bytes);
    for (uint64_t i = 0; i < count; i += at_once) {
      const uint64_t now = std::min(at_once, count - i);
      worker.buffer.resize(now * params_.data_block_bytes);
      KEELSON_RETURN_IF_ERROR(place_.data->Read((first + i) * params_.data_block_bytes,
                                                {worker.buffer.data(), worker.buffer.size()}));
      std::string all_found(now * shape_.digest_bytes, '\0');
      worker.hasher.HashDataBlocks(worker.buffer, all_found.data());
      for (uint64_t j = 0; j < now; ++j) {
        const auto found =
            std::string_view(all_found).substr(j * shape_.digest_bytes, shape_.digest_bytes);
        const auto expected = digests.substr((i + j) * shape_.slot_bytes, shape_.digest_bytes);
        if (found == expected) continue;
        findings.data_faults.push_back(
            MakeFault(VerityFault::kData, first + i + j, expected, std::string(found)));
      }
    }
    return absl::OkStatus();
  }

  // A level above the leaves, which fits memory: 1/128 of all digests, usually.
  absl::Status JudgeUpperLevel(size_t level) {
    const uint64_t blocks = shape_.levels[level].blocks;
    const uint32_t size = params_.hash_block_bytes;
    Judged judged{.bytes = std::string(blocks * size, '\0'), .sound = std::vector<bool>(blocks)};
    KEELSON_RETURN_IF_ERROR(
        place_.hash->Read(HashOffset(level, 0), {judged.bytes.data(), judged.bytes.size()}));
    Findings findings;
    for (uint64_t block = 0; block < blocks; ++block) {
      const std::string_view expected = Expected(level, block);
      if (expected.empty()) continue;
      const std::string found =
          workers_[0].hasher.Hash(std::string_view(judged.bytes).substr(block * size, size));
      judged.sound[block] = found == expected;
      if (judged.sound[block]) continue;
      findings.hash_faults.push_back(MakeFault(static_cast<int>(level), block, expected, found));
    }
    Take(std::move(findings));
    above_ = std::move(judged);
    return absl::OkStatus();
  }

  absl::Status JudgeLeaf(uint64_t leaf, Findings& findings, Worker& worker) {
    const uint64_t first = leaf * shape_.digests_per_block;
    const uint64_t count = std::min(shape_.digests_per_block, params_.data_blocks - first);
    const std::string_view expected = Expected(0, leaf);
    std::string block(params_.hash_block_bytes, '\0');
    KEELSON_RETURN_IF_ERROR(place_.hash->Read(HashOffset(0, leaf), {block.data(), block.size()}));
    const std::string found = worker.hasher.Hash(block);
    if (found == expected) return JudgeData(first, count, block, findings, worker);
    findings.unjudged += count;
    if (!expected.empty()) findings.hash_faults.push_back(MakeFault(0, leaf, expected, found));
    return absl::OkStatus();
  }

  absl::Status JudgeLeaves(const WorkOptions& options) {
    const uint64_t leaves = shape_.levels[0].blocks;
    const auto work = [&](uint64_t piece, int who) -> absl::StatusOr<Findings> {
      Findings findings;
      const uint64_t end = std::min(leaves, (piece + 1) * kLeavesAtOnce);
      for (uint64_t leaf = piece * kLeavesAtOnce; leaf < end; ++leaf) {
        KEELSON_RETURN_IF_ERROR(JudgeLeaf(leaf, findings, workers_[who]));
      }
      return findings;
    };
    const uint64_t total = params_.data_bytes();
    const uint64_t piece_bytes =
        kLeavesAtOnce * shape_.digests_per_block * params_.data_block_bytes;
    const auto commit = [&](uint64_t piece, Findings findings) {
      Take(std::move(findings));
      if (options.progress) options.progress(std::min(total, (piece + 1) * piece_bytes), total);
      return absl::OkStatus();
    };
    const uint64_t pieces = (leaves + kLeavesAtOnce - 1) / kLeavesAtOnce;
    return OrderedParallel<Findings>::Run(pieces, static_cast<int>(workers_.size()), work, commit);
  }

  void Take(Findings findings) {
    std::move(findings.hash_faults.begin(), findings.hash_faults.end(),
              std::back_inserter(report_.faults));
    auto& data = shape_.levels.empty() ? report_.faults : data_faults_;
    std::move(findings.data_faults.begin(), findings.data_faults.end(), std::back_inserter(data));
    report_.unjudged_blocks += findings.unjudged;
  }

  const VerityPlace& place_;
  const VerityParams& params_;
  const TreeShape shape_;
  const std::string_view root_hash_;
  std::vector<Worker> workers_;
  Judged above_;  // the level above the one that is judged
  VerityReport report_;
  std::vector<VerityFault> data_faults_;
};

absl::Status CheckLength(const BlockDevice& device, const char* what, uint64_t bytes) {
  const uint64_t found = device.geometry().bytes();
  if (bytes <= found) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(what, " '", device.name(), "': expected at least ",
                                            bytes, " bytes, found ", found));
}

}  // namespace

absl::Status CheckPlace(const VerityPlace& place) {
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(place.params));
  KEELSON_RETURN_IF_ERROR(CheckLength(*place.data, "data device", place.params.data_bytes()));
  if (shape.blocks == 0) return absl::OkStatus();  // One data block has no tree.
  return CheckLength(*place.hash, "hash device",
                     place.tree_offset + shape.blocks * place.params.hash_block_bytes);
}

absl::Status CheckTree(std::string_view tree, const VerityParams& params,
                       std::string_view root_hash) {
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(params));
  const uint32_t size = params.hash_block_bytes;
  if (tree.size() != shape.blocks * size || root_hash.size() != shape.digest_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("hash tree: expected ", shape.blocks * size, " bytes and a root hash of ",
                     shape.digest_bytes, ", found ", tree.size(), " and ", root_hash.size()));
  }
  KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params));
  for (size_t level = shape.levels.size(); level-- > 0;) {
    const TreeLevel& here = shape.levels[level];
    for (uint64_t block = 0; block < here.blocks; ++block) {
      std::string_view expected = root_hash;
      if (level + 1 < shape.levels.size()) {
        const uint64_t parent =
            shape.levels[level + 1].first_block + block / shape.digests_per_block;
        expected = tree.substr(parent * size + block % shape.digests_per_block * shape.slot_bytes,
                               shape.digest_bytes);
      }
      const uint64_t offset = (here.first_block + block) * size;
      if (hasher.Hash(tree.substr(offset, size)) == expected) continue;
      return absl::DataLossError(absl::StrCat("hash tree: level ", level, " block ", block,
                                              " at byte ", offset,
                                              " does not match the block above it"));
    }
  }
  return absl::OkStatus();
}

std::string_view LeafDigest(std::string_view tree, const VerityParams& params,
                            const TreeShape& shape, uint64_t block, std::string_view root_hash) {
  if (shape.levels.empty()) return root_hash;
  const uint64_t leaf = shape.levels[0].first_block + block / shape.digests_per_block;
  return tree.substr(
      leaf * params.hash_block_bytes + block % shape.digests_per_block * shape.slot_bytes,
      shape.digest_bytes);
}

absl::StatusOr<VerityReport> VerifyTree(const VerityPlace& place, std::string_view root_hash,
                                        const WorkOptions& options) {
  KEELSON_RETURN_IF_ERROR(CheckPlace(place));
  KEELSON_ASSIGN_OR_RETURN(TreeShape shape, ShapeOf(place.params));
  if (root_hash.size() != shape.digest_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("root hash of ", root_hash.size(),
                                                   " bytes: ", place.params.algorithm, " has ",
                                                   shape.digest_bytes));
  }
  return Verifier(place, std::move(shape), root_hash).Run(options);
}

}  // namespace keelson::partition
