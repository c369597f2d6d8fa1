// Devices of the kernel's device mapper, by its own interface.
//
//   KEELSON_ASSIGN_OR_RETURN(const auto control, OpenDmControl());
//   DeviceMapper mapper(*control);
//   KEELSON_ASSIGN_OR_RETURN(const DmDevice usr, mapper.Create("usr", uuid, {target}));
//
// A device is made, gets its table and is resumed; if one of these fails, nothing is left of it.
// Nothing is read from the devices below: for dm-verity, read what you need before you trust it.
// Source: linux/dm-ioctl.h, version 4.0 of the interface.
#ifndef KEELSON_PARTITION_VERITY_DEVICE_MAPPER_H_
#define KEELSON_PARTITION_VERITY_DEVICE_MAPPER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::partition {

// The file /dev/mapper/control. Thread-safe.
class DmControl {
 public:
  virtual ~DmControl() = default;

  // One ioctl on `buffer`, which starts with a struct dm_ioctl and is answered in place.
  // Returns 0 or an errno.
  virtual int Call(unsigned long request, std::span<char> buffer) = 0;

  // Makes /dev/mapper/NAME stand for the device, unless udev does so. And removes it.
  virtual absl::Status AddNode(const std::string& name, uint32_t major, uint32_t minor) = 0;
  virtual absl::Status RemoveNode(const std::string& name) = 0;
};

// UNAVAILABLE: this kernel has no device mapper. PERMISSION_DENIED: needs root.
absl::StatusOr<std::unique_ptr<DmControl>> OpenDmControl();

struct DmTarget {
  uint64_t first_sector = 0;  // of 512 bytes, as everywhere here
  uint64_t sectors = 0;
  std::string type;        // "verity"
  std::string parameters;  // or, in a status, what the target says
};

struct DmDevice {
  std::string name;
  std::string uuid;
  uint32_t major = 0;
  uint32_t minor = 0;
  int open_count = 0;
  bool read_only = false;
  bool suspended = false;
  bool has_table = false;
};

class DeviceMapper {
 public:
  // `control` outlives this.
  explicit DeviceMapper(DmControl& control) : control_(control) {}

  // Makes a read-only device /dev/mapper/NAME.
  //
  // Errors:
  //   INVALID_ARGUMENT     the name is empty, longer than 127 bytes or has other characters than
  //                        letters, digits and #+-.:=@_; the uuid is longer than 128 bytes; or the
  //                        kernel refuses the table (its log says why).
  //   ALREADY_EXISTS       a device has this name or uuid.
  //   FAILED_PRECONDITION  a device below is in use.
  //   NOT_FOUND            a device below does not exist.
  absl::StatusOr<DmDevice> Create(const std::string& name, const std::string& uuid,
                                  const std::vector<DmTarget>& table);

  // FAILED_PRECONDITION: it is open; with `deferred` it goes when the last user closes it.
  // NOT_FOUND: no such device.
  absl::Status Remove(const std::string& name, bool deferred);

  // Takes a deferred removal back. NOT_FOUND: no such device.
  absl::Status CancelRemoval(const std::string& name);

  absl::StatusOr<DmDevice> Info(const std::string& name);
  absl::StatusOr<std::vector<DmTarget>> Table(const std::string& name);
  // What the targets say: "V" or "C" of dm-verity.
  absl::StatusOr<std::vector<DmTarget>> Status(const std::string& name);

 private:
  absl::StatusOr<std::vector<DmTarget>> Targets(const std::string& name, uint32_t flags);

  DmControl& control_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_DEVICE_MAPPER_H_
