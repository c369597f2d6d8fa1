// The lease part of Server.
#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "kvstore/errors.h"
#include "kvstore/server/command_codec.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {
namespace {

absl::Status ForwardError(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return status;
    case absl::StatusCode::kDeadlineExceeded:
      return errors::Timeout();
    case absl::StatusCode::kFailedPrecondition:  // It does not lead any more.
      return errors::LeaderChanged();
    default:
      return errors::NoLeader();
  }
}

}  // namespace

int64_t Server::NewLeaseId() {
  absl::MutexLock lock(&mu_);
  return random_.Between(1, std::numeric_limits<int64_t>::max());
}

void Server::LeaseGrant(const etcdserverpb::LeaseGrantRequest& request,
                        etcdserverpb::LeaseGrantResponse* response, Done done, const Origin& who) {
  if (request.ttl() > LeaseClock::kMaxTtlSeconds) return done(errors::LeaseTtlTooLarge());
  if (!space_.Allows(kLeaseGrantBytes)) return RefuseForSpace(done);
  etcdserverpb::LeaseGrantRequest grant = request;
  if (grant.id() == 0) grant.set_id(NewLeaseId());
  int64_t least = 0;
  {
    absl::MutexLock lock(&mu_);
    least = leases_.MinTtlSeconds();
  }
  grant.set_ttl(std::max(grant.ttl(), least));
  Propose(grant, who, response, std::move(done));
}

void Server::LeaseRevoke(const etcdserverpb::LeaseRevokeRequest& request,
                         etcdserverpb::LeaseRevokeResponse* response, Done done,
                         const Origin& who) {
  const absl::Status allowed = CheckLeaseKeys(request.id(), who, auth::Access::kWrite);
  if (!allowed.ok()) return done(allowed);
  Propose(request, who, response, std::move(done));
}

void Server::LeaseKeepAlive(const etcdserverpb::LeaseKeepAliveRequest& request, bool forwarded,
                            etcdserverpb::LeaseKeepAliveResponse* response, Done done) {
  const raft::NodeId leader = leader_.load();
  // Sampled before the renewal, so that no success shows a revision after a revocation.
  const int64_t revision = store_->Revision();
  auto finish = [this, revision, response, done = std::move(done)](absl::Status status) {
    FillHeader(response->mutable_header());
    response->mutable_header()->set_revision(revision);
    done(std::move(status));
  };
  if (leader == options_.member_id) {
    const int64_t id = request.id();
    // The round proves that this member still leads, and that all grants are applied.
    return Linearizable([this, id, response, finish = std::move(finish)](absl::Status ready) {
      if (!ready.ok()) return finish(ready);
      std::optional<int64_t> ttl;
      {
        absl::MutexLock lock(&mu_);
        ttl = leases_.Renew(env_.clock->Monotonic(), id);
      }
      // It leads, but has not taken the clock over yet, or has just given it up. TTL 0 would
      // tell the client that its lease is gone.
      if (!ttl.has_value()) return finish(errors::LeaderChanged());
      response->set_id(id);
      response->set_ttl(*ttl);
      if (*ttl > 0) counters_.leases_renewed.fetch_add(1, std::memory_order_relaxed);
      finish(absl::OkStatus());
    });
  }
  if (forwarded || env_.forwarder == nullptr) return finish(errors::NotLeader());
  if (leader == raft::kNoNode) return finish(errors::NoLeader());
  env_.forwarder->KeepAlive(
      leader, request, request_timeout_, response,
      [finish = std::move(finish)](absl::Status status) { finish(ForwardError(status)); });
}

void Server::LeaseTimeToLive(const etcdserverpb::LeaseTimeToLiveRequest& request, bool forwarded,
                             etcdserverpb::LeaseTimeToLiveResponse* response, Done done) {
  const raft::NodeId leader = leader_.load();
  auto finish = [this, response, done = std::move(done)](absl::Status status) {
    FillHeaderAndRevision(response->mutable_header());
    done(std::move(status));
  };
  if (leader == options_.member_id) {
    const int64_t id = request.id();
    const bool keys = request.keys();
    return Linearizable([this, id, keys, response, finish = std::move(finish)](absl::Status ready) {
      if (!ready.ok()) return finish(ready);
      response->set_id(id);
      std::optional<LeaseClock::TimeLeft> left;
      bool leading = false;
      {
        absl::MutexLock lock(&mu_);
        leading = leases_.leading();
        left = leases_.Left(env_.clock->Monotonic(), id);
      }
      if (!leading) return finish(errors::LeaderChanged());
      response->set_ttl(left.has_value() ? left->seconds : -1);
      response->set_grantedttl(left.has_value() ? left->granted_seconds : 0);
      if (keys && left.has_value()) {
        for (std::string& key : store_->LeaseKeys(id)) response->add_keys(std::move(key));
      }
      finish(absl::OkStatus());
    });
  }
  if (forwarded || env_.forwarder == nullptr) return finish(errors::NotLeader());
  if (leader == raft::kNoNode) return finish(errors::NoLeader());
  env_.forwarder->TimeToLive(
      leader, request, request_timeout_, response,
      [finish = std::move(finish)](absl::Status status) { finish(ForwardError(status)); });
}

absl::Status Server::LeaseLeases(const Origin& who, etcdserverpb::LeaseLeasesResponse* response) {
  std::vector<int64_t> leases;
  {
    absl::MutexLock lock(&mu_);
    leases = leases_.ByExpiry();
  }
  for (const int64_t id : leases) {
    KEELSON_RETURN_IF_ERROR(CheckLeaseKeys(id, who, auth::Access::kRead));
    response->add_leases()->set_id(id);
  }
  FillHeaderAndRevision(response->mutable_header());
  return absl::OkStatus();
}

void Server::ExpireLeases() {
  std::vector<int64_t> expired;
  Origin who = Itself();
  {
    absl::MutexLock lock(&mu_);
    expired = leases_.TakeExpired(env_.clock->Monotonic());
    // This member may have been stopped for a while: then another one leads, whose clients have kept
    // the leases alive, and what is proposed here is passed on to it.
    who.set_term(lease_term_);
  }
  counters_.leases_expired.fetch_add(expired.size(), std::memory_order_relaxed);
  for (const int64_t id : expired) {
    etcdserverpb::LeaseRevokeRequest revoke;
    revoke.set_id(id);
    // Nobody waits: a revocation that gets lost is handed out again by the clock.
    node_.load()->Propose(
        raft::Payload(EncodeCommand(pending_.NextId(), revoke) + EncodeOrigin(who)), nullptr);
  }
}

}  // namespace keelson::kvstore
