// How the driver spreads the news of what is committed: to the log and to the peers, late where
// that costs nothing. On virtual time.
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <utility>

#include "base/testing/status_matchers.h"
#include "raft/testing/virtual_cluster.h"

namespace keelson::raft {
namespace {

// The commit index that a restart would find.
Index WrittenCommit(VirtualMember& member) {
  Wal::Recovered recovered;
  const Identity identity{.cluster_id = 7, .node_id = member.node->Peek().id};
  member.wal.reset();
  KEELSON_ASSIGN_OR_FAIL(member.wal, Wal::Open(member.fs, "wal", identity, {}, &recovered));
  return recovered.hard_state.commit;
}

void ProposeMany(Node& node, int count) {
  for (int i = 0; i < count; ++i) node.Propose(Payload(std::to_string(i)), nullptr);
}

bool HaveAll(const VirtualCluster& cluster, size_t count) {
  return std::all_of(cluster.members().begin(), cluster.members().end(),
                     [&](const auto& m) { return m->machine.values().size() == count; });
}

}  // namespace

TEST_CASE("A commit index that nothing follows is written at the next tick", "[raft][node]") {
  VirtualCluster cluster(1);
  VirtualMember& lone = *cluster.Leader();
  ProposeMany(*lone.node, 1);
  cluster.RunUntil([&] { return HaveAll(cluster, 1); });
  SECTION("a tick later") {
    cluster.RunFor(Node::Options().tick_interval + absl::Milliseconds(1));
    const Index commit = lone.node->Peek().commit;
    lone.node->Stop();
    CHECK(WrittenCommit(lone) == commit);
  }
  SECTION("or with the next entries") {
    const Index commit = lone.node->Peek().commit;
    ProposeMany(*lone.node, 1);
    cluster.RunUntil([&] { return HaveAll(cluster, 2); });
    lone.node->Stop();
    CHECK(WrittenCommit(lone) >= commit);
  }
}

TEST_CASE("Followers hear of a commit within a moment, also when it is held back", "[raft][node]") {
  VirtualCluster cluster(3);
  VirtualMember& leader = *cluster.Leader();
  // Few are told of at once, many after the time that others had to follow: a heartbeat would take
  // a hundred times as long.
  const int count = GENERATE(1, 100);
  ProposeMany(*leader.node, count);
  cluster.RunUntil([&] { return leader.machine.values().size() == static_cast<size_t>(count); });
  cluster.RunFor(absl::Milliseconds(10));
  CHECK(HaveAll(cluster, count));
}

TEST_CASE("A commit that other entries follow is told with them", "[raft][node]") {
  VirtualCluster cluster(3);
  VirtualMember& leader = *cluster.Leader();
  const uint64_t before = cluster.network().messages();
  for (size_t round = 1; round <= 10; ++round) {
    ProposeMany(*leader.node, 20);
    cluster.RunUntil([&] { return leader.machine.values().size() == 20 * round; });
  }
  // An append and its answer for each of two followers, and the last news of all; each heartbeat
  // that fell between would be four more.
  CHECK(cluster.network().messages() - before <= 10 * 4 + 4 + 4);
}

}  // namespace keelson::raft
