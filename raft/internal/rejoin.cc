// Members that lost durable data (raft.md section 14, item 13; docs/decisions/0010).
//
// Such a node may have forgotten acknowledgements and votes. It draws a new incarnation, which
// it says in everything it sends, and is `recovering`: it gives no votes and counts for no
// quorum. A later life has the greater incarnation, so that what is left over from an earlier one
// is known as such. Its leader then appends an empty entry, the barrier. Once the others have committed it
// and this node holds it, no forgotten promise can do harm: a candidate that once got its vote
// lacks the barrier, and so does not get a vote of any of those that committed it.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {

void Raft::BeginRecovery(uint64_t known) {
  // By chance, because this node may have forgotten a life that began just so.
  constexpr uint64_t kSpread = uint64_t{1} << 32;
  incarnation_ = std::max(incarnation_, known) + 1 + random_.Below(kSpread);
  recovering_ = true;
  Emit(event::RecoveryStarted{incarnation_});
}

void Raft::HeedOwnLife(const Message& message) {
  if (message.recover_to == 0) return;
  if (message.incarnation > incarnation_) {
    // The leader knows of a later life than this one, which this node must have forgotten. All that
    // it says is ignored until it begins a life that is later still.
    BeginRecovery(message.incarnation);
    return;
  }
  if (!recovering_ || message.incarnation != incarnation_) return;
  if (log_.committed() < message.recover_to) return;
  recovering_ = false;
  Emit(event::RecoveryEnded{incarnation_, message.recover_to});
}

bool Raft::CheckLife(const Message& message, Progress& progress) {
  const std::optional<uint64_t> life = progress.incarnation();
  const uint64_t known = life.value_or(message.incarnation);
  const bool new_life = message.incarnation > known || (!life.has_value() && message.recovering);
  // Of an earlier life and recovering may also be a node that has forgotten the later one. It
  // learns of that as it is told to recover; one that has not loses a moment.
  const bool may_forget =
      message.incarnation < known && message.recovering && !progress.recovering();
  if (new_life || may_forget) {
    StartPeerRecovery(message.from, std::max(known, message.incarnation), progress);
    return false;
  }
  // A life in which a node has recovered does not recover again: that is late, too.
  if (message.incarnation < known || (message.recovering && !progress.recovering())) {
    Emit(trace::EarlierLifeIgnored{message.from, message.type, message.incarnation});
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
