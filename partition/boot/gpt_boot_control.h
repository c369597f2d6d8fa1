// Boot control by the attribute bits of slots in the partition table: priority, tries left,
// successful. The loader (or `slotctl slots next` before a kexec) takes a try there.
//
//   KEELSON_ASSIGN_OR_RETURN(SlotDisk slots, SlotDisk::Open(*disk, {.type = CoreOsUsrType()}));
//   GptBootControl control(slots);
//   KEELSON_RETURN_IF_ERROR(control.Commit({.id = "slot-4"}, 3));
//
// A slot's contents are written by the installer, before Commit: an image has an id and nothing
// else. Ids are "slot-" and the number of the partition.
//
// Threading: not thread-safe.
#ifndef KEELSON_PARTITION_BOOT_GPT_BOOT_CONTROL_H_
#define KEELSON_PARTITION_BOOT_GPT_BOOT_CONTROL_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/boot/boot_control.h"
#include "partition/slots/slot_disk.h"

namespace keelson::partition {

class GptBootControl final : public BootControl {
 public:
  // `slots` must outlive it.
  explicit GptBootControl(SlotDisk& slots) : slots_(slots) {}

  // Slots of priority 0 are left out: they hold nothing that boots.
  absl::StatusOr<std::vector<BootCandidate>> Candidates() override;
  absl::StatusOr<std::string> Running() override;
  // Always OK: a slot is there whether it is used or not.
  absl::Status CheckRoom(uint64_t bytes) override;
  // INVALID_ARGUMENT: the id is no slot's, tries are not 1 to 15, or `image` has contents or files.
  absl::Status Commit(const BootImage& image, std::optional<int> tries) override;
  // kIndeterminate is FAILED_PRECONDITION: the bits do not say how it was before.
  absl::Status Mark(const std::string& id, BootVerdict verdict, const std::string& reason) override;
  absl::Status CountTry(const std::string& id) override;
  absl::Status Remove(const std::string& id) override;

 private:
  // The slot of that id.
  absl::StatusOr<Slot> Find(const std::string& id);

  SlotDisk& slots_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_GPT_BOOT_CONTROL_H_
