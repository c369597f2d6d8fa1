// Signatures over the root hash of dm-verity: what the kernel, systemd and veritysetup take.
//
//   KEELSON_ASSIGN_OR_RETURN(const std::string p7, SignRootHash(root_hash, key, certificate));
//   KEELSON_RETURN_IF_ERROR(VerifyRootHash(root_hash, p7, trusted));
//
// The signature is a detached PKCS#7 in DER over the root hash as lower-case hexadecimal text
// without a line end (Linux Documentation/admin-guide/device-mapper/verity.rst,
// root_hash_sig_key_desc).
//
// Threading: pure functions.
#ifndef KEELSON_PARTITION_TRUST_ROOT_HASH_SIGNATURE_H_
#define KEELSON_PARTITION_TRUST_ROOT_HASH_SIGNATURE_H_

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

// `root_hash`: 40 to 128 hexadecimal digits of either case.
//
// Errors:
//   INVALID_ARGUMENT     `root_hash` is something else, or the key is of a kind that PKCS#7 does
//                        not have (Ed25519).
//   FAILED_PRECONDITION  the certificate is for another key.
absl::StatusOr<std::string> SignRootHash(std::string_view root_hash, const PrivateKey& key,
                                         const Certificate& certificate);

// Answers with the signer's certificate.
//
// Errors:
//   INVALID_ARGUMENT   as above.
//   PERMISSION_DENIED  none of `trusted` made the signature or certified who did.
//   DATA_LOSS          it is no PKCS#7 signature, or one over something else.
absl::StatusOr<Certificate> VerifyRootHash(std::string_view root_hash, std::string_view signature,
                                           std::span<const Certificate> trusted);

// Contents of a partition of type usr-verity-sig or root-verity-sig
// (UAPI.2, discoverable partitions): a JSON object, padded with zeros.
struct VeritySignature {
  std::string root_hash;                // hexadecimal
  std::string certificate_fingerprint;  // hexadecimal SHA-256 of the DER; may be empty
  std::string signature;                // PKCS#7 in DER
};

inline constexpr size_t kVeritySignatureMultiple = 4096;

// A multiple of 4096 bytes.
std::string EncodeVeritySignature(const VeritySignature& signature);

// DATA_LOSS: not such an object, or more than 1 MiB. Keys that are not known are passed over.
absl::StatusOr<VeritySignature> ParseVeritySignature(std::string_view bytes);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_ROOT_HASH_SIGNATURE_H_
