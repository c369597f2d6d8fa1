// What becomes of a member that lost durable data (docs/decisions/0010).
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/testing/core_network.h"
#include "raft/testing/solo_core.h"
#include "raft/types.h"

namespace keelson::raft {
namespace {

// Three members; 1 leads, and all have "a" and "b".
CoreNetwork Group() {
  CoreNetwork net(3);
  net.Elect(1);
  KEELSON_REQUIRE_OK(net.Propose(1, "a"));
  KEELSON_REQUIRE_OK(net.Propose(1, "b"));
  net.TickAll(2);
  net.OfferSnapshot(1);
  return net;
}

bool Recovering(CoreNetwork& net, NodeId id) { return net.core(id).hard_state().recovering; }

TEST_CASE("A member that lost its disk gets everything again and is trusted then",
          "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.LoseDisk(3);
  REQUIRE(Recovering(net, 3));
  net.TickAll(5);
  CHECK_FALSE(Recovering(net, 3));
  CHECK_FALSE(net.log(3).InitialHardState().recovering);
  CHECK(net.Applied(3) == std::vector<std::string>{"a", "b"});
  CHECK(net.events(1).Count<event::PeerRecovering>() == 1);
  CHECK(net.events(1).Count<event::PeerRecovered>() == 1);

  // It counts again: the group works with it alone beside the leader.
  net.Isolate(2);
  KEELSON_REQUIRE_OK(net.Propose(1, "c"));
  net.Settle();
  CHECK(net.Applied(3) == std::vector<std::string>{"a", "b", "c"});
  CHECK(net.violation().empty());
}

TEST_CASE("A member that does not know that it lost its disk learns it from the leader",
          "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.LoseDisk(3, /*unaware=*/true);
  REQUIRE_FALSE(Recovering(net, 3));
  net.Tick(1);
  net.Settle();
  CHECK(net.events(3).Count<event::RecoveryStarted>() == 1);
  net.TickAll(5);
  CHECK_FALSE(Recovering(net, 3));
  CHECK(net.Applied(3) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("While it recovers it counts for no quorum", "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.Isolate(2);
  net.LoseDisk(3);
  SECTION("not for entries") {
    KEELSON_REQUIRE_OK(net.Propose(1, "c"));
    net.Tick(1, 2);
    net.Settle();
    CHECK(net.Applied(1) == std::vector<std::string>{"a", "b"});
  }
  SECTION("not for reads") {
    KEELSON_REQUIRE_OK(net.core(1).ReadIndex("r"));
    net.Collect(1);
    net.Settle();
    CHECK(net.reads(1).empty());
  }
  SECTION("not for the leader's own standing") {
    net.TickAll(25);
    CHECK(net.Leader() == kNoNode);
  }
  // The barrier needs the others, so it stays as it is.
  CHECK(Recovering(net, 3));
  net.Heal();
  net.TickAll(60);
  CHECK_FALSE(Recovering(net, 3));
  CHECK(net.violation().empty());
}

TEST_CASE("While it recovers it gives no vote and stands for no election", "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.LoseDisk(3);
  net.Isolate(1);
  net.TickAll(60);
  CHECK(net.core(2).soft_state().role != Role::kLeader);
  CHECK(net.core(3).soft_state().role == Role::kFollower);
  CHECK(Recovering(net, 3));
  net.core(3).Campaign();
  CHECK(net.core(3).soft_state().role == Role::kFollower);
}

TEST_CASE("It cannot help to elect a leader that lacks what it once acknowledged",
          "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.Isolate(2);
  KEELSON_REQUIRE_OK(net.Propose(1, "c"));  // On 1 and 3.
  net.Settle();
  REQUIRE(net.Applied(1).back() == "c");
  net.Heal();
  net.Isolate(1);
  net.LoseDisk(3);
  net.TickAll(60);
  KEELSON_CHECK_ERROR(net.Propose(2, "d"), absl::StatusCode::kUnavailable, "");
  net.Heal();
  net.TickAll(80);
  const NodeId leader = net.Leader();
  REQUIRE(leader != kNoNode);
  CHECK(net.Applied(leader).back() == "c");
  CHECK(net.violation().empty());
}

TEST_CASE("It may lose its disk again before it has recovered", "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.LoseDisk(3);
  net.Tick(1);
  for (int i = 0; i < 3 && !net.in_flight().empty(); ++i) net.Deliver(0);
  net.LoseDisk(3);
  net.TickAll(6);
  CHECK_FALSE(Recovering(net, 3));
  CHECK(net.Applied(3) == std::vector<std::string>{"a", "b"});
  CHECK(net.violation().empty());
}

TEST_CASE("A restart in the middle of it changes nothing", "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.LoseDisk(3);
  // Any number of steps into it.
  const int steps = GENERATE(range(1, 12));
  net.Tick(1, 2);
  for (int i = 0; i < steps && !net.in_flight().empty(); ++i) {
    net.Deliver(0);
    net.AppendOne(3);
    net.Collect(3);
  }
  net.Restart(3);
  net.TickAll(6);
  CHECK_FALSE(Recovering(net, 3));
  CHECK(net.Applied(3) == std::vector<std::string>{"a", "b"});
  CHECK(net.violation().empty());
}

TEST_CASE("A new leader starts the recovery over", "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.LoseDisk(3);
  net.SetFilter([](const Message& m) { return m.to == 3 && m.recover_to != 0; });
  net.TickAll(3);
  REQUIRE(Recovering(net, 3));
  net.core(1).TransferLeadership(2);
  net.Collect(1);
  net.Settle();
  REQUIRE(net.Leader() == 2);
  net.SetFilter({});
  net.OfferSnapshot(2);
  net.TickAll(6);
  CHECK_FALSE(Recovering(net, 3));
  CHECK(net.violation().empty());
}

TEST_CASE("A leader hands nothing over to a member that recovers", "[raft][rejoin]") {
  CoreNetwork net = Group();
  net.Isolate(2);
  net.LoseDisk(3);
  net.Tick(1, 2);
  net.Settle();
  net.core(1).TransferLeadership(3);
  const auto* refused = net.events(1).Last<event::TransferRefused>();
  REQUIRE(refused != nullptr);
  CHECK(refused->why == event::TransferRefusal::kRecovering);
}

// --- The leader's side, message by message ---

Message Ack(SoloCore& leader, NodeId from, Index index, uint64_t incarnation, bool recovering) {
  Message ack = leader.From(from, MessageType::kAppResp, index);
  ack.incarnation = incarnation;
  ack.recovering = recovering;
  return ack;
}

const PeerStatus& PeerOf(const Status& status, NodeId id) {
  return *std::find_if(status.peers.begin(), status.peers.end(),
                       [id](const PeerStatus& peer) { return peer.id == id; });
}

TEST_CASE("What a peer acknowledged before it lost its data does not count after",
          "[raft][rejoin]") {
  SoloCore leader(3);
  leader.Lead();
  leader.Run();
  leader.Step(Ack(leader, 2, 1, 0, false));
  REQUIRE(PeerOf(leader.core().GetStatus(), 2).match == 1);
  leader.Step(Ack(leader, 2, 0, 77, true));
  CHECK(PeerOf(leader.core().GetStatus(), 2).match == 0);
  leader.Step(Ack(leader, 2, 1, 0, false));  // Delayed in the network.
  CHECK(PeerOf(leader.core().GetStatus(), 2).match == 0);
  CHECK(leader.events().Count<trace::EarlierLifeIgnored>() == 1);
}

TEST_CASE("What is left over from an earlier life does not send a sound peer into recovery",
          "[raft][rejoin]") {
  SoloCore leader(3);
  leader.Lead();
  leader.Run();
  leader.Step(Ack(leader, 2, 1, 50, false));
  SECTION("said by a peer that was sound then") {
    leader.Step(Ack(leader, 2, 1, 40, false));
    CHECK(PeerOf(leader.core().GetStatus(), 2).match == 1);
    CHECK(leader.events().Count<trace::EarlierLifeIgnored>() == 1);
  }
  SECTION("said by a peer that recovered then: it is asked, and goes on in its own life") {
    leader.Step(Ack(leader, 2, 1, 40, true));
    const auto* recovering = leader.events().Last<event::PeerRecovering>();
    REQUIRE(recovering != nullptr);
    CHECK(recovering->incarnation == 50);
    leader.Step(Ack(leader, 2, 2, 50, false));
    CHECK(leader.events().Count<event::PeerRecovered>() == 1);
    CHECK(PeerOf(leader.core().GetStatus(), 2).match == 2);
  }
}

TEST_CASE("What a leader commits by what an earlier life acknowledged is not committed here",
          "[raft][rejoin]") {
  // The entry 2 of term 2 that it once acknowledged is lost; here is the one that it replaced.
  SoloCore follower(3, {}, LogOf({1, 1}),
                    {.term = 2, .vote = 0, .commit = 1, .incarnation = 50, .recovering = true});
  Message heartbeat = follower.From(2, MessageType::kHeartbeat);
  heartbeat.commit = 2;
  heartbeat.incarnation = 50;
  follower.Step(heartbeat);
  CHECK(follower.core().hard_state().commit == 1);
  heartbeat.incarnation = follower.core().hard_state().incarnation;
  follower.Step(heartbeat);
  CHECK(follower.core().hard_state().commit == 2);
}

TEST_CASE("A follower stays in its life when its leader has not heard of it yet",
          "[raft][rejoin]") {
  SoloCore follower(3, {}, LogOf({1, 1}),
                    {.term = 1, .vote = 2, .commit = 0, .incarnation = 50, .recovering = false});
  Message heartbeat = follower.From(2, MessageType::kHeartbeat);
  heartbeat.incarnation = 40;
  heartbeat.recover_to = 2;
  follower.Step(heartbeat);
  CHECK_FALSE(follower.core().hard_state().recovering);
  CHECK(follower.core().hard_state().incarnation == 50);
  heartbeat.incarnation = 60;  // It has forgotten a later one.
  follower.Step(heartbeat);
  CHECK(follower.core().hard_state().recovering);
  CHECK(follower.core().hard_state().incarnation > 60);
}

TEST_CASE("What a peer said before it had recovered does not make it recover again",
          "[raft][rejoin]") {
  SoloCore leader(3);
  leader.Lead();
  leader.Run();
  leader.Step(Ack(leader, 2, 0, 50, true));
  leader.Step(Ack(leader, 2, 2, 50, false));
  REQUIRE(leader.events().Count<event::PeerRecovered>() == 1);
  const Index last = leader.core().GetStatus().last_index;
  for (int i = 0; i < 3; ++i) leader.Step(Ack(leader, 2, 1, 50, true));  // Late.
  CHECK(leader.events().Count<event::PeerRecovering>() == 1);
  CHECK(leader.core().GetStatus().last_index == last);
  CHECK(PeerOf(leader.core().GetStatus(), 2).match == 2);
}

TEST_CASE("A node that starts while it recovers begins another life", "[raft][rejoin]") {
  SoloCore follower(3, {}, LogOf({1, 1}),
                    {.term = 2, .vote = 0, .commit = 1, .incarnation = 50, .recovering = true});
  CHECK(follower.core().hard_state().recovering);
  CHECK(follower.core().hard_state().incarnation > 50);
  CHECK(follower.core().HasReady());  // To be made durable.
}

TEST_CASE("A peer's life begins with what it says first", "[raft][rejoin]") {
  SoloCore leader(3);
  leader.Lead();
  leader.Run();
  leader.Step(Ack(leader, 2, 1, 5, false));  // Recovered in an earlier term.
  CHECK(PeerOf(leader.core().GetStatus(), 2).match == 1);
  CHECK(leader.events().Count<event::PeerRecovering>() == 0);
}

TEST_CASE("A follower is told by the leader to recover in the life that it is in",
          "[raft][rejoin]") {
  SoloCore follower(3, {}, LogOf({1, 1}), {.term = 1, .vote = 2, .commit = 0});
  Message heartbeat = follower.From(2, MessageType::kHeartbeat);
  heartbeat.incarnation = 9;  // Not its life.
  heartbeat.recover_to = 2;
  follower.Step(heartbeat);
  const HardState state = follower.core().hard_state();
  CHECK(state.recovering);
  CHECK(state.incarnation != 9);
  heartbeat.incarnation = state.incarnation;
  heartbeat.commit = 1;
  follower.Step(heartbeat);
  CHECK(follower.core().hard_state().recovering);  // Not there yet.
  heartbeat.commit = 2;
  follower.Step(heartbeat);
  CHECK_FALSE(follower.core().hard_state().recovering);
  CHECK(follower.core().hard_state().incarnation == state.incarnation);
}

}  // namespace
}  // namespace keelson::raft
