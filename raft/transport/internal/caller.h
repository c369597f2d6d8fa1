// How the transport uses base/rpc: channels and TLS, and what a caller says of itself.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_CALLER_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_CALLER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/rpc/call.h"
#include "base/rpc/client.h"
#include "base/rpc/server.h"
#include "base/tls.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/hub.h"
#include "raft/transport/peer_transport.h"

namespace keelson::raft::transport {

inline constexpr char kStreamMethod[] = "/keelson.raft.transport.v1.RaftTransport/Stream";
inline constexpr char kSnapshotMethod[] = "/keelson.raft.transport.v1.RaftTransport/SendSnapshot";

// TLS for both directions; both null without Options::tls, `server` also without listen_address. INVALID_ARGUMENT for what is no certificate
// or key.
absl::StatusOr<TlsContexts> MakeTlsContexts(const PeerTransport::Options& options);

// A connection of its own to `address`, made when first used.
std::unique_ptr<rpc::Channel> OpenChannel(Hub& hub, const std::string& address);

// Limits and keep-alive of a server of our own.
rpc::ServerOptions OwnServerOptions(Hub& hub);

// Says who calls and who is meant.
rpc::CallOptions CallTo(const PeerTransport::Options& options, NodeId to, const char* method);

// Who calls, checked: FAILED_PRECONDITION for another cluster or another addressee,
// INVALID_ARGUMENT when the metadata are missing, PERMISSION_DENIED by Options::authorize.
struct Caller {
  NodeId from = kNoNode;  // as it says; 0 when it does not
  absl::Status status;
};
Caller CheckCaller(const PeerTransport::Options& options, const rpc::Call& call);

// The callee puts this into its response's header when it has accepted the stream.
inline constexpr char kAcceptedKey[] = "keelson-accepted";

// The batch as one message.
std::string Join(const WireBatch& batch);

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_CALLER_H_
