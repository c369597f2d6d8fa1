// What UEFI trusts, as lists of certificates and digests: the contents of the variables PK, KEK,
// db and dbx, and of .esl files (EFI_SIGNATURE_LIST; UEFI 2.10, 32.4.1).
//
//   SignatureList list = CertificateList({certificate}, owner);
//   std::string esl = EncodeSignatureLists({list});
//
// One list: type GUID (16 bytes), size of the whole list, of a header and of each signature (4
// bytes each, little-endian), the header, then the signatures: owner GUID (16 bytes) and data.
//
// Threading: values.
#ifndef KEELSON_PARTITION_TRUST_SIGNATURE_LIST_H_
#define KEELSON_PARTITION_TRUST_SIGNATURE_LIST_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "partition/guid.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

// The types that are used; any other is kept as it is.
Guid X509SignatureType();    // a5c059a1-94e4-4aa7-87b5-ab155c2bf072, DER of a certificate
Guid Sha256SignatureType();  // c1c41626-504c-4092-aca9-41f936934328, the digest of a PE file

struct Signature {
  Guid owner;  // who put it in; for people
  std::string data;

  friend bool operator==(const Signature&, const Signature&) = default;
};

// All data of one list have one size, so each certificate has a list of its own.
struct SignatureList {
  Guid type;
  std::string header;  // empty in every type that is defined
  std::vector<Signature> signatures;

  friend bool operator==(const SignatureList&, const SignatureList&) = default;
};

std::vector<SignatureList> CertificateLists(std::span<const Certificate> certificates,
                                            const Guid& owner);

// INVALID_ARGUMENT: a digest is not 32 bytes long.
absl::StatusOr<SignatureList> DigestList(const std::vector<std::string>& digests,
                                         const Guid& owner);

// INVALID_ARGUMENT: a list is empty or its data have different sizes.
absl::StatusOr<std::string> EncodeSignatureLists(std::span<const SignatureList> lists);

// DATA_LOSS: not a sequence of lists; the message says at which byte.
absl::StatusOr<std::vector<SignatureList>> ParseSignatureLists(std::string_view bytes);

// The certificates in `lists`. DATA_LOSS: one is broken.
absl::StatusOr<std::vector<Certificate>> CertificatesIn(std::span<const SignatureList> lists);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_SIGNATURE_LIST_H_
