// Signature lists and signed variables on any bytes: what is accepted is written back the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "partition/trust/auth_variable.h"
#include "partition/trust/signature_list.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<std::vector<SignatureList>> lists = ParseSignatureLists(bytes);
  if (lists.ok()) {
    const absl::StatusOr<std::string> again = EncodeSignatureLists(*lists);
    KEELSON_CHECK_OK(again.status());
    KEELSON_CHECK(*again == bytes);
    (void)CertificatesIn(*lists);  // must not crash
  }
  const absl::StatusOr<SignedVariable> variable = ParseSignedVariable(bytes);
  if (variable.ok()) {
    KEELSON_CHECK(variable->signature.size() + variable->data.size() <= size);
    KEELSON_CHECK(
        !VerifyVariable(*SecureBootVariable("db"), kAuthVariableAttributes, *variable, {}).ok());
  }
  return 0;
}
