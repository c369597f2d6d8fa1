// A leader whose disk stalls, on virtual time: the disk is the append executor, which stands still.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "raft/testing/virtual_cluster.h"

namespace keelson::raft {

using Cluster = VirtualCluster;
using Member = VirtualMember;

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
