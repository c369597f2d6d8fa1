// Any body gives objects that begin and end with braces, or nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "kvstore/server/json_objects.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto objects =
      keelson::kvstore::SplitJsonObjects({reinterpret_cast<const char*>(data), size});
  if (!objects.has_value()) return 0;
  if (objects->empty()) std::abort();
  for (const std::string& object : *objects) {
    if (!object.starts_with('{') || !object.ends_with('}')) std::abort();
  }
  return 0;
}
