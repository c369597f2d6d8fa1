// For tests of drivers on virtual time: members with a log of one group on simulated disks, and the
// network between them.
#ifndef KEELSON_RAFT_TESTING_VIRTUAL_CLUSTER_H_
#define KEELSON_RAFT_TESTING_VIRTUAL_CLUSTER_H_

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/node.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_world.h"
#include "raft/testing/virtual_network.h"
#include "raft/wal.h"

namespace keelson::raft {

struct VirtualMember final : public Observer {
  VirtualMember(sim::SimWorld& world, VirtualNetwork& network, NodeId id,
                std::vector<NodeId> voters, Node::Options options)
      : clock(world, 1), machine({.conf_state = {.voters = std::move(voters)}}) {
    const Identity identity{.cluster_id = 7, .node_id = id};
    const Wal::Options small = {.segment_bytes = 1 << 20, .incarnation = id};
    KEELSON_REQUIRE_OK(Wal::Create(fs, "wal", identity, machine.position(), small));
    Wal::Recovered recovered;
    KEELSON_ASSIGN_OR_FAIL(wal, Wal::Open(fs, "wal", identity, small, &recovered));
    KEELSON_ASSIGN_OR_FAIL(snapshots, SnapshotStore::Open(fs, "snap"));
    for (auto* executor : {&loop, &append, &apply, &background}) {
      *executor =
          std::make_unique<sim::SimExecutor>(world, Random(id), sim::SimExecutor::Options());
    }
    options.core.id = id;
    KEELSON_ASSIGN_OR_FAIL(node, Node::Start(options,
                                             {.clock = &clock,
                                              .loop = loop.get(),
                                              .append = append.get(),
                                              .apply = apply.get(),
                                              .background = background.get(),
                                              .transport = &network.TransportOf(id),
                                              .wal = wal.get(),
                                              .snapshots = snapshots.get(),
                                              .machine = &machine,
                                              .observer = this,
                                              .random = Random(id)},
                                             std::move(recovered)));
    network.SetSink(id, node.get());
  }

  void On(NodeId /*self*/, const Event& event) override {
    if (const auto* stalled = std::get_if<event::DiskStalled>(&event)) stalls.push_back(*stalled);
  }

  sim::SimClock clock;
  SimFileSystem fs{Random(1), {}};
  VirtualMachine machine;
  std::unique_ptr<Wal> wal;
  std::unique_ptr<SnapshotStore> snapshots;
  std::unique_ptr<sim::SimExecutor> loop, append, apply, background;
  std::unique_ptr<Node> node;
  std::vector<event::DiskStalled> stalls;
};

// The world and its members, and one of them leads.
class VirtualCluster {
 public:
  explicit VirtualCluster(size_t size, const Node::Options& options = {}) {
    std::vector<NodeId> voters;
    for (NodeId id = 1; id <= size; ++id) voters.push_back(id);
    for (const NodeId id : voters) {
      members_.push_back(std::make_unique<VirtualMember>(world_, network_, id, voters, options));
    }
    RunUntil([this] { return Leader() != nullptr; });
    RunFor(absl::Seconds(1));  // What the election had to store is stored.
  }

  void RunUntil(const std::function<bool()>& done) {
    const absl::Duration deadline = world_.now() + absl::Minutes(1);
    while (!done()) {
      REQUIRE(world_.now() < deadline);
      REQUIRE(world_.Step());
    }
  }
  void RunFor(absl::Duration time) {
    const absl::Duration end = world_.now() + time;
    RunUntil([&] { return world_.now() >= end; });
  }

  // The leader of the newest term, once it can commit; null if there is none.
  VirtualMember* Leader() {
    VirtualMember* leader = nullptr;
    for (const auto& member : members_) {
      const Node::Snapshot peek = member->node->Peek();
      if (peek.soft_state.role != Role::kLeader || peek.commit < peek.last_index) continue;
      if (leader == nullptr || leader->node->Peek().term < peek.term) leader = member.get();
    }
    return leader;
  }

  void Stall(VirtualMember& member, absl::Duration time) {
    member.append->PauseUntil(world_.now() + time);
  }
  void Cut(const VirtualMember& member) { network_.Cut(member.node->Peek().id); }

  [[nodiscard]] const std::vector<std::unique_ptr<VirtualMember>>& members() const {
    return members_;
  }
  [[nodiscard]] const VirtualNetwork& network() const { return network_; }

 private:
  sim::SimWorld world_{1};
  VirtualNetwork network_{world_};
  std::vector<std::unique_ptr<VirtualMember>> members_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_VIRTUAL_CLUSTER_H_
