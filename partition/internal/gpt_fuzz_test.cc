// The reader on any bytes as the two ends of a disk: it never crashes, and what it would repair is
// sound afterwards and has the same partitions.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/gpt_disk.h"
#include "partition/internal/gpt_codec.h"
#include "partition/testing/fake_disk.h"

namespace keelson::partition {
namespace {

constexpr size_t kEndBytes = 34 * 512;

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
  FakeDisk disk({.sector_bytes = sector_bytes, .sectors = 2 * kEndBytes / sector_bytes + 20});
  std::string& image = disk.image();
  const std::string_view front = input.substr(0, kEndBytes);
  image.replace(0, front.size(), front);
  const std::string_view back = input.substr(front.size()).substr(0, kEndBytes);
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
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const uint32_t sector_bytes : {512u, 4096u}) {
    for (const bool fix : {false, true}) keelson::partition::Check(bytes, sector_bytes, fix);
  }
  return 0;
}
