#include "partition/growth/mounted_partition.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr char kMounts[] =
    "21 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n"
    "22 1 254:3 / / rw - ext4 /dev/root rw\n"
    "30 22 0:35 /sub /data\\040disk rw,relatime shared:1 master:2 - btrfs /dev/vda9 rw\n"
    "31 22 254:4 / /usr ro - ext4 /dev/mapper/usr ro\n"
    "32 22 254:9 / /usr rw - ext4 /dev/vda9 rw\n"
    "33 22 254:9\n"
    "34 22 254:9 / /cut rw - ext4\n";

TEST_CASE("What is mounted last at a place counts", "[partition][growth]") {
  CHECK(*FindMountSource(kMounts, "/") ==
        MountSource{.device_number = "254:3", .source = "/dev/root"});
  CHECK(*FindMountSource(kMounts, "/usr") ==
        MountSource{.device_number = "254:9", .source = "/dev/vda9"});
  CHECK(*FindMountSource(kMounts, "/data disk") ==
        MountSource{.device_number = "0:35", .source = "/dev/vda9"});
}

TEST_CASE("Where nothing is mounted, or the list is cut off, nothing is found",
          "[partition][growth]") {
  for (const char* place : {"/data", "/cut", "", "/us"}) {
    INFO(place);
    KEELSON_CHECK_ERROR(FindMountSource(kMounts, place).status(), Code::kNotFound, "mounted");
  }
}

TEST_CASE("What is no partition is refused by name", "[partition][growth]") {
  KEELSON_CHECK_ERROR(FindMountedPartition("/proc").status(), Code::kFailedPrecondition,
                      "no partition of a disk");
  KEELSON_CHECK_ERROR(FindMountedPartition("/no/such/place").status(), Code::kNotFound,
                      "/no/such/place");
}

}  // namespace
}  // namespace keelson::partition
