// TLS settings of servers and clients, read and checked in one place, so that the HTTP and
// the gRPC listener of a daemon never differ.
//
//   KEELSON_ASSIGN_OR_RETURN(TlsMaterial material, LoadTlsMaterial({
//       .cert_file = "server.crt", .key_file = "server.key",
//       .ca_file = "clients-ca.crt", .require_client_cert = true}));
//   KEELSON_ASSIGN_OR_RETURN(auto context, TlsServerContext::Create(material));   // for base/http
//   auto credentials = GrpcServerCredentials(material);                           // base/tls_grpc.h
//
// Policy: TLS 1.2 at least; in TLS 1.2 only ECDHE with AES-GCM, the suites that gRPC allows;
// no renegotiation, no session resumption (each connection proves its certificate anew).
//
// Threading: everything here is immutable after construction.
#ifndef KEELSON_BASE_TLS_H_
#define KEELSON_BASE_TLS_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX.

namespace keelson {

struct TlsFiles {
  std::string cert_file = {};  // PEM: our certificate, then those that lead to the authority.
  std::string key_file = {};   // PEM, no passphrase.
  std::string ca_file =
      {};  // PEM: the authorities that the other side's certificate must come from.
  bool require_client_cert = false;  // Servers only. Needs ca_file.
};

// The contents of the files.
struct TlsMaterial {
  std::string cert_pem = {};
  std::string key_pem = {};
  std::string ca_pem = {};
  bool require_client_cert = false;
  // False: any certificate of the other side will do, whoever signed it and whatever its name.
  // That keeps listeners out, but no impostor. For members with certificates that each made
  // itself; such a server asks for no certificate, such a client has no use for ca_pem.
  bool verify_peer = true;
};

// Reads the files that are named and checks that they hold what they should and that the
// key fits the certificate.
//
// Errors:
//   INVALID_ARGUMENT  a certificate without key or the reverse, require_client_cert without
//                     ca_file, a file that is no PEM, a key of another certificate.
//   NOT_FOUND, PERMISSION_DENIED, any other   from reading; the message names the file.
absl::StatusOr<TlsMaterial> LoadTlsMaterial(const TlsFiles& files);

// How a server speaks TLS.
class TlsServerContext {
 public:
  // INVALID_ARGUMENT when `material` has no certificate, or is not what LoadTlsMaterial returns.
  // With ca_pem but without require_client_cert, a client may send a certificate, and then it
  // must be a good one.
  // `protocol`: chosen by ALPN; a client that offers only others is refused.
  enum class Protocol { kHttp11, kHttp2 };
  static absl::StatusOr<std::shared_ptr<const TlsServerContext>> Create(
      const TlsMaterial& material, Protocol protocol = Protocol::kHttp11);

  [[nodiscard]] ssl_ctx_st* ssl_ctx() const { return ctx_.get(); }

 private:
  explicit TlsServerContext(std::shared_ptr<ssl_ctx_st> ctx) : ctx_(std::move(ctx)) {}
  const std::shared_ptr<ssl_ctx_st> ctx_;
};

// How a client speaks TLS. It verifies the server's certificate; whoever uses it, its name. Neither
// without TlsMaterial::verify_peer.
class TlsClientContext {
 public:
  // Without ca_pem the system's authorities are trusted; a certificate is optional.
  static absl::StatusOr<std::shared_ptr<const TlsClientContext>> Create(
      const TlsMaterial& material);

  [[nodiscard]] ssl_ctx_st* ssl_ctx() const { return ctx_.get(); }
  // False: the name in the server's certificate is not to be looked at either.
  [[nodiscard]] bool verifies() const { return verifies_; }

 private:
  TlsClientContext(std::shared_ptr<ssl_ctx_st> ctx, bool verifies)
      : ctx_(std::move(ctx)), verifies_(verifies) {}
  const std::shared_ptr<ssl_ctx_st> ctx_;
  const bool verifies_;
};

// What OpenSSL's error queue of this thread holds, as one line; empties the queue.
std::string TakeTlsErrors();

}  // namespace keelson

#endif  // KEELSON_BASE_TLS_H_
