// Both ends of LeaseForward (internal.proto), on the peer port.
#ifndef KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "kvstore/server/lease_forwarder.h"
#include "raft/types.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc
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
  [[nodiscard]] absl::Status Check(const rpc::Call& call) const;

  Server* const server_;
  const std::string cluster_;
};

// The asking end. `peers` maps members to "host:port".
std::unique_ptr<LeaseForwarder> MakeGrpcLeaseForwarder(
    uint64_t cluster_id, const std::map<raft::NodeId, std::string>& peers,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_
