// Unified kernel images: a UEFI program of systemd's stub, a kernel and what belongs to it
// (UAPI.5, unified kernel image).
//
//   KEELSON_ASSIGN_OR_RETURN(const std::string uki,
//                            AssembleUki(stub, {.os_release = os_release, .cmdline = "quiet",
//                                               .initrd = initrd, .linux = vmlinuz}));
//
// Each part becomes a section behind those of the stub, on a page of its own in memory. The kernel
// comes last, since it may need more memory than it has bytes. The size of a section in memory is
// that of its contents, for that is what the stub measures.
//
// Threading: pure functions.
#ifndef KEELSON_PARTITION_BOOT_UKI_H_
#define KEELSON_PARTITION_BOOT_UKI_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::partition {

// Parts that are empty are left out.
struct UkiParts {
  std::string os_release;  // text of an os-release file: systemd-boot lists no image without
  std::string cmdline;     // without line end or zero
  std::string uname;       // of the kernel
  std::string splash;      // a BMP picture
  std::string devicetree;
  std::string initrd;
  std::string linux;  // a kernel with EFI stub
};

// Errors:
//   DATA_LOSS         the stub or the kernel is no sound PE file.
//   INVALID_ARGUMENT  there is no kernel, it is for another machine than the stub, the command line
//                     has a line end, the stub has one of the parts already, or its headers have no
//                     room; the message says how much is missing.
absl::StatusOr<std::string> AssembleUki(std::string_view stub, const UkiParts& parts);

// What an image holds.
// Errors: DATA_LOSS: it is no sound PE file. INVALID_ARGUMENT: there is no kernel in it.
absl::StatusOr<UkiParts> ParseUki(std::string_view uki);

// os-release(5): keys and values, without quotes. Lines that are no assignment are passed over.
std::map<std::string, std::string> ParseOsRelease(std::string_view text);

// What systemd-boot takes from the os-release of an image.
struct UkiIdentity {
  std::string title;
  std::string sort_key;
  std::string version;
};
UkiIdentity IdentityOf(const std::map<std::string, std::string>& os_release);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_UKI_H_
