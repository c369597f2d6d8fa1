// The algorithm. One class, since one state; its functions are grouped by what they know:
//
//   raft.cc         state, time, sending
//   step.cc         the term rule, and who handles which message in which role
//   election.cc     campaigns, votes, roles
//   replication.cc  the leader's side of the log
//   append.cc       the follower's side of the log, snapshots included
//   proposal.cc     what clients ask for
//   membership.cc   conf changes
//   transfer.cc     handing leadership over
//   read_index.cc   linearizable reads
//   rejoin.cc       members that lost durable data
//   quiescence.cc   groups without work
//   ready.cc        what the driver has to do next
#ifndef KEELSON_RAFT_INTERNAL_RAFT_H_
#define KEELSON_RAFT_INTERNAL_RAFT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/random.h"
#include "raft/core.h"
#include "raft/internal/conf_change.h"
#include "raft/internal/mutation.h"
#include "raft/internal/raft_log.h"
#include "raft/internal/read_queue.h"
#include "raft/internal/trace.h"
#include "raft/internal/tracker.h"
#include "raft/log_storage.h"
#include "raft/observer.h"
#include "raft/types.h"

namespace keelson::raft::internal {

// In vote requests of a member to which the leader hands over: stickiness does not hold.
inline constexpr std::string_view kTransferContext = "CampaignTransfer";

class Raft {
 public:
  // See Core, whose functions these are.
  static absl::StatusOr<std::unique_ptr<Raft>> Create(const Options& options, const LogStorage& log,
                                                      Random random, Observer* observer);
  void Tick();
  void SkipTicks(uint64_t ticks) { ticks_ += ticks; }
  absl::Status StepFromOutside(Message message);
  absl::Status Propose(std::span<const Payload> payloads);
  absl::Status ProposeConfChange(const ConfChange& change);
  std::optional<ConfState> ApplyConfChange(Index index, const ConfChange& change);
  absl::Status RequestRead(std::string context);
  void Campaign();
  void TransferLeadership(NodeId to);
  void ForgetLeader();
  void StepDown();
  void ReportUnreachable(NodeId peer);
  void ReportSnapshot(NodeId peer, bool ok);
  [[nodiscard]] bool HasReady() const;
  [[nodiscard]] Ready TakeReady();
  [[nodiscard]] SoftState soft_state() const { return {lead_, role_}; }
  [[nodiscard]] HardState hard_state() const {
    return {term_, vote_, log_.committed(), incarnation_, recovering_};
  }
  [[nodiscard]] bool asleep() const { return asleep_; }
  void Wake();
  [[nodiscard]] Status GetStatus() const;
  void SetRandomizedElectionTimeout(int ticks) { randomized_election_timeout_ = ticks; }
  [[nodiscard]] const RaftLog& log() const { return log_; }

  // All state that decides about the future, for raft/model: time, chance, reads and membership
  // changes apart, with which it does nothing.
  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit.Node(vote_);
    visit.Node(lead_);
    visit.Node(lead_transferee_);
    visit(term_, log_, role_, tracker_, pending_conf_index_, uncommitted_bytes_);
    visit(incarnation_, recovering_, asleep_, priority_refusals_);
    visit(messages_, messages_after_append_, reported_soft_state_, reported_hard_state_);
  }

 private:
  enum class CampaignKind { kPreElection, kElection, kTransfer };

  Raft(const Options& options, const LogStorage& log, Random random, Observer* observer);

  // --- raft.cc ---
  absl::Status Start(const LogStorage& log);
  void Emit(const Event& event) const {
    if (observer_ != nullptr) observer_->On(options_.id, event);
  }
  void Emit(const TraceEvent& step) const {
    if (observer_ != nullptr) observer_->OnTrace(options_.id, step);
  }
  void SetLeader(NodeId leader);
  void Reset(Term term, NodeId leader);
  void DrawElectionTimeout();
  void TickElection();
  void TickHeartbeat();
  // Sends to a peer, at the present term unless the type carries its own.
  void Send(Message message);
  // Sends once everything that has been handed out so far is durable; may be to this node.
  void SendAfterAppend(Message message);
  [[nodiscard]] bool Promotable() const;
  [[nodiscard]] bool IsSelfMember() const { return tracker_.Find(options_.id) != nullptr; }

  // --- step.cc ---
  absl::Status Step(Message& message);
  // False when `message` is dealt with because of its term.
  bool CheckTerm(const Message& message);
  void AdoptHigherTerm(const Message& message);
  void HandleLowerTerm(const Message& message);
  absl::Status StepLeader(Message& message);
  void StepLeaderFromPeer(Message& message);
  absl::Status StepCandidate(Message& message);
  absl::Status StepFollower(Message& message);
  void ForwardToLeader(Message& message);

  // --- election.cc ---
  void BecomeFollower(Term term, NodeId leader);
  void BecomePreCandidate();
  void BecomeCandidate();
  void BecomeLeader();
  void Hup(CampaignKind kind);
  void StartCampaign(CampaignKind kind);
  void HandleVoteRequest(const Message& message);
  void HandleVoteResponse(const Message& message);
  // Tells in a vote message how far this node knows the log to be committed.
  void AddCommit(Message& message) const;
  // Learns that from one. True when that ended this node's campaign.
  [[nodiscard]] bool CommitByVote(const Message& message);
  void CheckQuorum();
  [[nodiscard]] bool InVotingLease() const;
  [[nodiscard]] int VotingLeaseTicks() const;
  [[nodiscard]] bool HasPriorityOver(const Message& message) const;
  // What two pre-candidates do of which each has just asked for votes, and hears the other ask.
  enum class Rivalry { kNone, kRefuse, kGiveWay };
  [[nodiscard]] Rivalry RivalryWith(const Message& message) const;
  void HastenNextCampaign();
  void EmitVote(const Message& message, trace::VoteAnswer answer);
  [[nodiscard]] bool HasUnappliedConfChange() const;

  // --- replication.cc ---
  bool AppendEntries(std::span<Entry> entries);
  void BroadcastAppend();
  void BroadcastHeartbeat();
  void SendHeartbeats(const std::string& context);
  // Sends what the peer lacks, or nothing when it is paused. False when nothing went out.
  bool MaybeSendAppend(NodeId to, Progress& progress, bool send_if_empty);
  bool MaybeSendSnapshot(NodeId to, Progress& progress);
  bool MaybeCommit();
  void HandleAppendResponse(const Message& message, Progress& progress);
  void HandleAppendAccepted(const Message& message, Progress& progress);
  void HandleAppendRejected(const Message& message, Progress& progress);
  void HandleHeartbeatResponse(const Message& message, Progress& progress);
  void HandleSnapshotStatus(const Message& message, Progress& progress);
  void HandleUnreachable(const Message& message, Progress& progress);

  // --- append.cc ---
  void HandleAppend(const Message& message);
  void HandleHeartbeat(const Message& message);
  void HandleSnapshot(const Message& message);
  bool RestoreSnapshot(const Snapshot& snapshot);
  void HandleStorageAppendResponse(const Message& message, bool trim_entries);
  void HandleStorageApplyResponse(const Message& message);
  void AppliedTo(Index index);

  // --- proposal.cc ---
  absl::Status HandleProposal(Message& message);
  absl::Status RefuseProposal(trace::ProposalRefusal why, NodeId peer);
  // True when only a leader may take `message` and this is none.
  [[nodiscard]] bool WantsLeader(const Message& message) const;
  void CheckConfChanges(std::span<Entry> entries);
  bool ReserveUncommitted(std::span<const Entry> entries);
  void ReleaseUncommitted(uint64_t payload_bytes);

  // --- membership.cc ---
  ConfState MakeConfChange(const ConfChange& change);
  void SwitchTo(Membership membership);
  void ReactAsLeader();
  void MaybeLeaveJoint();

  // --- transfer.cc ---
  void HandleTransfer(const Message& message, Progress& progress);
  void SendTimeoutNow(NodeId to);
  void AbortTransfer(bool replaced);

  // --- read_index.cc ---
  absl::Status HandleReadRequest(Message& message);
  void HandleReadResponse(const Message& message);
  void StartRead(Message request);
  void AnswerRead(const Message& request, Index index);
  void AnswerReads(const std::vector<ReadQueue::Read>& reads);
  void ReleaseParkedReads();
  void ReleaseConfirmedReads();
  [[nodiscard]] bool CommittedInTerm() const;
  [[nodiscard]] bool LeaseValid() const;

  // --- rejoin.cc ---
  // Begins a life that is later than this one and than `known`.
  void BeginRecovery(uint64_t known);
  // A leader tells this node which of its lives it knows, and how far it must recover.
  void HeedOwnLife(const Message& message);
  // False when `message` is of an earlier life of its sender, or the first of a new one.
  bool CheckLife(const Message& message, Progress& progress);
  void StartPeerRecovery(NodeId peer, uint64_t incarnation, Progress& progress);
  static void AddressLife(const Progress& progress, Message& message);

  // --- quiescence.cc ---
  void WakeFor(const Message& message);
  void MaybeSleep();
  [[nodiscard]] bool CanSleep() const;
  // True when this follower went to sleep as the heartbeat asks.
  [[nodiscard]] bool SleepAsTold(const Message& heartbeat);

  // --- ready.cc ---
  [[nodiscard]] std::optional<AppendWork> TakeAppendWork();
  [[nodiscard]] std::optional<ApplyWork> TakeApplyWork();

  const Options options_;
  Observer* const observer_;
  Random random_;

  // Persistent.
  Term term_ = 0;
  NodeId vote_ = kNoNode;
  uint64_t incarnation_ = 0;
  bool recovering_ = false;
  RaftLog log_;

  // Every node.
  Role role_ = Role::kFollower;
  NodeId lead_ = kNoNode;
  Tracker tracker_;
  Index membership_index_ =
      0;  // the membership in tracker_ is that after this entry, or a later one
  int election_elapsed_ = 0;
  int randomized_election_timeout_ = 0;
  // Ticks during which a restarted node gives no votes, since it may have promised a leader
  // not to: only with lease reads.
  int restart_grace_ticks_ = 0;
  bool asleep_ = false;
  int idle_ticks_ = 0;         // since something happened
  int priority_refusals_ = 0;  // since a leader was known
  int campaign_ticks_ = 0;     // since a campaign of this node began
  bool hastened_ = false;      // a campaign, since a leader was known

  // The leader.
  int heartbeat_elapsed_ = 0;
  NodeId lead_transferee_ = kNoNode;
  Index pending_conf_index_ = 0;  // a conf change may be unapplied up to here
  uint64_t uncommitted_bytes_ = 0;
  uint64_t ticks_ = 0;  // what leases are measured in
  ReadQueue reads_;
  std::vector<Message> parked_reads_;  // until an entry of this term is committed
  std::optional<uint64_t> lease_start_tick_;

  // For the driver.
  std::vector<Message> messages_;
  std::vector<Message> messages_after_append_;
  std::vector<ReadState> read_states_;
  SoftState reported_soft_state_;
  HardState reported_hard_state_;
};

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_RAFT_H_
