// The slots of a disk: reads them, and carries out the steps of slot_manager.h. The one way in
// which slots change: slotctl, the installer and boot control all come through here.
//
//   KEELSON_ASSIGN_OR_RETURN(SlotDisk slots, SlotDisk::Open(*disk, {.type = CoreOsUsrType()}));
//   KEELSON_RETURN_IF_ERROR(slots.Take(MarkGood{.slot = 4}));
//
// A step is made durable in two parts: first the ledger of failed versions, then one commit of the
// table. A power cut between them leaves a version on the ledger that is tried once more, never a
// failed one that is forgotten.
//
// Threading: not thread-safe.
#ifndef KEELSON_PARTITION_SLOTS_SLOT_DISK_H_
#define KEELSON_PARTITION_SLOTS_SLOT_DISK_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "partition/block_device.h"
#include "partition/gpt_disk.h"
#include "partition/slots/failed_versions.h"
#include "partition/slots/slot_manager.h"

namespace keelson::partition {

struct SlotDiskOptions {
  Guid type;                        // of the slots
  std::optional<int> running;       // the slot that this system booted from
  FailedVersions failed_versions;   // of which it is known when the disk is opened
  FileSystem* ledger_fs = nullptr;  // null: what is learned of failed versions is not kept
  std::string ledger;               // path, see WriteFailedVersions
  int64_t unix_time = 0;            // for records of the ledger
  WriteObserver table_write;        // of each commit that brings no observer of its own
};

// What a step will change. `writes` may be empty.
struct SlotChange {
  SlotStep step;
  bool ledger_changes = false;
  std::vector<DiskWrite> writes;
};

class SlotDisk {
 public:
  // Reads the table. `disk` must outlive this.
  // Errors: as ReadGpt; DATA_LOSS: the table contradicts itself, and nothing will be written.
  static absl::StatusOr<SlotDisk> Open(BlockDevice& disk, SlotDiskOptions options);

  // As the disk and the ledger were when last read; the table is placed for the disk as it is now.
  [[nodiscard]] const SlotView& view() const { return view_; }
  [[nodiscard]] const GptReading& reading() const { return reading_; }
  [[nodiscard]] BlockDevice& disk() const { return *disk_; }

  // What `input` would change; writes nothing. Errors: as StepSlots and PlanCommit.
  [[nodiscard]] absl::StatusOr<SlotChange> Plan(const SlotInput& input) const;
  // The same for an edited copy of view().table.
  [[nodiscard]] absl::StatusOr<SlotChange> PlanTable(GptTable next, std::string what) const;

  // Makes a change that was planned on what view() is now. Durable when OK. On an error the disk is
  // as after a power cut; open it anew.
  absl::Status CarryOut(const SlotChange& change, const WriteObserver& observer = nullptr);

  // Plan and CarryOut.
  absl::Status Take(const SlotInput& input, const WriteObserver& observer = nullptr);

 private:
  SlotDisk(BlockDevice& disk, SlotDiskOptions options);
  absl::Status Read();

  BlockDevice* disk_;
  SlotDiskOptions options_;
  GptReading reading_;
  SlotView view_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_SLOTS_SLOT_DISK_H_
