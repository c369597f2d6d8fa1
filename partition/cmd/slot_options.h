// What verbs about slots have in common: which partitions are slots, which of them is running, and
// the ledger of versions that failed.
#ifndef KEELSON_PARTITION_CMD_SLOT_OPTIONS_H_
#define KEELSON_PARTITION_CMD_SLOT_OPTIONS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "partition/cmd/verbs.h"
#include "partition/slots/slot_disk.h"

namespace keelson::partition {

struct SlotOptions {
  std::string disk;
  std::string type;             // name or GUID; empty: the first kind that the disk has
  std::optional<int> running;   // else by the kernel's command line, on a block device
  std::string failed_versions;  // the ledger's path; empty: none is kept
};

struct OpenSlots {
  std::unique_ptr<BlockDevice> device;
  std::unique_ptr<SlotDisk> disk;  // on it

  [[nodiscard]] const SlotView& view() const { return disk->view(); }
};

void AddSlotOptions(CLI::App& verb, SlotOptions& options);

absl::StatusOr<OpenSlots> OpenSlotsOf(const Context& context, const SlotOptions& options,
                                      bool for_change);

// Says a change and, unless this is a dry run, carries it out. `next`: as in CarryWrites.
absl::Status CarrySlotChange(const Context& context, const SlotOptions& options, OpenSlots& slots,
                             const SlotChange& change, std::optional<int> next = std::nullopt);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_SLOT_OPTIONS_H_
