// Prints the statistics of one cgroup as `runc events --stats` would: for tests.
//
//   print_stats ID CGROUPS_PATH
#include <cstdio>

#include "base/status.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"

namespace keelson::container {
namespace {

absl::StatusOr<std::string> Stats(const std::string& id, const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const HostLayout host, DetectHost());
  KEELSON_ASSIGN_OR_RETURN(CgroupLocation location,
                           LocateCgroups(host, {.container_id = id, .cgroups_path = path}));
  const auto manager = NewCgroupfsManager(RealCgroupSystem(), host, std::move(location), {});
  KEELSON_ASSIGN_OR_RETURN(const CgroupStats stats, manager->Stats());
  return StatsEventJson(id, stats);
}

}  // namespace
}  // namespace keelson::container

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto json = keelson::container::Stats(argv[1], argv[2]);
  if (!json.ok()) {
    std::fprintf(stderr, "%s\n", json.status().ToString().c_str());
    return 1;
  }
  std::printf("%s\n", json->c_str());
  return 0;
}
