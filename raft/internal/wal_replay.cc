#include "raft/internal/wal_replay.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::wal {

void TermRuns::Set(Index index, Term term) {
  while (!runs_.empty() && runs_.back().first >= index) runs_.pop_back();
  if (runs_.empty() || runs_.back().term != term) runs_.push_back({index, term});
}

Term TermRuns::At(Index index) const {
  for (auto run = runs_.rbegin(); run != runs_.rend(); ++run) {
    if (run->first <= index) return run->term;
  }
  return 0;
}

void TermRuns::StartAt(Index index, Term term) {
  auto keep = runs_.begin();
  while (keep != runs_.end() && keep->first <= index) ++keep;
  runs_.erase(runs_.begin(), keep);
  runs_.insert(runs_.begin(), {index, term});
}

absl::Status LogReplay::Begin(const GroupHead& head) {
  if (started_ && head.hard_state.incarnation > hard_state_.incarnation) {
    *this = LogReplay(head.next_index);
  }
  if (!started_) {
    base_ = head.next_index - 1;
    hard_state_ = head.hard_state;
    return ApplyStart(head.start);
  }
  const HardState& state = head.hard_state;
  if (head.next_index != last_index() + 1 || head.start != start_ ||
      state.term != hard_state_.term || state.vote != hard_state_.vote) {
    return absl::DataLossError(absl::StrCat("the group continues at entry ", head.next_index,
                                            " of term ", state.term, ", its records end at ",
                                            last_index(), " of term ", hard_state_.term));
  }
  return absl::OkStatus();
}

absl::Status LogReplay::Apply(const Record& record) {
  switch (static_cast<RecordType>(record.header.type)) {
    case RecordType::kEntry: {
      KEELSON_ASSIGN_OR_RETURN(Entry entry, DecodeEntry(record.payload));
      return ApplyEntry(std::move(entry));
    }
    case RecordType::kHardState: {
      KEELSON_ASSIGN_OR_RETURN(const HardState state, DecodeHardState(record.payload));
      if (state.term < hard_state_.term) {
        return absl::DataLossError(
            absl::StrCat("the term goes back from ", hard_state_.term, " to ", state.term));
      }
      hard_state_ = state;
      return absl::OkStatus();
    }
    case RecordType::kStart: {
      KEELSON_ASSIGN_OR_RETURN(const SnapshotMetadata start,
                               DecodeSnapshotMetadata(record.payload));
      return ApplyStart(start);
    }
    case RecordType::kReset: {
      KEELSON_ASSIGN_OR_RETURN(const SnapshotMetadata start,
                               DecodeSnapshotMetadata(record.payload));
      return ApplyReset(start);
    }
    case RecordType::kGroupHead:
    case RecordType::kGroupsRemoved:
      break;  // Not of one group alone.
    case RecordType::kSegmentHead:
      return absl::DataLossError("segment-head record in the middle of a segment");
  }
  return absl::UnimplementedError(
      absl::StrCat("record of type ", record.header.type, ", which this program does not know"));
}

absl::Status LogReplay::ApplyEntry(Entry entry) {
  if (!started_) return absl::DataLossError("entry before the start of the log is known");
  if (entry.index <= start_.index || entry.index > last_index() + 1) {
    return absl::DataLossError(absl::StrCat("entry ", entry.index, " does not follow a log of [",
                                            start_.index + 1, ", ", last_index(), "]"));
  }
  const Term before = terms_.At(entry.index - 1);
  if (entry.term < before) {
    return absl::DataLossError(absl::StrCat("entry ", entry.index, " has term ", entry.term,
                                            ", the one before it ", before));
  }
  if (entry.index <= base_) {  // Replaces entries of segments that are gone.
    entries_.clear();
    base_ = entry.index - 1;
  } else {
    entries_.resize(entry.index - base_ - 1);
  }
  terms_.Set(entry.index, entry.term);
  entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status LogReplay::ApplyStart(const SnapshotMetadata& start) {
  if (start.index < start_.index || start.index > last_index()) {
    return absl::DataLossError(absl::StrCat("start ", start.index, " lies outside the log of [",
                                            start_.index + 1, ", ", last_index(), "]"));
  }
  const Term known = start.index > base_ ? terms_.At(start.index) : start.term;
  if (known != start.term) {
    return absl::DataLossError(
        absl::StrCat("start ", start.index, " has term ", start.term, ", the entry there ", known));
  }
  started_ = true;
  start_ = start;
  if (start.index > base_) {
    entries_.erase(entries_.begin(),
                   entries_.begin() + static_cast<ptrdiff_t>(start.index - base_));
    base_ = start.index;
  }
  terms_.StartAt(start.index, start.term);
  return absl::OkStatus();
}

absl::Status LogReplay::ApplyReset(const SnapshotMetadata& start) {
  if (start.index < start_.index) {
    return absl::DataLossError(
        absl::StrCat("reset goes back from ", start_.index, " to ", start.index));
  }
  started_ = true;
  if (Mutated(Mutation::kResetKeepsEntries)) return ApplyStart(start);
  start_ = start;
  base_ = start.index;
  entries_.clear();
  terms_.Clear();
  terms_.StartAt(start.index, start.term);
  return absl::OkStatus();
}

HardState LogReplay::hard_state() const {
  HardState state = hard_state_;
  state.commit = std::max(state.commit, start_.index);
  return state;
}

absl::Status LogReplay::Check() const {
  if (!started_) return absl::DataLossError("the log has no start record");
  if (has_gap()) {
    return absl::DataLossError(absl::StrCat("entries [", start_.index + 1, ", ", base_,
                                            "] are missing: an older segment is gone"));
  }
  if (hard_state_.commit > last_index()) {
    return absl::DataLossError(absl::StrCat("the hard state commits ", hard_state_.commit,
                                            ", the last entry is ", last_index()));
  }
  return absl::OkStatus();
}

}  // namespace keelson::raft::wal
