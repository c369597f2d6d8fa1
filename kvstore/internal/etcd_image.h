// The StoreImage of one engine snapshot.
#ifndef KEELSON_KVSTORE_INTERNAL_ETCD_IMAGE_H_
#define KEELSON_KVSTORE_INTERNAL_ETCD_IMAGE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kvstore/internal/generation.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore::internal {

// The state as of now. DATA_LOSS when it cannot be read.
absl::StatusOr<std::unique_ptr<StoreImage>> TakeEtcdImage(std::shared_ptr<Generation> generation);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_ETCD_IMAGE_H_
