// Keys inside PKCS#11 tokens, by OpenSSL's engine or provider.
#ifndef KEELSON_PARTITION_TRUST_INTERNAL_PKCS11_H_
#define KEELSON_PARTITION_TRUST_INTERNAL_PKCS11_H_

#include <string>

#include "absl/status/statusor.h"
#include "partition/trust/internal/openssl.h"

namespace keelson::partition {

// As OpenPrivateKey of keys.h for a URI. `module` is the token's shared library, or empty.
absl::StatusOr<KeyPtr> OpenPkcs11Key(const std::string& uri, const std::string& module);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_INTERNAL_PKCS11_H_
