#include "partition/growth/growth.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "partition/partition_types.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr uint64_t kMiB = 1 << 20;

// A kernel that knows one partition and one file system.
class FakeSystem final : public GrowthSystem {
 public:
  absl::StatusOr<std::optional<uint64_t>> KernelPartitionBytes(const BlockDevice&, int) override {
    return kernel_bytes;
  }
  absl::Status ResizePartition(const BlockDevice&, int number, uint64_t start_bytes,
                               uint64_t bytes) override {
    KEELSON_RETURN_IF_ERROR(Spend());
    CHECK(number == 2);
    CHECK(start_bytes == 2 * kMiB);
    kernel_bytes = bytes;
    return absl::OkStatus();
  }
  absl::StatusOr<MountedFileSystem> LookAt(const std::string& path) override {
    CHECK(path == "/sysroot");
    return mounted;
  }
  absl::Status ResizeFileSystem(const std::string&, const MountedFileSystem&,
                                uint64_t bytes) override {
    KEELSON_RETURN_IF_ERROR(Spend());
    if (bytes > kernel_bytes) return absl::UnknownError("the device is smaller");
    mounted.bytes = bytes / mounted.block_bytes * mounted.block_bytes;
    return absl::OkStatus();
  }

  std::optional<uint64_t> kernel_bytes = 4 * kMiB;
  MountedFileSystem mounted = {.bytes = 4 * kMiB};
  int calls_left = 1000;

 private:
  absl::Status Spend() {
    return calls_left-- > 0 ? absl::OkStatus() : absl::UnknownError("cut off");
  }
};

// Partition 1, then partition 2 of 4 MiB; the disk had 8 MiB and now has 16.
FakeDisk GrownDisk() {
  FakeDisk disk({.sectors = 8 * kMiB / 512});
  GptTable table = *EmptyTable(disk.geometry(), {.bytes = {1}});
  table.entries[0] = {
      .type = CoreOsUsrType(), .unique = {.bytes = {2}}, .first_lba = 2048, .last_lba = 4095};
  table.entries[1] = {
      .type = CoreOsUsrType(), .unique = {.bytes = {3}}, .first_lba = 4096, .last_lba = 12287};
  const auto writes = PlanCreate(disk.geometry(), std::string(512, '\0'), table);
  KEELSON_REQUIRE_OK(writes);
  KEELSON_REQUIRE_OK(Apply(disk, *writes));
  disk.Resize(16 * kMiB / 512);
  disk.ForgetHistory();
  return disk;
}

const GrowthRequest kRequest = {.partition = 2, .mount = "/sysroot"};

TEST_CASE("Partition, kernel and file system grow to the end of the disk", "[growth]") {
  FakeDisk disk = GrownDisk();
  FakeSystem system;
  KEELSON_ASSIGN_OR_FAIL(const Growth growth, Grow(disk, kRequest, system));
  CHECK(growth.partition_bytes_before == 4 * kMiB);
  CHECK(growth.partition_bytes > 13 * kMiB);
  CHECK(system.kernel_bytes == growth.partition_bytes);
  CHECK(growth.file_system_bytes_before == 4 * kMiB);
  CHECK(growth.partition_bytes - *growth.file_system_bytes < 4096);
  CHECK(ReadGpt(disk)->sound());

  disk.ForgetHistory();
  KEELSON_ASSIGN_OR_FAIL(const Growth again, Grow(disk, kRequest, system));
  CHECK(again.partition_bytes == growth.partition_bytes);
  CHECK(disk.history().empty());
}

TEST_CASE("Cut off after any step, calling it again completes it", "[growth][crash]") {
  for (int calls = 0; calls < 3; ++calls) {
    for (uint64_t writes = 0; writes < 20; ++writes) {
      INFO(writes << " writes, " << calls << " calls");
      FakeDisk disk = GrownDisk();
      FakeSystem system;
      system.calls_left = calls;
      disk.FailAfter(writes);
      (void)Grow(disk, kRequest, system);
      disk.FailAfter(UINT64_MAX);
      system.calls_left = 1000;
      KEELSON_ASSIGN_OR_FAIL(const Growth growth, Grow(disk, kRequest, system));
      CHECK(system.kernel_bytes == growth.partition_bytes);
      CHECK(growth.partition_bytes - system.mounted.bytes < 4096);
      CHECK(ReadGpt(disk)->sound());
    }
  }
}

TEST_CASE("At every power cut the partition has its old size or the new one", "[growth][crash]") {
  FakeDisk disk = GrownDisk();
  const std::string before = disk.image();
  FakeSystem system;
  KEELSON_ASSIGN_OR_FAIL(const Growth growth, Grow(disk, kRequest, system));
  ForEachPowerCut(before, disk, [&](FakeDisk& cut, const std::string& when) {
    INFO(when);
    const auto reading = ReadGpt(cut);
    KEELSON_REQUIRE_OK(reading);
    const uint64_t bytes = reading->table.entries[1].sectors() * 512;
    REQUIRE((bytes == 4 * kMiB || bytes == growth.partition_bytes));
  });
}

TEST_CASE("A little room is not worth a commit, but the file system still grows", "[growth]") {
  FakeDisk disk = GrownDisk();
  FakeSystem system;
  system.mounted.bytes = 3 * kMiB;
  GrowthRequest request = kRequest;
  request.bytes_min = 100 * kMiB;
  KEELSON_ASSIGN_OR_FAIL(const Growth growth, Grow(disk, request, system));
  CHECK(growth.partition_bytes == 4 * kMiB);
  CHECK(system.mounted.bytes == 4 * kMiB);
}

TEST_CASE("A plain file grows without a kernel", "[growth]") {
  FakeDisk disk = GrownDisk();
  FakeSystem system;
  system.kernel_bytes.reset();
  KEELSON_ASSIGN_OR_FAIL(const Growth growth, Grow(disk, {.partition = 2}, system));
  CHECK(growth.partition_bytes > 13 * kMiB);
  CHECK(!growth.file_system_bytes.has_value());
}

TEST_CASE("What cannot grow is said", "[growth]") {
  FakeDisk disk = GrownDisk();
  FakeSystem system;
  KEELSON_CHECK_ERROR(Grow(disk, {.partition = 7}, system), Code::kNotFound, "partition 7");
  CHECK(disk.history().empty());
  system.mounted.bytes = 99 * kMiB;
  KEELSON_CHECK_ERROR(Grow(disk, kRequest, system), Code::kFailedPrecondition,
                      "is it the one in it?");
}

TEST_CASE("The real system knows no partitions of a file, and only its kinds of file systems",
          "[growth]") {
  FakeDisk file({.sectors = 2048}, "/proc/self/exe");
  CHECK(*RealGrowthSystem().KernelPartitionBytes(file, 1) == std::nullopt);
  KEELSON_CHECK_ERROR(RealGrowthSystem().LookAt("/proc"), Code::kInvalidArgument,
                      "expected ext4, btrfs or xfs, found type 0x9fa0");
  KEELSON_CHECK_ERROR(RealGrowthSystem().LookAt("/no/such/folder"), Code::kNotFound, "statfs");
}

}  // namespace
}  // namespace keelson::partition
