#include "raft/model/member.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/random.h"
#include "raft/testing/test_sync.h"

namespace keelson::raft::model {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

bool IsVoteAnswer(MessageType type) {
  return type == MessageType::kVoteResp || type == MessageType::kPreVoteResp;
}

// Rules about what must be durable before a message leaves (raft.md section 11, I15).
std::string BrokenRule(const Member& member, const Message& message) {
  const HardState durable = member.disk.InitialHardState();
  const std::string who = absl::StrCat("member ", member.id, " sent ");
  if (message.type == MessageType::kVoteResp && !message.reject) {
    const bool kept =
        durable.term > message.term || (durable.term == message.term && durable.vote == message.to);
    if (!kept) return who + "a vote that is not durable";
  }
  if (message.type == MessageType::kAppResp && !message.reject) {
    if (durable.term < message.term)
      return who + "an acknowledgement in a term that is not durable";
    if (member.disk.LastIndex() < message.index) {
      return absl::StrCat(who, "an acknowledgement of entry ", message.index, ", durable are ",
                          member.disk.LastIndex());
    }
  }
  return "";
}

}  // namespace

std::vector<Entry> Member::DiskEntries() const {
  return disk.Entries(disk.FirstIndex(), disk.LastIndex() + 1, kNoLimit).value();
}

class Lab::Disk final : public LogStorage {
 public:
  void PointTo(const MemoryLog& log) { log_ = &log; }
  [[nodiscard]] HardState InitialHardState() const override { return log_->InitialHardState(); }
  [[nodiscard]] ConfState InitialConfState() const override { return log_->InitialConfState(); }
  [[nodiscard]] Index FirstIndex() const override { return log_->FirstIndex(); }
  [[nodiscard]] Index LastIndex() const override { return log_->LastIndex(); }
  [[nodiscard]] absl::StatusOr<Term> TermAt(Index index) const override {
    return log_->TermAt(index);
  }
  [[nodiscard]] absl::StatusOr<std::vector<Entry>> Entries(Index first, Index last,
                                                           uint64_t max_bytes) const override {
    return log_->Entries(first, last, max_bytes);
  }
  [[nodiscard]] absl::StatusOr<Snapshot> LatestSnapshot() const override {
    return log_->LatestSnapshot();
  }

 private:
  const MemoryLog* log_ = nullptr;
};

Lab::Lab(const Bounds& bounds) : bounds_(bounds) {
  for (size_t i = 0; i < bounds.nodes; ++i) disks_.push_back(std::make_unique<Disk>());
}

Lab::~Lab() = default;

std::unique_ptr<internal::Raft> Lab::NewCore(Member& member) {
  Options options;
  options.id = member.id;
  options.pre_vote = bounds_.pre_vote;
  options.durable_campaigns = bounds_.defect != Defect::kOvertakingCampaign;
  options.check_quorum = false;   // Nobody ticks: time is in the explicit campaigns.
  options.max_message_bytes = 1;  // One entry a message: more orders to go wrong in.
  Bind(member);
  auto core = internal::Raft::Create(options, *disks_[member.id - 1], Random(1), nullptr);
  KEELSON_CHECK(core.ok()) << core.status().ToString();
  return *std::move(core);
}

Member Lab::Boot(NodeId id) {
  SnapshotMetadata start;
  for (NodeId voter = 1; voter <= bounds_.nodes; ++voter) start.conf_state.voters.push_back(voter);
  HardState hard_state;
  std::vector<Entry> entries;
  if (bounds_.start == Start::kFigure8) {
    hard_state = {.term = 2, .vote = id == 1 ? kNoNode : NodeId{3}, .commit = 0};
    if (id != 2) entries.push_back({.term = id == 1 ? Term{1} : Term{2}, .index = 1});
  }
  Member member{.id = id, .disk = MemoryLog(start, hard_state)};
  member.disk.Append(entries);
  member.core = NewCore(member);
  return member;
}

void Lab::Bind(const Member& member) { disks_[member.id - 1]->PointTo(member.disk); }

bool Lab::May(const Member& member, Step step) const {
  const SoftState state = member.core->soft_state();
  const bool leads = state.role == Role::kLeader;
  switch (step) {
    case Step::kSync:
      return !member.pending.empty();
    case Step::kCampaign:
      return !leads && state.role != Role::kPreCandidate &&
             member.core->hard_state().term < bounds_.terms;
    case Step::kPropose:
      return leads && member.core->log().LastIndex() < bounds_.entries;
    case Step::kHeartbeat:
      return leads;
    case Step::kRestart:
      return member.crashes < bounds_.crashes;
    case Step::kDeliver:
      return true;
  }
  return false;
}

Outcome Lab::Apply(const Member& from, Step step, const Message* message, bool stall) {
  stall_ = stall;
  Outcome outcome;
  outcome.next = {.id = from.id,
                  .crashes = from.crashes,
                  .disk = from.disk,
                  .pending = from.pending,
                  .core = std::make_unique<internal::Raft>(*from.core)};
  Member& member = outcome.next;
  Bind(member);
  switch (step) {
    case Step::kDeliver: {
      Message received = *message;
      TamperReceived(member, received);
      (void)member.core->StepFromOutside(std::move(received));  // Refusals are part of the game.
      break;
    }
    case Step::kSync:
      Sync(outcome);
      break;
    case Step::kCampaign:
      member.core->Campaign();
      break;
    case Step::kPropose: {
      const Payload payload("x");
      (void)member.core->Propose({&payload, 1});  // As above.
      break;
    }
    case Step::kHeartbeat:
      member.core->Tick();
      break;
    case Step::kRestart:
      Restart(member);
      break;
  }
  Settle(outcome);
  return outcome;
}

void Lab::Restart(Member& member) {
  ++member.crashes;
  member.pending.clear();
  HardState hard_state = member.disk.InitialHardState();
  std::vector<Entry> entries = member.DiskEntries();
  if (bounds_.defect == Defect::kForgottenVote) hard_state.vote = kNoNode;
  if (bounds_.defect == Defect::kForgottenTerm) {
    hard_state.vote = kNoNode;
    hard_state.term = entries.empty() ? 0 : entries.back().term;
  }
  if (bounds_.defect == Defect::kLostTail && !entries.empty()) {
    entries.pop_back();
    hard_state.commit = std::min<Index>(hard_state.commit, entries.size());
  }
  SnapshotMetadata start;
  start.conf_state = member.disk.InitialConfState();
  member.disk = MemoryLog(start, hard_state);
  member.disk.Append(entries);
  member.core = NewCore(member);
}

void Lab::Settle(Outcome& outcome) {
  internal::Raft& core = *outcome.next.core;
  while (core.HasReady()) {
    Ready ready = core.TakeReady();
    for (Message& message : ready.messages) Send(std::move(message), outcome);
    if (ready.append.has_value()) Accept(*std::move(ready.append), outcome);
    // Applying is instant: no entry here changes the membership, so its delay changes nothing.
    if (ready.apply.has_value()) Release(std::move(ready.apply->responses), outcome);
  }
}

void Lab::Accept(AppendWork work, Outcome& outcome) {
  Member& member = outcome.next;
  std::vector<Message> early;
  if (bounds_.defect == Defect::kAckBeforeSync || bounds_.defect == Defect::kSelfAckBeforeSync) {
    std::vector<Message> late;
    for (Message& response : std::move(work.responses).Release(TestSync::Token())) {
      const bool storage = response.type == MessageType::kStorageAppendResp;
      const bool self = response.to == member.id && response.type == MessageType::kAppResp;
      const bool now = bounds_.defect == Defect::kAckBeforeSync ? !storage : self;
      (now ? early : late).push_back(std::move(response));
    }
    work.responses = DurableMessages(std::move(late));
  }
  const bool at_once = member.pending.empty() && (!work.must_sync || !stall_);
  member.pending.push_back(std::move(work));
  if (at_once) Sync(outcome);
  Release(std::move(early), outcome);
}

void Lab::Sync(Outcome& outcome) {
  Member& member = outcome.next;
  AppendWork work = std::move(member.pending.front());
  member.pending.pop_front();
  if (work.hard_state.has_value()) member.disk.SetHardState(*work.hard_state);
  member.disk.Append(work.entries);
  Release(std::move(work.responses).Release(TestSync::Token()), outcome);
}

void Lab::Release(std::vector<Message> responses, Outcome& outcome) {
  Member& member = outcome.next;
  for (Message& response : responses) {
    if (response.to == member.id) {
      KEELSON_CHECK_OK(member.core->StepFromOutside(std::move(response)));
    } else {
      Send(std::move(response), outcome);
    }
  }
}

void Lab::Send(Message message, Outcome& outcome) {
  if (outcome.broken.empty()) outcome.broken = BrokenRule(outcome.next, message);
  TamperSent(outcome.next, message);
  outcome.sent.push_back(std::move(message));
}

void Lab::TamperSent(const Member& member, Message& message) const {
  const internal::Raft& core = *member.core;
  if (bounds_.defect == Defect::kHeartbeatCommit && message.type == MessageType::kHeartbeat) {
    message.commit = core.hard_state().commit;
  }
  if (bounds_.defect == Defect::kCommitOldTerm && message.type == MessageType::kHeartbeat) {
    std::vector<Index> matched;
    for (const PeerStatus& peer : core.GetStatus().peers) matched.push_back(peer.match);
    if (matched.empty()) return;  // It has stepped down since it made this message.
    std::sort(matched.begin(), matched.end());
    const Index counted = matched[(matched.size() - 1) / 2];
    const Index held = core.GetStatus().peers[message.to - 1].match;
    message.commit = std::max(message.commit, std::min(counted, held));
  }
}

void Lab::TamperReceived(const Member& member, Message& message) const {
  const internal::Raft& core = *member.core;
  switch (bounds_.defect) {
    case Defect::kEveryVoteYes:
      if (IsVoteAnswer(message.type)) message.reject = false;
      break;
    case Defect::kStaleVoteCounted:
      if (message.type == MessageType::kVoteResp && !message.reject) {
        message.term = std::max(message.term, core.hard_state().term);
      }
      break;
    case Defect::kCandidateLogIgnored:
      if (message.type == MessageType::kVote) message.log_term = kNoLimit;
      break;
    default:
      break;
  }
}

}  // namespace keelson::raft::model
