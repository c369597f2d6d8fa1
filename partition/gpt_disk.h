// Partition tables on a disk: reads them, and carries out the plans of gpt_plan.h.
//
//   KEELSON_ASSIGN_OR_RETURN(const auto disk, OpenBlockDevice(path, {.write = true}));
//   KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*disk));
//   KEELSON_ASSIGN_OR_RETURN(GptTable next, Relocated(reading.table, reading.geometry));
//   next.entries[2].attributes |= ...;
//   KEELSON_ASSIGN_OR_RETURN(const auto writes, PlanCommit(reading, next));
//   KEELSON_RETURN_IF_ERROR(Apply(*disk, writes));
#ifndef KEELSON_PARTITION_GPT_DISK_H_
#define KEELSON_PARTITION_GPT_DISK_H_

#include <functional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/gpt_plan.h"

namespace keelson::partition {

// Reads both copies and says all that is wrong. The primary counts if it is valid, else the backup.
// The backup is looked for where the primary says, else at the end of the disk, else where the disk
// ended when the protective MBR was made. Writes nothing.
//
// A copy that cannot be read (a bad sector) is a damaged one.
//
// Errors:
//   NOT_FOUND   neither copy has a signature: there is no table.
//   DATA_LOSS   both are damaged; the message says how.
//   OUT_OF_RANGE  the disk has no room for a table.
absl::StatusOr<GptReading> ReadGpt(const BlockDevice& disk);

// Told of each write before it happens.
using WriteObserver = std::function<void(const DiskWrite&)>;

// Does all `writes` in order, each durable before the next. On an error the disk is as after a
// power cut; read it anew.
absl::Status Apply(BlockDevice& disk, std::span<const DiskWrite> writes,
                   const WriteObserver& observer = nullptr);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_GPT_DISK_H_
