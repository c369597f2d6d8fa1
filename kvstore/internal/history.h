// Reads the change log: what watchers catch up from.
#ifndef KEELSON_KVSTORE_INTERNAL_HISTORY_H_
#define KEELSON_KVSTORE_INTERNAL_HISTORY_H_

#include "absl/status/statusor.h"
#include "kvstore/internal/generation.h"
#include "kvstore/store.h"

namespace keelson::kvstore::internal {

// As Store::ReadHistory, of `generation`.
absl::StatusOr<Store::History> ReadHistory(const Generation& generation, const KeyRange& range,
                                           int64_t from, bool prev_kv, size_t max_changes,
                                           size_t max_bytes);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_HISTORY_H_
