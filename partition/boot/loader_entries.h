// The entries that systemd-boot finds on a boot partition, in its order, and the one that it
// starts.
//
//   KEELSON_ASSIGN_OR_RETURN(const auto entries, ReadLoaderEntries(fs, "/efi"));
//   const LoaderEntry* next = ChooseEntry(entries, {});
//
// Type 1 is a .conf file in loader/entries, type 2 a unified kernel image in EFI/Linux. Sources:
// systemd 252, src/boot/efi/boot.c (which this follows where the specification leaves a choice);
// UAPI.1.
//
// Threading: values.
#ifndef KEELSON_PARTITION_BOOT_LOADER_ENTRIES_H_
#define KEELSON_PARTITION_BOOT_LOADER_ENTRIES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "partition/boot/bls_entry.h"
#include "partition/boot/entry_name.h"

namespace keelson::partition {

inline constexpr char kType1Folder[] = "loader/entries";
inline constexpr char kType2Folder[] = "EFI/Linux";

struct LoaderEntry {
  std::string folder;     // one of the two above
  std::string file_name;  // as on the disk
  EntryName name;         // that, taken apart
  std::string title;
  std::string version;
  std::string sort_key;
  std::string machine_id;
  std::optional<BlsEntry> type1;  // empty: type 2
  uint64_t bytes = 0;             // of the file

  [[nodiscard]] std::string path() const { return folder + "/" + file_name; }
};

// What systemd-boot would list of the boot partition that is mounted at `root`, first choice first.
// A file that it would not list (no os-release in an image, a kernel that is missing, another
// architecture) is left out, with the reason in `left_out` if that is not null. Folders that are
// missing are empty.
absl::StatusOr<std::vector<LoaderEntry>> ReadLoaderEntries(
    FileSystem& fs, const std::string& root, std::vector<std::string>* left_out = nullptr);

// Whether systemd-boot puts `a` before `b`: entries without tries last; then those with a sort key,
// by sort key, machine and version, the newest first; then by file name, the newest first; then
// more tries first.
bool ComesBefore(const LoaderEntry& a, const LoaderEntry& b);

// What may decide instead of the order. Patterns (fnmatch) for file names.
struct LoaderChoice {
  std::string one_shot;          // EFI variable LoaderEntryOneShot
  std::string default_variable;  // EFI variable LoaderEntryDefault
  std::string default_conf;      // "default" in loader.conf
};

// The entry that is started without a human: of the first pattern that fits one, else the first.
// Null if there is none.
const LoaderEntry* ChooseEntry(std::span<const LoaderEntry> entries, const LoaderChoice& choice);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_LOADER_ENTRIES_H_
