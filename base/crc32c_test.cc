#include "base/crc32c.h"

#include <catch2/catch.hpp>

#include <string>

#include "base/internal/crc32c.h"
#include "base/random.h"

namespace keelson {
namespace {

std::string Range(int first, int last) {
  std::string bytes;
  for (int i = first; i != last; i += first < last ? 1 : -1) bytes.push_back(static_cast<char>(i));
  bytes.push_back(static_cast<char>(last));
  return bytes;
}

// RFC 3720, appendix B.4; the CRC is given there as bytes in transmission order.
TEST_CASE("The examples of RFC 3720 have their checksums", "[base][crc32c]") {
  CHECK(Crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(Crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(Crc32c(Range(0, 31)) == 0x46dd794e);
  CHECK(Crc32c(Range(31, 0)) == 0x113fdb5c);
  const std::string read_command(
      "\x01\xc0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
      "\x14\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x14\x00\x00\x00\x18"
      "\x28\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
      48);
  CHECK(Crc32c(read_command) == 0xd9963a56);
}

TEST_CASE("The check value and the empty input", "[base][crc32c]") {
  CHECK(Crc32c("123456789") == 0xe3069283);
  CHECK(Crc32c("") == 0);
  CHECK(ExtendCrc32c(0x1234, "") == 0x1234);
}

TEST_CASE("Extending piece by piece equals the whole", "[base][crc32c]") {
  Random random(1);
  std::string data(300, '\0');
  for (char& c : data) c = static_cast<char>(random());

  for (size_t cut = 0; cut <= data.size(); ++cut) {
    REQUIRE(ExtendCrc32c(Crc32c(data.substr(0, cut)), data.substr(cut)) == Crc32c(data));
  }
}

TEST_CASE("The portable and the hardware version agree", "[base][crc32c]") {
  const crc32c_internal::Extend hardware = crc32c_internal::HardwareExtend();
  if (hardware == nullptr) {
    WARN("skipped: this processor has no CRC-32C instruction");
    return;
  }
  Random random(2);
  for (int round = 0; round < 2000; ++round) {
    // Odd starts and lengths cross the eight-byte steps in every way.
    std::string data(random.Below(80), '\0');
    for (char& c : data) c = static_cast<char>(random());
    const size_t skip = random.Below(data.size() + 1);
    const auto crc = static_cast<uint32_t>(random());
    REQUIRE(hardware(crc, data.data() + skip, data.size() - skip) ==
            crc32c_internal::ExtendPortable(crc, data.data() + skip, data.size() - skip));
  }
}

TEST_CASE("Every single flipped bit changes the checksum", "[base][crc32c]") {
  std::string data = "a record of the write-ahead log";
  const uint32_t crc = Crc32c(data);
  for (size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] = static_cast<char>(data[bit / 8] ^ (1 << (bit % 8)));
    REQUIRE(Crc32c(data) != crc);
    data[bit / 8] = static_cast<char>(data[bit / 8] ^ (1 << (bit % 8)));
  }
}

}  // namespace
}  // namespace keelson
