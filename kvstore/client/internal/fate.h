// What errors carry beside their code and text: client.h has the functions that read it.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_FATE_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_FATE_H_

#include <cstdint>

#include "absl/status/status.h"

namespace keelson::kvstore::client_internal {

// For PerhapsDone.
absl::Status MarkPerhapsDone(absl::Status status);
// For CompactRevisionOf.
absl::Status MarkCompacted(absl::Status status, int64_t compact_revision);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_FATE_H_
