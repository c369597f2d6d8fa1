// The term rule (raft.md section 3), and who handles which message in which role.
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {
namespace {

bool IsLocalThread(NodeId id) { return id == kAppendThread || id == kApplyThread; }

// Types that only this process may make.
bool IsLocal(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
    case MessageType::kForgetLeader:
      return true;
    default:
      return false;
  }
}

bool IsResponse(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
      return true;
    default:
      return false;
  }
}

bool IsFromLeader(MessageType type) {
  return type == MessageType::kApp || type == MessageType::kHeartbeat || type == MessageType::kSnap;
}

absl::Status Malformed(const Message& message, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      absl::string_view(MessageTypeName(message.type).data(), MessageTypeName(message.type).size()),
      " from ", message.from, ": ", absl::string_view(what.data(), what.size())));
}

// What a peer may get wrong beyond the protocol itself.
absl::Status CheckShape(const Message& message) {
  const bool termless =
      message.type == MessageType::kProp || message.type == MessageType::kReadIndex;
  if (message.term == 0 && !termless) return Malformed(message, "no term");
  switch (message.type) {
    case MessageType::kApp: {
      Index index = message.index;
      for (const Entry& entry : message.entries) {
        if (entry.index != ++index) return Malformed(message, "entries are not consecutive");
        if (entry.term > message.term) return Malformed(message, "an entry of a later term");
      }
      return absl::OkStatus();
    }
    case MessageType::kProp:
      if (message.entries.empty()) return Malformed(message, "no entries");
      return absl::OkStatus();
    case MessageType::kReadIndex:
      if (message.entries.size() != 1) return Malformed(message, "not one entry");
      return absl::OkStatus();
    case MessageType::kSnap:
      if (!message.snapshot.has_value() || message.snapshot->metadata.index == 0) {
        return Malformed(message, "no snapshot");
      }
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

}  // namespace

absl::Status Raft::StepFromOutside(Message message) {
  if (IsLocalThread(message.from)) return Step(message);
  if (static_cast<uint8_t>(message.type) > static_cast<uint8_t>(MessageType::kForgetLeader)) {
    return Malformed(message, "unknown type");
  }
  if (IsLocal(message.type)) return Malformed(message, "local message from outside");
  // Requests of strangers are allowed: a new leader may know of members that we do not.
  if (IsResponse(message.type) && message.from != options_.id &&
      tracker_.Find(message.from) == nullptr) {
    return absl::NotFoundError(absl::StrCat("peer ", message.from, " is no member"));
  }
  if (absl::Status shape = CheckShape(message); !shape.ok()) return shape;
  return Step(message);
}

absl::Status Raft::Step(Message& message) {
  WakeFor(message);
  if (message.term != 0 && message.term != term_ && !CheckTerm(message)) return absl::OkStatus();
  switch (message.type) {
    case MessageType::kStorageAppendResp:
      HandleStorageAppendResponse(message, /*trim_entries=*/true);
      return absl::OkStatus();
    case MessageType::kStorageApplyResp:
      HandleStorageApplyResponse(message);
      return absl::OkStatus();
    case MessageType::kVote:
    case MessageType::kPreVote:
      HandleVoteRequest(message);
      return absl::OkStatus();
    case MessageType::kProp:
      if (WantsLeader(message)) return RefuseProposal(trace::ProposalRefusal::kLeaderOnly, lead_);
      break;
    default:
      break;
  }
  switch (role_) {
    case Role::kLeader:
      return StepLeader(message);
    case Role::kFollower:
      return StepFollower(message);
    case Role::kCandidate:
    case Role::kPreCandidate:
      return StepCandidate(message);
  }
  return absl::OkStatus();
}

bool Raft::CheckTerm(const Message& message) {
  if (message.term < term_) {
    if (Mutated(Mutation::kStaleTermAnswers) &&
        (message.type == MessageType::kAppResp || message.type == MessageType::kVoteResp)) {
      return true;
    }
    HandleLowerTerm(message);
    return false;
  }
  const bool is_vote = message.type == MessageType::kVote || message.type == MessageType::kPreVote;
  if (is_vote && message.context != kTransferContext && InVotingLease()) {
    // Leader stickiness: a node that was cut off must not depose a leader that works. Its
    // term is not adopted either.
    EmitVote(message, trace::VoteAnswer::kIgnoredInLease);
    return false;
  }
  // A pre-vote moves no terms; its grant carries the term that the candidate would have.
  const bool keeps_term =
      (message.type == MessageType::kPreVote && !Mutated(Mutation::kPreVoteMovesTerm)) ||
      (message.type == MessageType::kPreVoteResp && !message.reject &&
       !Mutated(Mutation::kPreVoteGrantMovesTerm));
  if (!keeps_term) AdoptHigherTerm(message);
  return true;
}

void Raft::AdoptHigherTerm(const Message& message) {
  Emit(trace::HigherTermSeen{message.type, message.from, term_, message.term});
  const bool was_follower = role_ == Role::kFollower;
  const int elapsed = election_elapsed_;
  BecomeFollower(message.term, IsFromLeader(message.type) ? message.from : kNoNode);
  // Only a vote that is given starts the timer again: else members whose logs are too short could
  // keep the one that alone can win from ever asking.
  if (message.type == MessageType::kVote && was_follower) election_elapsed_ = elapsed;
  if (Mutated(Mutation::kVoteOnInheritedVote) && message.type == MessageType::kVote) {
    vote_ = message.from;
  }
}

void Raft::HandleLowerTerm(const Message& message) {
  const bool answers = options_.answer_old_leaders || options_.check_quorum || options_.pre_vote;
  if (answers && !Mutated(Mutation::kSilentToLowerTerm) &&
      (message.type == MessageType::kHeartbeat || message.type == MessageType::kApp)) {
    // Stickiness keeps everybody else from learning our term by a vote request, and we ignore
    // this leader: only by telling it our term can the group get together again.
    Message response;
    response.type = MessageType::kAppResp;
    response.to = message.from;
    SendAfterAppend(std::move(response));
  } else if (message.type == MessageType::kPreVote) {
    // Silence could leave two candidates waiting for each other while pre-vote is rolled out.
    EmitVote(message, trace::VoteAnswer::kRejected);
    Message response;
    response.type = MessageType::kPreVoteResp;
    response.to = message.from;
    response.term = term_;
    response.reject = true;
    SendAfterAppend(std::move(response));
  } else if (message.type == MessageType::kStorageAppendResp) {
    if (message.index != 0) {
      Emit(trace::LowerTermIgnored{message.type, message.from, term_, message.term});
    }
    HandleStorageAppendResponse(message,
                                /*trim_entries=*/Mutated(Mutation::kTrimByOldTermAck));
  } else {
    Emit(trace::LowerTermIgnored{message.type, message.from, term_, message.term});
  }
}

absl::Status Raft::StepLeader(Message& message) {
  switch (message.type) {
    case MessageType::kProp:
      return HandleProposal(message);
    case MessageType::kReadIndex:
      return HandleReadRequest(message);
    case MessageType::kForgetLeader:
      return absl::OkStatus();  // Only followers forget.
    default:
      StepLeaderFromPeer(message);
      return absl::OkStatus();
  }
}

void Raft::StepLeaderFromPeer(Message& message) {
  Progress* progress = tracker_.Find(message.from);
  if (progress == nullptr) {
    Emit(trace::UnknownPeer{message.from});
    return;
  }
  if (IsResponse(message.type) && !CheckLife(message, *progress)) return;
  switch (message.type) {
    case MessageType::kAppResp:
      HandleAppendResponse(message, *progress);
      break;
    case MessageType::kHeartbeatResp:
      HandleHeartbeatResponse(message, *progress);
      break;
    case MessageType::kSnapStatus:
      HandleSnapshotStatus(message, *progress);
      break;
    case MessageType::kUnreachable:
      HandleUnreachable(message, *progress);
      break;
    case MessageType::kTransferLeader:
      HandleTransfer(message, *progress);
      break;
    default:
      break;  // Nothing else concerns a leader.
  }
}

absl::Status Raft::StepCandidate(Message& message) {
  const MessageType own_response =
      role_ == Role::kPreCandidate ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  switch (message.type) {
    case MessageType::kProp:
      return RefuseProposal(trace::ProposalRefusal::kNoLeader, kNoNode);
    case MessageType::kReadIndex:
      Emit(trace::ReadDropped{term_});
      return absl::UnavailableError("no leader is known");
    case MessageType::kApp:
      BecomeFollower(message.term, message.from);  // It has won this term.
      HandleAppend(message);
      break;
    case MessageType::kHeartbeat:
      BecomeFollower(message.term, message.from);
      HandleHeartbeat(message);
      break;
    case MessageType::kSnap:
      BecomeFollower(message.term, message.from);
      HandleSnapshot(message);
      break;
    case MessageType::kTimeoutNow:
      Emit(trace::TimeoutNowIgnored{message.from, term_, role_});
      break;
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      // An answer to the other kind of campaign is left over from before.
      if (message.type == own_response || Mutated(Mutation::kPreVoteCountsAsVote)) {
        HandleVoteResponse(message);
      }
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

absl::Status Raft::StepFollower(Message& message) {
  switch (message.type) {
    case MessageType::kProp:
      if (lead_ == kNoNode) return RefuseProposal(trace::ProposalRefusal::kNoLeader, kNoNode);
      if (!options_.forward_proposals) {
        return RefuseProposal(trace::ProposalRefusal::kNotForwarding, lead_);
      }
      ForwardToLeader(message);
      if (Mutated(Mutation::kForwardedAndKept)) return absl::UnavailableError("forwarded");
      break;
    case MessageType::kReadIndex:
      if (lead_ == kNoNode) {
        Emit(trace::ReadDropped{term_});
        return absl::UnavailableError("no leader is known");
      }
      ForwardToLeader(message);
      break;
    case MessageType::kTransferLeader:
      if (lead_ == kNoNode) {
        Emit(event::TransferRefused{message.from, term_, event::TransferRefusal::kNoLeader});
        break;
      }
      ForwardToLeader(message);
      break;
    case MessageType::kApp:
      election_elapsed_ = 0;
      SetLeader(message.from);
      HandleAppend(message);
      break;
    case MessageType::kHeartbeat:
      election_elapsed_ = 0;
      SetLeader(message.from);
      HandleHeartbeat(message);
      break;
    case MessageType::kSnap:
      election_elapsed_ = 0;
      SetLeader(message.from);
      HandleSnapshot(message);
      break;
    case MessageType::kForgetLeader:
      ForgetLeader();
      break;
    case MessageType::kTimeoutNow:
      Emit(trace::TimeoutNowReceived{message.from, term_});
      // No pre-vote: the leader has asked for this, so nobody is cut off.
      Hup(CampaignKind::kTransfer);
      break;
    case MessageType::kReadIndexResp:
      HandleReadResponse(message);
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

void Raft::ForwardToLeader(Message& message) {
  message.to = lead_;
  Send(std::move(message));
}

}  // namespace keelson::raft::internal
