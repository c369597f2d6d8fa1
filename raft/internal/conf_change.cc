#include "raft/internal/conf_change.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::internal {
namespace {

void Insert(std::vector<NodeId>& ids, NodeId id) {
  const auto at = std::lower_bound(ids.begin(), ids.end(), id);
  if (at == ids.end() || *at != id) ids.insert(at, id);
}

void Erase(std::vector<NodeId>& ids, NodeId id) {
  const auto at = std::lower_bound(ids.begin(), ids.end(), id);
  if (at != ids.end() && *at == id) ids.erase(at);
}

size_t CountDifferences(const std::vector<NodeId>& a, const std::vector<NodeId>& b) {
  std::vector<NodeId> difference;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(),
                                std::back_inserter(difference));
  return difference.size();
}

absl::Status CheckLists(const Membership& m) {
  const ConfState& config = m.config;
  for (const auto* ids :
       {&config.voters, &config.voters_outgoing, &config.learners, &config.learners_next}) {
    for (const NodeId id : *ids) {
      if (!m.progress.contains(id)) {
        return absl::InvalidArgumentError(absl::StrCat("no progress for ", id));
      }
    }
  }
  for (const NodeId id : config.learners_next) {
    if (!Contains(config.voters_outgoing, id)) {
      return absl::InvalidArgumentError(absl::StrCat(id, " is in LearnersNext, but not Voters[1]"));
    }
    if (m.progress.at(id).is_learner()) {
      return absl::InvalidArgumentError(
          absl::StrCat(id, " is in LearnersNext, but is already marked as learner"));
    }
  }
  for (const NodeId id : config.learners) {
    if (Contains(config.voters_outgoing, id)) {
      return absl::InvalidArgumentError(absl::StrCat(id, " is in Learners and Voters[1]"));
    }
    if (Contains(config.voters, id)) {
      return absl::InvalidArgumentError(absl::StrCat(id, " is in Learners and Voters[0]"));
    }
    if (!m.progress.at(id).is_learner()) {
      return absl::InvalidArgumentError(
          absl::StrCat(id, " is in Learners, but is not marked as learner"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Membership> Checked(Membership next) {
  KEELSON_RETURN_IF_ERROR(CheckInvariants(next));
  return next;
}

}  // namespace

bool LeavesJoint(const ConfChange& change) {
  return change.transition == ConfChangeTransition::kAuto && change.changes.empty();
}

absl::Status CheckInvariants(const Membership& membership) {
  KEELSON_RETURN_IF_ERROR(CheckLists(membership));
  const ConfState& config = membership.config;
  if (config.voters_outgoing.empty()) {
    if (!config.learners_next.empty()) {
      return absl::InvalidArgumentError("LearnersNext must be empty when not joint");
    }
    if (config.auto_leave) {
      return absl::InvalidArgumentError("AutoLeave must be false when not joint");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Membership> Changer::Simple(std::span<const ConfChangeSingle> changes) const {
  if (tracker_.IsJoint()) {
    return absl::InvalidArgumentError("can't apply simple config change in joint config");
  }
  Membership next{tracker_.config(), tracker_.progress()};
  KEELSON_RETURN_IF_ERROR(ApplyAll(next, changes));
  if (!Mutated(Mutation::kManyChangesAtOnce) &&
      CountDifferences(tracker_.config().voters, next.config.voters) > 1) {
    return absl::InvalidArgumentError("more than one voter changed without entering joint config");
  }
  return Checked(std::move(next));
}

absl::StatusOr<Membership> Changer::EnterJoint(bool auto_leave,
                                               std::span<const ConfChangeSingle> changes) const {
  if (tracker_.IsJoint()) return absl::InvalidArgumentError("config is already joint");
  if (tracker_.config().voters.empty()) {
    // Adding the first voters needs no agreement of a half that is empty.
    return absl::InvalidArgumentError("can't make a zero-voter config joint");
  }
  Membership next{tracker_.config(), tracker_.progress()};
  next.config.voters_outgoing = next.config.voters;
  KEELSON_RETURN_IF_ERROR(ApplyAll(next, changes));
  next.config.auto_leave = auto_leave;
  return Checked(std::move(next));
}

absl::StatusOr<Membership> Changer::LeaveJoint() const {
  if (!tracker_.IsJoint()) return absl::InvalidArgumentError("can't leave a non-joint config");
  Membership next{tracker_.config(), tracker_.progress()};
  for (const NodeId id : next.config.learners_next) {
    Insert(next.config.learners, id);
    next.progress.at(id).set_is_learner(true);
  }
  next.config.learners_next.clear();
  for (const NodeId id : next.config.voters_outgoing) {
    if (!Contains(next.config.voters, id) && !Contains(next.config.learners, id)) {
      next.progress.erase(id);
    }
  }
  next.config.voters_outgoing.clear();
  next.config.auto_leave = false;
  return Checked(std::move(next));
}

absl::StatusOr<Membership> Changer::Apply(const ConfChange& change) const {
  if (LeavesJoint(change)) return LeaveJoint();
  // One change needs no joint configuration unless the caller insists.
  if (change.transition == ConfChangeTransition::kAuto &&
      (change.changes.size() == 1 || Mutated(Mutation::kManyChangesAtOnce))) {
    return Simple(change.changes);
  }
  return EnterJoint(change.transition != ConfChangeTransition::kJointExplicit, change.changes);
}

absl::StatusOr<Membership> Changer::Restore(const ConfState& state) const {
  Membership next;
  for (const NodeId id : state.voters) Insert(next.config.voters, id);
  for (const NodeId id : state.voters_outgoing) Insert(next.config.voters_outgoing, id);
  for (const NodeId id : state.learners) Insert(next.config.learners, id);
  for (const NodeId id : state.learners_next) Insert(next.config.learners_next, id);
  next.config.auto_leave = state.auto_leave;
  for (const NodeId id : next.config.voters) AddProgress(next, id, false);
  for (const NodeId id : next.config.voters_outgoing) AddProgress(next, id, false);
  for (const NodeId id : next.config.learners) AddProgress(next, id, true);
  if (next.config.voters.empty() && !next.progress.empty()) {
    return absl::InvalidArgumentError("a membership without voters");
  }
  if (next.progress.contains(kNoNode)) return absl::InvalidArgumentError("node id 0");
  return Checked(std::move(next));
}

absl::Status Changer::ApplyAll(Membership& next, std::span<const ConfChangeSingle> changes) const {
  for (const ConfChangeSingle& change : changes) {
    if (change.node == kNoNode) continue;  // Cancelled by the application.
    switch (change.type) {
      case ConfChangeType::kAddNode:
        MakeVoter(next, change.node);
        break;
      case ConfChangeType::kAddLearner:
        MakeLearner(next, change.node);
        break;
      case ConfChangeType::kRemoveNode:
        Remove(next, change.node);
        break;
      case ConfChangeType::kUpdateNode:
        break;  // Concerns the application only.
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("unexpected conf type ", static_cast<int>(change.type)));
    }
  }
  if (next.config.voters.empty() && !Mutated(Mutation::kZeroVoters)) {
    return absl::InvalidArgumentError("removed all voters");
  }
  return absl::OkStatus();
}

void Changer::MakeVoter(Membership& next, NodeId id) const {
  Insert(next.config.voters, id);
  Erase(next.config.learners, id);
  Erase(next.config.learners_next, id);
  const auto it = next.progress.find(id);
  if (it == next.progress.end()) {
    AddProgress(next, id, false);
  } else {
    it->second.set_is_learner(false);
  }
}

void Changer::MakeLearner(Membership& next, NodeId id) const {
  const auto it = next.progress.find(id);
  if (it == next.progress.end()) {
    Insert(next.config.learners, id);
    AddProgress(next, id, true);
    return;
  }
  if (it->second.is_learner()) return;
  Erase(next.config.voters, id);
  // While the outgoing half still counts this member's vote it cannot be a learner yet; it
  // becomes one on leaving the joint configuration.
  if (Contains(next.config.voters_outgoing, id)) {
    Insert(next.config.learners_next, id);
  } else {
    Insert(next.config.learners, id);
    it->second.set_is_learner(true);
  }
}

void Changer::Remove(Membership& next, NodeId id) const {
  Erase(next.config.voters, id);
  Erase(next.config.learners, id);
  Erase(next.config.learners_next, id);
  // A voter of the outgoing half is still needed there.
  if (!Contains(next.config.voters_outgoing, id)) next.progress.erase(id);
}

void Changer::AddProgress(Membership& next, NodeId id, bool is_learner) const {
  // New members count as active, or check-quorum could depose the leader before it has had
  // a chance to reach them.
  next.progress.try_emplace(
      id, Progress(0, std::max<Index>(last_index_, 1), tracker_.NewInflights(), is_learner, true));
}

}  // namespace keelson::raft::internal
