#include "partition/layout.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/partition_types.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::json;

struct Unit {
  std::string_view name;
  int shift;
};
constexpr Unit kUnits[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}};

// Of what is the rest: file systems use no part of a block.
constexpr uint64_t kRestMultiple = 4096;

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status Bad(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// `json` is an object with no other keys than `allowed`.
absl::Status CheckKeys(const Json& json, const std::string& where,
                       std::initializer_list<std::string_view> allowed) {
  if (!json.is_object()) return Bad(where, "expected an object");
  for (const auto& [key, value] : json.items()) {
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      return Bad(where, absl::StrCat("unknown key '", key, "'"));
    }
  }
  return absl::OkStatus();
}

// The text at `key`; empty if there is none.
absl::StatusOr<std::optional<std::string>> Text(const Json& json, const std::string& key,
                                                const std::string& where) {
  const auto found = json.find(key);
  if (found == json.end()) return std::nullopt;
  if (!found->is_string()) return Bad(absl::StrCat(where, ".", key), "expected a string");
  return found->get<std::string>();
}

absl::StatusOr<std::optional<Guid>> OptionalGuid(const Json& json, const std::string& key,
                                                 const std::string& where) {
  KEELSON_ASSIGN_OR_RETURN(const std::optional<std::string> text, Text(json, key, where));
  if (!text.has_value()) return std::nullopt;
  const absl::StatusOr<Guid> guid = ParseGuid(*text);
  if (!guid.ok()) return Annotate(guid.status(), absl::StrCat(where, ".", key));
  return *guid;
}

absl::StatusOr<uint64_t> Attributes(const Json& json, const std::string& where) {
  const auto found = json.find("attributes");
  if (found == json.end()) return 0;
  const std::string place = where + ".attributes";
  if (!found->is_array()) return Bad(place, "expected an array");
  uint64_t bits = 0;
  for (const Json& item : *found) {
    std::string text;
    if (item.is_string()) text = item.get<std::string>();
    if (item.is_number_unsigned()) text = std::to_string(item.get<uint64_t>());
    const absl::StatusOr<int> bit = ParseAttribute(text);
    if (!bit.ok()) return Annotate(bit.status(), place);
    bits |= uint64_t{1} << *bit;
  }
  return bits;
}

absl::StatusOr<LayoutPartition> ParsePartition(const Json& json, const std::string& where) {
  KEELSON_RETURN_IF_ERROR(
      CheckKeys(json, where, {"number", "label", "type", "size", "guid", "attributes"}));
  LayoutPartition partition;
  const auto number = json.find("number");
  if (number == json.end() || !number->is_number_unsigned() || number->get<uint64_t>() < 1 ||
      number->get<uint64_t>() > kGptEntryCount) {
    return Bad(where + ".number", "expected a number from 1 to 128");
  }
  partition.number = number->get<int>();
  KEELSON_ASSIGN_OR_RETURN(const auto label, Text(json, "label", where));
  partition.label = label.value_or("");
  GptEntry scratch;
  KEELSON_RETURN_IF_ERROR(Annotate(SetName(scratch, partition.label), where + ".label"));
  KEELSON_ASSIGN_OR_RETURN(const auto type, Text(json, "type", where));
  if (!type.has_value()) return Bad(where + ".type", "expected a partition type, found none");
  const absl::StatusOr<Guid> type_guid = ParsePartitionType(*type);
  if (!type_guid.ok()) return Annotate(type_guid.status(), where + ".type");
  partition.type = *type_guid;
  KEELSON_ASSIGN_OR_RETURN(const auto size, Text(json, "size", where));
  if (!size.has_value()) return Bad(where + ".size", "expected a size, found none");
  if (*size != "rest") {
    const absl::StatusOr<uint64_t> bytes = ParseSize(*size);
    if (!bytes.ok()) return Annotate(bytes.status(), where + ".size");
    if (*bytes == 0) return Bad(where + ".size", "expected more than nothing");
    partition.bytes = *bytes;
  }
  KEELSON_ASSIGN_OR_RETURN(partition.unique, OptionalGuid(json, "guid", where));
  KEELSON_ASSIGN_OR_RETURN(partition.attributes, Attributes(json, where));
  return partition;
}

absl::Status CheckPartitions(const std::vector<LayoutPartition>& partitions) {
  std::vector<bool> seen(kGptEntryCount + 1, false);
  for (size_t i = 0; i < partitions.size(); ++i) {
    const std::string where = absl::StrCat("partitions[", i, "]");
    if (seen[partitions[i].number]) {
      return Bad(where + ".number", absl::StrCat(partitions[i].number, " is there twice"));
    }
    seen[partitions[i].number] = true;
    if (!partitions[i].bytes.has_value() && i + 1 < partitions.size()) {
      return Bad(where + ".size", "only the last partition can have the rest");
    }
  }
  return absl::OkStatus();
}

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

absl::StatusOr<Layout> ParseLayout(std::string_view json) {
  const Json root = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return absl::InvalidArgumentError("the layout is not JSON");
  KEELSON_RETURN_IF_ERROR(
      CheckKeys(root, "layout", {"disk_guid", "disk_size", "alignment", "partitions"}));
  Layout layout;
  KEELSON_ASSIGN_OR_RETURN(layout.disk_guid, OptionalGuid(root, "disk_guid", "layout"));
  KEELSON_ASSIGN_OR_RETURN(const auto disk_size, Text(root, "disk_size", "layout"));
  if (disk_size.has_value()) {
    const absl::StatusOr<uint64_t> bytes = ParseSize(*disk_size);
    if (!bytes.ok()) return Annotate(bytes.status(), "layout.disk_size");
    layout.disk_bytes = *bytes;
  }
  KEELSON_ASSIGN_OR_RETURN(const auto alignment, Text(root, "alignment", "layout"));
  if (alignment.has_value()) {
    const absl::StatusOr<uint64_t> bytes = ParseSize(*alignment);
    if (!bytes.ok()) return Annotate(bytes.status(), "layout.alignment");
    if (!std::has_single_bit(*bytes) || *bytes < 512 || *bytes > uint64_t{1} << 40) {
      return Bad("layout.alignment", "expected a power of two from 512B to 1TiB");
    }
    layout.alignment_bytes = *bytes;
  }
  const auto partitions = root.find("partitions");
  if (partitions == root.end() || !partitions->is_array()) {
    return Bad("layout.partitions", "expected an array");
  }
  for (size_t i = 0; i < partitions->size(); ++i) {
    KEELSON_ASSIGN_OR_RETURN(LayoutPartition partition,
                             ParsePartition((*partitions)[i], absl::StrCat("partitions[", i, "]")));
    layout.partitions.push_back(std::move(partition));
  }
  KEELSON_RETURN_IF_ERROR(CheckPartitions(layout.partitions));
  return layout;
}

absl::StatusOr<GptTable> MakeTable(const Layout& layout, const Geometry& geometry,
                                   const GuidSource& guids) {
  KEELSON_ASSIGN_OR_RETURN(
      GptTable table,
      EmptyTable(geometry, layout.disk_guid.has_value() ? *layout.disk_guid : guids()));
  const uint64_t alignment = std::max<uint64_t>(layout.alignment_bytes / geometry.sector_bytes, 1);
  uint64_t next = table.first_usable_lba;
  for (const LayoutPartition& partition : layout.partitions) {
    const uint64_t first = RoundUp(next, alignment);
    const uint64_t room = first > table.last_usable_lba ? 0 : table.last_usable_lba - first + 1;
    const uint64_t rest = room - room % (kRestMultiple / geometry.sector_bytes);
    uint64_t sectors = rest;
    if (partition.bytes.has_value()) {
      sectors = RoundUp(*partition.bytes, geometry.sector_bytes) / geometry.sector_bytes;
    }
    if (sectors > room || sectors == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("partition ", partition.number, " does not fit: expected room for ",
                       std::max<uint64_t>(sectors, 1) * geometry.sector_bytes, " bytes from byte ",
                       first * geometry.sector_bytes, ", found ", room * geometry.sector_bytes));
    }
    GptEntry& entry = table.entries[partition.number - 1];
    entry.type = partition.type;
    entry.unique = partition.unique.has_value() ? *partition.unique : guids();
    entry.first_lba = first;
    entry.last_lba = first + sectors - 1;
    entry.attributes = partition.attributes;
    KEELSON_RETURN_IF_ERROR(SetName(entry, partition.label));
    next = entry.last_lba + 1;
  }
  if (const auto faults = CheckTable(table, geometry); !faults.empty()) {
    return absl::InvalidArgumentError(faults[0].message);
  }
  return table;
}

absl::StatusOr<uint64_t> ParseSize(std::string_view text) {
  for (const Unit& unit : kUnits) {
    if (!text.ends_with(unit.name)) continue;
    const std::string_view digits = text.substr(0, text.size() - unit.name.size());
    uint64_t value = 0;
    const bool is_number = !digits.empty() &&
                           digits.find_first_not_of("0123456789") == std::string_view::npos &&
                           absl::SimpleAtoi(ToAbsl(digits), &value);
    if (!is_number || value >= uint64_t{1} << (63 - unit.shift)) break;
    return value << unit.shift;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", ToAbsl(text),
                   "' is no size: expected a number with B, KiB, MiB, GiB or "
                   "TiB, such as 128MiB"));
}

std::string SizeText(uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    const uint64_t size = uint64_t{1} << unit.shift;
    if (bytes % size == 0 && bytes >= size) {
      return absl::StrCat(bytes / size, ToAbsl(unit.name));
    }
  }
  return "0B";
}

}  // namespace keelson::partition
