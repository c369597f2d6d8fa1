// A leader whose disk stalls, on virtual time: the disk is the append executor, which stands still.
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/node.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_world.h"
#include "raft/testing/virtual_network.h"

namespace keelson::raft {
namespace {

constexpr Identity kCluster = {.cluster_id = 7};

struct Member final : public Observer {
  Member(sim::SimWorld& world, VirtualNetwork& network, NodeId id, std::vector<NodeId> voters,
         Node::Options options)
      : clock(world, 1), machine({.conf_state = {.voters = std::move(voters)}}) {
    Identity identity = kCluster;
    identity.node_id = id;
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

class Cluster {
 public:
  explicit Cluster(size_t size, const Node::Options& options = {}) {
    std::vector<NodeId> voters;
    for (NodeId id = 1; id <= size; ++id) voters.push_back(id);
    for (const NodeId id : voters) {
      members_.push_back(std::make_unique<Member>(world_, network_, id, voters, options));
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
  Member* Leader() {
    Member* leader = nullptr;
    for (const auto& member : members_) {
      const Node::Snapshot peek = member->node->Peek();
      if (peek.soft_state.role != Role::kLeader || peek.commit < peek.last_index) continue;
      if (leader == nullptr || leader->node->Peek().term < peek.term) leader = member.get();
    }
    return leader;
  }

  void Stall(Member& member, absl::Duration time) {
    member.append->PauseUntil(world_.now() + time);
  }
  void Cut(Member& member) { network_.Cut(member.node->Peek().id); }

 private:
  sim::SimWorld world_{1};
  VirtualNetwork network_{world_};
  std::vector<std::unique_ptr<Member>> members_;
};

}  // namespace

TEST_CASE("A leader whose disk stalls hands over, and says why", "[raft][node][disk]") {
  Cluster cluster(3);
  Member& old = *cluster.Leader();
  cluster.Stall(old, absl::Seconds(30));
  // What makes it notice: something to store.
  old.node->Propose(Payload("first"), nullptr);

  cluster.RunUntil([&] { return cluster.Leader() != nullptr && cluster.Leader() != &old; });

  Member& heir = *cluster.Leader();
  REQUIRE(old.stalls.size() == 1);
  CHECK(old.stalls[0].to == heir.node->Peek().id);
  CHECK(old.stalls[0].ticks == 10);
  CHECK(old.node->GetStats().stall_transfers == 1);
  CHECK(old.node->GetStats().stall_step_downs == 0);
  // What the others had of it is not lost, and they go on without its disk.
  heir.node->Propose(Payload("second"), nullptr);
  const std::vector<std::string> both = {"first", "second"};
  cluster.RunUntil([&] { return heir.machine.values() == both; });
  // It leads no more while its disk stands still, and follows again when it moves.
  cluster.RunFor(absl::Seconds(20));
  CHECK(cluster.Leader() == &heir);
  cluster.RunUntil([&] { return old.machine.values() == both; });
}

TEST_CASE("A leader that nobody can relieve steps down when its disk stalls",
          "[raft][node][disk]") {
  // Without check_quorum it would lead for ever.
  Node::Options options;
  options.core.check_quorum = false;
  Cluster cluster(3, options);
  Member& old = *cluster.Leader();
  cluster.Stall(old, absl::Minutes(10));
  cluster.Cut(old);
  old.node->Propose(Payload("first"), nullptr);

  cluster.RunUntil([&] { return old.node->Peek().soft_state.role != Role::kLeader; });

  REQUIRE(old.stalls.size() == 2);
  CHECK(old.stalls[0].to != kNoNode);
  CHECK(old.stalls[1].to == kNoNode);
  CHECK(old.stalls[1].ticks == 20);
  CHECK(old.node->GetStats().stall_transfers == 1);
  CHECK(old.node->GetStats().stall_step_downs == 1);
}

TEST_CASE("A disk that only stands idle is no stalled disk", "[raft][node][disk]") {
  Cluster cluster(3);
  Member& leader = *cluster.Leader();

  SECTION("nothing is to be stored") { cluster.Stall(leader, absl::Minutes(10)); }
  SECTION("it is slow, but goes on") {
    for (int i = 0; i < 20; ++i) {
      cluster.Stall(leader, absl::Milliseconds(800));
      leader.node->Propose(Payload("x" + std::to_string(i)), nullptr);
      cluster.RunFor(absl::Milliseconds(900));
    }
  }
  SECTION("the whole process stood still") {
    leader.node->Propose(Payload("x"), nullptr);
    // Shorter than the election timeout of the others.
    cluster.Stall(leader, absl::Milliseconds(700));
    cluster.RunFor(absl::Milliseconds(600));
  }
  cluster.RunFor(absl::Seconds(5));

  CHECK(leader.stalls.empty());
  CHECK(cluster.Leader() == &leader);
}

TEST_CASE("A lone voter keeps the lead, since nobody else could take it", "[raft][node][disk]") {
  Cluster cluster(1);
  Member& leader = *cluster.Leader();
  cluster.Stall(leader, absl::Seconds(10));
  leader.node->Propose(Payload("x"), nullptr);

  cluster.RunFor(absl::Seconds(5));

  CHECK(leader.node->Peek().soft_state.role == Role::kLeader);
  cluster.RunUntil([&] { return leader.machine.values().size() == 1; });
}

TEST_CASE("No leader is relieved when stall_ticks is 0", "[raft][node][disk]") {
  Node::Options options;
  options.stall_ticks = 0;
  Cluster cluster(3, options);
  Member& leader = *cluster.Leader();
  cluster.Stall(leader, absl::Seconds(20));
  leader.node->Propose(Payload("x"), nullptr);

  cluster.RunFor(absl::Seconds(10));

  CHECK(cluster.Leader() == &leader);
  CHECK(leader.stalls.empty());
}

}  // namespace keelson::raft
