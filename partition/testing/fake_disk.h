// A disk in memory that remembers what was written, fails on demand, and shows every state that a
// power cut can leave.
//
//   FakeDisk disk({.sector_bytes = 512, .sectors = 200});
//   const std::string before = disk.image();
//   disk.ForgetHistory();
//   Update(disk);
//   ForEachPowerCut(before, disk, [](FakeDisk& after_cut, const std::string& when) { ... });
#ifndef KEELSON_PARTITION_TESTING_FAKE_DISK_H_
#define KEELSON_PARTITION_TESTING_FAKE_DISK_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "partition/block_device.h"

namespace keelson::partition {

class FakeDisk final : public BlockDevice {
 public:
  struct Event {
    bool is_flush = false;
    uint64_t offset = 0;  // of a write, which covers whole sectors
    std::string data;
  };

  explicit FakeDisk(const Geometry& geometry, std::string name = "fake");

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Geometry geometry() const override { return geometry_; }
  absl::Status Read(uint64_t offset, std::span<char> buffer) const override;
  absl::Status Write(uint64_t offset, std::string_view data) override;
  absl::Status Flush() override;
  absl::Status RereadPartitions() override { return absl::OkStatus(); }

  // What is on it now; changed directly to damage it.
  std::string& image() { return image_; }
  [[nodiscard]] const std::string& image() const { return image_; }

  // Cuts or extends it by zeros.
  void Resize(uint64_t sectors);

  // Reads that touch the sector at `lba` fail with UNKNOWN from now on.
  void BreakSector(uint64_t lba) { broken_.push_back(lba); }
  // The write or flush after `count` more of them fails with UNKNOWN, and all later ones.
  void FailAfter(uint64_t count) { left_ = count; }

  [[nodiscard]] const std::vector<Event>& history() const { return history_; }
  void ForgetHistory() { history_.clear(); }

 private:
  absl::Status Spend();

  std::string name_;
  Geometry geometry_;
  std::string image_;
  std::vector<uint64_t> broken_;
  uint64_t left_ = UINT64_MAX;
  std::vector<Event> history_;
};

// Calls `visit` with every state that a power cut during the history of `written` can leave,
// starting from `before`, as far as one sector at a time can tell. For each write between two
// flushes: every number of its sectors from the start; all of them but one; one of them alone; and
// each one torn in the middle, behind those before it. `when` names the moment. Returns how many.
uint64_t ForEachPowerCut(const std::string& before, const FakeDisk& written,
                         const std::function<void(FakeDisk&, const std::string& when)>& visit);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TESTING_FAKE_DISK_H_
