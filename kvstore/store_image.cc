#include "kvstore/store_image.h"

#include "base/crc32c.h"
#include "base/status.h"

namespace keelson::kvstore {

absl::StatusOr<uint32_t> HashAll(const StoreImage& image) {
  uint32_t hash = 0;
  KEELSON_RETURN_IF_ERROR(image.VisitBuckets([&](std::string_view name) {
    hash = ExtendCrc32c(hash, name);
    return image.VisitBucket(name, [&](std::string_view key, std::string_view value) {
      // Members that have the same data may have applied different numbers of entries.
      if (name == "meta" && key == "consistent_index") return absl::OkStatus();
      hash = ExtendCrc32c(ExtendCrc32c(hash, key), value);
      return absl::OkStatus();
    });
  }));
  return hash;
}

}  // namespace keelson::kvstore
