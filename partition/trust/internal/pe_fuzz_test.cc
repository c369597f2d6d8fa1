// The PE reader, and all that builds on it, on any bytes: nothing is read outside them, a program
// that is accepted keeps its digest when its signatures are taken off, and nothing is trusted by
// chance.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/trust/authenticode.h"
#include "partition/trust/pe_image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<PeImage> image = ParsePe(bytes);
  KEELSON_CHECK(!VerifyPe(bytes, {}).ok()) << "trusted by nobody";
  if (!image.ok()) return 0;
  size_t sum = 0;
  for (const PeSection& section : image->sections) sum += image->Contents(bytes, section).size();
  KEELSON_CHECK(sum <= size);
  const absl::StatusOr<std::string> digest = PeDigest(bytes);
  KEELSON_CHECK_OK(digest.status());
  const absl::StatusOr<std::string> plain = RemovePeSignatures(bytes);
  KEELSON_CHECK_OK(plain.status());
  KEELSON_CHECK_OK(ParsePe(*plain).status());
  if (plain->size() % 8 == 0) KEELSON_CHECK(*PeDigest(*plain) == *digest);
  return 0;
}
