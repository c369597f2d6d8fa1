// For tests of drivers on virtual time (raft/sim/sim_world.h): a network that delivers after
// a moment, and a state machine that remembers what it was given.
#ifndef KEELSON_RAFT_TESTING_VIRTUAL_NETWORK_H_
#define KEELSON_RAFT_TESTING_VIRTUAL_NETWORK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "raft/sim/sim_world.h"
#include "raft/snapshot_store.h"
#include "raft/state_machine.h"
#include "raft/transport.h"

namespace keelson::raft {

// Connects sinks by node id. Single-threaded, as the world is.
class VirtualNetwork {
 public:
  explicit VirtualNetwork(sim::SimWorld& world) : world_(world) {}

  // The transport of `self`; lives as long as the network.
  Transport& TransportOf(NodeId self) {
    auto& port = ports_[self];
    if (port == nullptr) port = std::make_unique<Port>(*this, self);
    return *port;
  }
  // Where messages to `self` go; null: to nobody.
  void SetSink(NodeId self, MessageSink* sink) { sinks_[self] = sink; }

  // The snapshots of `self`, for the messages that announce one.
  using Stores = std::function<std::shared_ptr<SnapshotStore>(GroupId)>;
  void SetStores(NodeId self, Stores stores) { stores_[self] = std::move(stores); }

  // Nothing from or to `node` arrives; or does again.
  void Cut(NodeId node) { cut_.insert(node); }
  void Heal(NodeId node) { cut_.erase(node); }

  [[nodiscard]] uint64_t messages() const { return messages_; }
  // Calls of Transport::Send.
  [[nodiscard]] uint64_t frames() const { return frames_; }

 private:
  class Port final : public Transport {
   public:
    Port(VirtualNetwork& network, NodeId self) : network_(network), self_(self) {}
    void Send(std::vector<Message> messages) override { network_.Send(self_, std::move(messages)); }

   private:
    VirtualNetwork& network_;
    const NodeId self_;
  };

  void Send(NodeId from, std::vector<Message> messages) {
    ++frames_;
    messages_ += messages.size();
    std::map<NodeId, std::vector<Message>> by_peer;
    for (Message& message : messages) by_peer[message.to].push_back(std::move(message));
    for (auto& [to, batch] : by_peer) {
      world_.After(absl::Microseconds(200), [this, from, to = to, batch = std::move(batch)] {
        const auto sink = sinks_.find(to);
        if (sink == sinks_.end() || sink->second == nullptr) return;
        if (cut_.contains(from) || cut_.contains(to)) return;
        std::vector<Message> delivered;
        for (const Message& message : batch) {
          if (message.type == MessageType::kSnap) {
            const bool ok = CopySnapshot(message);
            if (sinks_[from] != nullptr) sinks_[from]->ReportGroupSnapshot(message.group, to, ok);
            if (!ok) continue;
          }
          delivered.push_back(message);
        }
        sink->second->Receive(std::move(delivered));
      });
    }
  }

  bool CopySnapshot(const Message& message) {
    const auto from = stores_[message.from](message.group);
    const auto to = stores_[message.to](message.group);
    if (from == nullptr || to == nullptr) return false;
    const SnapshotMetadata& metadata = message.snapshot->metadata;
    auto reader = from->OpenSnapshot(metadata.index, metadata.term);
    auto writer = to->Create(metadata);
    if (!reader.ok() || !writer.ok()) return false;
    while (true) {
      const auto chunk = (*reader)->Next();
      if (!chunk.ok()) return false;
      if (chunk->empty()) return (*writer)->Commit().ok();
      if (!(*writer)->Append(*chunk).ok()) return false;
    }
  }

  sim::SimWorld& world_;
  std::map<NodeId, std::unique_ptr<Port>> ports_;
  std::map<NodeId, MessageSink*> sinks_;
  std::map<NodeId, Stores> stores_;
  std::set<NodeId> cut_;
  uint64_t messages_ = 0;
  uint64_t frames_ = 0;
};

// Holds the payloads in order; durable as of the last Flush.
class VirtualMachine final : public StateMachine {
 public:
  explicit VirtualMachine(SnapshotMetadata start) : position_(start), durable_(std::move(start)) {}

  SnapshotMetadata Applied() override { return durable_; }
  absl::Status Apply(std::span<const Entry> entries, const SnapshotMetadata& after) override {
    for (const Entry& entry : entries) {
      if (entry.type == EntryType::kNormal && !entry.data.empty())
        values_.emplace_back(entry.data.view());
    }
    position_ = after;
    return absl::OkStatus();
  }
  absl::Status Flush() override {
    durable_ = position_;
    durable_values_ = values_;
    ++flushes_;
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<StateCapture>> Capture() override {
    return std::make_unique<Captured>(position_, values_);
  }
  absl::Status Restore(SnapshotReader& reader, const SnapshotMetadata& metadata) override {
    values_.clear();
    while (true) {
      auto chunk = reader.Next();
      if (!chunk.ok()) return chunk.status();
      if (chunk->empty()) break;
      for (size_t at = 0; at < chunk->size();) {
        const size_t end = chunk->find('\n', at);
        values_.push_back(chunk->substr(at, end - at));
        at = end + 1;
      }
    }
    position_ = metadata;
    return Flush();
  }

  // What a power cut leaves.
  void Crash() {
    position_ = durable_;
    values_ = durable_values_;
  }

  [[nodiscard]] const std::vector<std::string>& values() const { return values_; }
  [[nodiscard]] const SnapshotMetadata& position() const { return position_; }
  [[nodiscard]] int flushes() const { return flushes_; }

 private:
  class Captured final : public StateCapture {
   public:
    Captured(SnapshotMetadata position, std::vector<std::string> values)
        : position_(std::move(position)), values_(std::move(values)) {}
    [[nodiscard]] const SnapshotMetadata& metadata() const override { return position_; }
    absl::Status WriteTo(SnapshotWriter& writer) override {
      std::string all;
      for (const std::string& value : values_) all += value + '\n';
      return writer.Append(all);
    }

   private:
    const SnapshotMetadata position_;
    const std::vector<std::string> values_;
  };

  SnapshotMetadata position_;
  SnapshotMetadata durable_;
  std::vector<std::string> values_;
  std::vector<std::string> durable_values_;
  int flushes_ = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_VIRTUAL_NETWORK_H_
