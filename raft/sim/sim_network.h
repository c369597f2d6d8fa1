// The network between simulated nodes: loses, doubles, delays, reorders and repeats messages,
// and cuts, clogs and resets links one way or both ways, by seed.
#ifndef KEELSON_RAFT_SIM_SIM_NETWORK_H_
#define KEELSON_RAFT_SIM_SIM_NETWORK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/executor.h"
#include "base/random.h"
#include "raft/sim/sim_world.h"
#include "raft/snapshot_store.h"
#include "raft/transport.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class SimNetwork {
 public:
  struct Faults {
    double drop = 0;       // probability that one message is lost
    double duplicate = 0;  // that it arrives twice
    bool reorder = false;  // else a link delivers in the order sent, as TCP does
    absl::Duration min_delay = absl::Microseconds(100);
    absl::Duration mean_tail = absl::Microseconds(200);  // added, exponentially distributed
    double snapshot_failure = 0;                         // that the transfer of a snapshot breaks
    absl::Duration snapshot_delay = absl::Milliseconds(5);
    // That the sender hears of a lost message (Node::ReportUnreachable).
    double report_loss = 0.3;
    double burst = 0;  // that a message begins a time in which its link loses everything
    absl::Duration burst_time = absl::Milliseconds(20);  // mean
    // That its frame is damaged: the receiver sees that by the checksum and breaks the connection.
    double corrupt = 0;
    double reset = 0;   // that the connection breaks while it is under way
    double replay = 0;  // that an old message of the same link arrives once more with it
    // What a link carries; 0: no limit. What would wait too long for its turn is dropped, as by a
    // transport with bounded queues.
    uint64_t bytes_per_second = 0;
  };

  // One incarnation of a node, as the network sees it. Pointers are borrowed until Detach.
  struct Endpoint {
    MessageSink* sink = nullptr;
    SnapshotStore* snapshots = nullptr;
    // In its place on a host of many groups; null when there is none of that group.
    std::function<std::shared_ptr<SnapshotStore>(GroupId)> snapshots_of = {};
    Executor* background = nullptr;  // stores received snapshots
    // False when the process can do nothing any more though it is still attached (its power
    // has just been cut): what it sends is not sent.
    std::function<bool()> alive;
  };

  struct Counters {
    uint64_t sent = 0;
    uint64_t delivered = 0;
    uint64_t dropped = 0;  // by chance
    uint64_t blocked = 0;  // by a cut link or a dead receiver
    uint64_t duplicated = 0;
    uint64_t burst_lost = 0;
    uint64_t corrupted = 0;
    uint64_t resets = 0;
    uint64_t replayed = 0;
    uint64_t overtakings = 0;
    uint64_t queued = 0;      // behind others, for lack of bandwidth
    uint64_t overflowed = 0;  // of these, dropped
    uint64_t snapshots_delivered = 0;
    uint64_t snapshots_failed = 0;
  };

  explicit SimNetwork(SimWorld& world);

  void SetFaults(const Faults& faults);

  // Connects a started node. The transport that it sends through; valid until Detach.
  Transport& Attach(NodeId node, const Endpoint& endpoint);
  // The node is dead: it receives nothing, and what it was about to send is lost. What it had
  // sent before is still on its way.
  void Detach(NodeId node);
  // The endpoint may be completed after Attach (the node needs the transport to start).
  void SetSink(NodeId node, MessageSink* sink) { nodes_[node].endpoint.sink = sink; }

  // Cuts or restores the direction `from` -> `to`.
  void SetLink(NodeId from, NodeId to, bool up);
  void HealLinks() { cut_.clear(); }
  [[nodiscard]] bool LinkUp(NodeId from, NodeId to) const { return cut_.count({from, to}) == 0; }

  // A clogged direction holds back what it carries, in order; nothing is lost.
  void Clog(NodeId from, NodeId to) { links_[{from, to}].clogged = true; }
  void Unclog(NodeId from, NodeId to);
  void UnclogAll();

  // Sees every message that leaves, before any loss.
  void OnSend(std::function<void(const Message&)> observer) { observer_ = std::move(observer); }
  // Sees every message that is handed to a node, just before.
  void OnArrive(std::function<void(const Message&)> observer) { arrivals_ = std::move(observer); }
  // Changes messages on the wire: for planted bugs.
  void SetMutator(std::function<void(Message&)> mutator) { mutator_ = std::move(mutator); }

  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  class Port;
  struct NodeState {
    Endpoint endpoint;
    bool attached = false;
    uint64_t incarnation = 0;
    absl::Duration detached_at;
    std::unique_ptr<Transport> port;
  };

  // A message on its way. Its trace number tells it apart from all others.
  struct Packet {
    NodeId from = kNoNode;  // who sent it; a forwarded message names another in itself
    Message message;
    uint64_t incarnation = 0;  // of the sender
    absl::Duration sent;
    uint64_t id = 0;
    uint64_t sequence = 0;  // on its link; 0: a replay, which no connection carries
  };

  // One direction between two nodes.
  struct Link {
    absl::Duration last_arrival;  // for links in order
    absl::Duration busy_until;    // with what is being sent, when bandwidth is limited
    absl::Duration burst_until;
    uint64_t sent = 0;     // sequence of the last message
    uint64_t arrived = 0;  // greatest sequence that arrived
    // What was in flight when the connection broke: (lost_after, lost_to] never arrives.
    uint64_t lost_after = 0;
    uint64_t lost_to = 0;
    bool clogged = false;
    std::vector<Packet> held;   // by the clog
    std::vector<Message> past;  // a sample of what was sent, for replays
  };

  // A snapshot on its way into a receiver's store.
  struct Transfer {
    NodeId from = kNoNode;
    uint64_t incarnation = 0;  // of the sender
    NodeId to = kNoNode;
    GroupId group = 0;
    std::optional<absl::Duration> ends;  // when all is copied, once that is known
  };

  void Send(NodeId from, uint64_t incarnation, std::vector<Message> messages);
  void SendOne(NodeId from, uint64_t incarnation, Message message);
  void SendSnapshot(NodeId from, uint64_t incarnation, Message message);
  void DeliverSnapshot(uint64_t id, const Message& message);
  // The sender hears how its transfer ended, after the way back.
  void EndTransfer(uint64_t id, bool ok);
  void Launch(Link& link, Packet packet);
  void Land(Packet packet);
  void Lose(const Packet& packet);
  // An end of what is in flight on `link` is lost.
  void BreakConnection(Link& link);
  void MaybeReplay(Link& link, NodeId from, const Message& message);
  // True if the message, which left its sender at `sent`, can arrive now.
  bool Arrives(NodeId from, NodeId to, uint64_t incarnation, absl::Duration sent);
  absl::Duration Delay(Link& link, uint64_t bytes);
  void ReportUnreachable(NodeId node, uint64_t incarnation, NodeId peer);
  void ReportSnapshot(const Transfer& transfer, bool ok);
  // Copies the snapshot that `message` is about to its receiver.
  absl::Status CopySnapshotOf(const Message& message, const Endpoint& from, const Endpoint& to);

  SimWorld& world_;
  Random random_;
  Faults faults_;
  std::map<NodeId, NodeState> nodes_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::map<std::pair<NodeId, NodeId>, Link> links_;
  std::function<void(const Message&)> observer_;
  std::function<void(const Message&)> arrivals_;
  std::function<void(Message&)> mutator_;
  std::map<uint64_t, Transfer> transfers_;
  uint64_t next_transfer_ = 0;
  uint64_t next_packet_ = 0;
  Counters counters_;
};

// Copies the snapshot (index, term) from one store to the other, durably.
absl::Status CopySnapshot(SnapshotStore& from, SnapshotStore& to, Index index, Term term);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_NETWORK_H_
