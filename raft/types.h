// The values that Raft is about: entries, hard state, membership, messages.
//
// Names and numbers follow etcd-io/raft (raftpb), so that its transcripts can be
// replayed. Everything here is a plain value: copy it, compare it, send it.
// Index, Term and NodeId are bare 64-bit integers; docs/decisions/0004 says why.
#ifndef KEELSON_RAFT_TYPES_H_
#define KEELSON_RAFT_TYPES_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace keelson::raft {

using Index = uint64_t;    // position in the log; the first entry is 1, 0 means "before the log"
using Term = uint64_t;     // election term; 0 in a message means "local, no term check"
using GroupId = uint64_t;  // 0 where there is only one
using NodeId = uint64_t;   // never reused after removal

inline constexpr NodeId kNoNode = 0;
// Addressees of the core's own storage messages (etcd-io/raft LocalAppendThread, LocalApplyThread).
inline constexpr NodeId kAppendThread = std::numeric_limits<uint64_t>::max();
inline constexpr NodeId kApplyThread = std::numeric_limits<uint64_t>::max() - 1;

// Immutable bytes shared by everyone who holds a copy: a proposal, the log, the network
// and the state machine all see the same buffer. Thread-safe to copy and read.
class Payload {
 public:
  Payload() = default;
  explicit Payload(std::string bytes)
      : bytes_(bytes.empty() ? nullptr : std::make_shared<const std::string>(std::move(bytes))) {}

  [[nodiscard]] std::string_view view() const {
    return bytes_ == nullptr ? std::string_view() : std::string_view(*bytes_);
  }
  [[nodiscard]] size_t size() const { return bytes_ == nullptr ? 0 : bytes_->size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }

  friend bool operator==(const Payload& a, const Payload& b) { return a.view() == b.view(); }

 private:
  std::shared_ptr<const std::string> bytes_;
};

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  Term term = 0;
  Index index = 0;
  EntryType type = EntryType::kNormal;
  // Empty for a new leader's first entry and for a ConfChangeV2 that leaves a joint configuration.
  Payload data;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// What must be durable before anything that depends on it leaves the process. `commit` is
// a hint that may be lost; it never exceeds the last durable index.
struct HardState {
  Term term = 0;
  NodeId vote = kNoNode;
  Index commit = 0;
  // Drawn anew each time this node finds that it lost durable data, greater than before as far as
  // anyone can know; 0 in its first life.
  uint64_t incarnation = 0;
  // It did, and may have forgotten promises: it gives no votes and counts for no quorum until
  // a leader has brought it up to date (docs/decisions/0010).
  bool recovering = false;

  friend bool operator==(const HardState&, const HardState&) = default;
};

// A membership. Joint while `voters_outgoing` is not empty. Lists are sorted, without repeats.
struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners_next;  // outgoing voters that become learners on leaving
  bool auto_leave = false;

  friend bool operator==(const ConfState&, const ConfState&) = default;
};

struct SnapshotMetadata {
  Index index = 0;       // the last entry that the snapshot covers
  Term term = 0;         // its term
  ConfState conf_state;  // the membership in force after applying `index`

  friend bool operator==(const SnapshotMetadata&, const SnapshotMetadata&) = default;
};

struct Snapshot {
  SnapshotMetadata metadata;
  // Bytes that travel inside the message. Keelson's driver leaves it empty and streams the
  // state through a SnapshotStore instead.
  Payload data;

  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

enum class ConfChangeType : uint8_t {
  kAddNode = 0,
  kRemoveNode = 1,
  kUpdateNode = 2,
  kAddLearner = 3
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node = kNoNode;  // 0: cancelled, ignore

  friend bool operator==(const ConfChangeSingle&, const ConfChangeSingle&) = default;
};

enum class ConfChangeTransition : uint8_t { kAuto = 0, kJointImplicit = 1, kJointExplicit = 2 };

// A membership change. kAuto with no changes leaves a joint configuration.
struct ConfChange {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  std::string context;  // the application's, untouched

  friend bool operator==(const ConfChange&, const ConfChange&) = default;
};

enum class MessageType : uint8_t {
  kHup = 0,
  kBeat = 1,
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,
  kSnapStatus = 11,
  kCheckQuorum = 12,
  kTransferLeader = 13,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,
  kStorageAppendResp = 20,
  kStorageApply = 21,
  kStorageApplyResp = 22,
  kForgetLeader = 23,
};

// One message between peers, or between the core and its storage. Which field means
// what for each type: reference raft.md section 2, docs/specs/raft.md.
struct Message {
  MessageType type = MessageType::kHup;
  NodeId to = kNoNode;
  NodeId from = kNoNode;
  Term term = 0;
  Term log_term = 0;
  Index index = 0;
  std::vector<Entry> entries;
  Index commit = 0;
  Term commit_term = 0;  // Of the entry at `commit`; vote requests and answers only.
  NodeId vote = kNoNode;
  std::optional<Snapshot> snapshot;
  bool reject = false;
  Index reject_hint = 0;
  std::string context;
  std::vector<Message> responses;  // storage messages only
  // From a leader: what it knows of the addressee. From others: HardState's of the sender.
  uint64_t incarnation = 0;
  bool recovering = false;  // HardState's of the sender
  Index recover_to = 0;     // from a leader: once this is committed, the addressee has recovered
  int64_t priority = 0;     // of the candidate; vote requests only
  bool quiesce = false;     // heartbeats: the group goes to sleep at (index, log_term)
  GroupId group = 0;        // of the group, when a process runs many; the core leaves it alone

  friend bool operator==(const Message&, const Message&) = default;
};

// "MsgApp" and so on, as raftpb spells it; "MsgUnknown" for a number that is no type.
std::string_view MessageTypeName(MessageType type);

// Bytes that the application put into `entry`; 0 for empty entries, which no quota refuses.
inline size_t PayloadBytes(const Entry& entry) { return entry.data.size(); }

// Bytes of `entry` in raftpb's encoding. Message and apply limits count these, so that
// empty entries are not free and the cuts fall where etcd-io/raft makes them.
size_t EncodedBytes(const Entry& entry);

enum class Role : uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };

// How a leader feeds a peer (raft.md section 6).
enum class ProgressState : uint8_t { kProbe = 0, kReplicate = 1, kSnapshot = 2 };

// What a leader knows about a peer.
struct PeerStatus {
  NodeId id = kNoNode;
  Index match = 0;
  Index next = 0;
  ProgressState state = ProgressState::kProbe;
  Index pending_snapshot = 0;
  bool recent_active = false;
  bool paused = false;
  bool is_learner = false;
  uint64_t inflight = 0;
  bool inflight_full = false;

  friend bool operator==(const PeerStatus&, const PeerStatus&) = default;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TYPES_H_
