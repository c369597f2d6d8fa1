#include "partition/slots/slot_disk.h"

#include <utility>

#include "base/status.h"

namespace keelson::partition {

SlotDisk::SlotDisk(BlockDevice& disk, SlotDiskOptions options)
    : disk_(&disk), options_(std::move(options)) {
  view_ = {.type = options_.type,
           .running = options_.running,
           .failed_versions = options_.failed_versions,
           .unix_time = options_.unix_time};
}

absl::StatusOr<SlotDisk> SlotDisk::Open(BlockDevice& disk, SlotDiskOptions options) {
  SlotDisk slots(disk, std::move(options));
  KEELSON_RETURN_IF_ERROR(slots.Read());
  return slots;
}

absl::Status SlotDisk::Read() {
  KEELSON_ASSIGN_OR_RETURN(reading_, ReadGpt(*disk_));
  KEELSON_RETURN_IF_ERROR(PlanRepair(reading_).status());
  KEELSON_ASSIGN_OR_RETURN(view_.table, Relocated(reading_.table, reading_.geometry));
  return absl::OkStatus();
}

absl::StatusOr<SlotChange> SlotDisk::Plan(const SlotInput& input) const {
  KEELSON_ASSIGN_OR_RETURN(SlotStep step, StepSlots(view_, input));
  SlotChange change = {.step = std::move(step)};
  change.ledger_changes = change.step.failed_versions != view_.failed_versions;
  KEELSON_ASSIGN_OR_RETURN(change.writes, PlanCommit(reading_, change.step.table));
  return change;
}

absl::StatusOr<SlotChange> SlotDisk::PlanTable(GptTable next, std::string what) const {
  SlotChange change = {.step = {.failed_versions = view_.failed_versions,
                                .table = std::move(next),
                                .what = std::move(what)}};
  KEELSON_ASSIGN_OR_RETURN(change.writes, PlanCommit(reading_, change.step.table));
  return change;
}

absl::Status SlotDisk::CarryOut(const SlotChange& change, const WriteObserver& observer) {
  if (change.ledger_changes && options_.ledger_fs != nullptr) {
    KEELSON_RETURN_IF_ERROR(
        WriteFailedVersions(*options_.ledger_fs, options_.ledger, change.step.failed_versions));
  }
  KEELSON_RETURN_IF_ERROR(Apply(*disk_, change.writes, observer ? observer : options_.table_write));
  view_.failed_versions = change.step.failed_versions;
  return Read();
}

absl::Status SlotDisk::Take(const SlotInput& input, const WriteObserver& observer) {
  KEELSON_ASSIGN_OR_RETURN(const SlotChange change, Plan(input));
  return CarryOut(change, observer);
}

}  // namespace keelson::partition
