#include "partition/installer/memory_source.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "partition/verity/hash_tree.h"

namespace keelson::partition {

absl::StatusOr<std::unique_ptr<MemorySource>> MemorySource::Make(std::string version,
                                                                 std::string data) {
  auto source = std::unique_ptr<MemorySource>(new MemorySource());
  VerityParams& params = source->description_.params;
  params.data_blocks =
      std::max<uint64_t>(1, (data.size() + params.data_block_bytes - 1) / params.data_block_bytes);
  data.resize(params.data_bytes(), '\0');
  source->data_ = std::move(data);
  source->description_.version = std::move(version);
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(params));
  source->tree_.resize(shape.blocks * params.hash_block_bytes);
  const auto sink = [&tree = source->tree_](uint64_t offset, std::string_view block) {
    tree.replace(offset, block.size(), block);
    return absl::OkStatus();
  };
  KEELSON_ASSIGN_OR_RETURN(HashTreeStream stream, HashTreeStream::Create(params, sink));
  KEELSON_RETURN_IF_ERROR(stream.Append(source->data_));
  KEELSON_ASSIGN_OR_RETURN(source->description_.root_hash, stream.Finish());
  return source;
}

absl::Status MemorySource::ReadTree(std::span<char> tree) {
  KEELSON_CHECK(tree.size() == tree_.size()) << tree.size();
  std::copy(tree_.begin(), tree_.end(), tree.begin());
  return absl::OkStatus();
}

absl::Status MemorySource::Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) {
  const uint64_t block_bytes = description_.params.data_block_bytes;
  for (const BlockRange& range : wanted) {
    KEELSON_RETURN_IF_ERROR(
        sink(range.first,
             std::string_view(data_).substr(range.first * block_bytes, range.count * block_bytes)));
  }
  return absl::OkStatus();
}

}  // namespace keelson::partition
