#include "partition/slots/running_slot.h"

#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "partition/slots/slot_table.h"
#include "partition/verity/verity_device.h"

namespace keelson::partition {
namespace {

constexpr std::array<std::string_view, 2> kPartitionKeys = {"mount.usr=PARTUUID=", "usr=PARTUUID="};
constexpr std::array<std::string_view, 2> kHashKeys = {"usrhash=", "roothash="};

std::optional<Guid> GuidOfHash(std::string_view hex) {
  const bool digits =
      std::all_of(hex.begin(), hex.end(), [](unsigned char c) { return absl::ascii_isxdigit(c); });
  if (!digits || hex.size() % 2 != 0) return std::nullopt;
  const auto guids = PartitionGuidsOf(absl::HexStringToBytes({hex.data(), hex.size()}));
  if (!guids.ok()) return std::nullopt;
  return guids->data;
}

std::optional<Guid> GuidOfWord(std::string_view word) {
  for (const std::string_view key : kPartitionKeys) {
    if (!word.starts_with(key)) continue;
    const absl::StatusOr<Guid> guid = ParseGuid(word.substr(key.size()));
    if (guid.ok()) return *guid;
  }
  for (const std::string_view key : kHashKeys) {
    if (word.starts_with(key)) return GuidOfHash(word.substr(key.size()));
  }
  return std::nullopt;
}

}  // namespace

std::optional<int> RunningSlot(const GptTable& table, const Guid& type,
                               std::string_view command_line) {
  std::optional<Guid> wanted;
  const absl::string_view text(command_line.data(), command_line.size());
  for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \n"))) {
    if (const auto guid = GuidOfWord({word.data(), word.size()}); guid.has_value()) wanted = guid;
  }
  if (!wanted.has_value()) return std::nullopt;
  for (const Slot& slot : SlotsOf(table, type)) {
    if (slot.unique == *wanted) return slot.number;
  }
  return std::nullopt;
}

}  // namespace keelson::partition
