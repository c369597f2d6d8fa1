// PKCS#7 signed data (RFC 2315), as the kernel, UEFI firmware and Authenticode take it.
//
// Trust is: the signer's certificate, or one that issued it, is among the trusted ones. Periods of
// validity and uses of keys are not looked at, as the kernel's keyrings and UEFI do it: a machine
// without a clock must be able to boot.
#ifndef KEELSON_PARTITION_TRUST_INTERNAL_PKCS7_H_
#define KEELSON_PARTITION_TRUST_INTERNAL_PKCS7_H_

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

// Larger ones are refused before they are parsed. A signature with a few certificates has 3 KiB.
inline constexpr size_t kPkcs7BytesMax = size_t{1} << 20;

// The DER of a ContentInfo, or of the SignedData in it, as UEFI variables have it. Zeros behind it
// are taken as padding.
// DATA_LOSS: anything else, and PKCS#7 that is not signed data.
absl::StatusOr<Pkcs7Ptr> ParsePkcs7(std::string_view der);

// The DER of a ContentInfo without its content and without signed attributes, SHA-256.
absl::StatusOr<std::string> SignDetached(std::string_view content, const PrivateKey& key,
                                         const Certificate& certificate, bool embed_certificate);

// The SignedData inside a ContentInfo that SignDetached made.
absl::StatusOr<std::string> WithoutContentInfo(std::string_view der);

// Checks every signature of `pkcs7` over `content` and answers with the certificate of the first.
//
// Errors:
//   PERMISSION_DENIED   no trusted certificate made it; the message names the signer.
//   DATA_LOSS           it is not a signature over `content`, or it is there in no form that is
//                       taken: no signer, or a digest older than SHA-256.
absl::StatusOr<Certificate> VerifyPkcs7(PKCS7* pkcs7, std::string_view content,
                                        std::span<const Certificate> trusted);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_INTERNAL_PKCS7_H_
