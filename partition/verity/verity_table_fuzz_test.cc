// Any text as a verity table: what is understood is said again in the same way.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/verity/verity_device.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const absl::StatusOr<VerityTable> table =
      ParseVerityTable({reinterpret_cast<const char*>(data), size});
  if (!table.ok()) return 0;
  const absl::StatusOr<std::string> text = VerityTableText(*table);
  KEELSON_CHECK_OK(text.status());
  const absl::StatusOr<VerityTable> again = ParseVerityTable(*text);
  KEELSON_CHECK(again.ok() && *again == *table) << *text;
  return 0;
}
