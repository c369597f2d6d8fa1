// What the list of boot candidates tells about versions that failed.
#ifndef KEELSON_PARTITION_BOOT_ROLLBACK_H_
#define KEELSON_PARTITION_BOOT_ROLLBACK_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "partition/boot/boot_control.h"
#include "partition/slots/failed_versions.h"

namespace keelson::partition {

// Puts the versions of bad candidates on the ledger, but for the running one: it may be on its last
// try, and nothing has gone wrong yet. Returns those that are new there.
std::vector<std::string> NoteRolledBack(std::span<const BootCandidate> candidates,
                                        std::string_view running_id, int64_t unix_time,
                                        FailedVersions& ledger);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_ROLLBACK_H_
