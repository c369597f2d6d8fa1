// What etcd-io/raft writes to its log when something happens.
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "raft/testing/golden_render.h"

namespace keelson::raft::golden {
namespace {

using Lines = std::vector<LogLine>;
using absl::StrFormat;

Lines Debug(std::string text) { return {{LogLevel::kDebug, std::move(text)}}; }
Lines Info(std::string text) { return {{LogLevel::kInfo, std::move(text)}}; }
Lines Warn(std::string text) { return {{LogLevel::kWarn, std::move(text)}}; }
Lines Error(std::string text) { return {{LogLevel::kError, std::move(text)}}; }

std::string Name(MessageType type) { return std::string(MessageTypeName(type)); }
std::string VoteName(bool pre_vote) { return pre_vote ? "MsgPreVote" : "MsgVote"; }

std::string_view ChangeTypeName(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddNode:
      return "ConfChangeAddNode";
    case ConfChangeType::kRemoveNode:
      return "ConfChangeRemoveNode";
    case ConfChangeType::kUpdateNode:
      return "ConfChangeUpdateNode";
    case ConfChangeType::kAddLearner:
      return "ConfChangeAddLearnerNode";
  }
  return "?";
}

std::string_view TransitionName(ConfChangeTransition transition) {
  switch (transition) {
    case ConfChangeTransition::kAuto:
      return "ConfChangeTransitionAuto";
    case ConfChangeTransition::kJointImplicit:
      return "ConfChangeTransitionJointImplicit";
    case ConfChangeTransition::kJointExplicit:
      return "ConfChangeTransitionJointExplicit";
  }
  return "?";
}

std::string RoleName(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kPreCandidate:
      return "pre-candidate";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
  }
  return "?";
}

// As protobuf's compact text format prints it.
std::string ProtoText(const ConfChange& change, EntryType type) {
  if (type == EntryType::kConfChange && !change.changes.empty()) {
    const ConfChangeSingle& single = change.changes.front();
    return StrFormat("type:%s node_id:%d id:0", std::string(ChangeTypeName(single.type)),
                     single.node);
  }
  std::string out = absl::StrCat("transition:", std::string(TransitionName(change.transition)));
  for (const ConfChangeSingle& single : change.changes) {
    absl::StrAppend(&out, " changes:{type:", std::string(ChangeTypeName(single.type)),
                    " node_id:", single.node, "}");
  }
  return out;
}

// One function for each event and step that etcd-io/raft logs; the template takes the others.
struct Renderer {
  NodeId self;

  template <typename T>
  Lines operator()(const T& unlogged) const {
    (void)unlogged;
    return {};
  }

  // --- Elections ---

  Lines operator()(const event::RoleChanged& e) const {
    return Info(StrFormat("%x became %s at term %d", self, RoleName(e.role), e.term));
  }
  Lines operator()(const trace::ElectionStarted& e) const {
    return Info(StrFormat("%x is starting a new election at term %d", self, e.term));
  }
  Lines operator()(const event::CampaignRefused& e) const {
    switch (e.why) {
      case event::CampaignRefusal::kAlreadyLeader:
        return Debug(StrFormat("%x ignoring MsgHup because already leader", self));
      case event::CampaignRefusal::kNotPromotable:
        return Warn(StrFormat("%x is unpromotable and can not campaign", self));
      case event::CampaignRefusal::kUnappliedConfChange:
        return Warn(
            StrFormat("%x cannot campaign at term %d since there are still pending "
                      "configuration changes to apply",
                      self, e.term));
    }
    return {};
  }
  Lines operator()(const trace::VoteRequested& e) const {
    return Info(StrFormat("%x [logterm: %d, index: %d] sent %s request to %x at term %d", self,
                          e.last_term, e.last_index, VoteName(e.pre_vote), e.to, e.term));
  }
  Lines operator()(const trace::VoteCast& e) const {
    const std::string head = StrFormat("%x [logterm: %d, index: %d, vote: %x] ", self, e.last_term,
                                       e.last_index, e.vote);
    const std::string tail = StrFormat("%x [logterm: %d, index: %d] at term %d", e.candidate,
                                       e.candidate_last_term, e.candidate_last_index, e.term);
    const std::string name = VoteName(e.pre_vote);
    switch (e.answer) {
      case trace::VoteAnswer::kGranted:
        return Info(head + "cast " + name + " for " + tail);
      case trace::VoteAnswer::kRejected:
        return Info(head + "rejected " + name + " from " + tail);
      case trace::VoteAnswer::kIgnoredInLease:
        return Info(head + "ignored " + name + " from " + tail +
                    StrFormat(": lease is not expired (remaining ticks: %d)", e.remaining_ticks));
    }
    return {};
  }
  Lines operator()(const trace::VoteReceived& e) const {
    const std::string name = VoteName(e.pre_vote) + "Resp";
    Lines lines = Info(StrFormat("%x received %s%s from %x at term %d", self, name,
                                 e.granted ? "" : " rejection", e.from, e.term));
    lines.push_back(
        {LogLevel::kInfo, StrFormat("%x has received %d %s votes and %d vote rejections", self,
                                    e.granted_count, name, e.rejected_count)});
    return lines;
  }
  Lines operator()(const trace::HigherTermSeen& e) const {
    return Info(StrFormat("%x [term: %d] received a %s message with higher term from %x [term: %d]",
                          self, e.term, Name(e.type), e.from, e.message_term));
  }
  Lines operator()(const trace::LowerTermIgnored& e) const {
    if (e.type == MessageType::kStorageAppendResp) {
      return Info(
          StrFormat("%x [term: %d] ignored entry appends from a %s message with lower "
                    "term [term: %d]",
                    self, e.term, Name(e.type), e.message_term));
    }
    return Info(StrFormat("%x [term: %d] ignored a %s message with lower term from %x [term: %d]",
                          self, e.term, Name(e.type), e.from, e.message_term));
  }
  Lines operator()(const event::QuorumLost&) const {
    return Warn(StrFormat("%x stepped down to follower since quorum is not active", self));
  }
  Lines operator()(const trace::LeaderForgotten& e) const {
    return Info(StrFormat("%x forgetting leader %x at term %d", self, e.leader, e.term));
  }
  Lines operator()(const trace::ForgetLeaderRefused&) const {
    return Error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
  }
  Lines operator()(const trace::RestoredAsNonFollower&) const {
    return Warn(StrFormat("%x attempted to restore snapshot as leader; should never happen", self));
  }

  // --- The log ---

  Lines operator()(const trace::LogConflict& e) const {
    return Info(StrFormat("found conflict at index %d [existing term: %d, conflicting term: %d]",
                          e.index, e.existing, e.incoming));
  }
  Lines operator()(const trace::UnstableReplaced& e) const {
    return Info(StrFormat("replace the unstable entries from index %d", e.index));
  }
  Lines operator()(const trace::UnstableTruncated& e) const {
    return Info(StrFormat("truncate the unstable entries before index %d", e.index));
  }
  Lines operator()(const trace::AppendAckIgnored& e) const {
    switch (e.why) {
      case trace::StaleAppendAck::kMissing:
        return Info(StrFormat("entry at index %d missing from unstable log; ignoring", e.index));
      case trace::StaleAppendAck::kCoveredBySnapshot:
        return Info(StrFormat("entry at index %d matched unstable snapshot; ignoring", e.index));
      case trace::StaleAppendAck::kOtherTerm:
        return Info(
            StrFormat("entry at (index,term)=(%d,%d) mismatched with entry at (%d,%d) in "
                      "unstable log; ignoring",
                      e.index, e.term, e.index, e.log_term));
    }
    return {};
  }

  // --- Replication and snapshots ---

  Lines operator()(const trace::AppendRefused& e) const {
    return Debug(
        StrFormat("%x [logterm: %d, index: %d] rejected MsgApp [logterm: %d, index: %d] "
                  "from %x",
                  self, e.own_log_term, e.index, e.log_term, e.index, e.leader));
  }
  Lines operator()(const trace::AppendRejected& e) const {
    return Debug(
        StrFormat("%x received MsgAppResp(rejected, hint: (index %d, term %d)) from %x "
                  "for index %d",
                  self, e.hint, e.hint_term, e.peer, e.rejected));
  }
  Lines operator()(const trace::ProgressDecreased& e) const {
    return Debug(
        StrFormat("%x decreased progress of %x to [%s]", self, e.peer.id, ProgressText(e.peer)));
  }
  Lines operator()(const trace::PeerUnreachable& e) const {
    return Debug(StrFormat("%x failed to send message to %x because it is unreachable [%s]", self,
                           e.peer.id, ProgressText(e.peer)));
  }
  Lines operator()(const trace::UnknownPeer& e) const {
    return Debug(StrFormat("%x no progress available for %x", self, e.peer));
  }
  Lines operator()(const event::SnapshotSent& e) const {
    Lines lines = Debug(
        StrFormat("%x [firstindex: %d, commit: %d] sent snapshot[index: %d, term: "
                  "%d] to %x [%s]",
                  self, e.first_index, e.commit, e.index, e.term, e.peer, ProgressText(e.before)));
    lines.push_back(
        {LogLevel::kDebug, StrFormat("%x paused sending replication messages to %x [%s]", self,
                                     e.peer, ProgressText(e.after))});
    return lines;
  }
  Lines operator()(const trace::SnapshotNotSent& e) const {
    if (e.why == trace::SnapshotWithheld::kPeerInactive) {
      return Debug(
          StrFormat("ignore sending snapshot to %x since it is not recently active", e.peer));
    }
    return Debug(
        StrFormat("%x failed to send snapshot to %x because snapshot is temporarily "
                  "unavailable",
                  self, e.peer));
  }
  Lines operator()(const trace::SnapshotRecovered& e) const {
    return Debug(
        StrFormat("%x recovered from needing snapshot, resumed sending replication "
                  "messages to %x [%s]",
                  self, e.peer.id, ProgressText(e.peer)));
  }
  Lines operator()(const event::SnapshotReported& e) const {
    return Debug(StrFormat("%x snapshot %s, resumed sending replication messages to %x [%s]", self,
                           e.ok ? "succeeded" : "failed", e.peer.id, ProgressText(e.peer)));
  }
  Lines operator()(const trace::SnapshotRestoring& e) const {
    return Info(StrFormat(
        "log [committed=%d, applied=%d, applying=%d, unstable.offset=%d, "
        "unstable.offsetInProgress=%d, len(unstable.Entries)=%d] starts to restore snapshot "
        "[index: %d, term: %d]",
        e.commit, e.applied, e.applying, e.unstable_offset, e.unstable_offset_in_progress,
        e.unstable_count, e.index, e.term));
  }
  Lines operator()(const event::SnapshotRestored& e) const {
    Lines lines =
        Info(StrFormat("%x [commit: %d, lastindex: %d, lastterm: %d] restored snapshot "
                       "[index: %d, term: %d]",
                       self, e.commit, e.last_index, e.last_term, e.index, e.term));
    lines.push_back({LogLevel::kInfo, StrFormat("%x [commit: %d] restored snapshot [index: %d, "
                                                "term: %d]",
                                                self, e.commit, e.index, e.term)});
    return lines;
  }
  Lines operator()(const trace::SnapshotFastForwarded& e) const {
    return Info(
        StrFormat("%x [commit: %d, lastindex: %d, lastterm: %d] fast-forwarded commit to "
                  "snapshot [index: %d, term: %d]",
                  self, e.commit, e.last_index, e.last_term, e.index, e.term));
  }
  Lines operator()(const trace::SnapshotIgnored& e) const {
    return Info(StrFormat("%x [commit: %d] ignored snapshot [index: %d, term: %d]", self, e.commit,
                          e.index, e.term));
  }

  // --- Membership ---

  Lines operator()(const event::ConfChanged& e) const {
    return Info(StrFormat("%x switched to configuration %s", self, ConfigText(e.conf_state)));
  }
  Lines operator()(const event::ConfChangeRefused& e) const {
    std::string reason(e.reason);
    if (e.pending != 0) {
      reason += StrFormat(" at index %d (applied to %d)", e.pending, e.applied);
    }
    return Info(StrFormat("%x ignoring conf change %s at config %s: %s", self,
                          ProtoText(e.change, e.entry_type), ConfigText(e.conf_state), reason));
  }
  Lines operator()(const trace::AutoLeaveProposed& e) const {
    return Info("initiating automatic transition out of joint configuration " +
                ConfigText(e.conf_state));
  }
  Lines operator()(const trace::AutoLeaveRefused& e) const {
    return Debug("not initiating automatic transition out of joint configuration " +
                 ConfigText(e.conf_state) + ": raft proposal dropped");
  }

  // --- Proposals, transfer, reads ---

  Lines operator()(const trace::ProposalRefused& e) const {
    switch (e.why) {
      case trace::ProposalRefusal::kNoLeader:
        return Info(StrFormat("%x no leader at term %d; dropping proposal", self, e.term));
      case trace::ProposalRefusal::kNotForwarding:
        return Info(StrFormat("%x not forwarding to leader %x at term %d; dropping proposal", self,
                              e.peer, e.term));
      case trace::ProposalRefusal::kTransferring:
        return Debug(
            StrFormat("%x [term %d] transfer leadership to %x is in progress; dropping "
                      "proposal",
                      self, e.term, e.peer));
      case trace::ProposalRefusal::kQuota:
        return Warn(
            StrFormat("%x appending new entries to log would exceed uncommitted entry "
                      "size limit; dropping proposal",
                      self));
      case trace::ProposalRefusal::kNotMember:
      case trace::ProposalRefusal::kLeaderOnly:
        return {};
    }
    return {};
  }
  Lines operator()(const event::TransferStarted& e) const {
    return Info(StrFormat("%x [term %d] starts to transfer leadership to %x", self, e.term, e.to));
  }
  Lines operator()(const event::TransferAborted& e) const {
    if (!e.replaced) return {};
    return Info(
        StrFormat("%x [term %d] abort previous transferring leadership to %x", self, e.term, e.to));
  }
  Lines operator()(const event::TransferRefused& e) const {
    switch (e.why) {
      case event::TransferRefusal::kLearner:
        return Debug(StrFormat("%x is learner. Ignored transferring leadership", self));
      case event::TransferRefusal::kInProgress:
        return Info(
            StrFormat("%x [term %d] transfer leadership to %x is in progress, ignores "
                      "request to same node %x",
                      self, e.term, e.to, e.to));
      case event::TransferRefusal::kSelf:
        return Debug(
            StrFormat("%x is already leader. Ignored transferring leadership to self", self));
      case event::TransferRefusal::kRecovering:
        return {};  // Not of etcd-io/raft.
      case event::TransferRefusal::kNoLeader:
        return Info(
            StrFormat("%x no leader at term %d; dropping leader transfer msg", self, e.term));
    }
    return {};
  }
  Lines operator()(const trace::TimeoutNowSent& e) const {
    if (e.caught_up_later) {
      return Info(StrFormat("%x sent MsgTimeoutNow to %x after received MsgAppResp", self, e.to));
    }
    return Info(
        StrFormat("%x sends MsgTimeoutNow to %x immediately as %x already has up-to-date "
                  "log",
                  self, e.to, e.to));
  }
  Lines operator()(const trace::TimeoutNowReceived& e) const {
    return Info(
        StrFormat("%x [term %d] received MsgTimeoutNow from %x and starts an election to "
                  "get leadership.",
                  self, e.term, e.from));
  }
  Lines operator()(const trace::TimeoutNowIgnored& e) const {
    return Debug(StrFormat("%x [term %d state %s] ignored MsgTimeoutNow from %x", self, e.term,
                           RoleText(e.role), e.from));
  }
};

}  // namespace

std::vector<LogLine> EventLines(NodeId self, const Event& event) {
  return std::visit(Renderer{self}, event);
}

std::vector<LogLine> EventLines(NodeId self, const TraceEvent& step) {
  return std::visit(Renderer{self}, static_cast<const TraceVariant&>(step));
}

}  // namespace keelson::raft::golden
