// What firmware and boot loader left in EFI variables, as the kernel shows them in efivarfs: u32
// attributes, then the value; texts in UTF-16LE with a zero at the end.
#ifndef KEELSON_PARTITION_BOOT_EFI_VARIABLES_H_
#define KEELSON_PARTITION_BOOT_EFI_VARIABLES_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/file_system.h"

namespace keelson::partition {

inline constexpr char kEfiVariablesFolder[] = "/sys/firmware/efi/efivars";

// The text of a variable of the loader's vendor GUID, 4a67b082-0a4c-41cf-b6c7-440b29bb8c4f, such as
// "LoaderBootCountPath".
// NOT_FOUND: there is none. DATA_LOSS: it is no text in printable ASCII.
absl::StatusOr<std::string> ReadLoaderVariable(FileSystem& fs, const std::string& folder,
                                               std::string_view name);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_EFI_VARIABLES_H_
