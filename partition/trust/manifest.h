// Release manifests: what belongs to one release, signed by several people.
//
//   KEELSON_ASSIGN_OR_RETURN(std::string text, EncodeManifest(manifest));
//   KEELSON_ASSIGN_OR_RETURN(text, SignManifest(text, alice));
//   KEELSON_ASSIGN_OR_RETURN(text, SignManifest(text, bob));
//   KEELSON_ASSIGN_OR_RETURN(const ReleaseManifest release, VerifyManifest(text, trust, policy));
//
// dm-verity proves that a system is one that was released; it accepts an old release as gladly. The
// manifest adds what that leaves open: which parts belong together, until when an offer counts (so
// that nobody can keep a machine on an old release by repeating it), a rollback index that only
// grows, and that no single stolen key can release.
//
//   {"signatures":[{"key":"<key id>","signature":"<base64>"}],
//    "signed":{"artifacts":[...],"expires":"2026-06-01T00:00:00Z", ...}}
//
// The signatures are over the canonical form of "signed": RFC 8785 for a document whose numbers are
// integers, that is no white space, keys sorted, and only those characters escaped that must be.
// docs/trust.md lists the keys.
//
// Threading: pure functions on values.
#ifndef KEELSON_PARTITION_TRUST_MANIFEST_H_
#define KEELSON_PARTITION_TRUST_MANIFEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "partition/trust/keys.h"

namespace keelson::partition {

struct ReleaseArtifact {
  std::string role;  // "usr", "usr-verity", "uki", ...; each at most once
  std::string name;  // of the file
  uint64_t bytes = 0;
  std::string sha256;     // 64 hexadecimal digits
  std::string root_hash;  // of dm-verity, hexadecimal; may be empty

  friend bool operator==(const ReleaseArtifact&, const ReleaseArtifact&) = default;
};

struct ReleaseManifest {
  std::string product;
  std::string version;
  std::string architecture;     // "x86-64"
  uint64_t rollback_index = 0;  // grows when older releases must not come back; below 2^53
  absl::Time issued;            // to the second
  absl::Time expires;
  std::vector<ReleaseArtifact> artifacts;

  friend bool operator==(const ReleaseManifest&, const ReleaseManifest&) = default;
};

// Who may release: `threshold` different ones of `keys`.
struct ManifestTrust {
  int threshold = 1;
  std::vector<PublicKey> keys;
};

// A JSON object {"keys": [PEM, ...], "threshold": k}.
// INVALID_ARGUMENT: a key is there twice, or the threshold is below 1 or above their number.
absl::StatusOr<ManifestTrust> ParseManifestTrust(std::string_view json);
std::string EncodeManifestTrust(const ManifestTrust& trust);

// A manifest without signatures.
// INVALID_ARGUMENT names the field that is empty or malformed.
absl::StatusOr<std::string> EncodeManifest(const ReleaseManifest& manifest);

// `text` with the signature of `key`, in place of one that it may have of the same key. The
// manifest itself must be well formed, but is not judged: it may have expired.
absl::StatusOr<std::string> SignManifest(std::string_view text, const PrivateKey& key);

// The bytes that are signed. DATA_LOSS: as VerifyManifest.
absl::StatusOr<std::string> CanonicalManifest(std::string_view text);

struct ManifestPolicy {
  std::string product;
  std::string architecture;
  absl::Time now;
  uint64_t rollback_index_min = 0;  // the highest that this machine has booted
};

// Reads the manifest after its signatures have been found to suffice.
//
// Errors:
//   DATA_LOSS            not a manifest: no JSON, a key that is there twice or is not known, a
//                        number that is no integer, more than 1 MiB.
//   PERMISSION_DENIED    fewer than `threshold` different keys signed it; the message counts.
//   FAILED_PRECONDITION  it expired, was issued after `now`, has too low a rollback index, or is
//                        for another product or architecture.
absl::StatusOr<ReleaseManifest> VerifyManifest(std::string_view text, const ManifestTrust& trust,
                                               const ManifestPolicy& policy);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_MANIFEST_H_
