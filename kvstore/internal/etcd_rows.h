// Keys and values as etcd's buckets have them.
#ifndef KEELSON_KVSTORE_INTERNAL_ETCD_ROWS_H_
#define KEELSON_KVSTORE_INTERNAL_ETCD_ROWS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "kvstore/internal/codec.h"

namespace keelson::kvstore::internal {

// 8 bytes, big-endian.
std::string BigEndian64(uint64_t value);
bool ParseBigEndian64(std::string_view bytes, uint64_t* value);

// A key of the bucket "key": main:8 '_' sub:8, and a 't' where a key was deleted.
std::string EtcdRevision(Revision revision, bool deleted);
bool ParseEtcdRevision(std::string_view bytes, Revision* revision, bool* deleted);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_ETCD_ROWS_H_
