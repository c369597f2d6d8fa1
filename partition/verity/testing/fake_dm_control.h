// The kernel's device mapper in memory: keeps devices and tables, and answers as the kernel does.
#ifndef KEELSON_PARTITION_VERITY_TESTING_FAKE_DM_CONTROL_H_
#define KEELSON_PARTITION_VERITY_TESTING_FAKE_DM_CONTROL_H_

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "partition/verity/device_mapper.h"

namespace keelson::partition {

class FakeDmControl final : public DmControl {
 public:
  struct Device {
    std::string uuid;
    uint32_t minor = 0;
    int open_count = 0;
    bool read_only = false;
    bool resumed = false;
    std::vector<DmTarget> loaded;
    std::vector<DmTarget> active;
    bool deferred_remove = false;
    std::string status = "V";
  };

  int Call(unsigned long request, std::span<char> buffer) override;
  absl::Status AddNode(const std::string& name, uint32_t major, uint32_t minor) override;
  absl::Status RemoveNode(const std::string& name) override;

  std::map<std::string, Device>& devices() { return devices_; }
  [[nodiscard]] const std::set<std::string>& nodes() const { return nodes_; }
  // Every request, and the buffer as it came.
  [[nodiscard]] const std::vector<std::pair<unsigned long, std::string>>& requests() const {
    return requests_;
  }

  // The call number `index` from now on, 0 being the next, gives `error`.
  void FailCall(size_t index, int error) { failures_[requests_.size() + index] = error; }

 private:
  int Create(std::span<char> buffer);
  int TableStatus(const Device& device, std::span<char> buffer);

  std::map<std::string, Device> devices_;
  std::set<std::string> nodes_;
  std::vector<std::pair<unsigned long, std::string>> requests_;
  std::map<size_t, int> failures_;
  uint32_t next_minor_ = 0;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_TESTING_FAKE_DM_CONTROL_H_
