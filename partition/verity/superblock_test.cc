#include "partition/verity/superblock.h"

#include <catch2/catch.hpp>

#include <string>

#include "base/testing/status_matchers.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

const VeritySuperblock kExample = {.uuid = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
                                            0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
                                   .params = {.hash_type = 1,
                                              .algorithm = "sha512",
                                              .data_block_bytes = 4096,
                                              .hash_block_bytes = 1024,
                                              .data_blocks = 0x0102030405,
                                              .salt = "salt"}};

TEST_CASE("The fields of a superblock are where veritysetup has them", "[verity][superblock]") {
  const std::string bytes = EncodeSuperblock(kExample);

  REQUIRE(bytes.size() == 512);
  CHECK(bytes.substr(0, 16) == std::string("verity\0\0\1\0\0\0\1\0\0\0", 16));
  CHECK(bytes.substr(16, 3) == std::string("\x00\x11\x22", 3));
  CHECK(bytes.substr(32, 8) == std::string("sha512\0\0", 8));
  CHECK(bytes.substr(64, 8) == std::string("\0\x10\0\0\0\x04\0\0", 8));
  CHECK(bytes.substr(72, 8) == std::string("\5\4\3\2\1\0\0\0", 8));
  CHECK(bytes.substr(80, 13) == std::string("\4\0\0\0\0\0\0\0salt\0", 13));
  KEELSON_ASSIGN_OR_FAIL(const VeritySuperblock read, DecodeSuperblock(bytes));
  CHECK(read == kExample);
}

TEST_CASE("A superblock that lies is refused", "[verity][superblock]") {
  const std::string sound = EncodeSuperblock(kExample);
  const auto with = [&](size_t at, const std::string& bytes) {
    std::string changed = sound;
    return changed.replace(at, bytes.size(), bytes);
  };
  KEELSON_CHECK_ERROR(DecodeSuperblock(sound.substr(0, 511)), Code::kInvalidArgument, "found 511");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(0, "V")), Code::kNotFound, "signature");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(8, "\2")), Code::kInvalidArgument,
                      "version 1, found 2");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(12, "\2")), Code::kInvalidArgument, "hash type 2");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(32, "md4")), Code::kInvalidArgument, "md4512");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(32, std::string(32, 'x'))), Code::kInvalidArgument,
                      "xxx");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(64, "\1")), Code::kInvalidArgument,
                      "data block size 4097");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(68, std::string(4, '\0'))), Code::kInvalidArgument,
                      "hash block size 0");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(72, std::string(8, '\0'))), Code::kInvalidArgument,
                      "no data blocks");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(72, std::string(8, '\xff'))), Code::kInvalidArgument,
                      "2^63");
  KEELSON_CHECK_ERROR(DecodeSuperblock(with(80, "\1\1")), Code::kInvalidArgument, "salt of 257");
}

TEST_CASE("A UUID is read in the order of its text", "[verity][superblock]") {
  KEELSON_ASSIGN_OR_FAIL(const VerityUuid uuid,
                         ParseVerityUuid("00112233-4455-6677-8899-AABBCCDDEEFF"));
  CHECK(uuid == kExample.uuid);
  CHECK(ToString(uuid) == "00112233-4455-6677-8899-aabbccddeeff");
  for (const char* bad :
       {"", "00112233-4455-6677-8899-aabbccddeef", "0011223344-55-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899-aabbccddeeff0"}) {
    KEELSON_CHECK_ERROR(ParseVerityUuid(bad), Code::kInvalidArgument, "8-4-4-4-12");
  }
}

TEST_CASE("A tree has the shape that the kernel expects", "[verity][shape]") {
  KEELSON_ASSIGN_OR_FAIL(const TreeShape none, ShapeOf({.data_blocks = 1}));
  CHECK(none.blocks == 0);

  KEELSON_ASSIGN_OR_FAIL(const TreeShape gib, ShapeOf({.data_blocks = 262144}));
  CHECK(gib.digests_per_block == 128);
  CHECK(gib.levels == std::vector<TreeLevel>{{.first_block = 17, .blocks = 2048},
                                             {.first_block = 1, .blocks = 16},
                                             {.first_block = 0, .blocks = 1}});
  CHECK(gib.blocks == 2065);

  // 20 bytes are padded to 32 in type 1; in type 0 only their number is a power of two.
  KEELSON_ASSIGN_OR_FAIL(const TreeShape one, ShapeOf({.algorithm = "sha1", .data_blocks = 9}));
  CHECK(one.slot_bytes == 32);
  KEELSON_ASSIGN_OR_FAIL(const TreeShape zero,
                         ShapeOf({.hash_type = 0, .algorithm = "sha1", .data_blocks = 9}));
  CHECK(zero.slot_bytes == 20);
  CHECK(zero.digests_per_block == 128);
}

TEST_CASE("The tree starts at the block behind the superblock", "[verity][shape]") {
  CHECK(*TreeOffset(0, true, 4096) == 4096);
  CHECK(*TreeOffset(512, true, 4096) == 4096);
  CHECK(*TreeOffset(4096, true, 4096) == 8192);
  CHECK(*TreeOffset(3584, true, 4096) == 4096);
  CHECK(*TreeOffset(8192, false, 4096) == 8192);
  KEELSON_CHECK_ERROR(TreeOffset(100, true, 4096), Code::kInvalidArgument, "multiple of 512");
  KEELSON_CHECK_ERROR(TreeOffset(512, false, 4096), Code::kInvalidArgument, "multiple of 4096");
}

}  // namespace
}  // namespace keelson::partition
