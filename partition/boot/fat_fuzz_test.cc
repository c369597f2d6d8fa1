// FAT volumes of any bytes: reading ends, stays on the volume, and says how large a file is.
// The seed fat_12 was made by mformat and mcopy.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "partition/boot/fat_volume.h"
#include "partition/testing/fake_disk.h"

namespace {

using namespace keelson;             // NOLINT: a small program
using namespace keelson::partition;  // NOLINT

// Folders may lead in circles.
constexpr int kDepthMax = 3;
constexpr size_t kReadBytesMax = 1 << 16;

void Walk(FatVolume& volume, const std::string& path, int depth) {
  const auto names = volume.List(path);
  if (!names.ok() || depth == kDepthMax) return;
  size_t looked = 0;
  for (const std::string& name : *names) {
    if (++looked > 8) return;
    const std::string below = JoinPath(path, name);
    const auto file = volume.Open(below, {});
    if (!file.ok()) {
      Walk(volume, below, depth + 1);
      continue;
    }
    std::string bytes(kReadBytesMax, '\0');
    const auto size = (*file)->ReadAt(0, {bytes.data(), bytes.size()});
    if (size.ok()) KEELSON_CHECK(*size == std::min<uint64_t>(*(*file)->Size(), bytes.size()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)ParseFatFolder(bytes);  // must not crash
  FakeDisk disk({.sectors = size / 512});
  disk.image() = std::string(bytes.substr(0, disk.geometry().bytes()));
  const auto volume = FatVolume::Open(disk);
  if (!volume.ok()) return 0;
  Walk(**volume, "", 0);
  const auto space = (*volume)->Space("");
  if (space.ok()) KEELSON_CHECK(space->free_bytes <= space->capacity_bytes);
  KEELSON_CHECK(!(*volume)->Open("new", {.write = true, .create = true}).ok());
  return 0;
}
