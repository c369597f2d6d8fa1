// What the driver has to do next (raft.md section 11).
#include <utility>

#include "raft/internal/raft.h"

namespace keelson::raft::internal {

bool Raft::HasReady() const {
  return !messages_.empty() || !messages_after_append_.empty() || !read_states_.empty() ||
         !log_.NextUnstable().empty() || log_.NextUnstableSnapshot() != nullptr ||
         log_.HasNextCommitted() || hard_state() != reported_hard_state_ ||
         soft_state() != reported_soft_state_;
}

Ready Raft::TakeReady() {
  Ready ready;
  if (soft_state() != reported_soft_state_) {
    reported_soft_state_ = soft_state();
    ready.soft_state = reported_soft_state_;
  }
  ready.messages.swap(messages_);
  ready.reads.swap(read_states_);
  // What may be applied is decided before the new entries count as handed over, so that an
  // apply never overtakes its append.
  ready.apply = TakeApplyWork();
  ready.append = TakeAppendWork();
  return ready;
}

std::optional<AppendWork> Raft::TakeAppendWork() {
  const std::span<const Entry> entries = log_.NextUnstable();
  const Snapshot* snapshot = log_.NextUnstableSnapshot();
  const HardState now = hard_state();
  const bool state_changed = now != reported_hard_state_;
  if (entries.empty() && snapshot == nullptr && !state_changed && messages_after_append_.empty()) {
    return std::nullopt;
  }
  AppendWork work;
  work.entries.assign(entries.begin(), entries.end());
  HardState but_commit = now;
  but_commit.commit = reported_hard_state_.commit;
  work.must_sync = !entries.empty() || snapshot != nullptr || but_commit != reported_hard_state_;
  if (Mutated(Mutation::kEntriesNeedNoSync)) work.must_sync = state_changed;
  if (Mutated(Mutation::kVotesNeedNoSync)) work.must_sync = !entries.empty();
  if (state_changed && !(Mutated(Mutation::kTermNotSaved) && entries.empty())) {
    work.hard_state = now;
  }
  if (snapshot != nullptr) work.snapshot = *snapshot;
  reported_hard_state_ = now;
  Emit(entries.empty() ? trace::AppendHandedOver{}
                       : trace::AppendHandedOver{entries.front().index, entries.back().index});

  std::vector<Message> responses;
  responses.swap(messages_after_append_);
  // Whenever something is unstable, not only when this work adds to it: an answer of an
  // earlier term is ignored, and without a newer one the tail would never be trimmed.
  if (log_.HasUnstable() || snapshot != nullptr) {
    Message stable;
    stable.type = MessageType::kStorageAppendResp;
    stable.to = options_.id;
    stable.from = kAppendThread;
    stable.term = term_;
    if (log_.HasUnstable()) {
      const EntryId last = log_.LastEntry();
      stable.index = last.index;
      stable.log_term = last.term;
    }
    if (snapshot != nullptr) stable.snapshot = *snapshot;
    responses.push_back(std::move(stable));
  }
  work.responses = DurableMessages(std::move(responses));
  log_.AcceptUnstable();
  return work;
}

std::optional<ApplyWork> Raft::TakeApplyWork() {
  std::vector<Entry> entries = log_.NextCommitted();
  if (entries.empty()) return std::nullopt;
  log_.AcceptApplying(entries);
  ApplyWork work;
  Message& applied = work.responses.emplace_back();
  applied.type = MessageType::kStorageApplyResp;
  applied.to = options_.id;
  applied.from = kApplyThread;
  applied.index = entries.back().index;
  work.more_waits = log_.apply_paused();
  work.entries = std::move(entries);
  return work;
}

}  // namespace keelson::raft::internal
