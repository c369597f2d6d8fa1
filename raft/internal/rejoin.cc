// Members that lost durable data (raft.md section 14, item 13; docs/decisions/0010).
//
// Such a node may have forgotten acknowledgements and votes. It draws a new incarnation, which
// it says in everything it sends, and is `recovering`: it gives no votes and counts for no
// quorum. Its leader then appends an empty entry, the barrier. Once the others have committed it
// and this node holds it, no forgotten promise can do harm: a candidate that once got its vote
// lacks the barrier, and so does not get a vote of any of those that committed it.
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {

void Raft::BeginRecovery() {
  incarnation_ = 1 + random_.Below(std::numeric_limits<uint64_t>::max());
  recovering_ = true;
  Emit(event::RecoveryStarted{incarnation_});
}

void Raft::HeedOwnLife(const Message& message) {
  if (message.recover_to == 0) return;
  if (!recovering_) {
    // The leader takes this node for one that lost its data in another life than it knows of.
    // It would ignore all that this node says, unless this node does as it is told.
    if (message.incarnation != incarnation_) BeginRecovery();
    return;
  }
  if (message.incarnation != incarnation_ || log_.committed() < message.recover_to) return;
  recovering_ = false;
  Emit(event::RecoveryEnded{incarnation_, message.recover_to});
}

bool Raft::CheckLife(const Message& message, Progress& progress) {
  const std::optional<uint64_t> known = progress.incarnation();
  const bool same = known == message.incarnation || (!known.has_value() && !message.recovering);
  if (!same && !message.recovering) {
    Emit(event::EarlierLifeIgnored{message.from, message.type, message.incarnation});
    return false;
  }
  if (!same || (message.recovering && !progress.recovering())) {
    StartPeerRecovery(message.from, message.incarnation, progress);
    return false;
  }
  if (progress.recovering() && !message.recovering) {
    Emit(event::PeerRecovered{message.from, message.incarnation});
  }
  if (!message.recovering) progress.SetLife(message.incarnation, 0);
  return true;
}

void Raft::StartPeerRecovery(NodeId peer, uint64_t incarnation, Progress& progress) {
  const Index next = log_.LastIndex() + 1;
  progress = Progress(0, next, tracker_.NewInflights(), progress.is_learner(),
                      /*recent_active=*/true);
  progress.SetLife(incarnation, /*recover_to=*/next);
  Entry barrier;
  KEELSON_CHECK(AppendEntries(std::span<Entry>(&barrier, 1))) << "an empty entry was refused";
  Emit(event::PeerRecovering{peer, incarnation, next});
  BroadcastAppend();
}

void Raft::AddressLife(const Progress& progress, Message& message) {
  message.incarnation = progress.incarnation().value_or(0);
  message.recover_to = progress.recover_to();
}

}  // namespace keelson::raft::internal
