// Whatever the file holds is read or refused.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "kvstore/config/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto fields = keelson::kvstore::ParseConfigFile(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!fields.ok()) return 0;
  for (const auto& field : *fields) KEELSON_CHECK(!field.value.empty());
  return 0;
}
