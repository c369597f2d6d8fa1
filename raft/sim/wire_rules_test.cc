#include "raft/sim/wire_rules.h"

#include <catch2/catch.hpp>

#include <string>

#include "absl/time/time.h"
#include "raft/internal/trace.h"

namespace keelson::raft::sim {
namespace {

constexpr absl::Duration kStickiness = absl::Milliseconds(80);

// Node 2 follows node 1 in term 3.
struct Follower {
  Invariants invariants;
  WireRules rules{invariants, {.stickiness = kStickiness}};

  Follower() {
    rules.OnStarted(2);
    On(trace::Started{.hard_state = {.term = 3, .vote = 0, .commit = 4}, .applied = 4});
    On(event::RoleChanged{.term = 3, .leader = 1});
    On(event::LeaderChanged{.from = kNoNode, .to = 1, .term = 3});
  }
  void On(const Event& event) { rules.OnEvent(2, event, absl::ZeroDuration()); }
  void On(const TraceEvent& step, absl::Duration now = absl::ZeroDuration()) {
    rules.OnEvent(2, step, now);
  }
  static Message FromLeader(MessageType type, Term term = 3) {
    Message message;
    message.type = type;
    message.from = 1;
    message.to = 2;
    message.term = term;
    return message;
  }
  // An App of `count` entries behind `index`.
  bool App(Index index, size_t count, Index commit, Term term = 3) {
    Message message = FromLeader(MessageType::kApp, term);
    message.index = index;
    message.entries.resize(count);
    message.commit = commit;
    return rules.OnArrive(message);
  }
  void Answer(MessageType type, Index index, Term term = 3, absl::Duration now = {}) {
    Message message;
    message.type = type;
    message.from = 2;
    message.to = 1;
    message.term = term;
    message.index = index;
    rules.OnSend(message, now);
  }
  void Commit(Index commit, Role role = Role::kFollower) {
    Node::Snapshot peek;
    peek.id = 2;
    peek.term = 3;
    peek.commit = commit;
    peek.soft_state.role = role;
    rules.OnPeek(2, peek);
  }
  [[nodiscard]] std::string Found() const {
    return invariants.violation().has_value() ? invariants.violation()->invariant : "";
  }
};

TEST_CASE("I5: a follower commits what it was told and what the App carries, no more",
          "[raft][sim][wire]") {
  Follower f;
  f.Commit(4);
  f.App(4, 3, 6);
  f.Commit(6);
  f.App(4, 2, 9);  // names 9, compares up to 6
  f.Commit(6);
  CHECK(f.Found().empty());
  SECTION("an App") { f.Commit(7); }
  SECTION("after it led") {
    f.Commit(20, Role::kLeader);
    f.Commit(21);
    CHECK(f.Found().empty());
    f.Commit(22);
  }
  CHECK(f.Found() == "I5");
}

TEST_CASE("I5: heartbeats, snapshots and votes tell of commits, too", "[raft][sim][wire]") {
  Follower f;
  Message heartbeat = Follower::FromLeader(MessageType::kHeartbeat);
  heartbeat.commit = 5;
  f.rules.OnArrive(heartbeat);
  f.Commit(5);
  Message snap = Follower::FromLeader(MessageType::kSnap);
  snap.snapshot.emplace().metadata.index = 8;
  f.rules.OnArrive(snap);
  f.Commit(8);
  f.On(trace::CommittedByVote{.from = 3, .before = 8, .commit = 9});
  f.Commit(9);
  CHECK(f.Found().empty());
  f.Commit(10);
  CHECK(f.Found() == "I5");
}

TEST_CASE("I15: an acknowledgement reaches no further than what was sent", "[raft][sim][wire]") {
  Follower f;
  f.App(4, 3, 4);
  f.Answer(MessageType::kAppResp, 7);
  CHECK(f.Found().empty());
  SECTION("in the same term") {
    f.Answer(MessageType::kAppResp, 8);
    CHECK(f.Found() == "I15");
  }
  SECTION("a newer leader has sent less") {
    f.App(4, 1, 4, /*term=*/5);
    f.Answer(MessageType::kAppResp, 7, /*term=*/3);  // of before, had to wait for the disk
    CHECK(f.Found().empty());
    f.Answer(MessageType::kAppResp, 7, /*term=*/5);
    CHECK(f.Found() == "I15");
  }
}

TEST_CASE("I2: nothing is replaced twice in a term", "[raft][sim][wire]") {
  Follower f;
  f.On(trace::LogConflict{.index = 9, .existing = 2, .incoming = 3});
  f.On(trace::LogConflict{.index = 8, .existing = 2, .incoming = 3});
  f.On(event::RoleChanged{.term = 4, .leader = 1});
  f.On(trace::LogConflict{.index = 8, .existing = 3, .incoming = 4});
  CHECK(f.Found().empty());
  f.On(trace::LogConflict{.index = 10, .existing = 3, .incoming = 4});
  CHECK(f.Found() == "I2");
}

TEST_CASE("I2: what was taken in a term is not refused in it", "[raft][sim][wire]") {
  Follower f;
  const trace::AppendRefused missing{.leader = 1, .index = 6, .log_term = 3, .own_log_term = 0};
  const trace::AppendRefused other{.leader = 1, .index = 6, .log_term = 3, .own_log_term = 2};
  f.On(missing);
  f.On(other);
  CHECK(f.Found().empty());
  SECTION("replaced") {
    f.On(trace::LogConflict{.index = 5, .existing = 2, .incoming = 3});
    f.On(missing);  // not there yet
    CHECK(f.Found().empty());
    f.On(other);
  }
  SECTION("acknowledged") {
    f.App(4, 2, 4);
    f.Answer(MessageType::kAppResp, 6);
    f.On(missing);
  }
  CHECK(f.Found() == "I2");
}

TEST_CASE("I6: who has just heard its leader follows no candidate", "[raft][sim][wire]") {
  Follower f;
  f.Answer(MessageType::kHeartbeatResp, 0, 3, absl::Milliseconds(100));
  trace::HigherTermSeen seen{.type = MessageType::kVote, .from = 3, .term = 3, .message_term = 4};
  const absl::Duration early = absl::Milliseconds(100) + kStickiness / 2;
  SECTION("early") {
    f.On(seen, early);
    CHECK(f.Found() == "I6");
  }
  SECTION("late enough") { f.On(seen, absl::Milliseconds(100) + kStickiness); }
  SECTION("its leader is lost") {
    f.On(event::LeaderChanged{.from = 1, .to = kNoNode, .term = 3});
    f.On(seen, early);
  }
  SECTION("a leader") {
    seen.type = MessageType::kApp;
    f.On(seen, early);
  }
  SECTION("the leader asked for it") {
    Message vote;
    vote.type = MessageType::kVote;
    vote.from = 3;
    vote.to = 2;
    vote.term = 4;
    vote.context = "CampaignTransfer";
    f.rules.OnSend(vote, early);
    f.On(seen, early);
  }
  SECTION("a pre-vote moves no term at any time") {
    seen.type = MessageType::kPreVote;
    f.On(seen, absl::Seconds(9));
    CHECK(f.Found() == "I6");
  }
  if (f.Found() != "I6") CHECK(f.Found().empty());
}

TEST_CASE("I9: a leader does not go back behind what a peer holds", "[raft][sim][wire]") {
  Follower f;
  PeerStatus peer;
  peer.id = 3;
  peer.match = 7;
  peer.next = 8;
  f.On(trace::ProgressDecreased{peer});
  CHECK(f.Found().empty());
  peer.next = 7;
  f.On(trace::ProgressDecreased{peer});
  CHECK(f.Found() == "I9");
}

TEST_CASE("An acknowledgement that was overtaken is told apart", "[raft][sim][wire]") {
  Follower f;
  Message ack;
  ack.type = MessageType::kAppResp;
  ack.from = 2;
  ack.to = 1;
  ack.term = 3;
  ack.index = 9;
  CHECK_FALSE(f.rules.OnArrive(ack));
  CHECK_FALSE(f.rules.OnArrive(ack));
  ack.index = 8;
  CHECK(f.rules.OnArrive(ack));
  ack.term = 4;
  CHECK_FALSE(f.rules.OnArrive(ack));
}

}  // namespace
}  // namespace keelson::raft::sim
