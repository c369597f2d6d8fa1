#include "kvstore/migrate/etcd_database.h"

#include "base/status.h"

namespace keelson::kvstore {

absl::Status FillEtcdDatabase(const StoreImage& image, bbolt::Writer& writer) {
  return image.VisitBuckets([&](std::string_view name) -> absl::Status {
    KEELSON_RETURN_IF_ERROR(writer.BeginBucket(name));
    KEELSON_RETURN_IF_ERROR(image.VisitBucket(
        name,
        [&](std::string_view key, std::string_view value) { return writer.Add(key, value); }));
    return writer.EndBucket();
  });
}

}  // namespace keelson::kvstore
