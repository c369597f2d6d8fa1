// show, verify, create, repair, grow, grow-root.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file_system.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "partition/cmd/verbs.h"
#include "partition/gpt_disk.h"
#include "partition/growth/growth.h"
#include "partition/growth/mounted_partition.h"
#include "partition/layout.h"
#include "partition/partition_types.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

// A layout is a small text.
constexpr uint64_t kLayoutBytesMax = uint64_t{1} << 20;

const char* FaultPlace(GptFault::Where where) {
  switch (where) {
    case GptFault::Where::kMbr:
      return "mbr";
    case GptFault::Where::kPrimary:
      return "primary";
    case GptFault::Where::kBackup:
      return "backup";
    case GptFault::Where::kPartition:
      return "partition";
  }
  return "unknown";
}

Json ToJson(const std::vector<GptFault>& faults) {
  Json out = Json::array();
  for (const GptFault& fault : faults) {
    Json item = {{"where", FaultPlace(fault.where)}};
    if (fault.partition != 0) item["partition"] = fault.partition;
    item.update(
        {{"offset", fault.offset}, {"mendable", fault.mendable}, {"message", fault.message}});
    out.push_back(std::move(item));
  }
  return out;
}

Json ToJson(const GptTable& table, uint32_t sector_bytes) {
  Json out = Json::array();
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const GptEntry& entry = table.entries[i];
    if (!entry.used()) continue;
    out.push_back({{"number", i + 1},
                   {"label", NameOf(entry)},
                   {"type", PartitionTypeName(entry.type)},
                   {"type_guid", ToString(entry.type)},
                   {"guid", ToString(entry.unique)},
                   {"first_lba", entry.first_lba},
                   {"last_lba", entry.last_lba},
                   {"offset", entry.first_lba * sector_bytes},
                   {"bytes", entry.sectors() * sector_bytes},
                   {"attributes", absl::StrFormat("0x%016x", entry.attributes)}});
  }
  return out;
}

Json ToJson(const std::string& name, const GptReading& reading) {
  const Geometry& geometry = reading.geometry;
  return {{"disk", name},
          {"bytes", geometry.bytes()},
          {"sector_bytes", geometry.sector_bytes},
          {"disk_guid", ToString(reading.table.disk_guid)},
          {"first_usable_lba", reading.table.first_usable_lba},
          {"last_usable_lba", reading.table.last_usable_lba},
          {"sound", reading.sound()},
          {"faults", ToJson(reading.faults)},
          {"partitions", ToJson(reading.table, geometry.sector_bytes)}};
}

void PrintFaults(const std::vector<GptFault>& faults) {
  for (const GptFault& fault : faults) {
    absl::PrintF("%s: %s\n", fault.mendable ? "fault" : "fatal fault", fault.message);
  }
}

// Control characters of a name would reach the terminal.
std::string Printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

void PrintTable(const std::string& name, const GptReading& reading) {
  const uint32_t sector_bytes = reading.geometry.sector_bytes;
  absl::PrintF("'%s': %d bytes, sectors of %d bytes, GUID %s\n", name, reading.geometry.bytes(),
               sector_bytes, ToString(reading.table.disk_guid));
  absl::PrintF("usable sectors [%d, %d], table from the %s copy\n", reading.table.first_usable_lba,
               reading.table.last_usable_lba,
               reading.source == GptReading::Source::kPrimary ? "primary" : "backup");
  absl::PrintF("%3s  %-16s  %-16s  %12s  %12s  %-36s  %s\n", "", "LABEL", "TYPE", "FIRST SECTOR",
               "SIZE", "GUID", "ATTRIBUTES");
  for (size_t i = 0; i < reading.table.entries.size(); ++i) {
    const GptEntry& entry = reading.table.entries[i];
    if (!entry.used()) continue;
    absl::PrintF("%3d  %-16s  %-16s  %12d  %12s  %s  %s\n", i + 1, Printable(NameOf(entry)),
                 PartitionTypeName(entry.type), entry.first_lba,
                 SizeText(entry.sectors() * sector_bytes), ToString(entry.unique),
                 AttributesText(entry.attributes));
  }
  PrintFaults(reading.faults);
}

absl::StatusOr<ExitCode> Show(const Context& context, const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const auto disk, context.OpenForReading(path));
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*disk));
  if (context.json()) {
    std::printf("%s\n",
                ToJson(path, reading).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    PrintTable(path, reading);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Verify(const Context& context, const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const auto disk, context.OpenForReading(path));
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*disk));
  const auto partitions = std::count_if(reading.table.entries.begin(), reading.table.entries.end(),
                                        [](const GptEntry& entry) { return entry.used(); });
  if (context.json()) {
    const Json answer = {{"disk", path},
                         {"sound", reading.sound()},
                         {"partitions", partitions},
                         {"faults", ToJson(reading.faults)}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else if (reading.sound()) {
    absl::PrintF("'%s' is sound: %d partitions\n", path, partitions);
  } else {
    PrintFaults(reading.faults);
    const bool mendable = PlanRepair(reading).ok();
    absl::PrintF("'%s' is not sound; %s\n", path,
                 mendable ? "`slotctl repair` mends it" : "nothing will be written to it");
  }
  return reading.sound() ? ExitCode::kDone : ExitCode::kFailed;
}

absl::StatusOr<ExitCode> Repair(const Context& context, const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const auto disk, context.OpenForChange(path));
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*disk));
  KEELSON_ASSIGN_OR_RETURN(const auto writes, PlanRepair(reading));
  if (!context.json()) PrintFaults(reading.faults);
  KEELSON_RETURN_IF_ERROR(Carry(context, *disk, writes));
  return ExitCode::kDone;
}

struct GrowOptions {
  std::string path;
  int number = 0;
  std::string size;
  std::string mount;
};

// What a growth with the file system would do; writes nothing.
absl::StatusOr<ExitCode> DryGrowMounted(const Context& context, const GrowOptions& options,
                                        BlockDevice& disk) {
  KEELSON_ASSIGN_OR_RETURN(const PlannedGrowth planned, PlanGrowth(disk, {options.number}));
  KEELSON_ASSIGN_OR_RETURN(const MountedFileSystem mounted,
                           RealGrowthSystem().LookAt(options.mount));
  if (!context.json()) {
    absl::FPrintF(stderr, "would grow %s at '%s': %s, on a partition of %s\n",
                  std::string(FileSystemKindName(mounted.kind)), options.mount,
                  SizeText(mounted.bytes), SizeText(planned.bytes));
  }
  KEELSON_RETURN_IF_ERROR(Carry(context, disk, planned.writes));
  return ExitCode::kDone;
}

// With the file system that is mounted from it, so the disk is in use.
absl::StatusOr<ExitCode> GrowMounted(const Context& context, const GrowOptions& options) {
  if (!options.size.empty()) {
    return absl::InvalidArgumentError("--mount: the file system takes all; not with --size");
  }
  KEELSON_ASSIGN_OR_RETURN(const auto disk, context.OpenForChange(options.path, true));
  if (context.dry_run) return DryGrowMounted(context, options, *disk);
  const auto say = [&](const DiskWrite& write) {
    if (context.json()) return;
    absl::FPrintF(stderr, "writing '%s': %s, %d bytes at byte %d\n", disk->name(), write.what,
                  write.data.size(), write.offset);
  };
  KEELSON_ASSIGN_OR_RETURN(
      const Growth growth,
      Grow(*disk, {.partition = options.number, .mount = options.mount}, RealGrowthSystem(), say));
  const Json answer = {{"disk", options.path},
                       {"partition", options.number},
                       {"partition_bytes_before", growth.partition_bytes_before},
                       {"partition_bytes", growth.partition_bytes},
                       {"file_system_bytes_before", growth.file_system_bytes_before.value_or(0)},
                       {"file_system_bytes", growth.file_system_bytes.value_or(0)}};
  if (context.json()) {
    std::printf("%s\n", answer.dump(2).c_str());
  } else {
    absl::PrintF("partition %d: %s, was %s; file system: %s, was %s\n", options.number,
                 SizeText(growth.partition_bytes), SizeText(growth.partition_bytes_before),
                 SizeText(growth.file_system_bytes.value_or(0)),
                 SizeText(growth.file_system_bytes_before.value_or(0)));
  }
  return ExitCode::kDone;
}

// The partition that is mounted as the root, whichever that is.
absl::StatusOr<ExitCode> GrowRoot(const Context& context, const GrowOptions& given) {
  GrowOptions options = given;
  KEELSON_ASSIGN_OR_RETURN(const MountedPartition root, FindMountedPartition(options.mount));
  options.path = root.disk;
  options.number = root.number;
  return GrowMounted(context, options);
}

absl::StatusOr<ExitCode> Grow(const Context& context, const GrowOptions& options) {
  if (!options.mount.empty()) return GrowMounted(context, options);
  KEELSON_ASSIGN_OR_RETURN(const auto disk, context.OpenForChange(options.path));
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*disk));
  // Before anything that only a sound table can answer.
  KEELSON_RETURN_IF_ERROR(PlanRepair(reading));
  KEELSON_ASSIGN_OR_RETURN(GptTable next, Relocated(reading.table, reading.geometry));
  std::optional<uint64_t> sectors;
  if (!options.size.empty()) {
    KEELSON_ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(options.size));
    sectors = (bytes + reading.geometry.sector_bytes - 1) / reading.geometry.sector_bytes;
  }
  KEELSON_ASSIGN_OR_RETURN(const uint64_t grown, GrowPartition(next, options.number, sectors));
  KEELSON_ASSIGN_OR_RETURN(const auto writes, PlanCommit(reading, next));
  if (!context.json()) {
    absl::FPrintF(stderr, "partition %d: %s, was %s\n", options.number,
                  SizeText(grown * reading.geometry.sector_bytes),
                  SizeText(reading.table.entries[options.number - 1].sectors() *
                           reading.geometry.sector_bytes));
  }
  KEELSON_RETURN_IF_ERROR(Carry(context, *disk, writes));
  if (!context.dry_run) KEELSON_RETURN_IF_ERROR(disk->RereadPartitions());
  return ExitCode::kDone;
}

struct CreateOptions {
  std::string path;
  std::string layout;
  std::string size;
  bool force = false;
};

// Makes a sparse file. ALREADY_EXISTS if there is one.
absl::Status MakeFile(const std::string& path, uint64_t bytes) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd.ok() || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("make '", path, "'"));
  }
  return absl::OkStatus();
}

// Nothing that could be a partition table or a file system may be in the first MiB.
absl::Status CheckEmpty(const BlockDevice& disk) {
  std::string start(std::min<uint64_t>(disk.geometry().bytes(), uint64_t{1} << 20), '\0');
  KEELSON_RETURN_IF_ERROR(disk.Read(0, {start.data(), start.size()}));
  const size_t found = start.find_first_not_of('\0');
  if (found == std::string::npos) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "'", disk.name(), "' is not empty: expected zeros in its first MiB, found data at byte ",
      found, "; --force overwrites it"));
}

// Where the table goes when the disk has not been made yet.
absl::StatusOr<Geometry> GeometryOf(const Context& context, uint64_t bytes) {
  const uint32_t sector_bytes = context.sector_bytes == 0 ? 512 : context.sector_bytes;
  if (sector_bytes != 512 && sector_bytes != 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("--sector-size: expected 512 or 4096, found ", sector_bytes));
  }
  return Geometry{.sector_bytes = sector_bytes, .sectors = bytes / sector_bytes};
}

absl::StatusOr<ExitCode> Create(const Context& context, const CreateOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(RealFileSystem(), options.layout, kLayoutBytesMax));
  absl::StatusOr<Layout> layout = ParseLayout(text);
  if (!layout.ok()) return Annotate(layout.status(), absl::StrCat("'", options.layout, "'"));
  std::optional<uint64_t> make_bytes;
  if (!options.size.empty()) {
    KEELSON_ASSIGN_OR_RETURN(make_bytes, ParseSize(options.size));
  } else {
    KEELSON_ASSIGN_OR_RETURN(const bool exists, RealFileSystem().Exists(options.path));
    if (!exists) make_bytes = layout->disk_bytes;
  }
  if (make_bytes.has_value()) {
    const uint64_t bytes = *make_bytes;
    KEELSON_ASSIGN_OR_RETURN(const Geometry geometry, GeometryOf(context, bytes));
    KEELSON_ASSIGN_OR_RETURN(const GptTable table, MakeTable(*layout, geometry, RandomGuid));
    if (context.dry_run) {
      if (!context.json()) {
        absl::FPrintF(stderr, "would make '%s': %d bytes\n", options.path, bytes);
      }
      KEELSON_ASSIGN_OR_RETURN(
          const auto writes, PlanCreate(geometry, std::string(geometry.sector_bytes, '\0'), table));
      KEELSON_RETURN_IF_ERROR(CarryWrites(context, options.path, writes, nullptr));
      return ExitCode::kDone;
    }
    KEELSON_RETURN_IF_ERROR(MakeFile(options.path, bytes));
  }
  KEELSON_ASSIGN_OR_RETURN(const auto disk, context.OpenForChange(options.path));
  if (!options.force) KEELSON_RETURN_IF_ERROR(CheckEmpty(*disk));
  const Geometry geometry = disk->geometry();
  KEELSON_ASSIGN_OR_RETURN(const GptTable table, MakeTable(*layout, geometry, RandomGuid));
  std::string first_sector(geometry.sector_bytes, '\0');
  KEELSON_RETURN_IF_ERROR(disk->Read(0, {first_sector.data(), first_sector.size()}));
  KEELSON_ASSIGN_OR_RETURN(const auto writes, PlanCreate(geometry, first_sector, table));
  KEELSON_RETURN_IF_ERROR(Carry(context, *disk, writes));
  if (!context.dry_run) KEELSON_RETURN_IF_ERROR(disk->RereadPartitions());
  return ExitCode::kDone;
}

}  // namespace

void AddTableVerbs(CLI::App& app, Context& context) {
  const auto path = std::make_shared<std::string>();
  const auto add = [&](const char* name, const char* help, auto action) {
    CLI::App* verb = app.add_subcommand(name, help);
    verb->add_option("DISK", *path, "Block device, or a file that holds an image.")->required();
    verb->callback([&context, path, action] {
      context.run = [&context, path, action] { return action(context, *path); };
    });
  };
  add("show", "Print the partition table and all that is wrong with it.", Show);
  add("verify", "Check both copies, the protective MBR and every partition; exit 1 on a fault.",
      Verify);
  add("repair",
      "Make both copies equal, with the backup at the end of the disk. Partitions stay as they "
      "are. A table that contradicts itself is left alone.",
      Repair);

  const auto create = std::make_shared<CreateOptions>();
  CLI::App* verb = app.add_subcommand(
      "create", "Put the partitions of a layout file on a disk (form: partition/layout.h).");
  verb->add_option("DISK", create->path, "Block device or file.")->required();
  verb->add_option("--layout", create->layout, "The layout file.")->required();
  verb->add_option(
      "--size", create->size,
      "Make DISK, a sparse file of this size: 10GiB. Default where there is none: the layout's.");
  verb->add_flag("--force", create->force, "Also on a disk that is not empty.");
  verb->callback([&context, create] {
    context.run = [&context, create] { return Create(context, *create); };
  });

  const auto grow = std::make_shared<GrowOptions>();
  verb = app.add_subcommand("grow",
                            "Let a partition grow into the free space behind it, with --mount the "
                            "file system in it too.");
  verb->add_option("DISK", grow->path, "Block device or file.")->required();
  verb->add_option("NUMBER", grow->number, "Partition number, from 1.")->required();
  verb->add_option("--size", grow->size, "New size; default: as far as it can.");
  verb->add_option("--mount", grow->mount,
                   "Where its file system (ext4, btrfs or xfs) is mounted: grows too.");
  verb->callback(
      [&context, grow] { context.run = [&context, grow] { return Grow(context, *grow); }; });

  const auto root = std::make_shared<GrowOptions>();
  root->mount = "/";
  verb = app.add_subcommand("grow-root",
                            "Let the partition that is mounted as the root grow, and its file "
                            "system too. To be called at each start.");
  verb->add_option("--mount", root->mount, "Another place than /.");
  verb->callback(
      [&context, root] { context.run = [&context, root] { return GrowRoot(context, *root); }; });
}

}  // namespace keelson::partition
