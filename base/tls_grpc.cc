#include "base/tls_grpc.h"

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "base/check.h"

namespace keelson {

std::shared_ptr<grpc::ServerCredentials> GrpcServerCredentials(const TlsMaterial& material) {
  KEELSON_CHECK(!material.cert_pem.empty() && !material.key_pem.empty());
  // The same three cases as in TlsServerContext::Create.
  auto request = GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
  if (!material.ca_pem.empty() && material.verify_peer) {
    request = material.require_client_cert
                  ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                  : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  grpc::SslServerCredentialsOptions options(request);
  options.pem_root_certs = material.ca_pem;
  options.pem_key_cert_pairs.push_back({material.key_pem, material.cert_pem});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> GrpcChannelCredentials(const TlsMaterial& material) {
  if (!material.verify_peer) {
    // SslCredentials always verify, so these are the only ones that can do without.
    grpc::experimental::TlsChannelCredentialsOptions options;
    options.set_verify_server_certs(false);
    options.set_check_call_host(false);
    options.set_certificate_verifier(
        std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
    if (!material.cert_pem.empty()) {
      options.set_certificate_provider(
          std::make_shared<grpc::experimental::StaticDataCertificateProvider>(
              std::vector<grpc::experimental::IdentityKeyCertPair>{
                  {material.key_pem, material.cert_pem}}));
      options.watch_identity_key_cert_pairs();
    }
    return grpc::experimental::TlsCredentials(options);
  }
  return grpc::SslCredentials({.pem_root_certs = material.ca_pem,
                               .pem_private_key = material.key_pem,
                               .pem_cert_chain = material.cert_pem});
}

}  // namespace keelson
