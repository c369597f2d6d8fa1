// Boot loader entries of type 1 and loader.conf: lines of a key, white space and a value
// (UAPI.1, Boot Loader Specification; loader.conf(5)).
#ifndef KEELSON_PARTITION_BOOT_BLS_ENTRY_H_
#define KEELSON_PARTITION_BOOT_BLS_ENTRY_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::partition {

// A .conf file in loader/entries. Texts that are empty are not in the file.
struct BlsEntry {
  std::string title;
  std::string version;
  std::string machine_id;
  std::string sort_key;
  std::string linux;  // paths from the root of the partition, with '/'
  std::string efi;
  std::vector<std::string> initrd;
  std::string devicetree;
  std::string options;  // of the kernel; several lines are joined by blanks
  std::string architecture;
  std::vector<std::pair<std::string, std::string>> others;  // keys that are not above, in order

  friend bool operator==(const BlsEntry&, const BlsEntry&) = default;
};

// Reads as systemd-boot does: "#" starts a comment at the beginning of a line, the last of several
// lines of one key counts (initrd and options add up), lines without a value are passed over.
// INVALID_ARGUMENT: neither linux nor efi, a zero byte, or more than 1 MiB.
absl::StatusOr<BlsEntry> ParseBlsEntry(std::string_view text);

// INVALID_ARGUMENT: a value holds a line end, or begins or ends with a blank, or neither linux nor
// efi is set: it could not be read back.
absl::StatusOr<std::string> EncodeBlsEntry(const BlsEntry& entry);

// loader/loader.conf. What is not asked for by name is kept.
struct LoaderConf {
  std::vector<std::pair<std::string, std::string>> lines;

  // The last value of `key`; empty if there is none.
  [[nodiscard]] std::optional<std::string> Get(std::string_view key) const;
  // Replaces all values of `key`.
  void Set(const std::string& key, const std::string& value);
};

// Never fails: what is no line of key and value is passed over, as systemd-boot does.
LoaderConf ParseLoaderConf(std::string_view text);
std::string EncodeLoaderConf(const LoaderConf& conf);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_BLS_ENTRY_H_
