// Brings connections of a shared port to a gRPC server that has no port of its own.
#ifndef KEELSON_BASE_NET_GRPC_ACCEPTOR_H_
#define KEELSON_BASE_NET_GRPC_ACCEPTOR_H_

#include <memory>
#include <string>

#include "base/net/shared_port.h"

namespace grpc {
class ServerBuilder;
class ServerCredentials;
}  // namespace grpc

namespace keelson::net {

// Threading: Take is thread-safe.
class GrpcSink final : public ConnectionSink {
 public:
  // Registers with `builder`, before BuildAndStart. `credentials` as for a listening port.
  // gRPC closes connections that come before the server has started or after its shutdown.
  GrpcSink(grpc::ServerBuilder& builder, std::shared_ptr<grpc::ServerCredentials> credentials);
  ~GrpcSink() override;

  // Makes the socket non-blocking first: with a blocking one gRPC would hang for ever.
  void Take(UniqueFd fd, std::string already_read) override;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_GRPC_ACCEPTOR_H_
