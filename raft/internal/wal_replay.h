// Turns the records of a log, in order, into what Raft needs to start.
#ifndef KEELSON_RAFT_INTERNAL_WAL_REPLAY_H_
#define KEELSON_RAFT_INTERNAL_WAL_REPLAY_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/internal/wal_segment.h"
#include "raft/types.h"

namespace keelson::raft::wal {

// Terms by index, one element for each run of equal terms. Small: terms rarely change.
class TermRuns {
 public:
  // The run that starts at `index` has `term`; forgets what is at or after `index`.
  void Set(Index index, Term term);
  // Term of `index`, which is at or after the first run's start; 0 otherwise.
  [[nodiscard]] Term At(Index index) const;
  // The log now starts after `index`, whose entry has `term`; forgets older runs.
  void StartAt(Index index, Term term);
  void Clear() { runs_.clear(); }

 private:
  struct Run {
    Index first;
    Term term;
  };
  std::vector<Run> runs_;
};

// Feed it every record of a group, oldest first. Whose record it is, the caller has checked.
class LogReplay {
 public:
  // `next_index`: of the head of the oldest segment there is.
  explicit LogReplay(Index next_index) : base_(next_index - 1) {}

  // What a shared log says of the group at the head of a segment, or when it begins. A greater
  // incarnation than before begins it anew: the records before are of an earlier life, and nothing
  // of them holds. Otherwise it repeats them, and DATA_LOSS says that it contradicts them.
  absl::Status Begin(const GroupHead& head);

  // DATA_LOSS when the record contradicts those before it, UNIMPLEMENTED for a reserved
  // type. Messages do not name the file.
  absl::Status Apply(const Record& record);

  // After the last record: whether the log is whole. DATA_LOSS when entries are missing
  // between the start and the oldest segment, or the commit index is past the end.
  [[nodiscard]] absl::Status Check() const;

  [[nodiscard]] bool started() const { return started_; }  // the start of the log is known
  // Entries are missing between the start and the oldest segment.
  [[nodiscard]] bool has_gap() const { return base_ > start_.index; }
  [[nodiscard]] Index last_index() const { return base_ + entries_.size(); }
  [[nodiscard]] const SnapshotMetadata& start() const { return start_; }
  // Its commit is raised to the start: a snapshot covers committed entries only.
  [[nodiscard]] HardState hard_state() const;
  [[nodiscard]] const TermRuns& terms() const { return terms_; }
  [[nodiscard]] std::vector<Entry> TakeEntries() && { return std::move(entries_); }

 private:
  absl::Status ApplyEntry(Entry entry);
  absl::Status ApplyStart(const SnapshotMetadata& start);
  absl::Status ApplyReset(const SnapshotMetadata& start);

  bool started_ = false;
  SnapshotMetadata start_;
  HardState hard_state_;
  Index base_;  // index before entries_[0]; past start_.index while older entries are missing
  std::vector<Entry> entries_;
  TermRuns terms_;
};

}  // namespace keelson::raft::wal

#endif  // KEELSON_RAFT_INTERNAL_WAL_REPLAY_H_
