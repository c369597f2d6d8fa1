// Campaigns, votes and roles (raft.md section 4).
#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {

void Raft::BecomeFollower(Term term, NodeId leader) {
  Reset(term, leader);
  role_ = Role::kFollower;
  Emit(event::RoleChanged{Role::kFollower, term_, leader});
}

void Raft::BecomePreCandidate() {
  KEELSON_CHECK(role_ != Role::kLeader) << "a leader became pre-candidate";
  // Neither term nor vote move. The leader is forgotten, so that others who cannot reach it
  // either may get this node's vote.
  if (!Mutated(Mutation::kVotesNotReset)) tracker_.ResetVotes();
  SetLeader(kNoNode);
  role_ = Role::kPreCandidate;
  Emit(event::RoleChanged{Role::kPreCandidate, term_, kNoNode});
}

void Raft::BecomeCandidate() {
  KEELSON_CHECK(role_ != Role::kLeader) << "a leader became candidate";
  Reset(term_ + 1, kNoNode);
  vote_ = options_.id;
  role_ = Role::kCandidate;
  Emit(event::RoleChanged{Role::kCandidate, term_, kNoNode});
}

void Raft::BecomeLeader() {
  KEELSON_CHECK(role_ == Role::kCandidate || role_ == Role::kPreCandidate)
      << "a follower became leader without an election";
  Reset(term_, options_.id);
  role_ = Role::kLeader;
  Progress* self = tracker_.Find(options_.id);
  self->BecomeReplicate();
  self->set_recent_active(true);
  // Whatever was inherited may hold an unapplied conf change: none is accepted until all of
  // it has been applied.
  pending_conf_index_ = Mutated(Mutation::kChangeBeforeOwnCommit) ? 0 : log_.LastIndex();
  // An entry of the own term: nothing older can be committed without one (Raft paper, 5.4.2).
  Entry empty;
  KEELSON_CHECK(AppendEntries(std::span<Entry>(&empty, 1))) << "the first entry was refused";
  Emit(event::RoleChanged{Role::kLeader, term_, options_.id});
}

void Raft::Campaign() {
  Hup(options_.pre_vote ? CampaignKind::kPreElection : CampaignKind::kElection);
}

void Raft::Hup(CampaignKind kind) {
  Wake();
  if (role_ == Role::kLeader) {
    Emit(event::CampaignRefused{event::CampaignRefusal::kAlreadyLeader, term_});
    return;
  }
  if (!Promotable()) {
    Emit(event::CampaignRefused{event::CampaignRefusal::kNotPromotable, term_});
    return;
  }
  if (HasUnappliedConfChange() && !Mutated(Mutation::kCampaignWithUnappliedChange)) {
    Emit(event::CampaignRefused{event::CampaignRefusal::kUnappliedConfChange, term_});
    return;
  }
  Emit(trace::ElectionStarted{term_});
  StartCampaign(kind);
}

void Raft::StartCampaign(CampaignKind kind) {
  const bool pre_vote = kind == CampaignKind::kPreElection;
  campaign_ticks_ = 0;
  if (pre_vote) {
    BecomePreCandidate();
  } else {
    BecomeCandidate();
  }
  // A pre-vote asks for the term that a real campaign would have.
  const Term term = pre_vote ? term_ + 1 : term_;
  const EntryId last = log_.LastEntry();
  for (const NodeId id : tracker_.AllVoters()) {
    Message message;
    message.to = id;
    message.term = term;
    if (id == options_.id) {
      // The own vote counts like any other: once it is durable.
      message.type = pre_vote ? MessageType::kPreVoteResp : MessageType::kVoteResp;
      if (Mutated(Mutation::kOwnVoteAtOnce)) tracker_.RecordVote(options_.id, true);
      SendAfterAppend(std::move(message));
      continue;
    }
    Emit(trace::VoteRequested{pre_vote, id, term_, last.term, last.index});
    message.type = pre_vote ? MessageType::kPreVote : MessageType::kVote;
    message.index = last.index;
    message.log_term = last.term;
    message.priority = options_.priority;
    if (kind == CampaignKind::kTransfer) message.context = kTransferContext;
    AddCommit(message);
    // A request that overtook the disk would outlive a crash that loses this term, this vote or
    // the log that it speaks of: after the restart this node could campaign in the same term
    // again, with another log, and count what was granted to the first request.
    if (options_.durable_campaigns && !pre_vote && !Mutated(Mutation::kOwnVoteAtOnce)) {
      SendAfterAppend(std::move(message));
    } else {
      Send(std::move(message));
    }
  }
}

int Raft::VotingLeaseTicks() const {
  int ticks = restart_grace_ticks_;
  if (options_.check_quorum && lead_ != kNoNode) {
    ticks = std::max(ticks, options_.election_ticks - election_elapsed_);
  }
  return ticks;
}

bool Raft::InVotingLease() const {
  return VotingLeaseTicks() > 0 && !Mutated(Mutation::kStickinessDropped);
}

bool Raft::HasPriorityOver(const Message& message) const {
  const EntryId last = log_.LastEntry();
  if (message.log_term != last.term || message.index != last.index) return false;  // It knows more.
  if (message.context == kTransferContext || !Promotable()) return false;
  return options_.priority >> std::min(priority_refusals_, 62) > message.priority;
}

// Two members that ask at nearly the same time would each grant the other its pre-vote, then each
// vote for itself, and the group would wait for another timeout. Only while requests may be under
// way: a member that nobody answers must not hold up others for longer (docs/elections.md).
Raft::Rivalry Raft::RivalryWith(const Message& message) const {
  if (!options_.rank_rivals || message.type != MessageType::kPreVote ||
      role_ != Role::kPreCandidate || message.term != term_ + 1 ||
      campaign_ticks_ > options_.heartbeat_ticks) {
    return Rivalry::kNone;
  }
  const EntryId last = log_.LastEntry();
  const auto rank = std::tuple(last.term, last.index, options_.priority, options_.id);
  const auto theirs = std::tuple(message.log_term, message.index, message.priority, message.from);
  return rank < theirs ? Rivalry::kGiveWay : Rivalry::kRefuse;
}

void Raft::EmitVote(const Message& message, trace::VoteAnswer answer) {
  if (observer_ == nullptr) return;
  const EntryId last = log_.LastEntry();
  trace::VoteCast cast;
  cast.pre_vote = message.type == MessageType::kPreVote;
  cast.candidate = message.from;
  cast.term = term_;
  cast.granted = answer == trace::VoteAnswer::kGranted;
  cast.answer = answer;
  cast.vote = vote_;
  cast.last_term = last.term;
  cast.last_index = last.index;
  cast.candidate_last_term = message.log_term;
  cast.candidate_last_index = message.index;
  if (answer == trace::VoteAnswer::kIgnoredInLease) cast.remaining_ticks = VotingLeaseTicks();
  Emit(cast);
}

void Raft::AddCommit(Message& message) const {
  if (!options_.commit_by_vote || Mutated(Mutation::kNoCommitByVote)) return;
  message.commit = log_.committed();
  message.commit_term = log_.TermAt(message.commit).value_or(0);
}

// A membership is switched when its change is applied. So one member may need another's vote to
// win, and that other, whose log is longer, does not know yet that the change is committed
// which makes it so: neither could ever win. With the term of the committed entry, whose log
// matches there knows the same to be committed in its own.
bool Raft::CommitByVote(const Message& message) {
  if (!options_.commit_by_vote || role_ == Role::kLeader) return false;
  const Index before = log_.committed();
  if (!log_.MaybeCommit({message.commit_term, message.commit})) return false;
  Emit(trace::CommittedByVote{message.from, before, log_.committed()});
  if (role_ == Role::kFollower || !HasUnappliedConfChange()) return false;
  // This campaign counts by a membership that is no more.
  BecomeFollower(term_, kNoNode);
  return true;
}

void Raft::HandleVoteRequest(const Message& message) {
  (void)CommitByVote(message);
  const bool pre_vote = message.type == MessageType::kPreVote;
  // A repeated request gets the same answer. A learner votes, too: it may have been promoted
  // without knowing it yet, and the group may need its vote.
  bool can_vote = vote_ == message.from || (vote_ == kNoNode && lead_ == kNoNode) ||
                  (pre_vote && message.term > term_);
  if (Mutated(Mutation::kVoteTwice)) can_vote = lead_ == kNoNode;
  if (Mutated(Mutation::kLearnerRefusesVote)) can_vote = can_vote && tracker_.IsVoter(options_.id);
  const bool good_log = !recovering_ && log_.IsUpToDate({message.log_term, message.index});
  const bool outranked = can_vote && good_log && HasPriorityOver(message);
  if (outranked) ++priority_refusals_;
  const Rivalry rivalry = RivalryWith(message);
  bool granted = can_vote && good_log && !outranked && rivalry != Rivalry::kRefuse;
  if (Mutated(Mutation::kVoteOnInheritedVote)) granted |= vote_ == message.from;
  if (Mutated(Mutation::kVoteByIndexOnly)) granted = can_vote && message.index >= log_.LastIndex();
  EmitVote(message, granted ? trace::VoteAnswer::kGranted : trace::VoteAnswer::kRejected);

  if (!granted && term_ == 0) return;  // A refusal carries our term, and there is none yet.
  Message response;
  response.type = pre_vote ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  response.to = message.from;
  // A grant answers with the term that was asked for, which a pre-vote has not brought us to.
  response.term = granted ? message.term : term_;
  response.reject = !granted;
  AddCommit(response);
  SendAfterAppend(std::move(response));
  if (granted && rivalry == Rivalry::kGiveWay) BecomeFollower(term_, kNoNode);
  if (Mutated(Mutation::kRejectedVoteResetsTimer)) election_elapsed_ = 0;
  if (granted && !pre_vote) {
    election_elapsed_ = 0;
    vote_ = message.from;
  }
}

void Raft::HandleVoteResponse(const Message& message) {
  if (CommitByVote(message)) return;
  tracker_.RecordVote(message.from, !message.reject);
  const Tracker::Tally tally = tracker_.TallyVotes();
  const bool pre_vote = role_ == Role::kPreCandidate;
  Emit(trace::VoteReceived{pre_vote, message.from, !message.reject, term_, tally.granted,
                           tally.rejected});
  switch (tally.result) {
    case VoteResult::kWon:
      if (pre_vote) {
        StartCampaign(CampaignKind::kElection);
      } else {
        BecomeLeader();
        BroadcastAppend();
      }
      break;
    case VoteResult::kLost:
      // In the same term: a lost pre-vote must not raise it.
      BecomeFollower(term_, kNoNode);
      break;
    case VoteResult::kPending:
      break;
  }
  if (!pre_vote && message.reject && role_ != Role::kLeader) HastenNextCampaign();
}

// The votes are split, probably, and whoever is down will not decide. A pre-vote a little later harms
// nobody. Once only, so that where answers take long campaigns get the time that they need.
void Raft::HastenNextCampaign() {
  if (!options_.rank_rivals || !options_.pre_vote || hastened_) return;
  hastened_ = true;
  const int half = std::max(1, options_.election_ticks / 2);
  randomized_election_timeout_ =
      election_elapsed_ + 1 + static_cast<int>(random_.Below(static_cast<uint64_t>(half)));
}

void Raft::CheckQuorum() {
  if (!tracker_.QuorumActive()) {
    Emit(event::QuorumLost{term_});
    BecomeFollower(term_, kNoNode);
  }
  for (auto& [id, progress] : tracker_.progress()) {
    if (id != options_.id) progress.set_recent_active(false);
  }
}

void Raft::ForgetLeader() {
  if (role_ != Role::kFollower) return;
  if (options_.read_mode == ReadMode::kLeaseBased) {
    Emit(trace::ForgetLeaderRefused{});
    return;
  }
  if (lead_ == kNoNode) return;
  Emit(trace::LeaderForgotten{lead_, term_});
  SetLeader(kNoNode);
}

void Raft::StepDown() {
  if (role_ == Role::kLeader) BecomeFollower(term_, kNoNode);
}

bool Raft::HasUnappliedConfChange() const {
  constexpr uint64_t kPageBytes = 1 << 20;
  for (Index next = log_.applied() + 1; next <= log_.committed();) {
    const std::optional<std::vector<Entry>> page =
        log_.Slice(next, log_.committed() + 1, kPageBytes);
    KEELSON_CHECK(page.has_value()) << "unapplied entry " << next << " is compacted";
    for (const Entry& entry : *page) {
      if (entry.type != EntryType::kNormal) return true;
    }
    next += page->size();
  }
  return false;
}

}  // namespace keelson::raft::internal
