// Which sectors to write, in which order, to bring a disk from one partition table to another so
// that a power cut at any moment leaves the old table or the new one. Pure: gpt_disk.h reads and
// writes.
//
// The order (each line is made durable before the next one is started):
//
//   0. make the disk whole: two equal copies, the backup in the last sectors of the disk
//   1. backup entry array    the primary is valid and old
//   2. backup header         both are valid, the primary is old and wins
//   3. primary entry array   the primary is invalid, the backup is new
//   4. primary header        both are valid and new
//
// So at every moment one copy is valid. A header is one sector and its CRC covers the array, so a
// copy that is written in part is not valid. The steps of 0 follow the same order.
//
// Threading: values.
#ifndef KEELSON_PARTITION_GPT_PLAN_H_
#define KEELSON_PARTITION_GPT_PLAN_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/gpt.h"

namespace keelson::partition {

// What was found on a disk.
struct GptReading {
  enum class Source : uint8_t { kPrimary, kBackup };

  Geometry geometry;
  std::string mbr;                   // the first 512 bytes
  GptTable table;                    // of the copy that counts
  Source source = Source::kPrimary;  // the primary unless it is damaged
  bool primary_valid = false;
  bool backup_valid = false;
  bool copies_equal = false;  // both valid and the same
  bool at_end = false;        // the backup's place is the end of the disk as it is now
  std::vector<GptFault> faults;

  // Nothing to repair, nothing to refuse.
  [[nodiscard]] bool sound() const { return faults.empty(); }
};

// One write, which must be durable before the next one in its list starts.
struct DiskWrite {
  uint64_t offset = 0;
  std::string data;
  std::string what;  // "backup entry array"

  friend bool operator==(const DiskWrite&, const DiskWrite&) = default;
};

// The writes that make the disk whole and leave its partitions as they are. Empty for a disk that
// is. DATA_LOSS, naming all faults, if one is not mendable: then nothing may be written.
absl::StatusOr<std::vector<DiskWrite>> PlanRepair(const GptReading& reading);

// The writes that replace the table by `next`, after those of PlanRepair.
//
// `next` is an edited copy of `Relocated(reading.table, reading.geometry)`.
//
// Errors:
//   DATA_LOSS            as PlanRepair.
//   INVALID_ARGUMENT     `next` has faults, all of which the message names, or is not made for this
//                        disk.
absl::StatusOr<std::vector<DiskWrite>> PlanCommit(const GptReading& reading, const GptTable& next);

// The writes that put `table` on a disk whatever it holds. `first_sector` is what is in sector 0
// now; its boot code and disk signature stay. Ends with the protective MBR: until then, what other
// table there was still counts.
// INVALID_ARGUMENT: as PlanCommit.
absl::StatusOr<std::vector<DiskWrite>> PlanCreate(const Geometry& geometry,
                                                  std::string_view first_sector,
                                                  const GptTable& table);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_GPT_PLAN_H_
