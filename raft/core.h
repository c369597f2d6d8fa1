// The Raft consensus algorithm as a pure step machine: no thread, clock, file,
// socket or randomness of its own.
//
//   KEELSON_ASSIGN_OR_RETURN(auto core, Core::Create(options, log, &observer));
//   core->Tick();                      // time passes
//   (void)core->Step(message);         // a peer spoke
//   while (core->HasReady()) {
//     Ready ready = core->TakeReady();
//     Send(ready.messages);            // at once
//     if (ready.append) storage.Enqueue(std::move(*ready.append));   // in order
//     if (ready.apply) machine.Enqueue(std::move(*ready.apply));     // in order
//   }
//
// Storage is asynchronous (etcd-io/raft's AsyncStorageWrites; raft.md section 11).
// The append worker takes the AppendWork values in order, writes each, syncs once for
// as many as it likes, and then releases the responses of each: those addressed to this
// node are stepped into the core, the others are sent. An apply worker does the same
// with ApplyWork. The compiler keeps the order: responses cannot be read from an
// AppendWork without the SyncToken that a Wal returns from a successful sync.
//
// A new group starts from the same membership on each of its first members, in the log's
// SnapshotMetadata and in no entry. Members that are added later start with an empty log and
// an empty membership; they are sent a snapshot, which brings it, and never the bare entries.
//
// Threading: a Core is a single-threaded value. Given the same inputs and the same
// Random it makes the same outputs.
#ifndef KEELSON_RAFT_CORE_H_
#define KEELSON_RAFT_CORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/random.h"
#include "raft/durability.h"
#include "raft/log_storage.h"
#include "raft/observer.h"
#include "raft/types.h"

namespace keelson::raft {

// How a leader proves that a read is not stale (raft.md section 9).
enum class ReadMode : uint8_t {
  kSafe = 0,        // by a heartbeat round that a quorum answers
  kLeaseBased = 1,  // by the check-quorum lease; needs bounded clock drift and check_quorum
};

struct Options {
  NodeId id = kNoNode;       // required
  int election_ticks = 10;   // E: followers campaign after [E, 2E-1] ticks without a leader
  int heartbeat_ticks = 1;   // less than election_ticks
  bool pre_vote = true;      // a node asks whether it could win before it raises the term
  bool check_quorum = true;  // a leader that hears no quorum for E ticks steps down
  ReadMode read_mode = ReadMode::kSafe;
  bool commit_by_vote = true;     // votes carry how far is committed, with its proof
  bool durable_campaigns = true;  // vote requests wait until term, vote and log are durable
  // A leader of an earlier term is told the present one. etcd-io/raft does so only with check_quorum
  // or pre_vote: without, a group whose leader alone can win may stay apart for ever.
  bool answer_old_leaders = true;
  bool forward_proposals = true;  // a follower passes proposals on to the leader
  // Also membership changes. Who decides on one by looking at the membership turns it off: passed
  // on, or late, it would meet a membership that another leader has changed since.
  bool forward_conf_changes = true;
  bool step_down_on_removal = true;   // a leader that leaves the voters becomes a follower
  bool validate_conf_changes = true;  // refuse changes that cannot apply; only tests turn it off
  // A voter refuses a candidate of lower priority than its own unless that one's log is newer.
  // Each refusal halves what the own priority counts until a leader is known again, so that
  // it delays elections and cannot prevent them. Not negative.
  int64_t priority = 0;
  // Of two pre-candidates whose requests cross, the one with the lesser log, then priority, then
  // id gives way; and a candidate that was refused asks again sooner, once. For pre_vote only.
  bool rank_rivals = true;
  // A leader without work for this many ticks sends the group to sleep: no ticks, no
  // heartbeats, until something happens (see Core::asleep). 0: never.
  int quiesce_ticks = 0;
  uint64_t max_message_bytes = 1 << 20;   // payload of one App; always at least one entry
  uint64_t max_inflight_messages = 256;   // Apps a peer may have unanswered
  uint64_t max_inflight_bytes = 8 << 20;  // and their payload; 0: no limit
  uint64_t max_uncommitted_bytes = uint64_t{1} << 30;  // proposals beyond are refused; 0: no limit
  uint64_t max_apply_bytes = 64 << 20;  // handed to the state machine, not yet answered
  uint64_t max_pending_reads = 4096;    // reads beyond are refused
  // Lease reads stop this many ticks before the lease ends: the bound on how far the
  // tick rates of two nodes may drift apart within one election timeout.
  int lease_margin_ticks = 1;
  // Hands out committed entries that are not locally durable yet. Only for a driver that
  // finishes the AppendWork of a Ready before it starts its ApplyWork.
  bool apply_unstable = false;
  // The state machine already holds everything up to here; nothing at or below it is handed out.
  Index applied = 0;
};

// Work for the append worker: in order, truncate the log from entries[0].index, write the
// entries, the hard state and the snapshot marker.
struct AppendWork {
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;
  std::optional<Snapshot> snapshot;
  // False when nothing here must survive a crash before the responses go (a commit-only change).
  bool must_sync = false;
  DurableMessages responses;
};

// Work for the apply worker: committed entries, in index order, each exactly once.
struct ApplyWork {
  std::vector<Entry> entries;
  // Step these into the core when the entries have been applied.
  std::vector<Message> responses;
  // More committed entries wait for these responses, so they are urgent. Otherwise they may be
  // stepped with whatever comes next.
  bool more_waits = false;
};

struct SoftState {
  NodeId leader = kNoNode;
  Role role = Role::kFollower;

  friend bool operator==(const SoftState&, const SoftState&) = default;
};

// A read may be answered once the state machine has applied `index`.
struct ReadState {
  Index index = 0;
  std::string context;  // as given to ReadIndex

  friend bool operator==(const ReadState&, const ReadState&) = default;
};

struct Ready {
  std::optional<SoftState> soft_state;  // when it changed
  std::vector<Message> messages;        // may leave at once
  std::vector<ReadState> reads;
  std::optional<AppendWork> append;
  std::optional<ApplyWork> apply;
};

struct Status {
  NodeId id = kNoNode;
  HardState hard_state;
  SoftState soft_state;
  Index applied = 0;
  Index first_index = 0;
  Index last_index = 0;
  Term last_term = 0;  // of the entry at last_index
  NodeId transferee = kNoNode;
  ConfState conf_state;
  uint64_t uncommitted_bytes = 0;  // of a leader: what counts against max_uncommitted_bytes
  std::vector<PeerStatus> peers;   // on a leader, by ascending id
};

namespace internal {
class Raft;
}  // namespace internal

class Core {
 public:
  // Starts from what `log` holds. `log` and `observer` (may be null) are borrowed and outlive
  // the core. INVALID_ARGUMENT for impossible options; DATA_LOSS when the hard state in `log`
  // or Options::applied is ahead of its entries, or the membership in it makes no sense.
  static absl::StatusOr<std::unique_ptr<Core>> Create(const Options& options, const LogStorage& log,
                                                      Random random, Observer* observer);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // One unit of logical time.
  void Tick();

  // `ticks` units have passed for which Tick was not called, nor will be: the process stood still.
  // Leases age by them; elections do not, so that nobody campaigns because of its own pause. With
  // lease reads, call it before each ReadIndex and Step by the time that has really passed.
  void SkipTicks(uint64_t ticks);

  // Takes a message of a peer or a storage response. The caller has made sure that nothing
  // from the network claims to come from kAppendThread or kApplyThread.
  // INVALID_ARGUMENT for a local-only type or a malformed message from the network; NOT_FOUND
  // for a response of an unknown peer; for proposals as Propose. Stale messages are dropped
  // silently, as Raft demands.
  absl::Status Step(Message message);

  // Appends `payloads` as normal entries, or forwards them to the leader.
  // All or none. UNAVAILABLE: no leader, transfer running, or forwarding is off.
  // RESOURCE_EXHAUSTED: over max_uncommitted_bytes. OK is no promise of commitment.
  // INVALID_ARGUMENT: no payloads.
  absl::Status Propose(std::span<const Payload> payloads);

  // As Propose, for a membership change. A change that is not allowed now becomes an empty
  // normal entry in the log (so that the caller sees the index pass) and the observer hears why.
  // FAILED_PRECONDITION: not the leader, and forward_conf_changes is off.
  absl::Status ProposeConfChange(const ConfChange& change);

  // Must be called for each committed conf-change entry, with its index, in log order, before its
  // ApplyWork is answered. Returns the membership now in force; a change that cannot apply
  // (possible only with validate_conf_changes off) leaves it as it was. nullopt: nothing was done,
  // since the core has the membership of a later index: of a snapshot that came while the entry
  // waited to be applied. The state machine's own membership moves on by ApplyToConfState then.
  std::optional<ConfState> ApplyConfChange(Index index, const ConfChange& change);

  // Asks for a read position. The answer with the same `context` comes in Ready::reads, on
  // this node, or never (leader lost): retry after a timeout with a new context. A context must
  // not come back after a restart either: a late answer would confirm a read with an old position.
  // UNAVAILABLE: no leader is known. RESOURCE_EXHAUSTED: over max_pending_reads.
  absl::Status ReadIndex(std::string context);

  // True while the group sleeps: Tick does nothing then. Proposals, reads and messages wake it by
  // themselves. It does not notice by itself that its leader's process has died: whoever
  // does calls Wake, after which elections go on as usual.
  [[nodiscard]] bool asleep() const;
  void Wake();

  void Campaign();                      // start an election now
  void TransferLeadership(NodeId to);   // raft.md section 10
  void ForgetLeader();                  // raft.md section 4, last part
  void StepDown();                      // a leader becomes a follower; others elect
  void ReportUnreachable(NodeId peer);  // a send to `peer` failed
  // The snapshot sent to `peer` arrived, or did not.
  void ReportSnapshot(NodeId peer, bool ok);

  [[nodiscard]] bool HasReady() const;
  [[nodiscard]] Ready TakeReady();

  // Cheap parts of the status, and all of it.
  [[nodiscard]] SoftState soft_state() const;
  [[nodiscard]] HardState hard_state() const;
  [[nodiscard]] Status GetStatus() const;

  // Sets the next election timeout, in ticks, for tests and transcripts.
  void SetRandomizedElectionTimeout(int ticks);

 private:
  explicit Core(std::unique_ptr<internal::Raft> raft);

  std::unique_ptr<internal::Raft> raft_;  // never null
};

// The membership that results from `change`. INVALID_ARGUMENT when the change cannot apply.
absl::StatusOr<ConfState> ApplyToConfState(const ConfState& state, const ConfChange& change);

// The payload of a conf-change entry: etcd's raftpb.ConfChangeV2 encoding (fields 1
// transition, 2 changes{1 type, 2 node_id}, 3 context), written without protobuf.
std::string EncodeConfChange(const ConfChange& change);
// Reads an entry of type kConfChange or kConfChangeV2. DATA_LOSS when malformed.
absl::StatusOr<ConfChange> DecodeConfChange(const Entry& entry);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_CORE_H_
