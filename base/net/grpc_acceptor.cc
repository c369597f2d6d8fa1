#include "base/net/grpc_acceptor.h"

#include <fcntl.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>

#include <utility>

namespace keelson::net {

struct GrpcSink::Impl {
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
};

GrpcSink::GrpcSink(grpc::ServerBuilder& builder,
                   std::shared_ptr<grpc::ServerCredentials> credentials)
    : impl_(std::make_unique<Impl>()) {
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  impl_->acceptor =
      builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, std::move(credentials));
}

GrpcSink::~GrpcSink() = default;

void GrpcSink::Take(UniqueFd fd, std::string already_read) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return;  // Closes it.
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.fd = fd.Release();
  if (!already_read.empty()) {
    const grpc::Slice slice(already_read);
    parameters.read_buffer = grpc::ByteBuffer(&slice, 1);
  }
  impl_->acceptor->HandleNewConnection(&parameters);
}

}  // namespace keelson::net
