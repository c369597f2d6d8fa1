// The ClientHello parser on any bytes: more bytes never change an answer that was given.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/net/sniff.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using keelson::net::Sniff;
  using keelson::net::Sniffed;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool tls : {false, true}) {
    const Sniffed whole = Sniff(bytes, tls);
    const Sniffed half = Sniff(bytes.substr(0, size / 2), tls);
    if (size < keelson::net::kSniffBytesMax) {
      KEELSON_CHECK(half == Sniffed::kNeedMore || half == whole);
    } else {
      KEELSON_CHECK(whole != Sniffed::kNeedMore);
    }
  }
  return 0;
}
