// Follows a certificate and its key on disk, so that they can be renewed without a restart.
//
//   KEELSON_ASSIGN_OR_RETURN(auto context, TlsServerContext::Create(material));
//   FollowCertificate(*context->ssl_ctx(), {.cert_file = "server.crt", .key_file = "server.key"});
#ifndef KEELSON_KVSTORE_CLIENT_CERTIFICATE_RELOAD_H_
#define KEELSON_KVSTORE_CLIENT_CERTIFICATE_RELOAD_H_

#include <functional>
#include <string>

#include "absl/status/status.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX.

namespace keelson::kvstore {

struct CertificateFiles {
  std::string cert_file;  // as of TlsFiles
  std::string key_file;
  // The files have changed and cannot be used; what was read before is shown until they change again.
  // On the thread of a connection; may be null.
  std::function<void(const absl::Status&)> on_trouble = nullptr;
};

// Each handshake of `context`, a server's or a client's, from now on shows what the files hold when
// it begins. Authorities and lists of revoked certificates are not followed here. Thread-safe, as
// the context is; before its first connection.
void FollowCertificate(ssl_ctx_st& context, CertificateFiles files);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_CERTIFICATE_RELOAD_H_
