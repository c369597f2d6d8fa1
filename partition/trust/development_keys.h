// A complete set of keys to try things with: for Secure Boot, for root hashes and for releases.
//
// It is for development only. All private keys lie unprotected in one place, which is what a
// product must not do; every certificate and file says so.
#ifndef KEELSON_PARTITION_TRUST_DEVELOPMENT_KEYS_H_
#define KEELSON_PARTITION_TRUST_DEVELOPMENT_KEYS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "partition/guid.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

struct KeySetFile {
  std::string name;
  std::string contents;
  bool secret = false;
};

struct KeyPair {
  PrivateKey key;
  std::string key_pem;
  Certificate certificate;
};

// An RSA key of 2048 bits and a certificate for it by itself, valid from `now` for ten years.
// INTERNAL: OpenSSL failed.
absl::StatusOr<KeyPair> MakeSelfSigned(const std::string& common_name, absl::Time now);

// The files of a set:
//
//   PK.key .crt .esl .auth     platform key: signs changes of KEK
//   KEK.key .crt .esl .auth    signs changes of db
//   db.key .crt .esl .auth     signs UEFI programs
//   verity.key .crt .esl       signs root hashes; the list is for shim, see docs/trust.md
//   release-{1,2,3}.key .pub   sign manifests, two of three
//   manifest-keys.json         that rule, for VerifyManifest
//   README                     what this is
//
// `owner` is put into the signature lists.
absl::StatusOr<std::vector<KeySetFile>> MakeDevelopmentKeys(const std::string& name, absl::Time now,
                                                            const Guid& owner);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_DEVELOPMENT_KEYS_H_
