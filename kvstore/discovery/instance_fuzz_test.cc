// Entries of a registry, which any program with the right to write may have written.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "kvstore/discovery/instance.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::kvstore::discovery;  // NOLINT: a test
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  const auto instance = ParseNamingValue(value);
  if (!instance.ok()) return 0;
  // What was read and can be written is read back as the same.
  const auto again = NamingValue(*instance);
  if (!again.ok()) return 0;
  const auto read = ParseNamingValue(*again);
  KEELSON_CHECK(read.ok());
  KEELSON_CHECK(*read == *instance);
  return 0;
}
