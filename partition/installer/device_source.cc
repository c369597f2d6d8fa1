#include "partition/installer/device_source.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;

}  // namespace

DeviceSource::DeviceSource(ImageDescription description, const VerityPlace& place)
    : description_(std::move(description)), place_(place) {}

absl::Status DeviceSource::ReadTree(std::span<char> tree) {
  return place_.hash->Read(place_.tree_offset, tree);
}

absl::Status DeviceSource::Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) {
  const uint64_t block_bytes = description_.params.data_block_bytes;
  const uint64_t at_once = std::max<uint64_t>(1, kPieceBytes / block_bytes);
  std::string piece;
  for (const BlockRange& range : wanted) {
    for (uint64_t i = 0; i < range.count; i += at_once) {
      piece.resize(std::min(at_once, range.count - i) * block_bytes);
      KEELSON_RETURN_IF_ERROR(
          place_.data->Read((range.first + i) * block_bytes, {piece.data(), piece.size()}));
      KEELSON_RETURN_IF_ERROR(sink(range.first + i, piece));
    }
  }
  return absl::OkStatus();
}

}  // namespace keelson::partition
