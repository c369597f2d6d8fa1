#include "partition/verity/hash_tree.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "partition/verity/block_hasher.h"
#include "partition/verity/internal/ordered_parallel.h"

namespace keelson::partition {
namespace {

// What one thread reads and hashes at a time: long enough that taking turns costs nothing, and
// short enough to be in the second-level cache still when it is hashed.
constexpr uint64_t kPieceBytes = 256 << 10;

// The levels above the data: takes digests of data blocks in order.
class Levels {
 public:
  Levels(const VerityParams& params, TreeShape shape, BlockHasher hasher, HashBlockSink sink)
      : hash_block_bytes_(params.hash_block_bytes),
        shape_(std::move(shape)),
        hasher_(std::move(hasher)),
        sink_(std::move(sink)),
        open_(shape_.levels.size()) {
    for (OpenBlock& open : open_) open.bytes.assign(hash_block_bytes_, '\0');
  }

  // `digests` one behind the other, digest_bytes each.
  absl::Status Add(std::string_view digests) {
    for (size_t at = 0; at < digests.size(); at += shape_.digest_bytes) {
      KEELSON_RETURN_IF_ERROR(Put(0, digests.substr(at, shape_.digest_bytes)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Finish() {
    for (size_t level = 0; level < open_.size(); ++level) {
      if (open_[level].digests != 0) KEELSON_RETURN_IF_ERROR(Close(level));
    }
    return root_hash_;
  }

  [[nodiscard]] const TreeShape& shape() const { return shape_; }

 private:
  struct OpenBlock {
    std::string bytes;
    uint64_t digests = 0;
    uint64_t index = 0;  // in its level
  };

  absl::Status Put(size_t level, std::string_view digest) {
    if (level == open_.size()) {
      root_hash_ = std::string(digest);
      return absl::OkStatus();
    }
    OpenBlock& open = open_[level];
    std::memcpy(open.bytes.data() + open.digests * shape_.slot_bytes, digest.data(), digest.size());
    return ++open.digests == shape_.digests_per_block ? Close(level) : absl::OkStatus();
  }

  absl::Status Close(size_t level) {
    OpenBlock& open = open_[level];
    const uint64_t block = shape_.levels[level].first_block + open.index;
    KEELSON_RETURN_IF_ERROR(sink_(block * hash_block_bytes_, open.bytes));
    const std::string digest = hasher_.Hash(open.bytes);
    open.bytes.assign(hash_block_bytes_, '\0');
    open.digests = 0;
    ++open.index;
    return Put(level + 1, digest);
  }

  const uint32_t hash_block_bytes_;
  const TreeShape shape_;
  BlockHasher hasher_;
  const HashBlockSink sink_;
  std::vector<OpenBlock> open_;
  std::string root_hash_;
};

absl::StatusOr<std::unique_ptr<Levels>> MakeLevels(const VerityParams& params, HashBlockSink sink) {
  KEELSON_ASSIGN_OR_RETURN(TreeShape shape, ShapeOf(params));
  KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params));
  return std::make_unique<Levels>(params, std::move(shape), std::move(hasher), std::move(sink));
}

}  // namespace

struct HashTreeStream::State {
  VerityParams params;
  std::unique_ptr<Levels> levels;
  BlockHasher hasher;
  std::string partial;  // the start of a data block
  uint64_t bytes = 0;   // appended so far
  std::string digests;

  absl::Status AddBlocks(std::string_view blocks) {
    digests.resize(blocks.size() / params.data_block_bytes * levels->shape().digest_bytes);
    hasher.HashDataBlocks(blocks, digests.data());
    return levels->Add(digests);
  }
};

HashTreeStream::HashTreeStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
HashTreeStream::HashTreeStream(HashTreeStream&&) noexcept = default;
HashTreeStream& HashTreeStream::operator=(HashTreeStream&&) noexcept = default;
HashTreeStream::~HashTreeStream() = default;

absl::StatusOr<HashTreeStream> HashTreeStream::Create(const VerityParams& params,
                                                      HashBlockSink sink) {
  KEELSON_ASSIGN_OR_RETURN(auto levels, MakeLevels(params, std::move(sink)));
  KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params));
  return HashTreeStream(std::make_unique<State>(
      State{.params = params, .levels = std::move(levels), .hasher = std::move(hasher)}));
}

absl::Status HashTreeStream::Append(std::string_view bytes) {
  State& state = *state_;
  const uint64_t total = state.params.data_bytes();
  if (bytes.size() > total - state.bytes) {
    return absl::OutOfRangeError(absl::StrCat(
        "hash tree: expected ", total, " bytes of data, found ", state.bytes + bytes.size()));
  }
  state.bytes += bytes.size();
  const size_t block_bytes = state.params.data_block_bytes;
  if (!state.partial.empty()) {
    const size_t missing = std::min(block_bytes - state.partial.size(), bytes.size());
    state.partial.append(bytes.substr(0, missing));
    bytes.remove_prefix(missing);
    if (state.partial.size() < block_bytes) return absl::OkStatus();
    KEELSON_RETURN_IF_ERROR(state.AddBlocks(state.partial));
    state.partial.clear();
  }
  while (bytes.size() >= block_bytes) {
    // A piece at a time: digests of all that came would need much memory.
    const size_t most = std::max<size_t>(kPieceBytes, block_bytes);
    const std::string_view blocks =
        bytes.substr(0, std::min(most, bytes.size() - bytes.size() % block_bytes));
    KEELSON_RETURN_IF_ERROR(state.AddBlocks(blocks));
    bytes.remove_prefix(blocks.size());
  }
  state.partial = std::string(bytes);
  return absl::OkStatus();
}

absl::StatusOr<std::string> HashTreeStream::Finish() {
  if (state_->bytes != state_->params.data_bytes()) {
    return absl::FailedPreconditionError(absl::StrCat("hash tree: expected ",
                                                      state_->params.data_bytes(),
                                                      " bytes of data, found ", state_->bytes));
  }
  return state_->levels->Finish();
}

absl::StatusOr<std::string> BuildHashTree(const BlockDevice& data, const VerityParams& params,
                                          const HashBlockSink& sink, const WorkOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const auto levels, MakeLevels(params, sink));
  const uint64_t total = params.data_bytes();
  if (data.geometry().bytes() < total) {
    return absl::OutOfRangeError(absl::StrCat("'", data.name(), "': expected ", total,
                                              " bytes, found ", data.geometry().bytes()));
  }
  struct Worker {
    BlockHasher hasher;
    std::string buffer;
  };
  std::vector<Worker> workers;
  const int threads = ThreadCount(options);
  for (int i = 0; i < threads; ++i) {
    KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params));
    workers.push_back({.hasher = std::move(hasher)});
  }
  const uint32_t digest_bytes = levels->shape().digest_bytes;
  const uint64_t piece_bytes = std::max<uint64_t>(kPieceBytes, params.data_block_bytes);
  const auto work = [&](uint64_t piece, int who) -> absl::StatusOr<std::string> {
    auto& [hasher, buffer] = workers[who];
    const uint64_t offset = piece * piece_bytes;
    buffer.resize(std::min(piece_bytes, total - offset));
    KEELSON_RETURN_IF_ERROR(data.Read(offset, {buffer.data(), buffer.size()}));
    const uint64_t blocks = buffer.size() / params.data_block_bytes;
    std::string digests(blocks * digest_bytes, '\0');
    hasher.HashDataBlocks(buffer, digests.data());
    return digests;
  };
  const auto commit = [&](uint64_t piece, std::string digests) {
    if (options.progress) options.progress(std::min(total, (piece + 1) * piece_bytes), total);
    return levels->Add(digests);
  };
  const uint64_t pieces = (total + piece_bytes - 1) / piece_bytes;
  KEELSON_RETURN_IF_ERROR(OrderedParallel<std::string>::Run(pieces, threads, work, commit));
  return levels->Finish();
}

}  // namespace keelson::partition
