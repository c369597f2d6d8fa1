// Handing leadership over (raft.md section 10).
#include <utility>

#include "raft/internal/raft.h"

namespace keelson::raft::internal {

void Raft::TransferLeadership(NodeId to) {
  Message message;
  message.type = MessageType::kTransferLeader;
  message.from = to;    // As if the new leader had asked.
  (void)Step(message);  // Refusals go to the observer.
}

void Raft::HandleTransfer(const Message& message, Progress& progress) {
  const NodeId to = message.from;
  if (progress.is_learner()) {
    Emit(event::TransferRefused{to, term_, event::TransferRefusal::kLearner});
    return;
  }
  if (progress.recovering()) {
    Emit(event::TransferRefused{to, term_, event::TransferRefusal::kRecovering});
    return;
  }
  if (lead_transferee_ == to) {
    Emit(event::TransferRefused{to, term_, event::TransferRefusal::kInProgress});
    return;
  }
  AbortTransfer(/*replaced=*/true);
  if (to == options_.id) {
    Emit(event::TransferRefused{to, term_, event::TransferRefusal::kSelf});
    return;
  }
  Emit(event::TransferStarted{to, term_});
  election_elapsed_ = 0;  // The transfer has one election timeout from now.
  lead_transferee_ = to;
  if (progress.match() == log_.LastIndex()) {
    Emit(trace::TimeoutNowSent{to, /*caught_up_later=*/false});
    SendTimeoutNow(to);
  } else {
    MaybeSendAppend(to, progress, /*send_if_empty=*/true);
  }
}

void Raft::SendTimeoutNow(NodeId to) {
  // From here on another leader may exist whatever the voters have promised this one.
  lease_start_tick_.reset();
  Message message;
  message.type = MessageType::kTimeoutNow;
  message.to = to;
  Send(std::move(message));
}

void Raft::AbortTransfer(bool replaced) {
  if (lead_transferee_ == kNoNode) return;
  Emit(event::TransferAborted{lead_transferee_, term_, replaced});
  lead_transferee_ = kNoNode;
}

}  // namespace keelson::raft::internal
