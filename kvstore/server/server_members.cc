// The membership part of Server. What is decided when is explained in membership.h.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "kvstore/config/identity.h"
#include "kvstore/config/url.h"
#include "kvstore/errors.h"
#include "kvstore/server/command_codec.h"
#include "kvstore/server/membership.h"
#include "kvstore/server/peer_calls.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {
namespace {

using Urls = google::protobuf::RepeatedPtrField<std::string>;

// A removed member stays a little, so that its last answers get out.
constexpr absl::Duration kRemovedGrace = absl::Seconds(1);
constexpr absl::Duration kAskPeersInterval = absl::Seconds(1);
// etcd's: a learner that has nine tenths of the leader's log counts as in sync.
constexpr double kReadyPart = 0.9;

absl::StatusOr<std::vector<std::string>> CheckedUrls(const Urls& urls) {
  if (urls.empty()) return errors::MemberBadUrls();
  std::vector<std::string> sorted;
  for (const std::string& url : urls) {
    if (!ParseUrl(url).ok()) return errors::MemberBadUrls();
    sorted.push_back(url);
  }
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

void FillMember(const Store::MemberAttributes& member, etcdserverpb::Member* out) {
  out->set_id(member.id);
  out->set_name(member.name);
  for (const std::string& url : member.peer_urls) out->add_peerurls(url);
  for (const std::string& url : member.client_urls) out->add_clienturls(url);
  out->set_islearner(member.is_learner);
}

template <typename Response>
void Server::FillMembers(Response* response) const {
  FillHeader(response->mutable_header());  // Without a revision, as etcd.
  for (const Store::MemberAttributes& member : store_->Members()) {
    if (!member.removed) FillMember(member, response->add_members());
  }
}

void Server::MemberList(const etcdserverpb::MemberListRequest& request,
                        etcdserverpb::MemberListResponse* response, Done done) {
  auto read = [this, response, done = std::move(done)](const absl::Status& ready) {
    if (ready.ok()) FillMembers(response);
    done(ready);
  };
  if (!request.linearizable()) return read(absl::OkStatus());
  Linearizable(std::move(read));
}

template <typename Check>
absl::Status Server::CheckStrictly(Check check) {
  if (!options_.strict_reconfig_check) return absl::OkStatus();
  const MemberTable members = store_->Members();
  absl::MutexLock lock(&members_mu_);
  return check(StrictChecks{.members = members,
                            .self = options_.member_id,
                            .contacts = contacts_,
                            .now = env_.clock->Monotonic()});
}

void Server::MemberAdd(const etcdserverpb::MemberAddRequest& request,
                       etcdserverpb::MemberAddResponse* response, Done done, const Origin& who) {
  const absl::StatusOr<std::vector<std::string>> urls = CheckedUrls(request.peerurls());
  if (!urls.ok()) return done(urls.status());
  const absl::Status safe =
      CheckStrictly([&](const StrictChecks& checks) { return checks.Add(request.islearner()); });
  if (!safe.ok()) return done(safe);
  // As etcd: the URLs and the time make the id of a member that joins.
  const uint64_t id =
      FoundingMemberId(*urls, std::to_string(absl::ToUnixSeconds(env_.clock->Now())));
  MemberChange change;
  change.mutable_add()->set_id(id);
  for (const std::string& url : *urls) change.mutable_add()->add_peer_urls(url);
  change.mutable_add()->set_is_learner(request.islearner());
  change.mutable_add()->set_max_learners(options_.max_learners);
  ChangeMembers(
      change, who, [id](const raft::ConfState& in_force) { return Contains(in_force, id); },
      [this, id, response, done = std::move(done)](const absl::Status& status) {
        if (status.ok()) {
          FillMembers(response);
          for (const etcdserverpb::Member& member : response->members()) {
            if (member.id() == id) *response->mutable_member() = member;
          }
        }
        done(status);
      });
}

void Server::MemberRemove(const etcdserverpb::MemberRemoveRequest& request,
                          etcdserverpb::MemberRemoveResponse* response, Done done,
                          const Origin& who) {
  const uint64_t id = request.id();
  const absl::Status safe =
      CheckStrictly([&](const StrictChecks& checks) { return checks.Remove(id); });
  if (!safe.ok() && FindMember(store_->Members(), id) != nullptr) return done(safe);
  MemberChange change;
  change.set_remove(id);
  ChangeMembers(
      change, who,
      [this, id](const raft::ConfState& in_force) {
        // Who follows may never hear that it is out, and must not keep the client waiting.
        return !Contains(in_force, id) || (id == options_.member_id && !IsLeader());
      },
      [this, response, done = std::move(done)](const absl::Status& status) {
        if (status.ok()) FillMembers(response);
        done(status);
      });
}

void Server::MemberUpdate(const etcdserverpb::MemberUpdateRequest& request,
                          etcdserverpb::MemberUpdateResponse* response, Done done,
                          const Origin& who) {
  const absl::StatusOr<std::vector<std::string>> urls = CheckedUrls(request.peerurls());
  if (!urls.ok()) return done(urls.status());
  MemberChange change;
  change.mutable_update()->set_id(request.id());
  for (const std::string& url : *urls) change.mutable_update()->add_peer_urls(url);
  ChangeMembers(
      change, who, [](const raft::ConfState&) { return true; },
      [this, response, done = std::move(done)](const absl::Status& status) {
        if (status.ok()) FillMembers(response);
        done(status);
      });
}

void Server::MemberPromote(const etcdserverpb::MemberPromoteRequest& request,
                           etcdserverpb::MemberPromoteResponse* response, Done done,
                           const Origin& who) {
  auto finish = [this, response, done = std::move(done)](const absl::Status& status) {
    if (status.ok()) FillMembers(response);
    done(status);
  };
  if (IsLeader()) return PromoteAsLeader(request.id(), who, std::move(finish));
  if (!HasLeader() || env_.peers == nullptr) return finish(errors::NoLeader());
  const uint64_t id = request.id();
  const auto promoted = [id](const raft::ConfState& in_force) {
    return std::count(in_force.voters.begin(), in_force.voters.end(), id) > 0;
  };
  // The leader answers what etcd would; only what the way there adds needs other words.
  env_.peers->Promote(leader_.load(), id, who, request_timeout_,
                      [this, promoted, finish = std::move(finish)](const absl::Status& status) {
                        if (status.ok()) return AwaitMembership(promoted, finish);
                        finish(absl::IsDeadlineExceeded(status) ? errors::Timeout() : status);
                      });
}

void Server::PromoteAsLeader(uint64_t id, const Origin& who, Done done) {
  if (FindMember(store_->Members(), id) == nullptr) return done(errors::MemberNotFound());
  node_.load()->GetStatus([this, id, who, done = std::move(done)](const raft::Status& status) {
    if (status.peers.empty()) return done(errors::NotLeader());
    raft::Index of_learner = 0;
    raft::Index of_leader = 0;
    for (const raft::PeerStatus& peer : status.peers) {
      if (peer.id == id) of_learner = peer.match;
      if (peer.id == options_.member_id) of_leader = peer.match;
    }
    if (static_cast<double>(of_learner) < static_cast<double>(of_leader) * kReadyPart) {
      return done(errors::LearnerNotReady());
    }
    const absl::Status safe =
        CheckStrictly([&](const StrictChecks& checks) { return checks.Promote(id); });
    if (!safe.ok()) return done(safe);
    MemberChange change;
    change.set_promote(id);
    ChangeMembers(
        change, who,
        [id](const raft::ConfState& in_force) {
          return std::count(in_force.voters.begin(), in_force.voters.end(), id) > 0;
        },
        done);
  });
}

void Server::ChangeMembers(const MemberChange& change, const Origin& who, InForce in_force,
                           Done done) {
  ProposeFor(change, who,
             [this, in_force = std::move(in_force),
              done = std::move(done)](const CommandResult& result) mutable {
               if (!result.status.ok()) return done(result.status);
               AwaitMembership(std::move(in_force), std::move(done));
             });
}

void Server::AwaitMembership(InForce in_force, Done done) {
  {
    absl::MutexLock lock(&members_mu_);
    membership_waiters_.push_back({.deadline = env_.clock->Monotonic() + request_timeout_,
                                   .in_force = std::move(in_force),
                                   .done = std::move(done)});
  }
  env_.timers->Post([this] { TickMembership(); });
}

void Server::DescribeCluster(ClusterDescription* description) const {
  description->cluster_id = options_.cluster_id;
  description->members = store_->Members();
  description->founders = options_.founders;
  absl::MutexLock lock(&members_mu_);
  description->in_force = conf_state_;
}

void Server::OnMembership(const raft::ConfState& in_force) {
  {
    absl::MutexLock lock(&members_mu_);
    conf_state_ = in_force;
  }
  const MemberTable members = store_->Members();
  const Store::MemberAttributes* const self = FindMember(members, options_.member_id);
  is_learner_.store(self != nullptr && self->is_learner);
  peers_changed_.store(true);
  env_.timers->Post([this] { TickMembership(); });
}

// --- On the timers executor ---

void Server::TickMembership() {
  if (stopped_.load()) return FailMembershipWaiters(errors::Stopped());
  raft::ConfState in_force;
  const absl::Duration now = env_.clock->Monotonic();
  {
    absl::MutexLock lock(&members_mu_);
    if (member_hooks_.connected) contacts_.Update(now, member_hooks_.connected());
    in_force = conf_state_;
  }
  const MemberTable members = store_->Members();
  if (peers_changed_.exchange(false)) TellPeers(members, in_force);
  if (node_.load() == nullptr) return;
  ProposeNextChange(members, in_force, now);
  AnswerMembershipWaiters(in_force, now);
  WatchForRemoval(members, in_force, now);
}

// Connections stay to whom Raft still has to talk to, even if they are to go.
void Server::TellPeers(const MemberTable& members, const raft::ConfState& in_force) {
  if (!member_hooks_.on_peers) return;
  MemberTable peers;
  for (const Store::MemberAttributes& member : members) {
    if (member.id == options_.member_id) continue;
    if (!member.removed || Contains(in_force, member.id)) peers.push_back(member);
  }
  for (const Store::MemberAttributes& member : heard_of_) {
    const bool known = FindMember(members, member.id) != nullptr || IsRemoved(members, member.id);
    if (!known && member.id != options_.member_id) peers.push_back(member);
  }
  member_hooks_.on_peers(peers);
}

void Server::LearnPeers(const MemberTable& members) {
  const MemberTable known = store_->Members();
  for (const Store::MemberAttributes& member : members) {
    const bool heard = FindMember(heard_of_, member.id) != nullptr;
    if (member.removed || heard || FindMember(known, member.id) != nullptr) continue;
    heard_of_.push_back(member);
    peers_changed_.store(true);
  }
}

void Server::ProposeNextChange(const MemberTable& members, const raft::ConfState& in_force,
                               absl::Duration now) {
  std::optional<raft::ConfChange> next;
  if (IsLeader()) next = NextChange(members, in_force);
  if (!next.has_value()) {
    proposed_change_.reset();
    return;
  }
  // Raft takes one change at a time and drops those that come too early without a word.
  if (next == proposed_change_ && now < propose_again_) return;
  proposed_change_ = next;
  propose_again_ = now + options_.election_timeout;
  node_.load()->ProposeConfChange(*next, nullptr);
}

void Server::AnswerMembershipWaiters(const raft::ConfState& in_force, absl::Duration now) {
  std::vector<std::pair<Done, absl::Status>> answers;
  {
    absl::MutexLock lock(&members_mu_);
    std::erase_if(membership_waiters_, [&](MembershipWaiter& waiter) {
      const bool reached = waiter.in_force(in_force);
      if (!reached && now < waiter.deadline) return false;
      answers.emplace_back(std::move(waiter.done), reached ? absl::OkStatus() : errors::Timeout());
      return true;
    });
  }
  for (auto& [done, status] : answers) done(status);
}

void Server::FailMembershipWaiters(const absl::Status& status) {
  std::vector<MembershipWaiter> waiters;
  {
    absl::MutexLock lock(&members_mu_);
    waiters.swap(membership_waiters_);
  }
  for (MembershipWaiter& waiter : waiters) waiter.done(status);
}

// A member that is out may not hear of it: the others stop talking to it. And one that was away
// for long may not know where the leader is that talks to it. So one that was told to go, hears
// from no leader, or does not know the one it hears from, asks the others.
void Server::WatchForRemoval(const MemberTable& members, const raft::ConfState& in_force,
                             absl::Duration now) {
  if (IsRemoved(members, options_.member_id) && !Contains(in_force, options_.member_id)) {
    NoteRemoval(now);
  }
  if (removed_at_.has_value()) {
    if (now < *removed_at_ + kRemovedGrace || removal_told_) return;
    removal_told_ = true;
    if (member_hooks_.on_removed) member_hooks_.on_removed();
    return;
  }
  const bool doubtful =
      IsRemoved(members, options_.member_id) || FindMember(members, leader_.load()) == nullptr;
  if (!doubtful) doubtful_since_ = now;
  if (env_.peers == nullptr || now < doubtful_since_ + 2 * options_.election_timeout ||
      now < next_peer_question_) {
    return;
  }
  next_peer_question_ = now + kAskPeersInterval;
  for (const Store::MemberAttributes& member : members) {
    if (member.removed || member.id == options_.member_id) continue;
    env_.peers->Describe(member.id, kAskPeersInterval,
                         [this](const absl::StatusOr<ClusterDescription>& answer) {
                           if (!answer.ok()) return;
                           env_.timers->Post([this, cluster = *answer] { TakeAdvice(cluster); });
                         });
  }
}

void Server::TakeAdvice(const ClusterDescription& cluster) {
  if (IsRemoved(cluster.members, options_.member_id) &&
      !Contains(cluster.in_force, options_.member_id)) {
    NoteRemoval(env_.clock->Monotonic());
  } else {
    LearnPeers(cluster.members);
  }
}

void Server::NoteRemoval(absl::Duration now) {
  if (!removed_at_.has_value()) removed_at_ = now;
}

}  // namespace keelson::kvstore
