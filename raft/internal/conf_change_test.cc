// Membership changes and their encoding (raft.md section 8).
#include "raft/internal/conf_change.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "raft/core.h"

namespace keelson::raft::internal {
namespace {

using Singles = std::vector<ConfChangeSingle>;

ConfChangeSingle Add(NodeId id) { return {ConfChangeType::kAddNode, id}; }
ConfChangeSingle Learner(NodeId id) { return {ConfChangeType::kAddLearner, id}; }
ConfChangeSingle Remove(NodeId id) { return {ConfChangeType::kRemoveNode, id}; }

ConfState State(std::vector<NodeId> voters, std::vector<NodeId> learners = {},
                std::vector<NodeId> outgoing = {}, std::vector<NodeId> next = {},
                bool auto_leave = false) {
  return {std::move(voters), std::move(learners), std::move(outgoing), std::move(next), auto_leave};
}

TEST_CASE("A change leads from one membership to the next", "[raft][conf_change]") {
  struct Row {
    std::string name;
    ConfState from;
    ConfChange change;
    ConfState want;
  };
  const auto automatic = ConfChangeTransition::kAuto;
  const auto implicit = ConfChangeTransition::kJointImplicit;
  const auto by_hand = ConfChangeTransition::kJointExplicit;
  const Row row = GENERATE_COPY(values<Row>({
      {"add a voter", State({1}), {automatic, {Add(2)}, ""}, State({1, 2})},
      {"add a learner", State({1}), {automatic, {Learner(2)}, ""}, State({1}, {2})},
      {"promote", State({1}, {2}), {automatic, {Add(2)}, ""}, State({1, 2})},
      {"demote", State({1, 2}), {automatic, {Learner(2)}, ""}, State({1}, {2})},
      {"remove", State({1, 2}), {automatic, {Remove(2)}, ""}, State({1})},
      {"remove a stranger", State({1}), {automatic, {Remove(9)}, ""}, State({1})},
      {"cancelled", State({1}), {automatic, {Add(0)}, ""}, State({1})},
      {"two changes go joint and leave by themselves",
       State({1, 2, 3}),
       {automatic, {Remove(1), Add(4)}, ""},
       State({2, 3, 4}, {}, {1, 2, 3}, {}, true)},
      {"one change may go joint",
       State({1}),
       {implicit, {Add(2)}, ""},
       State({1, 2}, {}, {1}, {}, true)},
      {"and stay joint", State({1}), {by_hand, {Add(2)}, ""}, State({1, 2}, {}, {1})},
      {"a voter that becomes learner waits while joint",
       State({1, 2}),
       {by_hand, {Learner(2)}, ""},
       State({1}, {}, {1, 2}, {2})},
      {"leave", State({1}, {3}, {1, 2}, {2}, true), {}, State({1}, {2, 3})},
      {"leave drops the outgoing", State({2}, {}, {1}), {}, State({2})},
  }));
  DYNAMIC_SECTION(row.name) {
    KEELSON_ASSIGN_OR_FAIL(const ConfState got, ApplyToConfState(row.from, row.change));
    CHECK(got == row.want);
  }
}

TEST_CASE("A change that makes no sense is refused", "[raft][conf_change]") {
  struct Row {
    std::string name;
    ConfState from;
    ConfChange change;
    std::string text;
  };
  const auto automatic = ConfChangeTransition::kAuto;
  const Row row = GENERATE_COPY(values<Row>({
      {"joint twice", State({1}, {}, {2}), {automatic, {Add(3), Add(4)}, ""}, "already joint"},
      {"simple while joint", State({1}, {}, {2}), {automatic, {Add(3)}, ""}, "in joint config"},
      {"leave what is not joint", State({1}), {}, "non-joint"},
      {"no voter left", State({1}), {automatic, {Remove(1)}, ""}, "removed all voters"},
      {"no voter left, jointly",
       State({1, 2}),
       {automatic, {Remove(1), Remove(2)}, ""},
       "removed all voters"},
      {"unknown type",
       State({1}),
       {automatic, {{static_cast<ConfChangeType>(9), 2}}, ""},
       "unexpected conf type"},
      {"from a state with a voter that learns",
       State({1}, {1}),
       {automatic, {Add(2)}, ""},
       "Learners and Voters"},
      {"from a state with learners_next alone",
       State({1}, {}, {}, {2}),
       {automatic, {Add(2)}, ""},
       "no progress for 2"},
      {"from a state that leaves nothing",
       State({1}, {}, {}, {}, true),
       {automatic, {Add(2)}, ""},
       "AutoLeave must be false"},
  }));
  DYNAMIC_SECTION(row.name) {
    KEELSON_CHECK_ERROR(ApplyToConfState(row.from, row.change), absl::StatusCode::kInvalidArgument,
                        row.text);
  }
}

// A joint change and the same changes one by one end in the same membership, and every
// membership on the way keeps the invariants and can be restored from its ConfState.
TEST_CASE("Random changes keep every invariant, jointly or one by one", "[raft][conf_change]") {
  Random random(42);
  for (int round = 0; round < 5000; ++round) {
    Tracker joint(10, 0);
    KEELSON_ASSIGN_OR_FAIL(Membership start, Changer(joint, 1).Restore(State({1, 2, 3}, {4})));
    joint.Switch(start.config, start.progress);
    Tracker single = joint;
    Singles changes;
    for (uint64_t i = 1 + random.Below(5); i > 0; --i) {
      const NodeId id = 2 + random.Below(6);  // 1 stays a voter.
      const uint64_t type = random.Below(3);
      changes.push_back(type == 0 ? Add(id) : type == 1 ? Learner(id) : Remove(id));
    }
    KEELSON_ASSIGN_OR_FAIL(Membership entered, Changer(joint, 1).EnterJoint(true, changes));
    KEELSON_REQUIRE_OK(CheckInvariants(entered));
    KEELSON_ASSIGN_OR_FAIL(const Membership again, Changer(joint, 1).Restore(entered.config));
    REQUIRE(again.config == entered.config);
    joint.Switch(std::move(entered.config), std::move(entered.progress));
    KEELSON_ASSIGN_OR_FAIL(const Membership left, Changer(joint, 1).LeaveJoint());
    for (const ConfChangeSingle& change : changes) {
      KEELSON_ASSIGN_OR_FAIL(Membership next, Changer(single, 1).Simple({&change, 1}));
      single.Switch(std::move(next.config), std::move(next.progress));
    }
    INFO("round " << round);
    REQUIRE(left.config == single.config());
    REQUIRE(left.progress.size() == single.progress().size());
  }
}

TEST_CASE("A new member is probed at the end of the log and counts as active",
          "[raft][conf_change]") {
  Tracker tracker(10, 0);
  KEELSON_ASSIGN_OR_FAIL(const Membership start, Changer(tracker, 0).Restore(State({1})));
  tracker.Switch(start.config, start.progress);
  const ConfChangeSingle add = Add(2);
  KEELSON_ASSIGN_OR_FAIL(const Membership next, Changer(tracker, 17).Simple({&add, 1}));
  CHECK(next.progress.at(2).next() == 17);
  CHECK(next.progress.at(2).match() == 0);
  CHECK(next.progress.at(2).recent_active());
}

Entry Encoded(EntryType type, const std::string& bytes) {
  Entry entry;
  entry.type = type;
  entry.data = Payload(bytes);
  return entry;
}

TEST_CASE("A conf change is written as raftpb writes it", "[raft][conf_change]") {
  ConfChange change;
  change.transition = ConfChangeTransition::kJointExplicit;
  change.changes = {Add(1), Remove(300)};
  change.context = "ctx";
  const std::string bytes(
      "\x08\x02"
      "\x12\x04\x08\x00\x10\x01"
      "\x12\x05\x08\x01\x10\xac\x02"
      "\x1a\x03"
      "ctx",
      20);
  CHECK(EncodeConfChange(change) == bytes);
  KEELSON_ASSIGN_OR_FAIL(const ConfChange back,
                         DecodeConfChange(Encoded(EntryType::kConfChangeV2, bytes)));
  CHECK(back == change);
  CHECK(EncodeConfChange(ConfChange()).empty());
  KEELSON_ASSIGN_OR_FAIL(const ConfChange leave,
                         DecodeConfChange(Encoded(EntryType::kConfChangeV2, "")));
  CHECK(LeavesJoint(leave));
}

TEST_CASE("A conf change of the first format is understood", "[raft][conf_change]") {
  const std::string bytes("\x08\x07\x10\x03\x18\x05\x22\x01x", 9);
  KEELSON_ASSIGN_OR_FAIL(const ConfChange change,
                         DecodeConfChange(Encoded(EntryType::kConfChange, bytes)));
  CHECK(change.changes == Singles{Learner(5)});
  CHECK(change.transition == ConfChangeTransition::kAuto);
  CHECK(change.context == "x");
}

TEST_CASE("Malformed conf changes are data loss, unknown fields are skipped",
          "[raft][conf_change]") {
  struct Row {
    std::string name;
    std::string bytes;
    bool ok;
  };
  const Row row = GENERATE(values<Row>({
      {"a tag without a value", std::string("\x08", 1), false},
      {"a varint without an end", std::string("\x08\xff\xff", 3), false},
      {"a varint of more than 64 bits",
       std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11), false},
      {"a length past the end", std::string("\x12\x7f\x08", 3), false},
      {"a huge length", std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), false},
      {"field number 0", std::string("\x00\x01", 2), false},
      {"a group", std::string("\x0b", 1), false},
      {"an unknown transition", std::string("\x08\x03", 2), false},
      {"an unknown change type", std::string("\x12\x02\x08\x04", 4), false},
      {"a broken change", std::string("\x12\x01\x08", 3), false},
      {"an unknown varint", std::string("\x78\x01", 2), true},
      {"unknown bytes", std::string("\x7a\x01z", 3), true},
      {"an unknown fixed64", std::string("\x79\x01\x02\x03\x04\x05\x06\x07\x08", 9), true},
      {"a short fixed32", std::string("\x7d\x01", 2), false},
  }));
  DYNAMIC_SECTION(row.name) {
    const auto change = DecodeConfChange(Encoded(EntryType::kConfChangeV2, row.bytes));
    CHECK(change.ok() == row.ok);
    if (!row.ok) CHECK(absl::IsDataLoss(change.status()));
  }
  KEELSON_CHECK_ERROR(DecodeConfChange(Encoded(EntryType::kNormal, "")),
                      absl::StatusCode::kDataLoss, "no conf change");
}

}  // namespace
}  // namespace keelson::raft::internal
