#include "raft/transport/internal/channel.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/tls.h"
#include "base/tls_grpc.h"

namespace keelson::raft::transport {
namespace {

constexpr char kClusterKey[] = "keelson-cluster";
constexpr char kFromKey[] = "keelson-from";
constexpr char kToKey[] = "keelson-to";

constexpr int kKeepAliveMillis = 2000;         // after so long without traffic a ping is sent
constexpr int kKeepAliveTimeoutMillis = 3000;  // and the connection is given up so long after it
// gRPC's own back-off does not matter: a lane resets it before each attempt. This one is, in
// spite of its name, the longest time that one attempt to connect may take.
constexpr int kConnectTimeoutMillis = 2000;
constexpr size_t kCopyBytes = 1024;  // shorter pieces are cheaper to copy than to share

TlsMaterial MaterialOf(const GrpcTransport::Tls& tls) {
  return {.cert_pem = tls.certificate,
          .key_pem = tls.key,
          .ca_pem = tls.ca,
          .require_client_cert = tls.verify_peers,
          .verify_peer = tls.verify_peers};
}

std::optional<uint64_t> FindHex(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  if (found == metadata.end() || metadata.count(key) != 1) return std::nullopt;
  uint64_t value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto [next, error] = std::from_chars(found->second.data(), end, value, 16);
  if (error != std::errc() || next != end) return std::nullopt;
  return value;
}

}  // namespace

std::shared_ptr<grpc::Channel> OpenChannel(const GrpcTransport::Options& options,
                                           const std::string& address) {
  grpc::ChannelArguments arguments;
  // Otherwise all channels to one address share a connection, and bulk would delay urgent.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMillis);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMillis);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveTimeoutMillis);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(1 << 20);  // acks and results
  arguments.SetMaxSendMessageSize(-1);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (options.tls.has_value()) {
    credentials = GrpcChannelCredentials(MaterialOf(*options.tls));
    if (options.tls->verify_peers && !options.tls->server_name.empty()) {
      arguments.SetSslTargetNameOverride(options.tls->server_name);
    }
  }
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

std::shared_ptr<grpc::ServerCredentials> ServerCredentials(const GrpcTransport::Options& options) {
  if (!options.tls.has_value()) return grpc::InsecureServerCredentials();
  return GrpcServerCredentials(MaterialOf(*options.tls));
}

void ConfigureServer(const GrpcTransport::Options& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_receive_bytes));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a taken port is an error
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveTimeoutMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kKeepAliveMillis / 2);
}

void AddCallerMetadata(const GrpcTransport::Options& options, NodeId to,
                       grpc::ClientContext& context) {
  context.AddMetadata(kClusterKey, absl::StrFormat("%x", options.cluster_id));
  context.AddMetadata(kFromKey, absl::StrFormat("%x", options.self));
  context.AddMetadata(kToKey, absl::StrFormat("%x", to));
}

Caller CheckCaller(const GrpcTransport::Options& options,
                   const grpc::CallbackServerContext& context) {
  const std::optional<uint64_t> cluster = FindHex(context, kClusterKey);
  const std::optional<uint64_t> from = FindHex(context, kFromKey);
  const std::optional<uint64_t> to = FindHex(context, kToKey);
  Caller caller = {.from = from.value_or(kNoNode), .status = absl::OkStatus()};
  if (!cluster.has_value() || !from.has_value() || !to.has_value() || *from == kNoNode ||
      *from == options.self) {
    caller.status = absl::InvalidArgumentError(absl::StrFormat(
        "caller %s does not say which node of which cluster it is", context.peer()));
    return caller;
  }
  if (*cluster != options.cluster_id || *to != options.self) {
    caller.status = absl::FailedPreconditionError(absl::StrFormat(
        "node %x of cluster %x was called as node %x of cluster %x by node %x at %s", options.self,
        options.cluster_id, *to, *cluster, *from, context.peer()));
    return caller;
  }
  if (!options.authorize) return caller;
  std::vector<std::string> names;
  for (const grpc::string_ref& name : context.auth_context()->GetPeerIdentity()) {
    names.emplace_back(name.data(), name.size());
  }
  if (absl::Status allowed = options.authorize(*from, names); !allowed.ok()) {
    caller.status = absl::PermissionDeniedError(
        absl::StrCat("caller at ", context.peer(), " may not speak for node ", absl::Hex(*from),
                     ": ", allowed.message()));
  }
  return caller;
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

grpc::ByteBuffer ToByteBuffer(WireBatch batch) {
  std::vector<grpc::Slice> slices;
  slices.reserve(batch.pieces.size());
  for (WirePiece& piece : batch.pieces) {
    const std::string_view view = piece.view();
    if (view.size() <= kCopyBytes) {
      slices.emplace_back(view.data(), view.size());
      continue;
    }
    // The slice owns the piece; moving a string of this size keeps its buffer in place.
    auto* owner = new WirePiece(std::move(piece));
    const std::string_view bytes = owner->view();
    slices.emplace_back(
        const_cast<char*>(bytes.data()), bytes.size(),
        [](void* p) { delete static_cast<WirePiece*>(p); }, owner);
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace keelson::raft::transport
