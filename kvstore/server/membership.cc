#include "kvstore/server/membership.h"

#include <algorithm>

#include "kvstore/errors.h"

namespace keelson::kvstore {
namespace {

using raft::ConfChangeType;

bool Has(const std::vector<raft::NodeId>& ids, raft::NodeId id) {
  return std::count(ids.begin(), ids.end(), id) > 0;
}

// What `member` needs in `in_force`.
std::optional<ConfChangeType> Needed(const Store::MemberAttributes& member,
                                     const raft::ConfState& in_force) {
  const bool votes = Has(in_force.voters, member.id);
  const bool learns = Has(in_force.learners, member.id);
  if (member.removed) {
    if (votes || learns) return ConfChangeType::kRemoveNode;
  } else if (member.is_learner) {
    if (!votes && !learns) return ConfChangeType::kAddLearner;
  } else if (!votes) {
    return ConfChangeType::kAddNode;
  }
  return std::nullopt;
}

bool IsVoter(const Store::MemberAttributes& member) {
  return !member.removed && !member.is_learner;
}

bool IsStarted(const Store::MemberAttributes& member) { return !member.name.empty(); }

}  // namespace

std::optional<raft::ConfChange> NextChange(const MemberTable& decided,
                                           const raft::ConfState& in_force) {
  if (!in_force.voters_outgoing.empty()) return std::nullopt;
  for (const Store::MemberAttributes& member : decided) {
    const std::optional<ConfChangeType> type = Needed(member, in_force);
    if (!type.has_value()) continue;
    raft::ConfChange change;
    change.changes = {{.type = *type, .node = member.id}};
    return change;
  }
  return std::nullopt;
}

const Store::MemberAttributes* FindMember(const MemberTable& members, uint64_t id) {
  const auto found = std::find_if(
      members.begin(), members.end(),
      [id](const Store::MemberAttributes& member) { return member.id == id && !member.removed; });
  return found == members.end() ? nullptr : &*found;
}

bool IsRemoved(const MemberTable& members, uint64_t id) {
  return std::any_of(members.begin(), members.end(), [id](const Store::MemberAttributes& member) {
    return member.id == id && member.removed;
  });
}

bool Contains(const raft::ConfState& state, uint64_t id) {
  return Has(state.voters, id) || Has(state.learners, id) || Has(state.voters_outgoing, id);
}

void PeerContacts::Update(absl::Duration now, const std::vector<raft::NodeId>& connected) {
  for (auto it = since_.begin(); it != since_.end();) {
    it = Has(connected, it->first) ? std::next(it) : since_.erase(it);
  }
  for (const raft::NodeId id : connected) since_.emplace(id, now);
}

bool PeerContacts::IsHealthy(absl::Duration now, raft::NodeId id) const {
  const auto found = since_.find(id);
  return found != since_.end() && now - found->second >= kHealthInterval;
}

bool StrictChecks::Healthy(uint64_t id) const { return id == self || contacts.IsHealthy(now, id); }

absl::Status StrictChecks::Add(bool is_learner) const {
  size_t voters = 0;
  size_t started = 0;
  size_t healthy = 0;
  for (const Store::MemberAttributes& member : members) {
    if (!IsVoter(member)) continue;
    ++voters;
    if (IsStarted(member)) ++started;
    if (Healthy(member.id)) ++healthy;
  }
  // A cluster of one can only grow by a member that has not started.
  if (voters == 1 && (is_learner || started == 1)) return absl::OkStatus();
  // The new one counts as down, a learner too: it is to become a voter.
  const size_t quorum = (voters + 1) / 2 + 1;
  if (!is_learner && started < quorum) return errors::MemberNotEnoughStarted();
  return healthy < quorum ? errors::Unhealthy() : absl::OkStatus();
}

absl::Status StrictChecks::Remove(uint64_t id) const {
  const Store::MemberAttributes* const leaving = FindMember(members, id);
  if (leaving != nullptr && leaving->is_learner) return absl::OkStatus();
  size_t left = 0;  // voters
  size_t started = 0;
  size_t healthy = 0;  // of all voters
  for (const Store::MemberAttributes& member : members) {
    if (!IsVoter(member)) continue;
    if (Healthy(member.id)) ++healthy;
    if (member.id == id) continue;
    ++left;
    if (IsStarted(member)) ++started;
  }
  if (started < left / 2 + 1) return errors::MemberNotEnoughStarted();
  // Who is down anyway is no part of the quorum that works.
  if (leaving == nullptr || (id != self && !contacts.IsConnected(id))) return absl::OkStatus();
  if (healthy < 1 + left / 2 + 1) return errors::Unhealthy();
  return absl::OkStatus();
}

absl::Status StrictChecks::Promote(uint64_t id) const {
  size_t voters = 1;
  size_t started = 1;
  for (const Store::MemberAttributes& member : members) {
    if (!IsVoter(member) || member.id == id) continue;
    ++voters;
    if (IsStarted(member)) ++started;
  }
  return started < voters / 2 + 1 ? errors::MemberNotEnoughStarted() : absl::OkStatus();
}

}  // namespace keelson::kvstore
