// Any bytes as a superblock: what is accepted has a tree whose shape can be computed, and is
// written as it was read.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/verity/superblock.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)ParseVerityUuid(bytes);
  const absl::StatusOr<VeritySuperblock> superblock = DecodeSuperblock(bytes);
  if (!superblock.ok()) return 0;
  const absl::StatusOr<TreeShape> shape = ShapeOf(superblock->params);
  KEELSON_CHECK_OK(shape.status());
  KEELSON_CHECK(shape->levels.empty() || shape->levels.back().blocks == 1) << "no single top";
  const absl::StatusOr<VeritySuperblock> again = DecodeSuperblock(EncodeSuperblock(*superblock));
  KEELSON_CHECK(again.ok() && *again == *superblock) << "another after writing and reading";
  return 0;
}
