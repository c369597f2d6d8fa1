// The order of versions (UAPI.10, version format), by which systemd-boot sorts its entries.
#ifndef KEELSON_PARTITION_BOOT_VERSION_ORDER_H_
#define KEELSON_PARTITION_BOOT_VERSION_ORDER_H_

#include <compare>
#include <string_view>

namespace keelson::partition {

// Runs of digits compare as numbers, runs of letters by ASCII, and digits are newer than letters.
// Before a run, "~" is older than the end, then come "-", "^" and "."; other characters only
// separate.
std::strong_ordering CompareVersions(std::string_view a, std::string_view b);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_VERSION_ORDER_H_
