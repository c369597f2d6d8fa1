#include "partition/cmd/slot_options.h"

#include <CLI/CLI.hpp>

#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/gpt_disk.h"
#include "partition/partition_types.h"
#include "partition/slots/running_slot.h"

namespace keelson::partition {
namespace {

constexpr const char kCommandLine[] = "/proc/cmdline";
constexpr uint64_t kCommandLineBytesMax = 64 * 1024;
// Kinds of partitions that are slots, in the order in which they are looked for.
constexpr std::array<const char*, 3> kSlotTypes = {"coreos-usr", "chromeos-kernel", "usr"};

absl::StatusOr<Guid> TypeOf(const SlotOptions& options, const GptTable& table) {
  if (!options.type.empty()) return ParsePartitionType(options.type);
  for (const char* name : kSlotTypes) {
    KEELSON_ASSIGN_OR_RETURN(const Guid type, ParsePartitionType(name));
    if (!SlotsOf(table, type).empty()) return type;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("'", options.disk, "' has no slots; --type says which partitions are"));
}

bool IsBlockDevice(const std::string& path) {
  struct stat info = {};
  return ::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode);
}

}  // namespace

void AddSlotOptions(CLI::App& verb, SlotOptions& options) {
  verb.add_option("DISK", options.disk, "Block device, or a file that holds an image.")->required();
  verb.add_option("--type", options.type,
                  "Partitions that are slots. Default: coreos-usr, chromeos-kernel or usr.");
  verb.add_option("--running", options.running,
                  "The slot that this system booted from. Default: by the kernel's command line.");
  verb.add_option("--failed-versions", options.failed_versions,
                  "File with the versions that failed here.");
}

absl::StatusOr<OpenSlots> OpenSlotsOf(const Context& context, const SlotOptions& options,
                                      bool for_change) {
  OpenSlots slots;
  // The running system is mounted from it.
  KEELSON_ASSIGN_OR_RETURN(slots.device, for_change ? context.OpenForChange(options.disk, true)
                                                    : context.OpenForReading(options.disk));
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*slots.device));
  SlotDiskOptions disk = {.unix_time = absl::ToUnixSeconds(absl::Now())};
  disk.table_write = [path = options.disk, quiet = context.json()](const DiskWrite& write) {
    if (quiet) return;
    absl::FPrintF(stderr, "writing '%s': %s, %d bytes at byte %d\n", path, write.what,
                  write.data.size(), write.offset);
  };
  KEELSON_ASSIGN_OR_RETURN(disk.type, TypeOf(options, reading.table));
  if (options.running.has_value()) {
    KEELSON_RETURN_IF_ERROR(
        Annotate(FindSlot(reading.table, disk.type, *options.running).status(), "--running"));
    disk.running = options.running;
  } else if (IsBlockDevice(options.disk)) {
    KEELSON_ASSIGN_OR_RETURN(const std::string line,
                             ReadFile(RealFileSystem(), kCommandLine, kCommandLineBytesMax));
    disk.running = RunningSlot(reading.table, disk.type, line);
  }
  if (!options.failed_versions.empty()) {
    KEELSON_ASSIGN_OR_RETURN(disk.failed_versions,
                             ReadFailedVersions(RealFileSystem(), options.failed_versions));
    disk.ledger_fs = &RealFileSystem();
    disk.ledger = options.failed_versions;
  }
  KEELSON_ASSIGN_OR_RETURN(SlotDisk open, SlotDisk::Open(*slots.device, std::move(disk)));
  slots.disk = std::make_unique<SlotDisk>(std::move(open));
  return slots;
}

absl::Status CarrySlotChange(const Context& context, const SlotOptions& options, OpenSlots& slots,
                             const SlotChange& change, std::optional<int> next) {
  const bool ledger = change.ledger_changes && !options.failed_versions.empty();
  if (!context.json() && !change.step.what.empty()) {
    absl::FPrintF(stderr, "'%s': %s%s\n", options.disk, context.dry_run ? "would be: " : "",
                  change.step.what);
  }
  if (!context.json() && ledger) {
    absl::FPrintF(stderr, "%s '%s'\n", context.dry_run ? "would write" : "writing",
                  options.failed_versions);
  }
  return CarryWrites(
      context, options.disk, change.writes,
      [&](const WriteObserver& say) { return slots.disk->CarryOut(change, say); }, next);
}

}  // namespace keelson::partition
