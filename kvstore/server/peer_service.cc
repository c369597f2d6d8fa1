#include "kvstore/server/peer_service.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/rpc/server.h"
#include "base/rpc/unary.h"
#include "kvstore/internal/members.h"
#include "kvstore/server/internal.grpc.pb.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {
namespace {

constexpr char kClusterKey[] = "keelson-cluster";

std::string ClusterText(uint64_t cluster_id) { return absl::StrCat(absl::Hex(cluster_id)); }

// The codes are numerically equal.
absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

using Rows = google::protobuf::RepeatedPtrField<MemberAttributes>;

void EncodeMembers(const std::vector<Store::MemberAttributes>& members, Rows* rows) {
  for (const Store::MemberAttributes& member : members) {
    *rows->Add() = internal::EncodeMember(member);
  }
}

std::vector<Store::MemberAttributes> DecodeMembers(const Rows& rows) {
  std::vector<Store::MemberAttributes> members;
  for (const MemberAttributes& row : rows) {
    members.push_back(internal::ToMember(row));
  }
  return members;
}

void Encode(const ClusterDescription& description, DescribeResponse* response) {
  response->set_cluster_id(description.cluster_id);
  EncodeMembers(description.members, response->mutable_members());
  EncodeMembers(description.founders, response->mutable_founders());
  const raft::ConfState& in_force = description.in_force;
  response->mutable_voters()->Assign(in_force.voters.begin(), in_force.voters.end());
  response->mutable_learners()->Assign(in_force.learners.begin(), in_force.learners.end());
  response->mutable_voters_outgoing()->Assign(in_force.voters_outgoing.begin(),
                                              in_force.voters_outgoing.end());
}

ClusterDescription Decode(const DescribeResponse& response) {
  ClusterDescription description;
  description.cluster_id = response.cluster_id();
  description.members = DecodeMembers(response.members());
  description.founders = DecodeMembers(response.founders());
  raft::ConfState& in_force = description.in_force;
  in_force.voters.assign(response.voters().begin(), response.voters().end());
  in_force.learners.assign(response.learners().begin(), response.learners().end());
  in_force.voters_outgoing.assign(response.voters_outgoing().begin(),
                                  response.voters_outgoing().end());
  return description;
}

// What can be asked of one member. Lives as long as its last call.
struct Peer {
  Peer(const std::string& at, const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : address(at),
        channel(grpc::CreateChannel(at, credentials)),
        leases(LeaseForward::NewStub(channel)),
        membership(Membership::NewStub(channel)) {}

  const std::string address;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<LeaseForward::Stub> leases;
  const std::unique_ptr<Membership::Stub> membership;
};

class PeerCallsImpl final : public GrpcPeerCalls {
 public:
  PeerCallsImpl(uint64_t cluster_id, std::shared_ptr<grpc::ChannelCredentials> credentials)
      : cluster_(ClusterText(cluster_id)), credentials_(std::move(credentials)) {}

  void SetPeers(const std::map<raft::NodeId, std::string>& peers) override {
    std::map<raft::NodeId, std::shared_ptr<Peer>> next;
    absl::MutexLock lock(&mu_);
    for (const auto& [id, address] : peers) {
      const auto known = peers_.find(id);
      next[id] = known != peers_.end() && known->second->address == address
                     ? known->second
                     : std::make_shared<Peer>(address, credentials_);
    }
    peers_.swap(next);
  }

  void KeepAlive(raft::NodeId leader, const etcdserverpb::LeaseKeepAliveRequest& request,
                 absl::Duration timeout, etcdserverpb::LeaseKeepAliveResponse* response,
                 Done done) override {
    const std::shared_ptr<Peer> peer = Find(leader);
    if (peer == nullptr) return done(Unknown());
    const auto context = NewContext(timeout);
    peer->leases->async()->KeepAlive(
        context.get(), &request, response,
        [peer, context, done = std::move(done)](const grpc::Status& s) { done(FromGrpc(s)); });
  }

  void TimeToLive(raft::NodeId leader, const etcdserverpb::LeaseTimeToLiveRequest& request,
                  absl::Duration timeout, etcdserverpb::LeaseTimeToLiveResponse* response,
                  Done done) override {
    const std::shared_ptr<Peer> peer = Find(leader);
    if (peer == nullptr) return done(Unknown());
    const auto context = NewContext(timeout);
    peer->leases->async()->TimeToLive(
        context.get(), &request, response,
        [peer, context, done = std::move(done)](const grpc::Status& s) { done(FromGrpc(s)); });
  }

  void Describe(raft::NodeId id, absl::Duration timeout, Described done) override {
    const std::shared_ptr<Peer> peer = Find(id);
    if (peer == nullptr) return done(Unknown());
    const auto context = NewContext(timeout);
    const auto messages = std::make_shared<std::pair<DescribeRequest, DescribeResponse>>();
    peer->membership->async()->Describe(
        context.get(), &messages->first, &messages->second,
        [peer, context, messages, done = std::move(done)](const grpc::Status& status) {
          if (!status.ok()) return done(FromGrpc(status));
          done(Decode(messages->second));
        });
  }

  void Promote(raft::NodeId leader, uint64_t id, const Origin& who, absl::Duration timeout,
               Done done) override {
    const std::shared_ptr<Peer> peer = Find(leader);
    if (peer == nullptr) return done(Unknown());
    const auto context = NewContext(timeout);
    const auto messages = std::make_shared<std::pair<PromoteRequest, PromoteResponse>>();
    messages->first.set_id(id);
    *messages->first.mutable_origin() = who;
    peer->membership->async()->Promote(context.get(), &messages->first, &messages->second,
                                       [peer, context, messages, done = std::move(done)](
                                           const grpc::Status& status) { done(FromGrpc(status)); });
  }

 private:
  std::shared_ptr<Peer> Find(raft::NodeId id) const {
    absl::MutexLock lock(&mu_);
    const auto found = peers_.find(id);
    return found == peers_.end() ? nullptr : found->second;
  }

  static absl::Status Unknown() {
    return absl::UnavailableError("the member's address is not known");
  }

  [[nodiscard]] std::shared_ptr<grpc::ClientContext> NewContext(absl::Duration timeout) const {
    auto context = std::make_shared<grpc::ClientContext>();
    context->AddMetadata(kClusterKey, cluster_);
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
    return context;
  }

  const std::string cluster_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  mutable absl::Mutex mu_;
  std::map<raft::NodeId, std::shared_ptr<Peer>> peers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

PeerService::PeerService(Server* server, uint64_t cluster_id)
    : server_(server), cluster_(ClusterText(cluster_id)) {}

void PeerService::RegisterOn(rpc::Server& rpc) {
  using etcdserverpb::LeaseKeepAliveRequest;
  using etcdserverpb::LeaseKeepAliveResponse;
  using etcdserverpb::LeaseTimeToLiveRequest;
  using etcdserverpb::LeaseTimeToLiveResponse;
  Add<LeaseKeepAliveRequest, LeaseKeepAliveResponse>(
      rpc, "LeaseForward/KeepAlive",
      [this](const LeaseKeepAliveRequest& request, LeaseKeepAliveResponse* response,
             const rpc::Done& done) { server_->LeaseKeepAlive(request, true, response, done); });
  Add<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>(
      rpc, "LeaseForward/TimeToLive",
      [this](const LeaseTimeToLiveRequest& request, LeaseTimeToLiveResponse* response,
             const rpc::Done& done) { server_->LeaseTimeToLive(request, true, response, done); });
  Add<PromoteRequest, PromoteResponse>(
      rpc, "Membership/Promote",
      [this](const PromoteRequest& request, PromoteResponse*, const rpc::Done& done) {
        server_->PromoteAsLeader(request.id(), request.origin(), done);
      });
  // Also for who does not belong to the cluster yet.
  rpc.Register({.path = "/keelson.kvstore.Membership/Describe",
                .start = rpc::Unary<DescribeRequest, DescribeResponse>(
                    [this](const rpc::Call&, const DescribeRequest&, DescribeResponse* response,
                           const rpc::Done& done) {
                      ClusterDescription description;
                      server_->DescribeCluster(&description);
                      Encode(description, response);
                      done(absl::OkStatus());
                    }),
                .on_start = {},
                .on_end = {}});
}

template <typename Request, typename Response, typename Serve>
void PeerService::Add(rpc::Server& rpc, const char* method, Serve serve) {
  rpc.Register({.path = absl::StrCat("/keelson.kvstore.", method),
                .start = rpc::Unary<Request, Response>(
                    [this, serve](const rpc::Call& call, const Request& request, Response* response,
                                  const rpc::Done& done) {
                      if (const absl::Status known = Check(call); !known.ok()) return done(known);
                      serve(request, response, done);
                    }),
                .on_start = {},
                .on_end = {}});
}

absl::Status PeerService::Check(const rpc::Call& call) const {
  if (call.Metadata(kClusterKey) == cluster_) return absl::OkStatus();
  return absl::FailedPreconditionError("a member of another cluster");
}

std::unique_ptr<GrpcPeerCalls> MakeGrpcPeerCalls(
    uint64_t cluster_id, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  return std::make_unique<PeerCallsImpl>(cluster_id, credentials);
}

absl::StatusOr<ClusterDescription> DescribeClusterAt(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    absl::Duration timeout) {
  const Peer peer(address, credentials);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
  DescribeResponse response;
  const grpc::Status status = peer.membership->Describe(&context, {}, &response);
  if (!status.ok()) {
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                        absl::StrCat(address, ": ", status.error_message()));
  }
  return Decode(response);
}

}  // namespace keelson::kvstore
