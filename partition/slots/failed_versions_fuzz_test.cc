// Any text as the ledger of failed versions: what is accepted is written as it was read.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/slots/failed_versions.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using keelson::partition::FailedVersions;
  const absl::StatusOr<FailedVersions> versions =
      FailedVersions::Parse({reinterpret_cast<const char*>(data), size});
  if (!versions.ok()) return 0;
  const absl::StatusOr<FailedVersions> again = FailedVersions::Parse(versions->ToJson());
  KEELSON_CHECK(again.ok() && *again == *versions) << "another after writing and reading";
  return 0;
}
