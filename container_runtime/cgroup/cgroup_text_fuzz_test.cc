// Texts of the kernel and of configurations: mountinfo, statistics, device lists, GVariant. The first byte
// chooses the parser.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "container_runtime/cgroup/cgroup_location.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/conversion.h"
#include "container_runtime/cgroup/device_rules.h"
#include "container_runtime/cgroup/host_layout.h"
#include "container_runtime/cgroup/unit_property.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace container = keelson::container;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string copy(text);
  switch (data[0] % 6) {
    case 0: {
      const auto host = container::ParseHostLayout(text, "0::/a\n4:memory:/b\n");
      if (host.ok()) {
        (void)container::LocateCgroups(*host, {.container_id = "id", .cgroups_path = copy});
        (void)container::LocateUnit(*host, {.container_id = "id", .cgroups_path = copy}, "/");
      }
      break;
    }
    case 1:
      (void)container::ParseHostLayout("", text);
      break;
    case 2: {
      container::CgroupStats stats;
      for (const auto& file : container::StatFiles()) (void)file.parse(file.file, text, stats);
      break;
    }
    case 3: {
      const auto policy = container::DevicePolicy::OfList(text);
      if (policy.ok()) (void)container::DeviceWrites(*policy, *policy);
      break;
    }
    case 4:
      (void)container::ParseGVariant(copy);
      break;
    default:
      (void)container::BitmapOfList(copy);
      break;
  }
  return 0;
}
