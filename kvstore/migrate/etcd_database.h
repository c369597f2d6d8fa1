// A store as the database file of an etcd member, which etcd 3.4 and later take.
#ifndef KEELSON_KVSTORE_MIGRATE_ETCD_DATABASE_H_
#define KEELSON_KVSTORE_MIGRATE_ETCD_DATABASE_H_

#include "absl/status/status.h"
#include "kvstore/bbolt/writer.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore {

// Enters every bucket of `image`. Does the same each time; DATA_LOSS when it cannot be read.
absl::Status FillEtcdDatabase(const StoreImage& image, bbolt::Writer& writer);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_ETCD_DATABASE_H_
