// File names of boot loader entries and the counters in them: NAME+LEFT-DONE.efi
// (systemd, Automatic Boot Assessment).
//
//   std::optional<EntryName> name = ParseEntryName("keelson_2+3-1.efi");
//   name->id();                 // "keelson_2.efi"
//   FileName(AfterOneTry(*name));  // "keelson_2+2-2.efi"
#ifndef KEELSON_PARTITION_BOOT_ENTRY_NAME_H_
#define KEELSON_PARTITION_BOOT_ENTRY_NAME_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "partition/boot/boot_control.h"

namespace keelson::partition {

struct TryCounter {
  int left = 0;
  int done = 0;

  friend bool operator==(const TryCounter&, const TryCounter&) = default;
};

struct EntryName {
  std::string stem;    // "keelson_2"
  std::string suffix;  // ".efi" or ".conf", in the case of the file
  std::optional<TryCounter> counter;

  // The file name without the counter.
  [[nodiscard]] std::string id() const { return stem + suffix; }
  // No counter: good. No tries left: bad.
  [[nodiscard]] BootState state() const;

  friend bool operator==(const EntryName&, const EntryName&) = default;
};

// Empty: systemd-boot takes no file of that name as an entry. What only resembles a counter belongs
// to the stem, as there.
std::optional<EntryName> ParseEntryName(std::string_view file_name);

std::string FileName(const EntryName& name);

// What systemd-boot renames the file to before it starts it. The name itself if there is no
// counter.
EntryName AfterOneTry(EntryName name);

// INVALID_ARGUMENT: `id` is no name that systemd-boot lists and FAT can hold, or it has a counter.
absl::Status CheckEntryId(std::string_view id);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_ENTRY_NAME_H_
