// gRPC credentials from the TLS settings of base/tls.h, with the same policy as HTTP has.
#ifndef KEELSON_BASE_TLS_GRPC_H_
#define KEELSON_BASE_TLS_GRPC_H_

#include <memory>

#include "base/tls.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace keelson {

// For a server. `material` comes from LoadTlsMaterial and has a certificate.
std::shared_ptr<grpc::ServerCredentials> GrpcServerCredentials(const TlsMaterial& material);

// For a client; `material` may be empty, then the system's authorities are trusted. Without
// verify_peer the server's certificate may be anybody's.
std::shared_ptr<grpc::ChannelCredentials> GrpcChannelCredentials(const TlsMaterial& material);

}  // namespace keelson

#endif  // KEELSON_BASE_TLS_GRPC_H_
