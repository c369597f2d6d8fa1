// Any text as a state file; what is read is written and read again without change.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "container_runtime/state/state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto state = keelson::container::ParseState({reinterpret_cast<const char*>(data), size});
  if (!state.ok()) return 0;
  const auto again = keelson::container::ParseState(keelson::container::StateToJson(*state));
  KEELSON_CHECK(again.ok() && *again == *state);
  return 0;
}
