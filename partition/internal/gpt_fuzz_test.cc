// The reader on any bytes as the two ends of a disk: it never crashes, and what it would repair is
// sound afterwards and has the same partitions.
//
// The first byte of the input: bit 0 for sectors of 4096 bytes rather than 512, bit 1 for CRCs made
// right. The ends hold arrays of up to 16 and 32 entries: with the usual 128 a run takes ten times
// as long and reaches nothing more.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/gpt_disk.h"
#include "partition/internal/gpt_codec.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

// The MBR or nothing, a header, and an array.
constexpr size_t EndSectors(uint32_t sector_bytes) { return sector_bytes == 512 ? 6 : 3; }

// Makes the CRCs right where there is a header, so that what they cover is reached.
void FixCrc(std::string& image, size_t header, uint32_t sector_bytes) {
  const auto put = [&](size_t at, uint32_t value) {
    for (int i = 0; i < 4; ++i) image[header + at + i] = static_cast<char>(value >> (8 * i));
  };
  const auto get = [&](size_t at) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(image[header + at + i]);
    return value;
  };
  const uint64_t array_lba = get(72);
  const uint64_t array_bytes = (get(80) & 0xffffffff) * (get(84) & 0xffffffff);
  if (array_lba <= image.size() / sector_bytes && array_bytes <= image.size() &&
      array_lba * sector_bytes + array_bytes <= image.size()) {
    put(88, Crc32(std::string_view(image).substr(array_lba * sector_bytes, array_bytes)));
  }
  const uint64_t header_bytes = get(12) & 0xffffffff;
  if (header_bytes < 92 || header_bytes > sector_bytes) return;
  put(16, 0);
  put(16, Crc32(std::string_view(image).substr(header, header_bytes)));
}

void Check(std::string_view input, uint32_t sector_bytes, bool fix) {
  const size_t end_bytes = EndSectors(sector_bytes) * sector_bytes;
  FakeDisk disk({.sector_bytes = sector_bytes, .sectors = 2 * EndSectors(sector_bytes) + 8});
  std::string& image = disk.image();
  const std::string_view front = input.substr(0, end_bytes);
  image.replace(0, front.size(), front);
  const std::string_view back = input.substr(front.size()).substr(0, end_bytes);
  image.replace(image.size() - back.size(), back.size(), back);
  if (fix) {
    FixCrc(image, sector_bytes, sector_bytes);
    FixCrc(image, image.size() - sector_bytes, sector_bytes);
  }
  const absl::StatusOr<GptReading> reading = ReadGpt(disk);
  if (!reading.ok()) return;
  for (const GptEntry& entry : reading->table.entries) (void)NameOf(entry);  // must not crash
  const absl::StatusOr<std::vector<DiskWrite>> writes = PlanRepair(*reading);
  if (!writes.ok()) return;
  KEELSON_CHECK_OK(Apply(disk, *writes));
  const absl::StatusOr<GptReading> again = ReadGpt(disk);
  KEELSON_CHECK_OK(again.status());
  KEELSON_CHECK(again->sound()) << again->faults[0].message;
  KEELSON_CHECK(again->table.entries == reading->table.entries) << "repair changed a partition";
}

}  // namespace
}  // namespace keelson::partition

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  keelson::partition::Check(bytes, (data[0] & 1) == 0 ? 512 : 4096, (data[0] & 2) != 0);
  return 0;
}
