// What a replicated application gives to the driver.
#ifndef KEELSON_RAFT_STATE_MACHINE_H_
#define KEELSON_RAFT_STATE_MACHINE_H_

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/types.h"

namespace keelson::raft {

class SnapshotReader;  // raft/snapshot_store.h
class SnapshotWriter;

// A consistent view of the application's state at `metadata().index`.
class StateCapture {
 public:
  virtual ~StateCapture() = default;
  [[nodiscard]] virtual const SnapshotMetadata& metadata() const = 0;
  // Streams the state. Runs on the background executor while Apply goes on.
  virtual absl::Status WriteTo(SnapshotWriter& writer) = 0;
};

// The driver calls everything here on its apply executor, one call at a time, except
// StateCapture::WriteTo and what BeginFlush returns. An error means that the application cannot go on: the driver
// stops the process' participation and reports it (see Node::Options::on_fatal).
class StateMachine {
 public:
  virtual ~StateMachine() = default;

  // Where the state stands that survived: the index, its term and the membership after it.
  // Asked once, when the driver starts. Index 0 with the initial membership for a new machine.
  virtual SnapshotMetadata Applied() = 0;

  // Applies `entries`, consecutive and each exactly once, of every type (a conf-change entry
  // only moves the index here). `after` is the position and membership after the last one; it
  // must be stored atomically with the effects. Need not be durable on return.
  virtual absl::Status Apply(std::span<const Entry> entries, const SnapshotMetadata& after) = 0;

  // Makes everything applied so far durable. The log up to there may be deleted afterwards.
  virtual absl::Status Flush() = 0;

  // The same in two steps, for a machine that need not stand still for it: what is returned makes
  // durable at least what has been applied before this call. It is called once or never, on the
  // flush executor, while everything else here goes on, Restore included: then it must not undo
  // that. Null: Flush it must be.
  virtual std::function<absl::Status()> BeginFlush() { return nullptr; }

  // Captures the current state; quick, the writing comes later.
  virtual absl::StatusOr<std::unique_ptr<StateCapture>> Capture() = 0;

  // Replaces the whole state, durably, by what `reader` holds. A crash in the middle leaves
  // the old state, the new one, or one that Applied() reports as index 0.
  virtual absl::Status Restore(SnapshotReader& reader, const SnapshotMetadata& metadata) = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_STATE_MACHINE_H_
