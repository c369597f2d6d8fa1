// The certificates of a member: read, or made by itself, and what is asked of others'.
#ifndef KEELSON_KVSTORE_DAEMON_MEMBER_TLS_H_
#define KEELSON_KVSTORE_DAEMON_MEMBER_TLS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "base/tls.h"
#include "base/tls_policy.h"
#include "kvstore/config/options.h"

namespace keelson::kvstore {

// How a listener speaks TLS.
struct ListenerTls {
  TlsFiles files;
  TlsMaterial material;  // no certificate: plain text only
  TlsPolicy policy;

  // Follows the certificate's files. Precondition: there is a certificate.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<const TlsServerContext>> MakeContext(
      TlsProtocol protocol) const;
};

struct MemberTls {
  ListenerTls client;       // for clients
  ListenerTls peer;         // for members that call
  TlsMaterial peer_caller;  // for calling members
  // What is asked of members that are called: `peer.policy` without its log, since failures to connect
  // are told anyway.
  TlsPolicy called_policy;

  [[nodiscard]] absl::StatusOr<std::shared_ptr<const TlsClientContext>> MakeCallerContext() const;
};

// Errors as of LoadTlsMaterial and SelfSignedCertificate. Connections that are refused for their
// certificate, or whose other side refuses ours, are logged, some of them when they are many.
absl::StatusOr<MemberTls> LoadMemberTls(FileSystem& fs, const Options& options);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_MEMBER_TLS_H_
