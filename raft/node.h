// The driver: runs one Core with its log, state machine and transport.
//
// Work is split over four executors, so that a slow disk does not delay heartbeats
// and a slow state machine does not delay the log:
//   loop        the core; ticks, messages, proposals
//   append      Wal writes; one sync for all work that is waiting (group commit)
//   apply       the state machine
//   background  writing snapshots; flushing a state machine that goes on meanwhile, if there is no
//               executor of its own for that
// In production each is a thread; in the simulator all run on virtual time. A state machine that
// never waits may be applied on the loop, which spares two changes of thread for each batch.
//
// Life of a proposal: Propose (any thread) -> loop batches what has gathered into one
// step -> entries go to the append executor and, at the same time, to the peers -> a
// quorum's syncs commit it -> StateMachine::Apply. The commit index goes to the log with the next
// entries or at the next tick, and to the peers at once, or, when many entries were committed
// together, with those that follow within a millisecond.
#ifndef KEELSON_RAFT_NODE_H_
#define KEELSON_RAFT_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/random.h"
#include "raft/core.h"
#include "raft/observer.h"
#include "raft/snapshot_store.h"
#include "raft/state_machine.h"
#include "raft/transport.h"
#include "raft/wal.h"

namespace keelson::raft {

class Node : public MessageSink {
 public:
  struct Options {
    raft::Options core;
    absl::Duration tick_interval = absl::Milliseconds(100);
    // After this many applied entries the state machine is flushed and the log compacted ...
    uint64_t compact_every_entries = 10000;
    // (or after as many as have about so many bytes, since all are in memory)
    uint64_t compact_every_bytes = 64 << 20;
    // ... but this many entries stay for members that lag a little.
    uint64_t keep_entries = 5000;
    // Fewer if they have more bytes than this; never fewer than a member needs that answers.
    uint64_t keep_bytes = 64 << 20;
    // Proposals beyond this many that wait for the loop are refused.
    uint64_t max_proposals_queued = 16384;
    // A proposal waits this long for a leader before it is refused.
    absl::Duration proposal_wait = absl::Seconds(5);
    // The first election of a process comes at once when this node is the only voter, and with
    // pre_vote, where that disturbs no leader that works, after [1, election_ticks] ticks without a
    // leader instead of the usual [election_ticks, 2 * election_ticks - 1]: a restarted
    // cluster serves sooner.
    bool quick_first_election = true;
    // A leader whose log makes nothing durable for so many ticks, though something waits, hands over
    // to the follower with the longest log; if that did not help in the same time again, or
    // there is none, it steps down (event::DiskStalled). 0: never.
    int stall_ticks = 10;
    // Called once, from any executor, when the node cannot go on (a failed sync, a failed
    // apply). The node has stopped acknowledging; the process should exit without flushing.
    std::function<void(absl::Status)> on_fatal;
    // Called on the loop when the leader, the role or the term changed.
    std::function<void(const SoftState&, Term)> on_role_change;
  };

  // The world. All borrowed; they outlive the node.
  struct Env {
    Clock* clock = nullptr;
    Executor* loop = nullptr;
    Executor* append = nullptr;
    Executor* apply = nullptr;
    Executor* background = nullptr;
    Executor* flush = nullptr;  // null: `background`
    Transport* transport = nullptr;
    Wal* wal = nullptr;
    SnapshotStore* snapshots = nullptr;
    StateMachine* machine = nullptr;
    Observer* observer = nullptr;  // may be null
    Random random{0};
  };

  // Starts from what Wal::Open recovered. Ticks begin when Start returns.
  // DATA_LOSS when the state machine is behind the start of the log and no snapshot covers the gap.
  static absl::StatusOr<std::unique_ptr<Node>> Start(const Options& options, Env env,
                                                     Wal::Recovered recovered);

  // Stops taking work. Stop the executors before destroying the node.
  ~Node() override = default;
  virtual void Stop() = 0;

  // Everything below is thread-safe.

  // Queues `payload`; it waits for a leader if there is none. `refused` (may be null) runs, on
  // the loop or in this call, only when the proposal was certainly not appended, with the reason
  // (UNAVAILABLE, RESOURCE_EXHAUSTED). Otherwise the entry is seen by StateMachine::Apply, or,
  // after a change of leader, perhaps never: use a timeout.
  virtual void Propose(Payload payload, std::function<void(absl::Status)> refused) = 0;
  // The same for a membership change. With forward_conf_changes off it never waits:
  // FAILED_PRECONDITION comes when this node does not lead.
  virtual void ProposeConfChange(ConfChange change, std::function<void(absl::Status)> refused) = 0;

  // A linearizable read position: `done` runs when the state machine has applied everything
  // committed before the call, or with DEADLINE_EXCEEDED or (after Stop) CANCELLED. It runs on the
  // loop or on the apply executor and must not block. Calls that wait at the same time share a round.
  virtual void ReadBarrier(absl::Duration timeout, std::function<void(absl::Status)> done) = 0;

  virtual void TransferLeadership(NodeId to) = 0;
  virtual void Campaign() = 0;

  struct Snapshot {
    NodeId id = kNoNode;
    SoftState soft_state;
    Term term = 0;
    Index commit = 0;
    Index applied = 0;
    Index first_index = 0;
    Index last_index = 0;
    bool recovering = false;  // from a loss of durable data; see HardState
    bool asleep = false;      // see Core::asleep
  };
  // As of the end of the last loop step; never waits for the loop.
  [[nodiscard]] virtual Snapshot Peek() const = 0;
  // The whole status, taken on the loop.
  virtual void GetStatus(std::function<void(Status)> done) = 0;

  struct Stats {
    uint64_t proposals = 0;
    uint64_t proposals_refused = 0;
    uint64_t syncs = 0;
    uint64_t entries_appended = 0;
    uint64_t entries_applied = 0;
    uint64_t snapshots_sent = 0;
    uint64_t snapshots_restored = 0;
    uint64_t read_rounds = 0;
    uint64_t leader_changes = 0;
    uint64_t stall_transfers = 0;   // as the disk stalled
    uint64_t stall_step_downs = 0;  // the same, with nobody to take over
  };
  [[nodiscard]] virtual Stats GetStats() const = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_NODE_H_
