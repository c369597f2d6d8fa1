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
  // Streams to a dead node break; their senders notice.
  std::vector<uint64_t> broken;
  for (const auto& [id, transfer] : transfers_) {
    if (transfer.to == node) broken.push_back(id);
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
    world_.Trace("send", {message.from, message.to, static_cast<uint64_t>(message.type),
                          message.term, message.log_term, message.index, message.entries.size(),
                          message.commit, message.reject, message.reject_hint});
    if (message.type == MessageType::kSnap) {
      SendSnapshot(from, incarnation, std::move(message));
    } else {
      SendOne(from, incarnation, std::move(message));
    }
  }
}

absl::Duration SimNetwork::Delay(NodeId from, NodeId to) {
  const absl::Duration delay = faults_.min_delay + Exponential(random_, faults_.mean_tail);
  if (faults_.reorder) return delay;
  absl::Duration& last = last_arrival_[{from, to}];
  last = std::max(last, world_.now() + delay);
  return last - world_.now();
}

void SimNetwork::SendOne(NodeId from, uint64_t incarnation, Message message) {
  const NodeId to = message.to;
  if (random_.Bernoulli(faults_.drop)) {
    ++counters_.dropped;
    if (random_.Bernoulli(faults_.report_loss)) ReportUnreachable(from, incarnation, to);
    return;
  }
  const int copies = random_.Bernoulli(faults_.duplicate) ? 2 : 1;
  counters_.duplicated += static_cast<uint64_t>(copies - 1);
  for (int i = 0; i < copies; ++i) {
    world_.After(Delay(from, to), [this, from, incarnation, sent = world_.now(), message] {
      if (!Arrives(message, incarnation, sent)) {
        if (random_.Bernoulli(faults_.report_loss))
          ReportUnreachable(from, incarnation, message.to);
        return;
      }
      ++counters_.delivered;
      nodes_[message.to].endpoint.sink->Receive({message});
    });
  }
}

bool SimNetwork::Arrives(const Message& message, uint64_t incarnation, absl::Duration sent) {
  const NodeState& sender = nodes_[message.from];
  // The event that sent it took time, and the sender died before the moment of sending.
  const bool same = sender.attached && sender.incarnation == incarnation;
  if (!same && sender.detached_at < sent) return false;
  const NodeState& receiver = nodes_[message.to];
  if (receiver.attached && receiver.endpoint.sink != nullptr && LinkUp(message.from, message.to)) {
    return true;
  }
  ++counters_.blocked;
  return false;
}

void SimNetwork::SendSnapshot(NodeId from, uint64_t incarnation, Message message) {
  const absl::Duration delay =
      Delay(from, message.to) + Exponential(random_, faults_.snapshot_delay);
  const uint64_t id = next_transfer_++;
  transfers_[id] = {.from = from, .incarnation = incarnation, .to = message.to};
  if (random_.Bernoulli(faults_.snapshot_failure)) {
    world_.After(delay, [this, id] { EndTransfer(id, false); });
    return;
  }
  world_.After(delay, [this, id, sent = world_.now(), message = std::move(message)] {
    const auto transfer = transfers_.find(id);
    if (transfer == transfers_.end()) return;
    if (!Arrives(message, transfer->second.incarnation, sent)) return EndTransfer(id, false);
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
  const bool ok =
      connected && CopySnapshot(*sender.endpoint.snapshots, *receiver.endpoint.snapshots,
                                message.snapshot->metadata.index, message.snapshot->metadata.term)
                       .ok();
  world_.Trace("snapshot", {message.from, message.to, message.snapshot->metadata.index, ok});
  if (ok) {
    // Through the world, so that the time the disk took has passed when it arrives.
    world_.After(absl::ZeroDuration(), [this, message, incarnation = receiver.incarnation] {
      const NodeState& now = nodes_[message.to];
      if (now.attached && now.incarnation == incarnation) now.endpoint.sink->Receive({message});
    });
  }
  EndTransfer(id, ok);
}

void SimNetwork::EndTransfer(uint64_t id, bool ok) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  const Transfer transfer = found->second;
  transfers_.erase(found);
  ++(ok ? counters_.snapshots_delivered : counters_.snapshots_failed);
  world_.After(Delay(transfer.to, transfer.from), [this, transfer, ok] {
    ReportSnapshot(transfer.from, transfer.incarnation, transfer.to, ok);
  });
}

void SimNetwork::ReportUnreachable(NodeId node, uint64_t incarnation, NodeId peer) {
  const NodeState& state = nodes_[node];
  if (!state.attached || state.incarnation != incarnation || state.endpoint.sink == nullptr) return;
  state.endpoint.sink->ReportUnreachable(peer);
}

void SimNetwork::ReportSnapshot(NodeId node, uint64_t incarnation, NodeId peer, bool ok) {
  const NodeState& state = nodes_[node];
  if (!state.attached || state.incarnation != incarnation || state.endpoint.sink == nullptr) return;
  state.endpoint.sink->ReportSnapshot(peer, ok);
}

}  // namespace keelson::raft::sim
