// How the transport uses gRPC: channels, credentials, the caller's metadata, buffers.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_CHANNEL_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_CHANNEL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/transport/codec.h"
#include "raft/transport/grpc_transport.h"

namespace keelson::raft::transport {

// A connection of its own to `address`, made when first used.
std::shared_ptr<grpc::Channel> OpenChannel(const GrpcTransport::Options& options,
                                           const std::string& address);

std::shared_ptr<grpc::ServerCredentials> ServerCredentials(const GrpcTransport::Options& options);

// Limits and keep-alive of a server of our own.
void ConfigureServer(const GrpcTransport::Options& options, grpc::ServerBuilder& builder);

// Says who calls and who is meant.
void AddCallerMetadata(const GrpcTransport::Options& options, NodeId to,
                       grpc::ClientContext& context);

// Who calls, checked: FAILED_PRECONDITION for another cluster or another addressee,
// INVALID_ARGUMENT when the metadata are missing, PERMISSION_DENIED by Options::authorize.
struct Caller {
  NodeId from = kNoNode;  // as it says; 0 when it does not
  absl::Status status;
};
Caller CheckCaller(const GrpcTransport::Options& options,
                   const grpc::CallbackServerContext& context);

// The callee puts this into its initial metadata when it has accepted the stream.
inline constexpr char kAcceptedKey[] = "keelson-accepted";

absl::Status FromGrpc(const grpc::Status& status);
grpc::Status ToGrpc(const absl::Status& status);

// Shares the payloads with `batch`.
grpc::ByteBuffer ToByteBuffer(WireBatch batch);

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_CHANNEL_H_
