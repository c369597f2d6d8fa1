// Authenticode: signatures inside UEFI programs, which the firmware checks under Secure Boot.
//
//   KEELSON_ASSIGN_OR_RETURN(const std::string signed_pe,
//                            SignPe(pe, key, certificate, {.time = now}));
//   KEELSON_ASSIGN_OR_RETURN(const PeVerdict verdict, VerifyPe(signed_pe, db_certificates));
//
// What is signed is the SHA-256 over the file without its checksum, the directory entry of the
// certificate table and that table itself (Microsoft, "Windows Authenticode Portable Executable
// Signature Format"; UEFI 2.10, 32.5). That says that something changed, but not what. So our
// signatures also carry, as a signed attribute of their own, the digest of each section; with it a
// refusal names the sections that changed. Others pass over that attribute.
//
// Threading: pure functions.
#ifndef KEELSON_PARTITION_TRUST_AUTHENTICODE_H_
#define KEELSON_PARTITION_TRUST_AUTHENTICODE_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

// The digest that a signature is about: 32 bytes. A file that is not a multiple of 8 bytes long
// counts with the zeros that signing will put behind it.
// DATA_LOSS: `pe` is no sound PE file.
absl::StatusOr<std::string> PeDigest(std::string_view pe);

struct PeSignOptions {
  // Goes into the signature. The same time gives the same bytes, with an RSA key.
  absl::Time time;
};

// `pe` with one more signature behind those it has.
//
// Errors:
//   DATA_LOSS            `pe` is no sound PE file.
//   INVALID_ARGUMENT     the key is Ed25519, which PKCS#7 does not have.
//   FAILED_PRECONDITION  the certificate is for another key.
absl::StatusOr<std::string> SignPe(std::string_view pe, const PrivateKey& key,
                                   const Certificate& certificate, const PeSignOptions& options);

// `pe` without its signatures.
absl::StatusOr<std::string> RemovePeSignatures(std::string_view pe);

// The PKCS#7 of each signature, in their order. Empty: `pe` is not signed.
// DATA_LOSS: `pe` or its certificate table is broken.
absl::StatusOr<std::vector<std::string>> PeSignatures(std::string_view pe);

struct PeVerdict {
  int signature = 0;   // which one is trusted, from 0
  int signatures = 0;  // how many there are
  std::string digest;  // 32 bytes
  Certificate signer;
};

// Accepts `pe` when one of its signatures was made by a trusted certificate, or one that such a
// certificate issued, as the firmware does with db. What is no signature of a kind that we know is
// passed over.
//
// Errors:
//   DATA_LOSS          it is no sound PE file, or a trusted signature is about another digest: the
//                      message names the sections that changed, if the signature tells them.
//   PERMISSION_DENIED  it is not signed, or by nobody that is trusted; the message says which.
absl::StatusOr<PeVerdict> VerifyPe(std::string_view pe, std::span<const Certificate> trusted);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_AUTHENTICODE_H_
