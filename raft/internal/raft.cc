#include "raft/internal/raft.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace keelson::raft::internal {
namespace {

absl::Status Validate(const Options& options) {
  if (options.id == kNoNode || options.id == kAppendThread || options.id == kApplyThread) {
    return absl::InvalidArgumentError(absl::StrCat("node id ", options.id, " is reserved"));
  }
  if (options.heartbeat_ticks <= 0) {
    return absl::InvalidArgumentError("heartbeat_ticks must be positive");
  }
  if (options.election_ticks <= options.heartbeat_ticks) {
    return absl::InvalidArgumentError("election_ticks must be greater than heartbeat_ticks");
  }
  if (options.max_inflight_messages == 0) {
    return absl::InvalidArgumentError("max_inflight_messages must not be 0");
  }
  if (options.max_apply_bytes == 0) {
    return absl::InvalidArgumentError("max_apply_bytes must not be 0");
  }
  if (options.read_mode == ReadMode::kLeaseBased && !options.check_quorum) {
    return absl::InvalidArgumentError("lease-based reads need check_quorum");
  }
  if (options.priority < 0 || options.quiesce_ticks < 0) {
    return absl::InvalidArgumentError("priority and quiesce_ticks must not be negative");
  }
  if (options.lease_margin_ticks < 0) {
    return absl::InvalidArgumentError("lease_margin_ticks must not be negative");
  }
  return absl::OkStatus();
}

bool CarriesOwnTerm(MessageType type) {
  return type == MessageType::kVote || type == MessageType::kVoteResp ||
         type == MessageType::kPreVote || type == MessageType::kPreVoteResp;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Raft>> Raft::Create(const Options& options, const LogStorage& log,
                                                   Random random, Observer* observer) {
  KEELSON_RETURN_IF_ERROR(Annotate(Validate(options), "raft options"));
  std::unique_ptr<Raft> raft(new Raft(options, log, random, observer));
  KEELSON_RETURN_IF_ERROR(Annotate(raft->Start(log), "raft log"));
  return raft;
}

Raft::Raft(const Options& options, const LogStorage& log, Random random, Observer* observer)
    : options_(options),
      observer_(observer),
      random_(random),
      log_(options.id, log, options.max_apply_bytes, options.apply_unstable, observer),
      tracker_(options.max_inflight_messages, options.max_inflight_bytes) {}

absl::Status Raft::Start(const LogStorage& log) {
  const HardState hard_state = log.InitialHardState();
  const Index first = log.FirstIndex();
  const Index last = log.LastIndex();
  if (hard_state.commit > last) {
    return absl::DataLossError(
        absl::StrCat("commit ", hard_state.commit, " is past the last entry ", last));
  }
  if (options_.applied > last) {
    return absl::DataLossError(
        absl::StrCat("applied ", options_.applied, " is past the last entry ", last));
  }
  if (options_.applied != 0 && options_.applied + 1 < first) {
    return absl::DataLossError(
        absl::StrCat("entries after ", options_.applied, " are compacted up to ", first - 1));
  }
  absl::StatusOr<Membership> membership = Changer(tracker_, last).Restore(log.InitialConfState());
  if (!membership.ok()) return absl::DataLossError(membership.status().message());

  SwitchTo(*std::move(membership));
  term_ = hard_state.term;
  vote_ = hard_state.vote;
  incarnation_ = hard_state.incarnation;
  recovering_ = hard_state.recovering;
  log_.Load(hard_state.commit, options_.applied);
  membership_index_ = log_.applied();
  if (options_.read_mode == ReadMode::kLeaseBased && term_ > 0) {
    restart_grace_ticks_ = options_.election_ticks;
  }
  BecomeFollower(term_, kNoNode);
  reported_soft_state_ = soft_state();
  reported_hard_state_ = this->hard_state();
  const EntryId last_entry = log_.LastEntry();
  Emit(trace::Started{this->hard_state(), log_.applied(), last_entry.index, last_entry.term});
  // It may have said that it had recovered, and the note of it may be lost: another life.
  if (recovering_) BeginRecovery(0);
  return absl::OkStatus();
}

void Raft::SetLeader(NodeId leader) {
  if (lead_ == leader) return;
  Emit(event::LeaderChanged{lead_, leader, term_});
  lead_ = leader;
  if (leader == kNoNode) return;
  priority_refusals_ = 0;
  if (hastened_) DrawElectionTimeout();
  hastened_ = false;
}

void Raft::DrawElectionTimeout() {
  randomized_election_timeout_ =
      options_.election_ticks +
      static_cast<int>(random_.Below(static_cast<uint64_t>(options_.election_ticks)));
}

void Raft::Reset(Term term, NodeId leader) {
  Wake();
  if (term_ != term) {
    term_ = term;
    if (!Mutated(Mutation::kVoteNotReset)) vote_ = kNoNode;
  }
  SetLeader(leader);
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  DrawElectionTimeout();
  AbortTransfer(/*replaced=*/false);
  if (!Mutated(Mutation::kVotesNotReset)) tracker_.ResetVotes();
  const Index last = log_.LastIndex();
  for (auto& [id, progress] : tracker_.progress()) {
    progress = Progress(id == options_.id ? last : 0, last + 1, tracker_.NewInflights(),
                        progress.is_learner(), /*recent_active=*/false);
  }
  pending_conf_index_ = 0;
  if (!Mutated(Mutation::kUncommittedKeptOverTerms)) uncommitted_bytes_ = 0;
  reads_.Reset();
  parked_reads_.clear();
  lease_start_tick_.reset();
}

void Raft::Tick() {
  if (asleep_) return;
  ++ticks_;
  if (restart_grace_ticks_ > 0) --restart_grace_ticks_;
  if (role_ == Role::kLeader) {
    TickHeartbeat();
    MaybeSleep();
  } else {
    TickElection();
  }
}

void Raft::TickElection() {
  ++election_elapsed_;
  ++campaign_ticks_;
  if (!Promotable() || election_elapsed_ < randomized_election_timeout_) return;
  election_elapsed_ = 0;
  Campaign();
}

void Raft::TickHeartbeat() {
  ++heartbeat_elapsed_;
  ++election_elapsed_;
  if (election_elapsed_ >= options_.election_ticks) {
    election_elapsed_ = 0;
    if (options_.check_quorum) CheckQuorum();
    // A transferee that has not caught up by now would only block proposals longer.
    if (role_ == Role::kLeader && !Mutated(Mutation::kTransferNeverAborted)) {
      AbortTransfer(/*replaced=*/false);
    }
  }
  if (role_ != Role::kLeader) return;
  if (heartbeat_elapsed_ >= options_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    BroadcastHeartbeat();
  }
}

void Raft::Send(Message message) {
  if (message.from == kNoNode) message.from = options_.id;
  if (CarriesOwnTerm(message.type)) {
    KEELSON_CHECK(message.term != 0) << MessageTypeName(message.type) << " without a term";
  } else if (message.type != MessageType::kProp && message.type != MessageType::kReadIndex) {
    // Proposals and read requests are forwarded as if they were local: they have no term.
    message.term = term_;
  }
  KEELSON_CHECK(message.to != options_.id) << MessageTypeName(message.type) << " to self";
  if (role_ != Role::kLeader) message.incarnation = incarnation_;
  message.recovering = recovering_;
  messages_.push_back(std::move(message));
}

void Raft::SendAfterAppend(Message message) {
  message.from = options_.id;
  if (!CarriesOwnTerm(message.type)) message.term = term_;
  KEELSON_CHECK(message.term != 0 || !CarriesOwnTerm(message.type)) << "vote without a term";
  message.incarnation = incarnation_;
  message.recovering = recovering_;
  messages_after_append_.push_back(std::move(message));
}

bool Raft::Promotable() const {
  const Progress* self = tracker_.Find(options_.id);
  return self != nullptr && (!self->is_learner() || Mutated(Mutation::kLearnerCampaigns)) &&
         !recovering_ && !log_.HasUnstableSnapshot();
}

void Raft::ReportUnreachable(NodeId peer) {
  Message message;
  message.type = MessageType::kUnreachable;
  message.from = peer;
  if (tracker_.Find(peer) != nullptr) (void)Step(message);  // Has no error of its own.
}

void Raft::ReportSnapshot(NodeId peer, bool ok) {
  Message message;
  message.type = MessageType::kSnapStatus;
  message.from = peer;
  message.reject = !ok;
  (void)Step(message);  // Has no error of its own.
}

Status Raft::GetStatus() const {
  Status status;
  status.id = options_.id;
  status.hard_state = hard_state();
  status.soft_state = soft_state();
  status.applied = log_.applied();
  status.first_index = log_.FirstIndex();
  status.last_index = log_.LastIndex();
  status.last_term = log_.LastEntry().term;
  status.transferee = lead_transferee_;
  status.conf_state = tracker_.config();
  if (role_ == Role::kLeader) {
    status.uncommitted_bytes = uncommitted_bytes_;
    for (const auto& [id, progress] : tracker_.progress()) {
      status.peers.push_back(progress.ToStatus(id));
    }
  }
  return status;
}

}  // namespace keelson::raft::internal
