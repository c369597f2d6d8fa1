// A device whose writes stay in memory: shows what a change would do.
#ifndef KEELSON_PARTITION_VERITY_COPY_ON_WRITE_H_
#define KEELSON_PARTITION_VERITY_COPY_ON_WRITE_H_

#include <cstdint>
#include <map>
#include <string>

#include "partition/block_device.h"

namespace keelson::partition {

// Reads of the parts that were written come from memory, all others from `under`, which is never
// written and must outlive this. Each write must cover what an earlier one at the same offset
// covered, and none may overlap another in part: as where blocks are replaced one by one.
class CopyOnWriteDevice final : public BlockDevice {
 public:
  explicit CopyOnWriteDevice(const BlockDevice& under) : under_(under) {}

  [[nodiscard]] const std::string& name() const override { return under_.name(); }
  [[nodiscard]] Geometry geometry() const override { return under_.geometry(); }
  absl::Status Read(uint64_t offset, std::span<char> buffer) const override;
  absl::Status Write(uint64_t offset, std::string_view data) override;
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::Status RereadPartitions() override { return absl::OkStatus(); }

 private:
  const BlockDevice& under_;
  std::map<uint64_t, std::string> written_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_COPY_ON_WRITE_H_
