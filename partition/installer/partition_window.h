// A partition as a device of its own.
#ifndef KEELSON_PARTITION_INSTALLER_PARTITION_WINDOW_H_
#define KEELSON_PARTITION_INSTALLER_PARTITION_WINDOW_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/gpt.h"

namespace keelson::partition {

// `disk` outlives it.
class PartitionWindow final : public BlockDevice {
 public:
  // NOT_FOUND: `table` has no partition `number`, or it does not lie on the disk.
  static absl::StatusOr<PartitionWindow> Open(BlockDevice& disk, const GptTable& table, int number);

  // "disk.img, partition 4"
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Geometry geometry() const override { return geometry_; }
  absl::Status Read(uint64_t offset, std::span<char> buffer) const override;
  absl::Status Write(uint64_t offset, std::string_view data) override;
  absl::Status Flush() override { return disk_->Flush(); }
  void ForgetCache() const override { disk_->ForgetCache(); }
  absl::Status RereadPartitions() override { return absl::OkStatus(); }

 private:
  PartitionWindow(BlockDevice& disk, std::string name, uint64_t start, const Geometry& geometry)
      : disk_(&disk), name_(std::move(name)), start_(start), geometry_(geometry) {}

  [[nodiscard]] absl::Status CheckRange(uint64_t offset, size_t size) const;

  BlockDevice* disk_;  // not owned
  std::string name_;
  uint64_t start_;  // in bytes
  Geometry geometry_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_PARTITION_WINDOW_H_
