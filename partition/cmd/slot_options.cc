#include "partition/cmd/slot_options.h"

#include <CLI/CLI.hpp>

#include <sys/stat.h>

#include <array>
#include <cstdio>

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
  verb.add_option("disk", options.disk)->required();
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
  KEELSON_ASSIGN_OR_RETURN(slots.disk, for_change ? context.OpenForChange(options.disk)
                                                  : context.OpenForReading(options.disk));
  KEELSON_ASSIGN_OR_RETURN(slots.reading, ReadGpt(*slots.disk));
  if (for_change) KEELSON_RETURN_IF_ERROR(PlanRepair(slots.reading).status());
  SlotView& view = slots.view;
  view.table = slots.reading.table;
  if (for_change) {
    KEELSON_ASSIGN_OR_RETURN(view.table, Relocated(view.table, slots.reading.geometry));
  }
  KEELSON_ASSIGN_OR_RETURN(view.type, TypeOf(options, view.table));
  view.unix_time = absl::ToUnixSeconds(absl::Now());
  if (options.running.has_value()) {
    KEELSON_RETURN_IF_ERROR(
        Annotate(FindSlot(view.table, view.type, *options.running).status(), "--running"));
    view.running = options.running;
  } else if (IsBlockDevice(options.disk)) {
    KEELSON_ASSIGN_OR_RETURN(const std::string line,
                             ReadFile(RealFileSystem(), kCommandLine, kCommandLineBytesMax));
    view.running = RunningSlot(view.table, view.type, line);
  }
  if (!options.failed_versions.empty()) {
    KEELSON_ASSIGN_OR_RETURN(view.failed_versions,
                             ReadFailedVersions(RealFileSystem(), options.failed_versions));
  }
  return slots;
}

absl::Status CarrySlotStep(const Context& context, const SlotOptions& options, OpenSlots& slots,
                           const SlotInput& input) {
  KEELSON_ASSIGN_OR_RETURN(const SlotStep step, StepSlots(slots.view, input));
  KEELSON_ASSIGN_OR_RETURN(const auto writes, PlanCommit(slots.reading, step.table));
  if (!context.json()) {
    absl::FPrintF(stderr, "'%s': %s%s\n", options.disk, context.dry_run ? "would be: " : "",
                  step.what);
  }
  if (step.failed_versions != slots.view.failed_versions && !options.failed_versions.empty()) {
    if (!context.json()) {
      absl::FPrintF(stderr, "%s '%s'\n", context.dry_run ? "would write" : "writing",
                    options.failed_versions);
    }
    if (!context.dry_run) {
      KEELSON_RETURN_IF_ERROR(
          WriteFailedVersions(RealFileSystem(), options.failed_versions, step.failed_versions));
    }
  }
  return Carry(context, *slots.disk, writes);
}

}  // namespace keelson::partition
