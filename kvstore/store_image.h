// A state of the store that does not change any more, read as the buckets of an etcd database:
// what hashes are taken of and what snapshots for etcd hold.
//
// Layout: reference kvstore.md section 5.6; the forms are those of etcd 3.4.
#ifndef KEELSON_KVSTORE_STORE_IMAGE_H_
#define KEELSON_KVSTORE_STORE_IMAGE_H_

#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::kvstore {

// One thread at a time. Holds old data back while it lives.
class StoreImage {
 public:
  // Rows come by ascending key (memcmp). An error ends the visit and is passed on.
  using Visit = absl::FunctionRef<absl::Status(std::string_view key, std::string_view value)>;

  virtual ~StoreImage() = default;

  [[nodiscard]] virtual int64_t revision() const = 0;
  [[nodiscard]] virtual int64_t compacted() const = 0;  // -1: never

  // Every bucket, by ascending name: "alarm", "auth", ... "meta".
  virtual absl::Status VisitBuckets(
      absl::FunctionRef<absl::Status(std::string_view name)> visit) const = 0;

  // The rows of one bucket. Of "key": what is left after the last compaction, whether or not it
  // has been swept yet. DATA_LOSS when a row cannot be read.
  virtual absl::Status VisitBucket(std::string_view name, Visit visit) const = 0;

  // What etcd's HashKV answers for `revision` (0: the newest): CRC-32C of the bucket "key".
  // OUT_OF_RANGE (before the compacted revision, future revision).
  [[nodiscard]] virtual absl::StatusOr<uint32_t> HashKeys(int64_t revision) const = 0;
};

// What etcd's Hash answers: CRC-32C of all buckets, but for the position in the log.
absl::StatusOr<uint32_t> HashAll(const StoreImage& image);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_STORE_IMAGE_H_
