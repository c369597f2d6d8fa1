// Certificates that a member makes itself, for --auto-tls and --peer-auto-tls.
#ifndef KEELSON_KVSTORE_DAEMON_SELF_SIGNED_H_
#define KEELSON_KVSTORE_DAEMON_SELF_SIGNED_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file_system.h"
#include "base/tls.h"

namespace keelson::kvstore {

struct SelfSignedOptions {
  std::string directory;           // made if it is missing
  std::vector<std::string> hosts;  // names and addresses that the certificate is for
  absl::Duration validity = absl::Hours(24 * 365);  // from `now` on; at least a second
};

// The files cert.pem and key.pem in `directory`: as they are if both are there, else new ones
// (ECDSA over P-521, for servers and clients, signed by itself). The key is readable by its owner
// only. Nothing in between survives a crash: a key without a certificate is replaced.
//
// Errors: from `fs`; INTERNAL when OpenSSL refuses, naming the step.
absl::StatusOr<TlsFiles> SelfSignedCertificate(FileSystem& fs, const SelfSignedOptions& options,
                                               absl::Time now);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_SELF_SIGNED_H_
