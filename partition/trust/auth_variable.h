// Signed updates of UEFI's authenticated variables: .auth files, by which PK, KEK, db and dbx are
// set (EFI_VARIABLE_AUTHENTICATION_2; UEFI 2.10, 8.2.2).
//
//   EFI_TIME                16 bytes; an update counts only if its time is later than the last one
//   WIN_CERTIFICATE         u32 size (24 and the signature), u16 0x0200, u16 0x0ef1
//   GUID                    4aafd29d-68df-49ee-8aa9-347d375665a7
//   SignedData              PKCS#7 in DER, without its ContentInfo
//   data                    the variable's new value; signature lists
//
// Signed is: name in UTF-16LE without NUL, vendor GUID, attributes (u32), EFI_TIME, data.
//
// Threading: pure functions.
#ifndef KEELSON_PARTITION_TRUST_AUTH_VARIABLE_H_
#define KEELSON_PARTITION_TRUST_AUTH_VARIABLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "partition/guid.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

// Non-volatile, for boot services and at run time, authenticated by time.
inline constexpr uint32_t kAuthVariableAttributes = 0x27;
// What also adds to the value instead of replacing it.
inline constexpr uint32_t kAppendWrite = 0x40;

struct VariableName {
  std::string name;  // ASCII, such as "db"
  Guid vendor;
};

// PK and KEK belong to the global vendor GUID, db, dbx, dbt and dbr to that of image security.
// INVALID_ARGUMENT: another name.
absl::StatusOr<VariableName> SecureBootVariable(std::string_view name);

struct VariableUpdate {
  VariableName variable;
  uint32_t attributes = kAuthVariableAttributes;
  absl::Time time;   // to the second, in UTC
  std::string data;  // empty: deletes the variable
};

// INVALID_ARGUMENT: the key is Ed25519, or the year has not four digits.
// FAILED_PRECONDITION: the certificate is for another key.
absl::StatusOr<std::string> SignVariable(const VariableUpdate& update, const PrivateKey& key,
                                         const Certificate& certificate);

struct SignedVariable {
  absl::Time time;
  std::string signature;  // SignedData in DER
  std::string data;
};

// DATA_LOSS: not the contents of an .auth file.
absl::StatusOr<SignedVariable> ParseSignedVariable(std::string_view bytes);

// Answers with the signer.
// Errors: as VerifyRootHash of root_hash_signature.h.
absl::StatusOr<Certificate> VerifyVariable(const VariableName& variable, uint32_t attributes,
                                           const SignedVariable& signed_variable,
                                           std::span<const Certificate> trusted);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_AUTH_VARIABLE_H_
