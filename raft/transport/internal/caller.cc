#include "raft/transport/internal/caller.h"

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/tls_policy.h"

namespace keelson::raft::transport {
namespace {

constexpr char kClusterKey[] = "keelson-cluster";
constexpr char kFromKey[] = "keelson-from";
constexpr char kToKey[] = "keelson-to";

// After so long without traffic a ping is sent, and so long after it the connection is given up.
constexpr absl::Duration kKeepAlive = absl::Seconds(2);
constexpr absl::Duration kKeepAliveTimeout = absl::Seconds(3);
constexpr absl::Duration kConnectTimeout = absl::Seconds(2);
constexpr size_t kMaxResponseBytes = 1 << 20;  // acks and results

TlsMaterial MaterialOf(const PeerTransport::Tls& tls) {
  return {.cert_pem = tls.certificate,
          .key_pem = tls.key,
          .ca_pem = tls.ca,
          .require_client_cert = tls.verify_peers,
          .verify_peer = tls.verify_peers};
}

std::optional<uint64_t> FindHex(const rpc::Call& call, std::string_view key) {
  std::optional<uint64_t> found;
  for (const auto& [name, text] : call.AllMetadata()) {
    if (name != key) continue;
    if (found.has_value()) return std::nullopt;
    uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [next, error] = std::from_chars(text.data(), end, value, 16);
    if (error != std::errc() || next != end) return std::nullopt;
    found = value;
  }
  return found;
}

// The alternative names in the caller's certificate, else its common name.
std::vector<std::string> NamesOf(const rpc::Peer& peer) {
  std::vector<std::string> names;
  if (peer.certificate == nullptr) return names;
  for (const auto* list :
       {&peer.certificate->dns_names, &peer.certificate->uris, &peer.certificate->ip_addresses}) {
    names.insert(names.end(), list->begin(), list->end());
  }
  if (names.empty() && !peer.certificate->common_name.empty()) {
    names.push_back(peer.certificate->common_name);
  }
  return names;
}

}  // namespace

absl::StatusOr<TlsContexts> MakeTlsContexts(const PeerTransport::Options& options) {
  TlsContexts contexts;
  if (!options.tls.has_value()) return contexts;
  const TlsMaterial material = MaterialOf(*options.tls);
  if (!options.listen_address.empty()) {
    KEELSON_ASSIGN_OR_RETURN(contexts.server,
                             TlsServerContext::Create(material, TlsProtocol::kHttp2));
    KEELSON_RETURN_IF_ERROR(ApplyTlsPolicy(*contexts.server, options.tls->policy));
  }
  KEELSON_ASSIGN_OR_RETURN(contexts.client,
                           TlsClientContext::Create(material, TlsProtocol::kHttp2));
  KEELSON_RETURN_IF_ERROR(ApplyTlsPolicy(*contexts.client, options.tls->policy));
  return contexts;
}

std::unique_ptr<rpc::Channel> OpenChannel(Hub& hub, const std::string& address) {
  const PeerTransport::Options& options = hub.options();
  rpc::ChannelOptions channel;
  channel.address = address;
  channel.tls = hub.tls().client;
  if (options.tls.has_value()) channel.server_name = options.tls->server_name;
  channel.resolver = &hub.resolver();
  channel.max_response_bytes = kMaxResponseBytes;
  channel.connect_timeout = kConnectTimeout;
  channel.keepalive_interval = kKeepAlive;
  channel.keepalive_timeout = kKeepAliveTimeout;
  return rpc::Channel::Create(hub.loop(), std::move(channel));
}

rpc::ServerOptions OwnServerOptions(Hub& hub) {
  rpc::ServerOptions server;
  server.loops = {&hub.loop()};
  server.max_request_bytes = hub.options().max_receive_bytes;
  server.ping_interval_min = kKeepAlive / 2;
  server.keepalive_interval = kKeepAlive;
  server.keepalive_timeout = kKeepAliveTimeout;
  server.tls = hub.tls().server;
  return server;
}

rpc::CallOptions CallTo(const PeerTransport::Options& options, NodeId to, const char* method) {
  rpc::CallOptions call;
  call.path = method;
  call.metadata = {{kClusterKey, absl::StrFormat("%x", options.cluster_id)},
                   {kFromKey, absl::StrFormat("%x", options.self)},
                   {kToKey, absl::StrFormat("%x", to)}};
  return call;
}

Caller CheckCaller(const PeerTransport::Options& options, const rpc::Call& call) {
  const std::optional<uint64_t> cluster = FindHex(call, kClusterKey);
  const std::optional<uint64_t> from = FindHex(call, kFromKey);
  const std::optional<uint64_t> to = FindHex(call, kToKey);
  Caller caller = {.from = from.value_or(kNoNode), .status = absl::OkStatus()};
  if (!cluster.has_value() || !from.has_value() || !to.has_value() || *from == kNoNode ||
      *from == options.self) {
    caller.status = absl::InvalidArgumentError(absl::StrFormat(
        "caller %s does not say which node of which cluster it is", call.peer().address));
    return caller;
  }
  if (*cluster != options.cluster_id || *to != options.self) {
    caller.status = absl::FailedPreconditionError(absl::StrFormat(
        "node %x of cluster %x was called as node %x of cluster %x by node %x at %s", options.self,
        options.cluster_id, *to, *cluster, *from, call.peer().address));
    return caller;
  }
  if (!options.authorize) return caller;
  if (absl::Status allowed = options.authorize(*from, NamesOf(call.peer())); !allowed.ok()) {
    caller.status = absl::PermissionDeniedError(
        absl::StrCat("caller at ", call.peer().address, " may not speak for node ",
                     absl::Hex(*from), ": ", allowed.message()));
  }
  return caller;
}

std::string Join(const WireBatch& batch) {
  std::string bytes;
  bytes.reserve(batch.bytes);
  for (const WirePiece& piece : batch.pieces) bytes += piece.view();
  return bytes;
}

}  // namespace keelson::raft::transport
