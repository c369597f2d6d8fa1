// Boot control by the attribute bits of slots in the partition table: priority, tries left,
// successful. The loader (or `slotctl slots next` before a kexec) takes a try there.
//
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

namespace keelson::partition {

// One slot as its table has it.
struct SlotFacts {
  int number = 0;  // of the partition, from 1
  std::string label;
  int priority = 0;  // 0: never boots
  int tries = 0;     // left
  bool successful = false;
  bool running = false;
  bool next = false;
  std::string why;  // why it boots next, or why not
};

// What boot control needs of the slots of a disk. Every call that changes something is one commit
// of the table, which a power cut leaves old or new.
class SlotTableAccess {
 public:
  virtual ~SlotTableAccess() = default;

  // In the order of the table.
  virtual absl::StatusOr<std::vector<SlotFacts>> Read() = 0;
  // The slot boots next, with that many tries (1 to 15).
  virtual absl::Status FinishInstall(int number, int tries) = 0;
  // It boots from now on: greatest priority, no tries, successful.
  virtual absl::Status MarkGood(int number) = 0;
  // It does not boot any more.
  virtual absl::Status MarkBad(int number, const std::string& reason) = 0;
  // Takes a try, as a loader does.
  virtual absl::Status TakeTry(int number) = 0;
  // Priority 0: it may be overwritten.
  virtual absl::Status Empty(int number) = 0;
};

class GptBootControl final : public BootControl {
 public:
  // `slots` must outlive it.
  explicit GptBootControl(SlotTableAccess& slots) : slots_(slots) {}

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
  absl::StatusOr<SlotFacts> Find(const std::string& id);
  // FAILED_PRECONDITION unless another slot than `number` is successful.
  absl::Status CheckAnotherGood(int number);

  SlotTableAccess& slots_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_GPT_BOOT_CONTROL_H_
