// Both ends of what internal.proto describes, on the peer port.
#ifndef KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_
#define KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/server/peer_calls.h"
#include "raft/types.h"

namespace grpc {
class ChannelCredentials;
class ServerBuilder;
}  // namespace grpc

namespace keelson::kvstore {

class Server;

// The answering end. Outlives the gRPC server that it is registered on.
class PeerService {
 public:
  PeerService(Server* server, uint64_t cluster_id);
  ~PeerService();
  void RegisterOn(grpc::ServerBuilder& builder);

 private:
  class LeaseImpl;
  class MembershipImpl;
  const std::unique_ptr<LeaseImpl> leases_;
  const std::unique_ptr<MembershipImpl> membership_;
};

// The asking end.
class GrpcPeerCalls : public PeerCalls {
 public:
  // Maps members to "host:port"; those that are not in it cannot be asked any more. Thread-safe.
  virtual void SetPeers(const std::map<raft::NodeId, std::string>& peers) = 0;
};
std::unique_ptr<GrpcPeerCalls> MakeGrpcPeerCalls(
    uint64_t cluster_id, const std::shared_ptr<grpc::ChannelCredentials>& credentials);

// Asks the member at `address`, for one that does not belong to the cluster yet. Waits.
absl::StatusOr<ClusterDescription> DescribeClusterAt(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    absl::Duration timeout);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_PEER_SERVICE_H_
