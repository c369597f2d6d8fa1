#include "raft/sim/sim_network.h"

#include <algorithm>
#include <string>

#include "base/status.h"

namespace keelson::raft::sim {
namespace {

absl::Duration Exponential(Random& random, absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      random.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

// About what it takes on the wire.
uint64_t MessageBytes(const Message& message) {
  uint64_t bytes = 60 + message.context.size();
  for (const Entry& entry : message.entries) bytes += 20 + entry.data.size();
  return bytes;
}

}  // namespace

// What one incarnation of a node sends through.
class SimNetwork::Port final : public Transport {
 public:
  Port(SimNetwork& network, NodeId node, uint64_t incarnation)
      : network_(network), node_(node), incarnation_(incarnation) {}
  void Send(std::vector<Message> messages) override {
    network_.Send(node_, incarnation_, std::move(messages));
  }

 private:
  SimNetwork& network_;
  const NodeId node_;
  const uint64_t incarnation_;
};

absl::Status CopySnapshot(SnapshotStore& from, SnapshotStore& to, Index index, Term term) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotReader> reader,
                           from.OpenSnapshot(index, term));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotWriter> writer,
                           to.Create(reader->metadata()));
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const std::string chunk, reader->Next());
    if (chunk.empty()) return writer->Commit();
    KEELSON_RETURN_IF_ERROR(writer->Append(chunk));
  }
}

SimNetwork::SimNetwork(SimWorld& world) : world_(world), random_(world.Stream("network")) {}

void SimNetwork::SetFaults(const Faults& faults) {
  faults_ = faults;
  if (faults_.burst > 0) return;
  // One that began behind the stall of a disk would begin after its node has died, and go on.
  for (auto& [ends, link] : links_) link.burst_until = {};
}

Transport& SimNetwork::Attach(NodeId node, const Endpoint& endpoint) {
  NodeState& state = nodes_[node];
  state.endpoint = endpoint;
  state.attached = true;
  ++state.incarnation;
  state.port = std::make_unique<Port>(*this, node, state.incarnation);
  return *state.port;
}

void SimNetwork::Detach(NodeId node) {
  NodeState& state = nodes_[node];
  if (!state.attached) return;
  state.attached = false;
  state.detached_at = world_.now();
  state.endpoint = {};
  state.port.reset();
  // What it would have sent later, after a stall of its disk, never was on the wire.
  for (auto& [ends, link] : links_) {
    if (ends.first != node) continue;
    link.last_arrival = std::min(link.last_arrival, world_.now());
    link.busy_until = std::min(link.busy_until, world_.now());
  }
  // Streams to a dead node break; their senders notice.
  std::vector<uint64_t> broken;
  for (auto& [id, transfer] : transfers_) {
    if (transfer.to != node) continue;
    // It was to end later, after a stall of the node's disk.
    if (transfer.ends > world_.now()) transfer.ends.reset();
    if (!transfer.ends.has_value()) broken.push_back(id);
  }
  for (const uint64_t id : broken) EndTransfer(id, false);
}

void SimNetwork::SetLink(NodeId from, NodeId to, bool up) {
  if (up) {
    cut_.erase({from, to});
  } else {
    cut_.insert({from, to});
  }
}

void SimNetwork::Send(NodeId from, uint64_t incarnation, std::vector<Message> messages) {
  if (!nodes_[from].endpoint.alive()) return;
  for (Message& message : messages) {
    if (observer_) observer_(message);
    if (mutator_) mutator_(message);
    ++counters_.sent;
    ++next_packet_;
    world_.Trace("send",
                 {next_packet_, message.from, message.to, static_cast<uint64_t>(message.type),
                  message.term, message.log_term, message.index, message.entries.size(),
                  message.commit, message.reject, message.reject_hint});
    if (message.group != 0) world_.Trace("of group", {next_packet_, message.group});
    if (message.type == MessageType::kSnap) {
      SendSnapshot(from, incarnation, std::move(message));
    } else {
      SendOne(from, incarnation, std::move(message));
    }
  }
}

absl::Duration SimNetwork::Delay(Link& link, uint64_t bytes) {
  absl::Duration delay = faults_.min_delay + Exponential(random_, faults_.mean_tail);
  if (faults_.bytes_per_second > 0) {
    const absl::Duration begin = std::max(link.busy_until, world_.now());
    if (begin > world_.now()) ++counters_.queued;
    link.busy_until =
        begin +
        absl::Nanoseconds(static_cast<int64_t>(bytes * 1'000'000'000 / faults_.bytes_per_second));
    delay += link.busy_until - world_.now();
  }
  if (faults_.reorder) {
    if (world_.now() + delay < link.last_arrival) ++counters_.overtakings;
    link.last_arrival = std::max(link.last_arrival, world_.now() + delay);
    return delay;
  }
  link.last_arrival = std::max(link.last_arrival, world_.now() + delay);
  return link.last_arrival - world_.now();
}

void SimNetwork::SendOne(NodeId from, uint64_t incarnation, Message message) {
  Link& link = links_[{from, message.to}];
  Packet packet{.from = from,
                .message = std::move(message),
                .incarnation = incarnation,
                .sent = world_.now(),
                .id = next_packet_,
                .sequence = ++link.sent};
  if (faults_.replay > 0) MaybeReplay(link, from, packet.message);
  if (faults_.burst > 0 && random_.Bernoulli(faults_.burst)) {
    link.burst_until = world_.now() + Exponential(random_, faults_.burst_time);
  }
  if (link.burst_until > world_.now()) {
    ++counters_.burst_lost;
    return Lose(packet);
  }
  if (random_.Bernoulli(faults_.drop)) {
    ++counters_.dropped;
    return Lose(packet);
  }
  if (faults_.corrupt > 0 && random_.Bernoulli(faults_.corrupt)) {
    ++counters_.corrupted;
    BreakConnection(link);
    return Lose(packet);
  }
  if (random_.Bernoulli(faults_.duplicate)) {
    ++counters_.duplicated;
    Launch(link, packet);
  }
  Launch(link, std::move(packet));
  if (faults_.reset > 0 && random_.Bernoulli(faults_.reset)) BreakConnection(link);
}

void SimNetwork::Launch(Link& link, Packet packet) {
  constexpr absl::Duration kLongestQueue = absl::Milliseconds(100);
  if (faults_.bytes_per_second > 0 && link.busy_until > world_.now() + kLongestQueue) {
    ++counters_.overflowed;
    return Lose(packet);
  }
  const absl::Duration delay = Delay(link, MessageBytes(packet.message));
  world_.After(delay, [this, packet = std::move(packet)]() mutable { Land(std::move(packet)); });
}

void SimNetwork::Land(Packet packet) {
  const NodeId from = packet.from;
  Link& link = links_[{from, packet.message.to}];
  if (packet.sequence > link.lost_after && packet.sequence <= link.lost_to) {
    return Lose(packet);
  }
  if (link.clogged) return link.held.push_back(std::move(packet));
  // Nobody can say of a replay whose it is.
  const NodeId to = packet.message.to;
  const bool arrives = packet.sequence == 0
                           ? nodes_[to].endpoint.sink != nullptr && LinkUp(from, to)
                           : Arrives(from, to, packet.incarnation, packet.sent);
  if (!arrives) return Lose(packet);
  link.arrived = std::max(link.arrived, packet.sequence);
  ++counters_.delivered;
  world_.Trace("arrive", {packet.id});
  if (arrivals_) arrivals_(packet.message);
  nodes_[to].endpoint.sink->Receive({std::move(packet.message)});
}

void SimNetwork::Lose(const Packet& packet) {
  world_.Trace("lost", {packet.id});
  if (packet.sequence == 0 || !random_.Bernoulli(faults_.report_loss)) return;
  ReportUnreachable(packet.from, packet.incarnation, packet.message.to);
}

void SimNetwork::BreakConnection(Link& link) {
  ++counters_.resets;
  link.lost_after = link.arrived + random_.Below(link.sent - link.arrived + 1);
  link.lost_to = link.sent;
}

void SimNetwork::MaybeReplay(Link& link, NodeId from, const Message& message) {
  constexpr size_t kPast = 32;
  if (link.past.size() < kPast) {
    link.past.push_back(message);
  } else if (random_.Bernoulli(0.05)) {
    link.past[random_.Below(kPast)] = message;
  }
  if (!random_.Bernoulli(faults_.replay)) return;
  ++counters_.replayed;
  Packet packet{.from = from,
                .message = link.past[random_.Below(link.past.size())],
                .incarnation = 0,
                .sent = world_.now(),
                .id = ++next_packet_,
                .sequence = 0};
  world_.Trace("replay", {packet.id, packet.message.from, packet.message.to,
                          static_cast<uint64_t>(packet.message.type), packet.message.term});
  Launch(link, std::move(packet));
}

void SimNetwork::Unclog(NodeId from, NodeId to) {
  Link& link = links_[{from, to}];
  link.clogged = false;
  std::vector<Packet> held;
  held.swap(link.held);
  for (Packet& packet : held) Launch(link, std::move(packet));
}

void SimNetwork::UnclogAll() {
  for (const auto& [ends, link] : links_) {
    if (link.clogged) Unclog(ends.first, ends.second);
  }
}

bool SimNetwork::Arrives(NodeId from, NodeId to, uint64_t incarnation, absl::Duration sent) {
  const NodeState& sender = nodes_[from];
  // The event that sent it took time, and the sender died before the moment of sending.
  const bool same = sender.attached && sender.incarnation == incarnation;
  if (!same && sender.detached_at < sent) return false;
  const NodeState& receiver = nodes_[to];
  if (receiver.attached && receiver.endpoint.sink != nullptr && LinkUp(from, to)) {
    return true;
  }
  ++counters_.blocked;
  return false;
}

void SimNetwork::SendSnapshot(NodeId from, uint64_t incarnation, Message message) {
  absl::Duration delay = Delay(links_[{from, message.to}], 0);
  delay += Exponential(random_, faults_.snapshot_delay);
  const uint64_t id = next_transfer_++;
  transfers_[id] = {
      .from = from, .incarnation = incarnation, .to = message.to, .group = message.group};
  if (random_.Bernoulli(faults_.snapshot_failure)) {
    world_.After(delay, [this, id] { EndTransfer(id, false); });
    return;
  }
  world_.After(delay, [this, id, sent = world_.now(), message = std::move(message)] {
    const auto transfer = transfers_.find(id);
    if (transfer == transfers_.end()) return;
    const Transfer& on_way = transfer->second;
    if (!Arrives(on_way.from, on_way.to, on_way.incarnation, sent)) return EndTransfer(id, false);
    nodes_[message.to].endpoint.background->Post(
        [this, id, message] { DeliverSnapshot(id, message); });
  });
}

void SimNetwork::DeliverSnapshot(uint64_t id, const Message& message) {
  const auto transfer = transfers_.find(id);
  if (transfer == transfers_.end()) return;
  const NodeState& sender = nodes_[message.from];
  const NodeState& receiver = nodes_[message.to];
  // The stream breaks with its sender.
  const bool connected = sender.attached && sender.incarnation == transfer->second.incarnation &&
                         LinkUp(message.from, message.to);
  const bool ok = connected && CopySnapshotOf(message, sender.endpoint, receiver.endpoint).ok();
  world_.Trace("snapshot", {message.from, message.to, message.snapshot->metadata.index, ok});
  if (ok) {
    // Through the world, so that the time the disk took has passed when it arrives.
    world_.After(absl::ZeroDuration(), [this, message, incarnation = receiver.incarnation] {
      const NodeState& now = nodes_[message.to];
      if (!now.attached || now.incarnation != incarnation) return;
      if (arrivals_) arrivals_(message);
      now.endpoint.sink->Receive({message});
    });
  }
  EndTransfer(id, ok);
}

void SimNetwork::EndTransfer(uint64_t id, bool ok) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  Transfer& transfer = found->second;
  if (transfer.ends.has_value()) return;
  transfer.ends = world_.now();
  ++(ok ? counters_.snapshots_delivered : counters_.snapshots_failed);
  world_.After(Delay(links_[{transfer.to, transfer.from}], 0), [this, id, ok] {
    const auto ended = transfers_.find(id);
    if (ended == transfers_.end()) return;  // The end was another one, which has been reported.
    const Transfer reported = ended->second;
    transfers_.erase(ended);
    ReportSnapshot(reported, ok);
  });
}

void SimNetwork::ReportUnreachable(NodeId node, uint64_t incarnation, NodeId peer) {
  const NodeState& state = nodes_[node];
  if (!state.attached || state.incarnation != incarnation || state.endpoint.sink == nullptr) return;
  state.endpoint.sink->ReportUnreachable(peer);
}

void SimNetwork::ReportSnapshot(const Transfer& transfer, bool ok) {
  const NodeState& state = nodes_[transfer.from];
  if (!state.attached || state.incarnation != transfer.incarnation) return;
  if (state.endpoint.sink == nullptr) return;
  state.endpoint.sink->ReportGroupSnapshot(transfer.group, transfer.to, ok);
}

absl::Status SimNetwork::CopySnapshotOf(const Message& message, const Endpoint& from,
                                        const Endpoint& to) {
  const SnapshotMetadata& metadata = message.snapshot->metadata;
  if (!from.snapshots_of) {
    return CopySnapshot(*from.snapshots, *to.snapshots, metadata.index, metadata.term);
  }
  const auto source = from.snapshots_of(message.group);
  const auto target = to.snapshots_of(message.group);
  if (source == nullptr || target == nullptr) return absl::NotFoundError("no such group");
  return CopySnapshot(*source, *target, metadata.index, metadata.term);
}

}  // namespace keelson::raft::sim
