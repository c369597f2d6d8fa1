// Manifests on any bytes: the canonical form of a canonical form is itself, and without signatures
// nothing is released.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "partition/trust/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)ParseManifestTrust(bytes);  // must not crash
  KEELSON_CHECK(!VerifyManifest(bytes, {.threshold = 1, .keys = {}}, {}).ok());
  const absl::StatusOr<std::string> canonical = CanonicalManifest(bytes);
  if (!canonical.ok()) return 0;
  const absl::StatusOr<std::string> again =
      CanonicalManifest(absl::StrCat("{\"signatures\":[],\"signed\":", *canonical, "}"));
  KEELSON_CHECK_OK(again.status());
  KEELSON_CHECK(*again == *canonical);
  return 0;
}
