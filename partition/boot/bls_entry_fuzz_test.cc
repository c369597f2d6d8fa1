// Boot entries, loader.conf and file names on any bytes: what can be written is read back the same.
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/boot/bls_entry.h"
#include "partition/boot/entry_name.h"
#include "partition/boot/version_order.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<BlsEntry> entry = ParseBlsEntry(bytes);
  if (entry.ok()) {
    const absl::StatusOr<std::string> text = EncodeBlsEntry(*entry);
    if (text.ok()) KEELSON_CHECK(*ParseBlsEntry(*text) == *entry);
  }
  const LoaderConf conf = ParseLoaderConf(bytes);
  (void)EncodeLoaderConf(conf);  // must not crash
  if (const auto name = ParseEntryName(bytes); name.has_value()) {
    const auto again = ParseEntryName(FileName(*name));
    // A counter with padding is written without it, and "+1.efi" has no name left without one.
    if (again.has_value()) KEELSON_CHECK(*again == *name);
    const auto next = AfterOneTry(*name);
    KEELSON_CHECK(!next.counter.has_value() || next.counter->left <= name->counter->left);
  }
  const std::string_view half = bytes.substr(0, size / 2);
  const auto order = CompareVersions(half, bytes.substr(size / 2));
  const auto back = CompareVersions(bytes.substr(size / 2), half);
  KEELSON_CHECK(std::is_lt(order) == std::is_gt(back) && std::is_eq(order) == std::is_eq(back));
  KEELSON_CHECK(std::is_eq(CompareVersions(bytes, bytes)));
  return 0;
}
