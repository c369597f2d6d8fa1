// PKCS#7, the Authenticode content in it, and the ASN.1 reader on any bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/trust/internal/pkcs7.h"
#include "partition/trust/internal/spc.h"
#include "partition/trust/root_hash_signature.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  KEELSON_CHECK(!VerifyRootHash("0123456789abcdef0123456789abcdef01234567", bytes, {}).ok());
  const absl::StatusOr<Spc> spc = ParseSpc(bytes);
  if (spc.ok()) KEELSON_CHECK(!VerifyPkcs7(spc->pkcs7.get(), spc->content, {}).ok());
  (void)WithoutContentInfo(bytes);    // must not crash
  (void)ParseVeritySignature(bytes);  // must not crash
  return 0;
}
