// The ASN.1 of an Authenticode signature: what is signed, and the digests of sections beside it.
#ifndef KEELSON_PARTITION_TRUST_INTERNAL_SPC_H_
#define KEELSON_PARTITION_TRUST_INTERNAL_SPC_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

// One part of a file and its SHA-256. Parts that are no section have names in brackets.
struct PartDigest {
  std::string name;
  std::string digest;  // 32 bytes

  friend bool operator==(const PartDigest&, const PartDigest&) = default;
};

// The DER of a PKCS#7 whose content is an SpcIndirectDataContent about `pe_digest`.
absl::StatusOr<std::string> SignSpc(std::string_view pe_digest,
                                    const std::vector<PartDigest>& parts, const PrivateKey& key,
                                    const Certificate& certificate, absl::Time time);

struct Spc {
  Pkcs7Ptr pkcs7;
  std::string content;  // what is signed
  std::string digest;   // of the PE file, 32 bytes
  std::vector<PartDigest>
      parts;  // empty: the signature has none. To be believed once it is verified.
};

// DATA_LOSS: not an Authenticode signature with SHA-256.
absl::StatusOr<Spc> ParseSpc(std::string_view der);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_INTERNAL_SPC_H_
