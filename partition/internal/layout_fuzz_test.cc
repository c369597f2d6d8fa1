// The layout parser on any bytes: it never crashes, and what it accepts makes a sound table or
// none.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/layout.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<Layout> layout = ParseLayout(bytes);
  if (!layout.ok()) return 0;
  const Geometry geometry = {.sector_bytes = 512, .sectors = uint64_t{1} << 24};
  uint8_t counter = 0;
  const auto guids = [&] {
    Guid guid;
    guid.bytes[15] = ++counter;
    return guid;
  };
  const absl::StatusOr<GptTable> table = MakeTable(*layout, geometry, guids);
  if (table.ok()) KEELSON_CHECK(CheckTable(*table, geometry).empty());
  return 0;
}
