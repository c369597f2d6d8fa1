// What verbs about slots have in common: which partitions are slots, which of them is running, and
// the ledger of versions that failed.
#ifndef KEELSON_PARTITION_CMD_SLOT_OPTIONS_H_
#define KEELSON_PARTITION_CMD_SLOT_OPTIONS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "partition/cmd/verbs.h"
#include "partition/gpt_plan.h"
#include "partition/slots/slot_manager.h"

namespace keelson::partition {

struct SlotOptions {
  std::string disk;
  std::string type;             // name or GUID; empty: the first kind that the disk has
  std::optional<int> running;   // else by the kernel's command line, on a block device
  std::string failed_versions;  // the ledger's path; empty: none is kept
};

struct OpenSlots {
  std::unique_ptr<BlockDevice> disk;
  GptReading reading;
  SlotView view;  // its table is placed for the disk as it is now
};

void AddSlotOptions(CLI::App& verb, SlotOptions& options);

absl::StatusOr<OpenSlots> OpenSlotsOf(const Context& context, const SlotOptions& options,
                                      bool for_change);

// Takes a step: says it, makes the ledger durable, then commits the table.
absl::Status CarrySlotStep(const Context& context, const SlotOptions& options, OpenSlots& slots,
                           const SlotInput& input);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_SLOT_OPTIONS_H_
