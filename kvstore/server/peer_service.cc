#include "kvstore/server/peer_service.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/rpc/server.h"
#include "base/rpc/unary.h"
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

class GrpcLeaseForwarder final : public LeaseForwarder {
 public:
  GrpcLeaseForwarder(uint64_t cluster_id, const std::map<raft::NodeId, std::string>& peers,
                     const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : cluster_(ClusterText(cluster_id)) {
    for (const auto& [id, address] : peers) {
      stubs_[id] = LeaseForward::NewStub(grpc::CreateChannel(address, credentials));
    }
  }

  void KeepAlive(raft::NodeId leader, const etcdserverpb::LeaseKeepAliveRequest& request,
                 absl::Duration timeout, etcdserverpb::LeaseKeepAliveResponse* response,
                 Done done) override {
    LeaseForward::Stub* const stub = StubOf(leader, done);
    if (stub == nullptr) return;
    const auto context = NewContext(timeout);
    stub->async()->KeepAlive(
        context.get(), &request, response,
        [context, done = std::move(done)](const grpc::Status& status) { done(FromGrpc(status)); });
  }

  void TimeToLive(raft::NodeId leader, const etcdserverpb::LeaseTimeToLiveRequest& request,
                  absl::Duration timeout, etcdserverpb::LeaseTimeToLiveResponse* response,
                  Done done) override {
    LeaseForward::Stub* const stub = StubOf(leader, done);
    if (stub == nullptr) return;
    const auto context = NewContext(timeout);
    stub->async()->TimeToLive(
        context.get(), &request, response,
        [context, done = std::move(done)](const grpc::Status& status) { done(FromGrpc(status)); });
  }

 private:
  LeaseForward::Stub* StubOf(raft::NodeId leader, const Done& done) {
    const auto found = stubs_.find(leader);
    if (found != stubs_.end()) return found->second.get();
    done(absl::UnavailableError("the leader's address is not known"));
    return nullptr;
  }

  [[nodiscard]] std::shared_ptr<grpc::ClientContext> NewContext(absl::Duration timeout) const {
    auto context = std::make_shared<grpc::ClientContext>();
    context->AddMetadata(kClusterKey, cluster_);
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
    return context;
  }

  const std::string cluster_;
  std::map<raft::NodeId, std::unique_ptr<LeaseForward::Stub>> stubs_;  // constant
};

}  // namespace

PeerService::PeerService(Server* server, uint64_t cluster_id)
    : server_(server), cluster_(ClusterText(cluster_id)) {}

void PeerService::RegisterOn(rpc::Server& rpc) {
  using etcdserverpb::LeaseKeepAliveRequest;
  using etcdserverpb::LeaseKeepAliveResponse;
  using etcdserverpb::LeaseTimeToLiveRequest;
  using etcdserverpb::LeaseTimeToLiveResponse;
  rpc.Register({.path = "/keelson.kvstore.LeaseForward/KeepAlive",
                .start = rpc::Unary<LeaseKeepAliveRequest, LeaseKeepAliveResponse>(
                    [this](const rpc::Call& call, const LeaseKeepAliveRequest& request,
                           LeaseKeepAliveResponse* response, const rpc::Done& done) {
                      if (const absl::Status known = Check(call); !known.ok()) return done(known);
                      server_->LeaseKeepAlive(request, true, response, done);
                    }),
                .on_start = {},
                .on_end = {}});
  rpc.Register({.path = "/keelson.kvstore.LeaseForward/TimeToLive",
                .start = rpc::Unary<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>(
                    [this](const rpc::Call& call, const LeaseTimeToLiveRequest& request,
                           LeaseTimeToLiveResponse* response, const rpc::Done& done) {
                      if (const absl::Status known = Check(call); !known.ok()) return done(known);
                      server_->LeaseTimeToLive(request, true, response, done);
                    }),
                .on_start = {},
                .on_end = {}});
}

absl::Status PeerService::Check(const rpc::Call& call) const {
  if (call.Metadata(kClusterKey) == cluster_) return absl::OkStatus();
  return absl::FailedPreconditionError("a member of another cluster");
}

std::unique_ptr<LeaseForwarder> MakeGrpcLeaseForwarder(
    uint64_t cluster_id, const std::map<raft::NodeId, std::string>& peers,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  return std::make_unique<GrpcLeaseForwarder>(cluster_id, peers, credentials);
}

}  // namespace keelson::kvstore
