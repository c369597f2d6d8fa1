// Any text as a config, a process or resources. What parses must also compile to a filter or an error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "container_runtime/config/parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)keelson::container::ParseSpec(text);
  (void)keelson::container::ParseProcess(text);
  (void)keelson::container::ParseResources(text);
  return 0;
}
