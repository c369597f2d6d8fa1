// Which slot the running system was booted from, by what its boot loader told the kernel.
#ifndef KEELSON_PARTITION_SLOTS_RUNNING_SLOT_H_
#define KEELSON_PARTITION_SLOTS_RUNNING_SLOT_H_

#include <optional>
#include <string_view>

#include "partition/gpt.h"
#include "partition/guid.h"

namespace keelson::partition {

// Looks in a kernel's command line for the GUID of a slot of `type`: "mount.usr=PARTUUID=GUID" or
// "usr=PARTUUID=GUID" (Container Linux), "usrhash=" or "roothash=" with a root hash, whose first 16
// bytes are the GUID. The last one counts, as for the kernel. Empty if there is none, or no slot of
// `table` has that GUID: the system runs from elsewhere.
std::optional<int> RunningSlot(const GptTable& table, const Guid& type,
                               std::string_view command_line);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_SLOTS_RUNNING_SLOT_H_
