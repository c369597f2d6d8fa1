#include "kvstore/server/peer_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/net/resolver.h"
#include "base/rpc/client.h"
#include "base/rpc/client_unary.h"
#include "base/rpc/server.h"
#include "base/rpc/unary.h"
#include "base/status.h"
#include "kvstore/internal/members.h"
#include "kvstore/server/internal.pb.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {
namespace {

constexpr char kClusterKey[] = "keelson-cluster";
constexpr char kServices[] = "/keelson.kvstore.";

std::string ClusterText(uint64_t cluster_id) { return absl::StrCat(absl::Hex(cluster_id)); }

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

// A connection to one member.
struct Peer {
  Peer(const PeerDialing& dialing, net::Resolver& resolver, const std::string& at) : address(at) {
    rpc::ChannelOptions options;
    options.address = at;
    options.tls = dialing.tls;
    options.resolver = &resolver;
    channel = rpc::Channel::Create(*dialing.loop, std::move(options));
  }

  const std::string address;
  std::unique_ptr<rpc::Channel> channel;
};

template <typename Response>
using Answer = std::function<void(absl::StatusOr<Response>)>;

class NetworkPeerCallsImpl final : public NetworkPeerCalls {
 public:
  NetworkPeerCallsImpl(uint64_t cluster_id, PeerDialing dialing)
      : cluster_(ClusterText(cluster_id)), dialing_(std::move(dialing)) {}
  ~NetworkPeerCallsImpl() override { Stop(); }

  void Stop() override {
    {
      absl::MutexLock lock(&mu_);
      stopped_ = true;
    }
    SetPeers({});
  }

  void SetPeers(const std::map<raft::NodeId, std::string>& peers) override {
    std::map<raft::NodeId, std::shared_ptr<Peer>> next;
    // Closing waits for the loop, so what is left goes at the end, without the lock.
    absl::MutexLock lock(&mu_);
    for (const auto& [id, address] : peers) {
      if (stopped_) break;
      const auto known = peers_.find(id);
      next[id] = known != peers_.end() && known->second->address == address
                     ? known->second
                     : std::make_shared<Peer>(dialing_, resolver_, address);
    }
    peers_.swap(next);
  }

  void KeepAlive(raft::NodeId leader, const etcdserverpb::LeaseKeepAliveRequest& request,
                 absl::Duration timeout, etcdserverpb::LeaseKeepAliveResponse* response,
                 Done done) override {
    Fill("LeaseForward/KeepAlive", leader, timeout, request, response, std::move(done));
  }

  void TimeToLive(raft::NodeId leader, const etcdserverpb::LeaseTimeToLiveRequest& request,
                  absl::Duration timeout, etcdserverpb::LeaseTimeToLiveResponse* response,
                  Done done) override {
    Fill("LeaseForward/TimeToLive", leader, timeout, request, response, std::move(done));
  }

  void Describe(raft::NodeId id, absl::Duration timeout, Described done) override {
    Call<DescribeResponse>(
        "Membership/Describe", id, timeout, DescribeRequest(),
        [done = std::move(done)](const absl::StatusOr<DescribeResponse>& answer) {
          if (!answer.ok()) return done(answer.status());
          done(Decode(*answer));
        });
  }

  void Promote(raft::NodeId leader, uint64_t id, const Origin& who, absl::Duration timeout,
               Done done) override {
    PromoteRequest request;
    request.set_id(id);
    *request.mutable_origin() = who;
    Call<PromoteResponse>("Membership/Promote", leader, timeout, request,
                          [done = std::move(done)](const absl::StatusOr<PromoteResponse>& answer) {
                            done(answer.status());
                          });
  }

 private:
  template <typename Response, typename Request>
  void Call(const char* method, raft::NodeId to, absl::Duration timeout, const Request& request,
            Answer<Response> done) {
    const std::shared_ptr<Peer> peer = Find(to);
    if (peer == nullptr) return done(absl::UnavailableError("the member's address is not known"));
    rpc::CallUnary<Response>(*peer->channel,
                             {.path = absl::StrCat(kServices, method),
                              .metadata = {{kClusterKey, cluster_}},
                              .timeout = timeout},
                             request, std::move(done));
  }

  template <typename Response, typename Request>
  void Fill(const char* method, raft::NodeId to, absl::Duration timeout, const Request& request,
            Response* response, Done done) {
    Call<Response>(method, to, timeout, request,
                   [response, done = std::move(done)](absl::StatusOr<Response> answer) {
                     if (!answer.ok()) return done(answer.status());
                     *response = *std::move(answer);
                     done(absl::OkStatus());
                   });
  }

  std::shared_ptr<Peer> Find(raft::NodeId id) const {
    absl::MutexLock lock(&mu_);
    const auto found = peers_.find(id);
    return found == peers_.end() ? nullptr : found->second;
  }

  const std::string cluster_;
  const PeerDialing dialing_;
  net::Resolver resolver_;
  mutable absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
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
  rpc.Register({.path = absl::StrCat(kServices, "Membership/Describe"),
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
  rpc.Register({.path = absl::StrCat(kServices, method),
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

std::unique_ptr<NetworkPeerCalls> MakeNetworkPeerCalls(uint64_t cluster_id, PeerDialing dialing) {
  return std::make_unique<NetworkPeerCallsImpl>(cluster_id, std::move(dialing));
}

absl::StatusOr<ClusterDescription> DescribeClusterAt(const std::string& address,
                                                     const PeerDialing& dialing,
                                                     absl::Duration timeout) {
  net::Resolver resolver;
  const Peer peer(dialing, resolver, address);
  absl::Notification came;
  absl::StatusOr<DescribeResponse> answer = absl::UnknownError("");
  rpc::CallUnary<DescribeResponse>(
      *peer.channel, {.path = absl::StrCat(kServices, "Membership/Describe"), .timeout = timeout},
      DescribeRequest(), [&](absl::StatusOr<DescribeResponse> response) {
        answer = std::move(response);
        came.Notify();
      });
  came.WaitForNotification();
  if (!answer.ok()) return Annotate(answer.status(), address);
  return Decode(*answer);
}

}  // namespace keelson::kvstore
