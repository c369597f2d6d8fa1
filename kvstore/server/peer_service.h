// Both ends of what internal.proto describes, on the peer port.
#ifndef KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/server/peer_calls.h"
#include "raft/types.h"

namespace keelson {
class EventLoop;
class TlsClientContext;
}  // namespace keelson
namespace keelson::rpc {
class Call;
class Server;
}  // namespace keelson::rpc

namespace keelson::kvstore {

class Server;

// The answering end. Outlives the server that it is registered on.
class PeerService {
 public:
  PeerService(Server* server, uint64_t cluster_id);
  void RegisterOn(rpc::Server& rpc);

 private:
  // A method for members of the cluster alone.
  template <typename Request, typename Response, typename Serve>
  void Add(rpc::Server& rpc, const char* method, Serve serve);
  [[nodiscard]] absl::Status Check(const rpc::Call& call) const;

  Server* const server_;
  const std::string cluster_;
};

// How members are called.
struct PeerDialing {
  EventLoop* loop = nullptr;                              // outlives what dials
  std::shared_ptr<const TlsClientContext> tls = nullptr;  // null: plain text
};

// The asking end. Answers come on the loop.
class NetworkPeerCalls : public PeerCalls {
 public:
  // Maps members to "host:port"; those that are not in it cannot be asked any more, and what they were
  // asked ends with CANCELLED. Thread-safe, but not on the loop.
  virtual void SetPeers(const std::map<raft::NodeId, std::string>& peers) = 0;
  // For ever without peers. Before the loop ends; not on it.
  virtual void Stop() = 0;
};
std::unique_ptr<NetworkPeerCalls> MakeNetworkPeerCalls(uint64_t cluster_id, PeerDialing dialing);

// Asks the member at `address`, for one that does not belong to the cluster yet. Waits.
absl::StatusOr<ClusterDescription> DescribeClusterAt(const std::string& address,
                                                     const PeerDialing& dialing,
                                                     absl::Duration timeout);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_
