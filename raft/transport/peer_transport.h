// Raft messages between the members of a cluster, over gRPC.
//
//   KEELSON_ASSIGN_OR_RETURN(auto transport, PeerTransport::Create({
//       .self = 1, .cluster_id = 0xc1, .listen_address = "10.0.0.1:2380",
//       .peers = {{2, "10.0.0.2:2380"}, {3, "10.0.0.3:2380"}}, .snapshots = store.get()}));
//   KEELSON_ASSIGN_OR_RETURN(auto node, Node::Start(..., {.transport = transport.get(), ...}));
//   KEELSON_RETURN_IF_ERROR(transport->Start(*node));
//   ...
//   transport->Stop();  // before the node goes
//
// Each peer has two lanes, which are connections of their own: "bulk" for appends and
// proposals, in the order sent, and "urgent" for all that is small. So a heartbeat never
// waits behind a megabyte. Snapshots travel on a third connection, one at a time a peer; a
// transfer that breaks, or of which a chunk is damaged on the way, goes on behind the last
// good chunk.
// Whatever waits when a lane becomes free goes out as one batch; payloads are not copied.
//
// A lane that breaks reconnects after 10 ms, doubling up to 500 ms. What was queued when an
// attempt fails is dropped and reported as unreachable: Raft sends again what matters.
//
// The protocol is gRPC (raft.proto), spoken by base/rpc. All sockets belong to one thread, an
// EventLoop. When that is also the node's loop, a message costs no switch of threads within the
// process: what comes is stepped, and what is sent leaves, in the same step of the loop.
//
// Threading: thread-safe. The sink is called on the transport's loop, on that of the server given
// to RegisterOn, on a thread that reads and writes snapshots, or on the one that calls Send.
#ifndef KEELSON_RAFT_TRANSPORT_PEER_TRANSPORT_H_
#define KEELSON_RAFT_TRANSPORT_PEER_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/tls_policy.h"
#include "raft/snapshot_store.h"
#include "raft/transport.h"
#include "raft/types.h"

namespace keelson {
class EventLoop;
namespace rpc {
class Server;
}
}  // namespace keelson

namespace keelson::raft {

class PeerTransport final : public Transport {
 public:
  // Mutual TLS between members; contents of PEM files.
  struct Tls {
    std::string ca;
    std::string certificate;
    std::string key;
    // Name expected in the certificates of peers when it is not their host name.
    std::string server_name;
    // False: a peer's certificate may be signed by anyone, so each member can make its own.
    // Keeps listeners out, but no impostor; `ca` and `server_name` are then not looked at, and
    // callers are asked for no certificate.
    bool verify_peers = true;
    // What is asked of peers that are called besides; callers meet it where the server is the
    // transport's own, which RegisterOn is not.
    TlsPolicy policy = {};
  };

  struct Options {
    NodeId self = kNoNode;    // required
    uint64_t cluster_id = 0;  // streams of another cluster are refused
    // "host:port"; port 0 picks one, see port(). Empty: RegisterOn puts the service on a
    // server of the caller's.
    std::string listen_address;
    std::map<NodeId, std::string> peers;  // "host:port"
    std::optional<Tls> tls;               // nullopt: plain text
    // Where the sockets are, borrowed: runs until Stop returns. Null: a thread of its own.
    EventLoop* loop = nullptr;
    // Borrowed, outlives the transport. Null: every Snap message fails.
    SnapshotStore* snapshots = nullptr;
    // For a host of many groups, in place of it: the snapshots of a group, or null.
    std::function<std::shared_ptr<SnapshotStore>(GroupId)> snapshots_of;

    // Bounds of each lane's queue; what does not fit is dropped. For a host, at least some messages
    // for each group: all may have something to say at once.
    size_t max_queued_messages = 4096;
    size_t max_queued_bytes = 64 << 20;  // always at least one message
    size_t max_batch_bytes = 1 << 20;    // of one write; always at least one message
    // Longest message that is received; longer ones break the stream. It limits the size of
    // an entry.
    size_t max_receive_bytes = 256 << 20;
    // A snapshot transfer that makes no progress for so long is given up.
    absl::Duration snapshot_stall_timeout = absl::Seconds(30);
    // Snapshots go to each peer at most this fast, so that they leave room for the log on the
    // network and the disks; 0: no limit.
    uint64_t snapshot_bytes_per_second = 0;

    // Decides whether a caller that says it is `from` is it, by the names in its certificate
    // (empty without TLS). Null: the certificate authority and the cluster id decide.
    std::function<absl::Status(NodeId from, const std::vector<std::string>& names)> authorize;
    // Hears once of each new trouble with a peer (0: of a caller that did not say who it is):
    // unreachable, refused, speaking nonsense. Again only after it has been well in between.
    std::function<void(NodeId peer, const absl::Status&)> on_trouble;
  };

  // INVALID_ARGUMENT for impossible options. Nothing happens before Start.
  static absl::StatusOr<std::unique_ptr<PeerTransport>> Create(Options options);
  ~PeerTransport() override;

  // Adds the service to a server of the caller's, instead of Options::listen_address. The server
  // stops after Stop and before this is destroyed. Limits of message size and of pings, keep-alive
  // and TLS are then the caller's (members ping each other every 2 s); with
  // ServerOptions::loops = {Options::loop} messages come on that loop.
  void RegisterOn(rpc::Server& server);

  // Listens, connects, delivers to `sink`, which outlives Stop. Callers are refused with
  // UNAVAILABLE before. UNAVAILABLE when the address is taken.
  absl::Status Start(MessageSink& sink);

  // Closes everything and waits for it. When it returns, the sink is not called any more.
  // Idempotent; the destructor calls it. Not on the loop.
  void Stop();

  // The port listened on, after Start; 0 without listen_address.
  [[nodiscard]] int port() const;

  // Sets or replaces the address of a peer. An impossible id (also this node's own) and an empty
  // address are ignored.
  void AddPeer(NodeId id, const std::string& address);
  // Forgets what is queued for it and closes its lanes. Unknown ids are ignored.
  void RemovePeer(NodeId id);

  // See Transport. A message to an unknown peer is reported as unreachable. Before Start and
  // after Stop everything is dropped.
  void Send(std::vector<Message> messages) override;

  struct PeerStats {
    NodeId id = kNoNode;
    bool connected = false;   // the urgent lane has a stream that the peer accepted
    uint64_t sent_bytes = 0;  // of batches and snapshots
    uint64_t sent_messages = 0;
    uint64_t sent_batches = 0;
    uint64_t dropped_messages = 0;
    uint64_t received_bytes = 0;
    uint64_t received_messages = 0;
    uint64_t snapshots_sent = 0;
    uint64_t snapshots_failed = 0;
    uint64_t snapshots_received = 0;
    uint64_t snapshots_resumed = 0;  // incoming transfers that went on behind what was there
    absl::Duration round_trip;       // of the last probe (one a second on a busy lane); 0: none yet
  };
  // By ascending id.
  [[nodiscard]] std::vector<PeerStats> GetStats() const;

 private:
  class Impl;
  explicit PeerTransport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TRANSPORT_PEER_TRANSPORT_H_
