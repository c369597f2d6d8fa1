// Unified images on any bytes: what is made of an accepted stub holds what was put in.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/boot/uki.h"
#include "partition/trust/pe_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)IdentityOf(ParseOsRelease(bytes));  // must not crash
  (void)ParseUki(bytes);                    // must not crash
  const UkiParts parts = {
      .os_release = "ID=x\n", .cmdline = "quiet", .initrd = "i", .linux = std::string(bytes)};
  const absl::StatusOr<std::string> uki = AssembleUki(bytes, parts);
  if (!uki.ok()) return 0;
  KEELSON_CHECK_OK(ParsePe(*uki).status());
  const absl::StatusOr<UkiParts> again = ParseUki(*uki);
  KEELSON_CHECK_OK(again.status());
  KEELSON_CHECK(again->linux == bytes && again->cmdline == "quiet" && again->initrd == "i");
  return 0;
}
