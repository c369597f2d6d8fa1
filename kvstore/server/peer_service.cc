#include "kvstore/server/peer_service.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/internal/members.h"
#include "kvstore/server/internal.grpc.pb.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {
namespace {

constexpr char kClusterKey[] = "keelson-cluster";

std::string ClusterText(uint64_t cluster_id) { return absl::StrCat(absl::Hex(cluster_id)); }

// The codes are numerically equal.
grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

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

// Runs `call` if the caller is of the cluster, and ends the RPC with what it is done with.
template <typename Call>
grpc::ServerUnaryReactor* ServeMember(grpc::CallbackServerContext* context,
                                      const std::string& cluster, const Call& call) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto& metadata = context->client_metadata();
  const auto said = metadata.find(kClusterKey);
  if (said == metadata.end() || said->second != cluster) {
    reactor->Finish({grpc::StatusCode::FAILED_PRECONDITION, "a member of another cluster"});
    return reactor;
  }
  call([reactor](const absl::Status& status) { reactor->Finish(ToGrpc(status)); });
  return reactor;
}

}  // namespace

class PeerService::LeaseImpl final : public LeaseForward::CallbackService {
 public:
  LeaseImpl(Server* server, uint64_t cluster_id)
      : server_(server), cluster_(ClusterText(cluster_id)) {}

  grpc::ServerUnaryReactor* KeepAlive(grpc::CallbackServerContext* context,
                                      const etcdserverpb::LeaseKeepAliveRequest* request,
                                      etcdserverpb::LeaseKeepAliveResponse* response) override {
    return ServeMember(context, cluster_, [&](const Server::Done& done) {
      server_->LeaseKeepAlive(*request, true, response, done);
    });
  }
  grpc::ServerUnaryReactor* TimeToLive(grpc::CallbackServerContext* context,
                                       const etcdserverpb::LeaseTimeToLiveRequest* request,
                                       etcdserverpb::LeaseTimeToLiveResponse* response) override {
    return ServeMember(context, cluster_, [&](const Server::Done& done) {
      server_->LeaseTimeToLive(*request, true, response, done);
    });
  }

 private:
  Server* const server_;
  const std::string cluster_;
};

class PeerService::MembershipImpl final : public Membership::CallbackService {
 public:
  MembershipImpl(Server* server, uint64_t cluster_id)
      : server_(server), cluster_(ClusterText(cluster_id)) {}

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const DescribeRequest*,
                                     DescribeResponse* response) override {
    ClusterDescription description;
    server_->DescribeCluster(&description);
    Encode(description, response);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* Promote(grpc::CallbackServerContext* context,
                                    const PromoteRequest* request, PromoteResponse*) override {
    return ServeMember(context, cluster_, [&](const Server::Done& done) {
      server_->PromoteAsLeader(request->id(), request->origin(), done);
    });
  }

 private:
  Server* const server_;
  const std::string cluster_;
};

PeerService::PeerService(Server* server, uint64_t cluster_id)
    : leases_(std::make_unique<LeaseImpl>(server, cluster_id)),
      membership_(std::make_unique<MembershipImpl>(server, cluster_id)) {}
PeerService::~PeerService() = default;

void PeerService::RegisterOn(grpc::ServerBuilder& builder) {
  builder.RegisterService(leases_.get());
  builder.RegisterService(membership_.get());
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
