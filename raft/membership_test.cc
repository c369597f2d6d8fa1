// Membership changes in a running group (raft.md section 8).
#include <catch2/catch.hpp>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/testing/core_network.h"
#include "raft/testing/solo_core.h"

namespace keelson::raft {
namespace {

ConfChange Change(std::vector<ConfChangeSingle> changes,
                  ConfChangeTransition transition = ConfChangeTransition::kAuto) {
  return {transition, std::move(changes), ""};
}

ConfChangeSingle Add(NodeId id) { return {ConfChangeType::kAddNode, id}; }
ConfChangeSingle Learner(NodeId id) { return {ConfChangeType::kAddLearner, id}; }
ConfChangeSingle Remove(NodeId id) { return {ConfChangeType::kRemoveNode, id}; }

ConfState ConfOf(CoreNetwork& net, NodeId id) { return net.core(id).GetStatus().conf_state; }

void Apply(CoreNetwork& net, NodeId id, const ConfChange& change) {
  KEELSON_REQUIRE_OK(net.core(id).ProposeConfChange(change));
  net.Settle();
  net.OfferSnapshot(id);  // One from before the change would not be taken by who is new.
  net.TickAll(3);
}

// The membership that a group started with is in no entry; whoever takes the log from its
// start would end up alone in the membership of the change that added it.
TEST_CASE("A member that is added catches up by a snapshot and takes part", "[raft][membership]") {
  CoreNetwork net(3);
  net.Elect(1);
  KEELSON_REQUIRE_OK(net.Propose(1, "before"));
  net.Settle();
  const bool compacted = GENERATE(false, true);
  if (compacted) net.Compact(1);
  net.AddEmpty(4);
  Apply(net, 1, Change({Add(4)}));
  REQUIRE(net.Applied(4) == std::vector<std::string>{"before"});
  CHECK(ConfOf(net, 4).voters == std::vector<NodeId>{1, 2, 3, 4});
  net.Isolate(2);
  KEELSON_REQUIRE_OK(net.Propose(1, "with three of four"));
  net.Settle();
  CHECK(net.Applied(4).back() == "with three of four");
  CHECK(net.violation() == "");
}

TEST_CASE("A snapshot from before a member was added is not sent to it", "[raft][membership]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.OfferSnapshot(1);
  net.AddEmpty(4);
  KEELSON_REQUIRE_OK(net.core(1).ProposeConfChange(Change({Add(4)})));
  net.Settle();
  net.TickAll(3);
  CHECK(net.events(1).Count<event::SnapshotSent>() == 0);
  CHECK(net.events(1).Last<trace::SnapshotNotSent>()->why == trace::SnapshotWithheld::kNotReady);
  net.OfferSnapshot(1);
  net.TickAll(3);
  CHECK(net.events(4).Count<event::SnapshotRestored>() == 1);
}

TEST_CASE("A learner receives everything and counts for nothing", "[raft][membership]") {
  CoreNetwork net(2);
  net.Elect(1);
  net.AddEmpty(3);
  Apply(net, 1, Change({Learner(3)}));
  KEELSON_REQUIRE_OK(net.Propose(1, "x"));
  net.Settle();
  CHECK(net.Applied(3) == std::vector<std::string>{"x"});
  net.Isolate(2);
  KEELSON_REQUIRE_OK(net.Propose(1, "y"));
  net.Settle();
  CHECK(net.Applied(1) == std::vector<std::string>{"x"});  // Two of the two voters are needed.
}

TEST_CASE("A leader that is removed steps down, and the others go on", "[raft][membership]") {
  CoreNetwork net(3);
  net.Elect(1);
  Apply(net, 1, Change({Remove(1)}));
  CHECK(net.core(1).soft_state().role == Role::kFollower);
  net.TickAll(40);
  const NodeId leader = net.Leader();
  CHECK((leader == 2 || leader == 3));
  CHECK(ConfOf(net, leader).voters == std::vector<NodeId>{2, 3});
  net.core(1).Campaign();
  CHECK(net.core(1).soft_state().role == Role::kFollower);
}

TEST_CASE("A leader may keep leading after its removal where that is wanted",
          "[raft][membership]") {
  CoreNetwork net(3, [](Options& options) { options.step_down_on_removal = false; });
  net.Elect(1);
  KEELSON_REQUIRE_OK(net.core(1).ProposeConfChange(Change({Remove(1)})));
  net.Settle();
  CHECK(net.core(1).soft_state().role == Role::kLeader);
  KEELSON_CHECK_ERROR(net.Propose(1, "x"), absl::StatusCode::kUnavailable, "left the membership");
}

TEST_CASE("Several changes go through a joint configuration and out of it", "[raft][membership]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.AddEmpty(4);
  net.AddEmpty(5);
  SECTION("by itself") {
    Apply(net, 1, Change({Remove(2), Remove(3), Add(4), Add(5)}));
    CHECK(net.events(1).Count<trace::AutoLeaveProposed>() == 1);
  }
  SECTION("by hand") {
    Apply(net, 1,
          Change({Remove(2), Remove(3), Add(4), Add(5)}, ConfChangeTransition::kJointExplicit));
    CHECK(ConfOf(net, 1).voters_outgoing == std::vector<NodeId>{1, 2, 3});
    Apply(net, 1, Change({Add(9)}));
    CHECK(net.events(1).Last<event::ConfChangeRefused>()->reason ==
          "must transition out of joint config first");
    Apply(net, 1, ConfChange());
  }
  CHECK(ConfOf(net, 1).voters == std::vector<NodeId>{1, 4, 5});
  CHECK(ConfOf(net, 1).voters_outgoing.empty());
  KEELSON_REQUIRE_OK(net.Propose(1, "x"));
  net.Settle();
  CHECK(net.Applied(5) == std::vector<std::string>{"x"});
  CHECK(net.violation() == "");
}

TEST_CASE("While joint both halves must agree", "[raft][membership]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.AddEmpty(4);
  net.AddEmpty(5);
  Apply(net, 1,
        Change({Remove(2), Remove(3), Add(4), Add(5)}, ConfChangeTransition::kJointExplicit));
  SECTION("not without the old half") {
    net.Isolate(2);
    net.Isolate(3);
  }
  SECTION("not without the new half") {
    net.Isolate(4);
    net.Isolate(5);
  }
  KEELSON_REQUIRE_OK(net.Propose(1, "x"));
  net.Settle();
  CHECK(net.Applied(1).empty());
}

TEST_CASE("A second change waits until the first one is applied", "[raft][membership]") {
  SoloCore solo(3);
  solo.Lead();
  solo.Run();
  // Not even the first one before everything inherited is applied.
  KEELSON_REQUIRE_OK(solo.core().ProposeConfChange(Change({Add(4)})));
  CHECK(solo.events().Count<event::ConfChangeRefused>() == 0);
  KEELSON_REQUIRE_OK(solo.core().ProposeConfChange(Change({Add(5)})));
  CHECK(solo.events().Last<event::ConfChangeRefused>()->reason == "possible unapplied conf change");
  // The refused one left an empty entry in its place.
  solo.Run();
  const Status status = solo.core().GetStatus();
  CHECK(status.last_index == 3);
  CHECK(solo.log().Entries(3, 4, UINT64_MAX).value()[0].type == EntryType::kNormal);
  CHECK(solo.log().Entries(2, 3, UINT64_MAX).value()[0].type == EntryType::kConfChangeV2);
}

TEST_CASE("A new leader takes no change before it has applied what it inherited",
          "[raft][membership]") {
  SoloCore solo(3, {}, LogOf({1, 1}), {.term = 1});
  solo.Lead();
  solo.Run();
  KEELSON_REQUIRE_OK(solo.core().ProposeConfChange(Change({Add(4)})));
  CHECK(solo.events().Count<event::ConfChangeRefused>() == 1);
  solo.Step(solo.From(2, MessageType::kAppResp, 3));
  KEELSON_REQUIRE_OK(solo.core().ProposeConfChange(Change({Add(4)})));
  CHECK(solo.events().Count<event::ConfChangeRefused>() == 1);
}

TEST_CASE("A malformed change of a peer becomes an empty entry", "[raft][membership]") {
  SoloCore solo(3);
  solo.Lead();
  solo.Run();
  Message message = solo.From(2, MessageType::kProp);
  message.term = 0;
  message.entries.resize(1);
  message.entries[0].type = EntryType::kConfChangeV2;
  message.entries[0].data = Payload("\x08");
  solo.Step(message);
  CHECK(solo.events().Last<event::ConfChangeRefused>()->reason == "malformed");
  CHECK(solo.log().Entries(2, 3, UINT64_MAX).value()[0].type == EntryType::kNormal);
}

TEST_CASE("Removing a member that blocks the quorum commits what waited for it",
          "[raft][membership]") {
  SoloCore solo(2);
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 1));
  const Payload payload("x");
  KEELSON_REQUIRE_OK(solo.core().Propose(std::span<const Payload>(&payload, 1)));
  solo.Run();
  REQUIRE(solo.core().hard_state().commit == 1);
  solo.core().ApplyConfChange(3, Change({Remove(2)}));
  CHECK(solo.core().hard_state().commit == 2);
}

TEST_CASE("A change that a snapshot has overtaken is not made to the snapshot's membership",
          "[raft][membership]") {
  SoloCore solo(3);
  Message append = solo.From(2, MessageType::kApp);
  append.term = 1;
  append.commit = 1;
  append.entries = LogOf({1});
  append.entries[0].type = EntryType::kConfChangeV2;
  append.entries[0].data = Payload(EncodeConfChange(Change({Add(4)})));
  KEELSON_REQUIRE_OK(solo.core().Step(append));
  (void)solo.Take();
  (void)solo.AppendOne();
  (void)solo.Take();  // The change waits for the state machine.
  REQUIRE(solo.core().hard_state().commit == 1);
  // Since then the leader has removed 4 again, and its log begins behind that.
  Message snapshot = solo.From(2, MessageType::kSnap);
  snapshot.snapshot = {.metadata = {.index = 5, .term = 1, .conf_state = {.voters = {1, 2, 3}}}};
  KEELSON_REQUIRE_OK(solo.core().Step(snapshot));

  CHECK(solo.core().ApplyConfChange(1, Change({Add(4)})) == std::nullopt);
  CHECK(solo.core().GetStatus().conf_state.voters == std::vector<NodeId>{1, 2, 3});
  CHECK(solo.core().ApplyConfChange(5, Change({Add(4)})) == std::nullopt);
  CHECK(solo.events().Count<trace::ConfChangeOvertaken>() == 2);

  const std::optional<ConfState> next = solo.core().ApplyConfChange(6, Change({Remove(3)}));
  REQUIRE(next.has_value());
  CHECK(next->voters == std::vector<NodeId>{1, 2});
  CHECK(solo.core().ApplyConfChange(6, Change({Remove(2)})) == std::nullopt);
  CHECK(solo.core().GetStatus().conf_state == *next);
}

TEST_CASE("Without forwarding of changes only the leader takes them", "[raft][membership]") {
  CoreNetwork net(3, [](Options& options) { options.forward_conf_changes = false; });
  const ConfChange change = Change({Add(4)});
  CHECK(absl::IsFailedPrecondition(net.core(1).ProposeConfChange(change)));  // Nobody leads yet.
  net.Elect(1);

  CHECK(absl::IsFailedPrecondition(net.core(2).ProposeConfChange(change)));
  Message forwarded;
  forwarded.type = MessageType::kProp;
  forwarded.from = 3;
  forwarded.to = 2;
  forwarded.entries.resize(2);
  forwarded.entries[1].type = EntryType::kConfChangeV2;
  forwarded.entries[1].data = Payload(EncodeConfChange(change));
  CHECK(absl::IsFailedPrecondition(net.core(2).Step(forwarded)));
  KEELSON_CHECK_OK(net.Propose(2, "others are passed on"));
  net.Settle();
  CHECK(ConfOf(net, 1).voters == std::vector<NodeId>{1, 2, 3});

  Apply(net, 1, change);
  CHECK(ConfOf(net, 1).voters == std::vector<NodeId>{1, 2, 3, 4});
}

TEST_CASE("A transfer ends when its target is removed", "[raft][membership]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.Isolate(3);
  KEELSON_REQUIRE_OK(net.core(1).ProposeConfChange(Change({Remove(3)})));
  net.Collect(1);
  net.core(1).TransferLeadership(3);
  REQUIRE(net.core(1).GetStatus().transferee == 3);
  net.Settle();
  CHECK(net.core(1).GetStatus().transferee == kNoNode);
  CHECK(net.core(1).soft_state().role == Role::kLeader);
}

// Only those who have gone and the member with the shorter log know that 3 is a voter now.
TEST_CASE("A vote tells of a membership that another does not know to be committed",
          "[raft][membership]") {
  const bool by_vote = GENERATE(false, true);
  CoreNetwork net(2, [&](Options& options) { options.commit_by_vote = by_vote; });
  net.Elect(1);
  net.AddEmpty(3);
  Apply(net, 1, Change({Learner(3)}));
  REQUIRE(ConfOf(net, 3).learners == std::vector<NodeId>{3});
  // 2 gets the promotion and one entry more, and then hears nothing of what is committed. 3 gets
  // the promotion only.
  net.SetFilter([](const Message& m) {
    if (m.to == 2) return m.entries.empty();
    return m.to == 3 && !m.entries.empty() && m.entries.back().data.view() == "longer";
  });
  KEELSON_REQUIRE_OK(net.core(1).ProposeConfChange(Change({Add(3)})));
  KEELSON_REQUIRE_OK(net.Propose(1, "longer"));
  net.Settle();
  net.TickAll(3);
  REQUIRE(ConfOf(net, 2).voters == std::vector<NodeId>{1, 2});
  REQUIRE(ConfOf(net, 3).voters == std::vector<NodeId>{1, 2, 3});

  net.Isolate(1);
  net.SetFilter({});
  net.TickAll(100);

  CHECK((net.Leader() == 2 || net.Leader() == 3) == by_vote);
  CHECK(net.violation() == "");
}

}  // namespace
}  // namespace keelson::raft
