#include "partition/verity/verity_device.h"

#include <catch2/catch.hpp>

#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/escaping.h"
#include "base/testing/status_matchers.h"
#include "partition/testing/fake_disk.h"
#include "partition/verity/testing/fake_dm_control.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

const std::string kRoot =
    absl::HexStringToBytes("0123456789abcdef00112233445566778899aabbccddeeff0123456789abcdef");

VerityTable Example() {
  return {.params = {.data_blocks = 151, .salt = "\xaa\xbb"},
          .data_device = "/dev/vda",
          .hash_device = "/dev/vda",
          .hash_start_block = 513,
          .root_hash = kRoot};
}

TEST_CASE("A table is said as the kernel reads it", "[verity][table]") {
  VerityTable table = Example();
  const std::string start =
      "1 /dev/vda /dev/vda 4096 4096 151 513 sha256 "
      "0123456789abcdef00112233445566778899aabbccddeeff0123456789abcdef aabb";
  CHECK(*VerityTableText(table) == start);
  CHECK(table.sectors() == 1208);

  table.on_corruption = OnCorruption::kPanic;
  table.ignore_zero_blocks = true;
  table.check_at_most_once = true;
  table.use_tasklets = true;
  table.fec = VerityFecTable{.device = "/dev/vdb", .start_block = 7, .blocks = 155, .roots = 2};
  table.signature_key = "keelson:usr";
  CHECK(*VerityTableText(table) ==
        start +
            " 14 panic_on_corruption ignore_zero_blocks check_at_most_once use_fec_from_device "
            "/dev/vdb fec_start 7 fec_blocks 155 fec_roots 2 root_hash_sig_key_desc keelson:usr "
            "try_verify_in_tasklet");
  KEELSON_ASSIGN_OR_FAIL(const VerityTable read, ParseVerityTable(*VerityTableText(table)));
  CHECK(read == table);

  table = Example();
  table.params.salt.clear();
  CHECK(VerityTableText(table)->ends_with(" -"));
  KEELSON_ASSIGN_OR_FAIL(const VerityTable unsalted, ParseVerityTable(*VerityTableText(table)));
  CHECK(unsalted == table);
}

TEST_CASE("What a table cannot say is refused", "[verity][table]") {
  VerityTable table = Example();
  table.data_device = "/dev/a b";
  KEELSON_CHECK_ERROR(VerityTableText(table), Code::kInvalidArgument, "data device '/dev/a b'");
  table = Example();
  table.hash_device = "";
  KEELSON_CHECK_ERROR(VerityTableText(table), Code::kInvalidArgument, "hash device");
  table = Example();
  table.root_hash.pop_back();
  KEELSON_CHECK_ERROR(VerityTableText(table), Code::kInvalidArgument, "root hash of 31 bytes");
  table = Example();
  table.signature_key = "a\nb";
  KEELSON_CHECK_ERROR(VerityTableText(table), Code::kInvalidArgument, "signature key");
}

TEST_CASE("A table that is cut off or unknown is refused", "[verity][table]") {
  const std::string sound = *VerityTableText(Example());
  for (size_t end = 0; end < sound.size() - 5; ++end) {
    CHECK(!ParseVerityTable(sound.substr(0, end)).ok());
  }
  KEELSON_CHECK_ERROR(ParseVerityTable(sound + " 1"), Code::kInvalidArgument, "expected 1 option");
  KEELSON_CHECK_ERROR(ParseVerityTable(sound + " 1 new_option"), Code::kInvalidArgument,
                      "'new_option' is not understood");
  KEELSON_CHECK_ERROR(ParseVerityTable(sound + " 2 fec_roots many"), Code::kInvalidArgument,
                      "'many'");
  KEELSON_CHECK_ERROR(ParseVerityTable("x" + sound), Code::kInvalidArgument, "hash type 'x1'");
}

TEST_CASE("The root hash is the GUIDs of both partitions", "[verity][guids]") {
  KEELSON_ASSIGN_OR_FAIL(const VerityPartitionGuids guids, PartitionGuidsOf(kRoot));
  CHECK(ToString(guids.data) == "01234567-89ab-cdef-0011-223344556677");
  CHECK(ToString(guids.hash) == "8899aabb-ccdd-eeff-0123-456789abcdef");
  KEELSON_CHECK_ERROR(PartitionGuidsOf(kRoot.substr(12)), Code::kInvalidArgument, "20 bytes");
}

const std::vector<DmTarget> kTable = {{.sectors = 1208, .type = "verity", .parameters = "1 a b"}};

// linux/dm-ioctl.h 4.x: offsets that the kernel will not change.
TEST_CASE("Requests have the bytes of the kernel's interface", "[verity][dm]") {
  FakeDmControl control;
  DeviceMapper mapper(control);
  KEELSON_ASSIGN_OR_FAIL(const DmDevice device, mapper.Create("usr", "CRYPT-VERITY-1-usr", kTable));
  CHECK(device.major == 253);
  CHECK(device.read_only);
  CHECK(!device.suspended);
  CHECK(device.has_table);

  const auto& requests = control.requests();
  REQUIRE(requests.size() == 3);
  CHECK(requests[0].first == 0xc138fd03);  // DEV_CREATE
  CHECK(requests[1].first == 0xc138fd09);  // TABLE_LOAD
  CHECK(requests[2].first == 0xc138fd06);  // DEV_SUSPEND, which resumes
  for (const auto& [request, bytes] : requests) {
    CHECK(bytes.substr(0, 12) == std::string("\4\0\0\0\0\0\0\0\0\0\0\0", 12));
    CHECK(bytes.substr(12, 4) == std::string("\0\x40\0\0", 4));    // 16 KiB
    CHECK(bytes.substr(16, 4) == std::string("\x38\x01\0\0", 4));  // data from byte 312
    CHECK(bytes.substr(48, 5) == std::string("usr\0\0", 5));
  }
  CHECK(requests[0].second.substr(176, 19) == std::string("CRYPT-VERITY-1-usr\0", 19));
  const std::string& load = requests[1].second;
  CHECK(load.substr(20, 4) == std::string("\1\0\0\0", 4));  // one target
  CHECK(load.substr(28, 4) == std::string("\1\0\0\0", 4));  // read only
  CHECK(load.substr(312, 16) == std::string("\0\0\0\0\0\0\0\0\xb8\x04\0\0\0\0\0\0", 16));
  CHECK(load.substr(312 + 20, 4) == std::string("\x30\0\0\0", 4));  // 40 + 6, aligned to 8
  CHECK(load.substr(312 + 24, 8) == std::string("verity\0\0", 8));
  CHECK(load.substr(312 + 40, 8) == std::string("1 a b\0\0\0", 8));
  CHECK(requests[2].second.substr(28, 4) == std::string(4, '\0'));
  CHECK(control.nodes().contains("usr"));
}

TEST_CASE("Of a device that does not come up nothing is left", "[verity][dm]") {
  for (const size_t failing : {0, 1, 2}) {
    FakeDmControl control;
    DeviceMapper mapper(control);
    control.FailCall(failing, EINVAL);
    KEELSON_CHECK_ERROR(mapper.Create("usr", "", kTable), Code::kInvalidArgument, "device 'usr'");
    CHECK(control.devices().empty());
    CHECK(control.nodes().empty());
  }
  FakeDmControl control;
  DeviceMapper mapper(control);
  KEELSON_REQUIRE_OK(mapper.Create("usr", "u", kTable));
  KEELSON_CHECK_ERROR(mapper.Create("usr", "other", kTable), Code::kAlreadyExists, "usr");
  KEELSON_CHECK_ERROR(mapper.Create("other", "u", kTable), Code::kAlreadyExists, "other");
  CHECK(control.devices().size() == 1);
}

TEST_CASE("Names that the kernel or a path would not take are refused", "[verity][dm]") {
  FakeDmControl control;
  DeviceMapper mapper(control);
  for (const std::string& name : {std::string(), std::string("a/b"), std::string(".."),
                                  std::string("a b"), std::string(128, 'x')}) {
    KEELSON_CHECK_ERROR(mapper.Create(name, "", kTable), Code::kInvalidArgument,
                        "name of a device");
  }
  KEELSON_CHECK_ERROR(mapper.Create("a", std::string(129, 'x'), kTable), Code::kInvalidArgument,
                      "uuid");
  CHECK(control.requests().empty());
}

TEST_CASE("An answer that does not fit is asked for again with more room", "[verity][dm]") {
  FakeDmControl control;
  DeviceMapper mapper(control);
  const std::vector<DmTarget> table = {
      {.sectors = 8, .type = "verity", .parameters = std::string(30000, 'a')},
      {.first_sector = 8, .sectors = 8, .type = "error"}};
  KEELSON_REQUIRE_OK(mapper.Create("big", "", table));
  KEELSON_ASSIGN_OR_FAIL(const std::vector<DmTarget> read, mapper.Table("big"));
  REQUIRE(read.size() == 2);
  CHECK(read[0].parameters == table[0].parameters);
  CHECK(read[1].type == "error");
  CHECK(read[1].first_sector == 8);
  CHECK(mapper.Status("big")->front().parameters == "V");
}

TEST_CASE("A device in use goes later or not at all", "[verity][dm]") {
  FakeDmControl control;
  DeviceMapper mapper(control);
  KEELSON_REQUIRE_OK(mapper.Create("usr", "", kTable));
  control.devices()["usr"].open_count = 1;
  KEELSON_CHECK_ERROR(mapper.Remove("usr", false), Code::kFailedPrecondition, "'usr': in use");
  KEELSON_REQUIRE_OK(mapper.Remove("usr", true));
  CHECK(control.devices()["usr"].deferred_remove);
  CHECK(control.nodes().contains("usr"));
  KEELSON_REQUIRE_OK(mapper.CancelRemoval("usr"));
  CHECK(control.requests().back().second.substr(312 + 8, 24) ==
        std::string("@cancel_deferred_remove\0", 24));
  control.devices()["usr"].open_count = 0;
  KEELSON_REQUIRE_OK(mapper.Remove("usr", false));
  CHECK(control.nodes().empty());
  KEELSON_CHECK_ERROR(mapper.Remove("usr", false), Code::kNotFound, "no such device");
  KEELSON_CHECK_ERROR(mapper.Info("usr"), Code::kNotFound, "no such device");
}

TEST_CASE("A verity device is trusted only after reading through it", "[verity][activation]") {
  FakeDmControl control;
  DeviceMapper mapper(control);
  const VerityActivation activation = {.name = "usr", .uuid = {0xab}, .table = Example()};
  std::vector<std::string> opened;
  bool broken = false;
  const OpenDevice open =
      [&](const std::string& path) -> absl::StatusOr<std::unique_ptr<BlockDevice>> {
    opened.push_back(path);
    auto disk = std::make_unique<FakeDisk>(Geometry{.sectors = 1208});
    if (broken) disk->BreakSector(1207);
    return disk;
  };
  SECTION("sound") {
    KEELSON_ASSIGN_OR_FAIL(const DmDevice device, ActivateVerity(mapper, activation, open));
    CHECK(device.uuid == "CRYPT-VERITY-ab000000000000000000000000000000-usr");
    CHECK(opened == std::vector<std::string>{"/dev/mapper/usr"});
    CHECK(control.devices()["usr"].active[0].parameters == *VerityTableText(Example()));
    CHECK(control.devices()["usr"].active[0].sectors == 1208);
  }
  SECTION("the last block cannot be read") {
    broken = true;
    KEELSON_CHECK_ERROR(ActivateVerity(mapper, activation, open), Code::kDataLoss, "block 150");
    CHECK(control.devices().empty());
  }
}

TEST_CASE("A device that the kernel calls corrupted is taken down", "[verity][activation]") {
  FakeDmControl control;
  DeviceMapper mapper(control);
  VerityActivation activation = {.name = "usr", .table = Example()};
  const OpenDevice open = [&](const std::string&) -> absl::StatusOr<std::unique_ptr<BlockDevice>> {
    control.devices()["usr"].status = "C";
    return std::make_unique<FakeDisk>(Geometry{.sectors = 1208});
  };
  KEELSON_CHECK_ERROR(ActivateVerity(mapper, activation, open), Code::kDataLoss, "says 'C'");
  CHECK(control.devices().empty());
  activation.table.on_corruption = OnCorruption::kIgnore;
  KEELSON_REQUIRE_OK(ActivateVerity(mapper, activation, open));
}

}  // namespace
}  // namespace keelson::partition
