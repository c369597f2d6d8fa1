#include "partition/block_device.h"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

std::string MakeFile(const std::string& name, const std::string& contents) {
  const char* tmp = std::getenv("TEST_TMPDIR");
  std::string path = absl::StrCat(tmp == nullptr ? "/tmp" : tmp, "/", name);
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

TEST_CASE("A file is a disk of whole sectors", "[partition][device]") {
  const std::string path = MakeFile("disk", std::string(512 * 10 + 100, 'x'));
  KEELSON_ASSIGN_OR_FAIL(const auto disk, OpenBlockDevice(path, {.write = true}));
  CHECK(disk->geometry() == Geometry{.sector_bytes = 512, .sectors = 10});

  KEELSON_REQUIRE_OK(disk->Write(5110, "0123456789"));
  KEELSON_REQUIRE_OK(disk->Flush());
  std::string bytes(12, ' ');
  KEELSON_REQUIRE_OK(disk->Read(5108, {bytes.data(), bytes.size()}));
  CHECK(bytes == "xx0123456789");
}

TEST_CASE("A disk never grows, and its end is not passed", "[partition][device]") {
  const std::string path = MakeFile("end", std::string(5120, 'x'));
  KEELSON_ASSIGN_OR_FAIL(const auto disk, OpenBlockDevice(path, {.write = true}));
  std::string bytes(10, ' ');

  KEELSON_CHECK_ERROR(disk->Write(5111, "0123456789"), Code::kOutOfRange, "passes the end at 5120");
  KEELSON_CHECK_ERROR(disk->Write(UINT64_MAX - 2, "0123"), Code::kOutOfRange, "passes the end");
  KEELSON_CHECK_ERROR(disk->Read(5111, {bytes.data(), 10}), Code::kOutOfRange, "passes the end");
}

TEST_CASE("What was opened for reading is not written", "[partition][device]") {
  const std::string path = MakeFile("read_only", std::string(5120, 'x'));
  KEELSON_ASSIGN_OR_FAIL(const auto disk, OpenBlockDevice(path, {}));

  KEELSON_CHECK_ERROR(disk->Write(0, "y"), Code::kPermissionDenied, "opened for reading");
  KEELSON_CHECK_ERROR(disk->Flush(), Code::kPermissionDenied, "opened for reading");
}

TEST_CASE("The sector size of an image is found by its table", "[partition][device]") {
  std::string image(4096 * 10, '\0');
  SECTION("512, primary") {
    image.replace(512, 8, "EFI PART");
    KEELSON_ASSIGN_OR_FAIL(const auto disk, OpenBlockDevice(MakeFile("image", image), {}));
    CHECK(disk->geometry().sector_bytes == 512);
  }
  SECTION("4096, primary") {
    image.replace(4096, 8, "EFI PART");
    KEELSON_ASSIGN_OR_FAIL(const auto disk, OpenBlockDevice(MakeFile("image", image), {}));
    CHECK(disk->geometry() == Geometry{.sector_bytes = 4096, .sectors = 10});
  }
  SECTION("4096, backup") {
    image.replace(4096 * 9, 8, "EFI PART");
    KEELSON_ASSIGN_OR_FAIL(const auto disk, OpenBlockDevice(MakeFile("image", image), {}));
    CHECK(disk->geometry().sector_bytes == 4096);
  }
  SECTION("or said") {
    KEELSON_ASSIGN_OR_FAIL(const auto disk,
                           OpenBlockDevice(MakeFile("image", image), {.sector_bytes = 4096}));
    CHECK(disk->geometry().sector_bytes == 4096);
    KEELSON_CHECK_ERROR(OpenBlockDevice(MakeFile("image", image), {.sector_bytes = 1024}),
                        Code::kInvalidArgument, "expected 512 or 4096");
  }
}

TEST_CASE("What is no disk is refused", "[partition][device]") {
  KEELSON_CHECK_ERROR(OpenBlockDevice("/nowhere", {}), Code::kNotFound, "open '/nowhere'");
  KEELSON_CHECK_ERROR(OpenBlockDevice("/proc", {}), Code::kInvalidArgument,
                      "neither a file nor a block device");
  KEELSON_CHECK_ERROR(OpenBlockDevice("/dev/null", {}), Code::kInvalidArgument, "neither");
}

// A child holds the lock until its pipe closes.
TEST_CASE("A second writer is refused and told who the first one is", "[partition][device]") {
  const std::string path = MakeFile("held", std::string(5120, 'x'));
  std::array<int, 2> ready{};
  std::array<int, 2> stop{};
  REQUIRE(::pipe2(ready.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(stop.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int fd = ::open(path.c_str(), O_RDWR);
    char byte = ::flock(fd, LOCK_EX) == 0 ? 'y' : 'n';
    (void)::close(stop[1]);
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    (void)::read(stop[0], &byte, 1);
    ::_exit(0);
  }
  UniqueFd stopper(stop[1]);
  const UniqueFd unused_write(ready[1]), unused_read(stop[0]), readiness(ready[0]);
  char byte = 0;
  REQUIRE(::read(readiness.get(), &byte, 1) == 1);
  REQUIRE(byte == 'y');

  KEELSON_CHECK_ERROR(OpenBlockDevice(path, {.write = true}), Code::kFailedPrecondition,
                      absl::StrCat("in use by process ", child, " ("));
  KEELSON_REQUIRE_OK(OpenBlockDevice(path, {}));

  stopper.Reset();
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  KEELSON_REQUIRE_OK(OpenBlockDevice(path, {.write = true}));
}

}  // namespace
}  // namespace keelson::partition
