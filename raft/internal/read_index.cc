// Linearizable reads (raft.md section 9).
#include <utility>

#include "raft/internal/raft.h"

namespace keelson::raft::internal {

absl::Status Raft::RequestRead(std::string context) {
  Message message;
  message.type = MessageType::kReadIndex;
  message.from = options_.id;
  message.entries.emplace_back().data = Payload(std::move(context));
  return Step(message);
}

absl::Status Raft::HandleReadRequest(Message& message) {
  if (tracker_.IsSingleton() && tracker_.IsVoter(options_.id) && CommittedInTerm()) {
    AnswerRead(message, log_.committed());
    return absl::OkStatus();
  }
  if (reads_.size() + parked_reads_.size() >= options_.max_pending_reads) {
    Emit(trace::ReadDropped{term_});
    return absl::ResourceExhaustedError("too many pending reads");
  }
  if (!CommittedInTerm()) {
    // Until then this node does not know what its predecessors have committed.
    parked_reads_.push_back(std::move(message));
    return absl::OkStatus();
  }
  StartRead(std::move(message));
  return absl::OkStatus();
}

void Raft::StartRead(Message request) {
  if (LeaseValid() || Mutated(Mutation::kReadWithoutQuorum)) {
    AnswerRead(request, log_.committed());
    return;
  }
  const uint64_t position = reads_.NewRound(ticks_);
  reads_.Add(log_.committed(), std::move(request));
  SendHeartbeats(ReadQueue::EncodePosition(position));
  ReleaseConfirmedReads();  // This node may be quorum enough.
}

void Raft::AnswerRead(const Message& request, Index index) {
  if (request.from == kNoNode || request.from == options_.id) {
    read_states_.push_back({index, std::string(request.entries.front().data.view())});
    return;
  }
  Message response;
  response.type = MessageType::kReadIndexResp;
  response.to = request.from;
  response.index = index;
  response.entries = request.entries;
  Send(std::move(response));
}

void Raft::AnswerReads(const std::vector<ReadQueue::Read>& reads) {
  for (const ReadQueue::Read& read : reads) AnswerRead(read.request, read.index);
}

void Raft::HandleReadResponse(const Message& message) {
  if (message.entries.size() != 1) {
    Emit(trace::MalformedReadResponse{message.from, message.entries.size()});
    return;
  }
  const Index index =
      Mutated(Mutation::kFollowerReadsAtOwnCommit) ? log_.committed() : message.index;
  read_states_.push_back({index, std::string(message.entries.front().data.view())});
}

void Raft::ReleaseParkedReads() {
  if (parked_reads_.empty() || !CommittedInTerm()) return;
  std::vector<Message> parked;
  parked.swap(parked_reads_);
  for (Message& request : parked) (void)HandleReadRequest(request);  // The bound held before.
}

void Raft::ReleaseConfirmedReads() {
  const uint64_t confirmed = tracker_.QuorumOf([this](NodeId id) -> std::optional<Index> {
    // The leader agrees with itself at any time.
    return id == options_.id ? kEveryIndex : reads_.EchoOf(id);
  });
  if (const auto tick = reads_.RoundTick(confirmed);
      tick.has_value() && lead_transferee_ == kNoNode) {
    lease_start_tick_ = std::max(lease_start_tick_.value_or(0), *tick);
  }
  AnswerReads(reads_.Release(confirmed));
}

bool Raft::CommittedInTerm() const {
  return log_.TermAt(log_.committed()) == term_ || Mutated(Mutation::kReadBeforeOwnCommit);
}

bool Raft::LeaseValid() const {
  if (options_.read_mode != ReadMode::kLeaseBased || !lease_start_tick_.has_value()) return false;
  if (lead_transferee_ != kNoNode) return false;
  // A voter that answered the round promised, from then on, to elect nobody else for an
  // election timeout; the round was sent before that.
  // Ticks are counted whole: up to one more may have passed.
  const auto elapsed = static_cast<int64_t>(ticks_ - *lease_start_tick_) + 1;
  return elapsed + options_.lease_margin_ticks < options_.election_ticks;
}

}  // namespace keelson::raft::internal
