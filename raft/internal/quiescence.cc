// Groups without work sleep: no ticks, no heartbeats (raft.md section 17).
//
// The leader falls asleep when all members hold the whole log, and tells them; a follower that
// holds exactly that falls asleep, too. If the word is lost, the follower's election timer runs
// out, and its question wakes the others. A leader whose process dies is not missed by the
// group: that is for the driver to notice, for all groups at once (Core::Wake).
#include <algorithm>

#include "raft/internal/raft.h"

namespace keelson::raft::internal {

void Raft::Wake() {
  idle_ticks_ = 0;
  if (!asleep_) return;
  asleep_ = false;
  heartbeat_elapsed_ = options_.heartbeat_ticks;  // The next tick of a leader is a heartbeat.
  election_elapsed_ = 0;
  Emit(event::WokeUp{term_});
}

void Raft::WakeFor(const Message& message) {
  switch (message.type) {
    case MessageType::kHeartbeat:
      if (!message.quiesce) Wake();
      return;
    case MessageType::kHeartbeatResp:
      // Answers to heartbeats from before it fell asleep may still arrive.
      if (message.quiesce) Wake();
      return;
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
    case MessageType::kUnreachable:
      return;
    default:
      Wake();
  }
}

bool Raft::CanSleep() const {
  const Index last = log_.LastIndex();
  if (log_.applied() != last || log_.HasUnstable() || lead_transferee_ != kNoNode) return false;
  if (tracker_.IsJoint() || reads_.size() > 0 || !parked_reads_.empty()) return false;
  const ProgressMap& peers = tracker_.progress();
  return std::all_of(peers.begin(), peers.end(), [last](const auto& peer) {
    const Progress& progress = peer.second;
    return progress.match() == last && progress.recent_active() && !progress.recovering() &&
           progress.state() == ProgressState::kReplicate;
  });
}

void Raft::MaybeSleep() {
  if (options_.quiesce_ticks == 0 || role_ != Role::kLeader) return;
  if (++idle_ticks_ < options_.quiesce_ticks || !CanSleep()) return;
  // Time is not counted from here on, so that no lease can be.
  lease_start_tick_.reset();
  reads_.ForgetRounds();
  const EntryId last = log_.LastEntry();
  for (auto& [id, progress] : tracker_.progress()) {
    if (id == options_.id) continue;
    Message message;
    message.type = MessageType::kHeartbeat;
    message.to = id;
    message.index = last.index;
    message.log_term = last.term;
    message.commit = last.index;
    message.quiesce = true;
    progress.SentCommit(message.commit);
    AddressLife(progress, message);
    Send(std::move(message));
  }
  asleep_ = true;
  Emit(event::FellAsleep{term_});
}

bool Raft::SleepAsTold(const Message& heartbeat) {
  if (log_.LastEntry() != EntryId{heartbeat.log_term, heartbeat.index} || recovering_ ||
      log_.committed() != heartbeat.index) {
    Wake();
    return false;
  }
  if (!asleep_) Emit(event::FellAsleep{term_});
  asleep_ = true;
  return true;
}

}  // namespace keelson::raft::internal
