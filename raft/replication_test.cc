// The log's way to a quorum: Raft paper 5.3 and 5.4, figures 7 and 8; raft.md sections 5-7, 11.
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/testing/core_network.h"
#include "raft/testing/solo_core.h"

namespace keelson::raft {
namespace {

Options Plain() {
  Options options;
  options.pre_vote = false;
  options.check_quorum = false;
  return options;
}

std::vector<Term> Terms(MemoryLog& log) {
  std::vector<Term> terms;
  for (Index i = log.FirstIndex(); i <= log.LastIndex(); ++i) terms.push_back(*log.TermAt(i));
  return terms;
}

absl::Status Propose(Core& core, const std::string& data) {
  const Payload payload(data);
  return core.Propose(std::span<const Payload>(&payload, 1));
}

// What goes to `to`, of type App.
std::vector<Message> Apps(const std::vector<Message>& messages, NodeId to) {
  std::vector<Message> result;
  for (const Message& message : messages) {
    if (message.type == MessageType::kApp && message.to == to) result.push_back(message);
  }
  return result;
}

Message App(Term term, Term log_term, Index index, const std::vector<Term>& terms, Index commit) {
  Message message;
  message.type = MessageType::kApp;
  message.from = 2;
  message.to = 1;
  message.term = term;
  message.log_term = log_term;
  message.index = index;
  message.commit = commit;
  for (const Term entry_term : terms) {
    Entry entry;
    entry.term = entry_term;
    entry.index = ++index;
    message.entries.push_back(std::move(entry));
  }
  return message;
}

// --- Durability (section 11) ---

TEST_CASE("A leader sends entries before they are durable, but does not count itself",
          "[raft][durability]") {
  SoloCore solo(3, Plain());
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 1));
  solo.Step(solo.From(3, MessageType::kAppResp, 1));
  KEELSON_REQUIRE_OK(Propose(solo.core(), "x"));
  CHECK(Apps(solo.Take(), 3).size() == 1);
  KEELSON_REQUIRE_OK(solo.core().Step(solo.From(3, MessageType::kAppResp, 2)));
  CHECK(solo.core().hard_state().commit == 1);  // One of three.
  solo.Run();
  CHECK(solo.core().hard_state().commit == 2);
}

TEST_CASE("A follower acknowledges only with the work that makes it durable",
          "[raft][durability]") {
  SoloCore solo(3, Plain());
  KEELSON_REQUIRE_OK(solo.core().Step(App(1, 0, 0, {1}, 0)));
  CHECK(solo.Take().empty());
  const std::vector<Message> released = solo.AppendOne();
  REQUIRE(released.size() == 1);
  CHECK(released[0].type == MessageType::kAppResp);
  CHECK(released[0].index == 1);
  // A repeated App is acknowledged behind whatever is still being written.
  KEELSON_REQUIRE_OK(solo.core().Step(App(1, 1, 1, {1}, 0)));
  solo.Take();
  KEELSON_REQUIRE_OK(solo.core().Step(App(1, 1, 1, {1}, 0)));
  CHECK(solo.Take().empty());
  REQUIRE(solo.appends().size() == 2);
  CHECK(solo.appends()[1].entries.empty());
  CHECK(solo.appends()[1].responses.Peek()[0].index == 2);
}

TEST_CASE("A commit that moves alone needs no sync", "[raft][durability]") {
  SoloCore solo(3, Plain());
  solo.Step(App(1, 0, 0, {1}, 0));
  KEELSON_REQUIRE_OK(solo.core().Step(App(1, 1, 1, {}, 1)));
  solo.Take();
  REQUIRE(solo.appends().size() == 1);
  CHECK_FALSE(solo.appends()[0].must_sync);
  CHECK(solo.appends()[0].hard_state == HardState{1, 0, 1});
}

TEST_CASE("Entries are applied only once they are durable here, too", "[raft][durability]") {
  SoloCore solo(3, Plain());
  KEELSON_REQUIRE_OK(solo.core().Step(App(1, 0, 0, {1}, 1)));
  CHECK(solo.core().hard_state().commit == 1);
  const Ready ready = solo.core().TakeReady();
  CHECK(ready.append.has_value());
  CHECK_FALSE(ready.apply.has_value());
}

// The ABA race of section 11: an acknowledgement of an earlier term must not trim the tail.
TEST_CASE("A late acknowledgement does not uncover what was overwritten in between",
          "[raft][durability]") {
  SoloCore solo(3, Plain());
  KEELSON_REQUIRE_OK(solo.core().Step(App(1, 0, 0, {1}, 0)));  // A: 1:t1
  solo.Take();
  Message other = App(2, 0, 0, {2}, 0);  // C overwrites: 1:t2
  other.from = 3;
  KEELSON_REQUIRE_OK(solo.core().Step(other));
  solo.Take();
  KEELSON_REQUIRE_OK(solo.core().Step(App(3, 0, 0, {1}, 0)));  // A again: 1:t1
  solo.Take();
  REQUIRE(solo.appends().size() == 3);
  solo.AppendOne();
  solo.AppendOne();
  // The storage holds C's entry now. The first acknowledgement named (1, t1), which is what the
  // log should hold; had it trimmed the tail, the log would read C's entry.
  CHECK(Terms(solo.log()) == std::vector<Term>{2});
  KEELSON_REQUIRE_OK(solo.core().Step(App(3, 1, 1, {}, 0)));
  const std::vector<Message> sent = solo.Run();
  REQUIRE_FALSE(sent.empty());
  CHECK_FALSE(sent.back().reject);
  CHECK(Terms(solo.log()) == std::vector<Term>{1});
  CHECK(solo.events().Count<trace::LowerTermIgnored>() == 2);
}

// --- Followers (paper 5.3) ---

TEST_CASE("A follower takes an App only where the logs meet", "[raft][append]") {
  struct Row {
    std::vector<Term> own;
    Term log_term;
    Index index;
    std::vector<Term> terms;
    bool accepted;
    std::vector<Term> want;
  };
  // Paper, figure 7: the followers a to f of a leader whose log is 1 1 1 4 4 5 5 6 6 6.
  const Row row = GENERATE(values<Row>({
      {{1, 1, 1, 4, 4, 5, 5, 6, 6}, 6, 9, {6}, true, {1, 1, 1, 4, 4, 5, 5, 6, 6, 6}},
      {{1, 1, 1, 4}, 6, 9, {6}, false, {1, 1, 1, 4}},
      {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}, 6, 9, {6}, true, {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}},
      {{1, 1, 1, 4, 4, 4, 4}, 4, 5, {5}, true, {1, 1, 1, 4, 4, 5}},
      {{1, 1, 1, 2, 2, 2, 3}, 1, 3, {4, 4}, true, {1, 1, 1, 4, 4}},
      {{}, 0, 0, {1, 1}, true, {1, 1}},
  }));
  SoloCore solo(3, Plain(), LogOf(row.own));
  const std::vector<Message> sent = solo.Step(App(8, row.log_term, row.index, row.terms, 0));
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].reject != row.accepted);
  CHECK(Terms(solo.log()) == row.want);
}

TEST_CASE("A reordered App cuts nothing that was acknowledged after it", "[raft][append]") {
  SoloCore solo(3, Plain());
  solo.Step(App(1, 0, 0, {1, 1, 1}, 0));
  const std::vector<Message> sent = solo.Step(App(1, 0, 0, {1}, 0));
  CHECK(sent[0].index == 1);
  CHECK(Terms(solo.log()) == std::vector<Term>{1, 1, 1});
}

// Paper figure 2, AppendEntries 5: the last new entry, not the last entry.
TEST_CASE("The commit index follows the leader's to the last entry of the App and no further",
          "[raft][commit]") {
  struct Row {
    Index index;
    std::vector<Term> terms;
    Index commit;
    Index want;
  };
  const Row row = GENERATE(
      values<Row>({{2, {}, 1, 1}, {2, {}, 2, 2}, {2, {}, 5, 2}, {2, {1}, 5, 3}, {4, {}, 3, 3}}));
  SoloCore solo(3, Plain(), LogOf({1, 1, 1, 1}));
  solo.Step(App(2, 1, row.index, row.terms, row.commit));
  CHECK(solo.core().hard_state().commit == row.want);
}

TEST_CASE("An App before the commit index is answered with the commit index", "[raft][append]") {
  SoloCore solo(3, Plain(), LogOf({1, 1, 1}), {.term = 1, .commit = 3});
  const std::vector<Message> sent = solo.Step(App(1, 1, 1, {1}, 0));
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].index == 3);
  CHECK_FALSE(sent[0].reject);
}

// Section 14, bug 13: a member that lost its disk must not crash on every heartbeat.
// What the log holds up to there need not be what the leader means, either.
TEST_CASE("A heartbeat that commits beyond the log is reported and commits nothing",
          "[raft][commit]") {
  SoloCore solo(3, Plain(), LogOf({1, 1}));
  Message heartbeat = App(2, 0, 0, {}, 7);
  heartbeat.type = MessageType::kHeartbeat;
  CHECK(solo.Step(heartbeat).size() == 1);
  CHECK(solo.core().hard_state().commit == 0);
  CHECK(solo.core().hard_state().recovering);
  REQUIRE(solo.events().Count<event::CommitBeyondLog>() == 1);
  CHECK(solo.events().Last<event::CommitBeyondLog>()->commit == 7);
}

TEST_CASE("Malformed messages are refused before they touch anything", "[raft][step]") {
  SoloCore solo(3, Plain(), LogOf({1}));
  Message message = App(2, 1, 1, {2, 2}, 0);
  SECTION("a gap in the entries") { message.entries[1].index = 9; }
  SECTION("entries that do not start behind prev") { message.index = 5; }
  SECTION("an entry from the future") { message.entries[1].term = 3; }
  SECTION("no term") { message.term = 0; }
  SECTION("a local type") { message.type = MessageType::kHup; }
  SECTION("a storage answer from a peer") { message.type = MessageType::kStorageAppendResp; }
  SECTION("an unknown type") { message.type = static_cast<MessageType>(77); }
  SECTION("a snapshot without one") { message.type = MessageType::kSnap; }
  SECTION("a proposal of nothing") {
    message.type = MessageType::kProp;
    message.entries.clear();
  }
  SECTION("a read of two entries") { message.type = MessageType::kReadIndex; }
  KEELSON_CHECK_ERROR(solo.core().Step(message), absl::StatusCode::kInvalidArgument, "");
  CHECK_FALSE(solo.core().HasReady());
}

TEST_CASE("Answers of strangers are refused, requests are not", "[raft][step]") {
  SoloCore solo(3, Plain());
  Message message = solo.From(9, MessageType::kAppResp, 1);
  message.term = 1;
  KEELSON_CHECK_ERROR(solo.core().Step(message), absl::StatusCode::kNotFound, "peer 9");
  message.type = MessageType::kVote;
  KEELSON_CHECK_ERROR(solo.core().Step(message), absl::StatusCode::kOk, "");
}

// --- Leaders ---

TEST_CASE("A leader commits what a majority holds", "[raft][commit]") {
  SoloCore solo(5, Plain());
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 1));
  CHECK(solo.core().hard_state().commit == 0);
  solo.Step(solo.From(3, MessageType::kAppResp, 1));
  CHECK(solo.core().hard_state().commit == 1);
}

// Paper figure 8: an entry of an older term on a majority can still be overwritten.
TEST_CASE("Old entries are committed only together with one of the leader's term",
          "[raft][commit]") {
  SoloCore solo(3, Plain(), LogOf({1, 2}), {.term = 2});
  solo.Lead();
  solo.Run();
  REQUIRE(solo.core().hard_state().term == 3);
  solo.Step(solo.From(2, MessageType::kAppResp, 2));
  CHECK(solo.core().hard_state().commit == 0);
  solo.Step(solo.From(2, MessageType::kAppResp, 3));
  CHECK(solo.core().hard_state().commit == 3);
}

TEST_CASE("A leader never commits on an answer about entries that it does not have",
          "[raft][commit]") {
  SoloCore solo(3, Plain());
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 100));
  CHECK(solo.core().hard_state().commit == 0);
  CHECK(solo.core().GetStatus().peers[1].match == 0);
}

TEST_CASE("A heartbeat commits no further than what the peer is known to hold", "[raft][commit]") {
  SoloCore solo(3, Plain());
  solo.Lead();
  solo.Run();
  KEELSON_REQUIRE_OK(Propose(solo.core(), "x"));
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 2));
  REQUIRE(solo.core().hard_state().commit == 2);
  solo.core().Tick();
  for (const Message& message : solo.Run()) {
    if (message.type != MessageType::kHeartbeat) continue;
    CHECK(message.commit == (message.to == 2 ? 2 : 0));
  }
}

// Section 6: leader 1 3 3 3 5 5 5 5 5, follower 1 1 1 1 2 2.
TEST_CASE("Both sides skip whole terms when they look for where the logs part",
          "[raft][backtrack]") {
  SECTION("the leader") {
    SoloCore solo(3, Plain(), LogOf({1, 3, 3, 3, 5, 5, 5, 5, 5}), {.term = 5});
    solo.Lead();
    solo.Run();
    Message reject = solo.From(2, MessageType::kAppResp, 9);
    reject.reject = true;
    reject.reject_hint = 6;
    reject.log_term = 2;
    const std::vector<Message> apps = Apps(solo.Step(reject), 2);
    REQUIRE(apps.size() == 1);
    CHECK(apps[0].index == 1);
    CHECK(apps[0].log_term == 1);
  }
  SECTION("the follower") {
    SoloCore solo(3, Plain(), LogOf({1, 1, 1, 1, 2, 2}), {.term = 2});
    const std::vector<Message> sent = solo.Step(App(6, 5, 9, {6}, 0));
    REQUIRE(sent.size() == 1);
    CHECK(sent[0].reject);
    CHECK(sent[0].index == 9);
    CHECK(sent[0].reject_hint == 6);
    CHECK(sent[0].log_term == 2);
  }
}

TEST_CASE("Any two logs meet after at most one probe for each of their terms",
          "[raft][backtrack]") {
  Random random(99);
  for (int round = 0; round < 200; ++round) {
    const auto tail = [&](std::vector<Term> terms) {
      for (uint64_t i = random.Below(20); i > 0; --i) {
        terms.push_back(terms.back() + (random.Bernoulli(0.3) ? 1 + random.Below(3) : 0));
      }
      return terms;
    };
    const std::vector<Term> common = tail({1});
    const std::vector<Term> leader = tail(common);
    const std::vector<Term> follower = tail(common);
    const Term top = std::max(leader.back(), follower.back());
    SoloCore lead(3, Plain(), LogOf(leader), {.term = top});
    lead.Lead();
    SoloCore follow(3, Plain(), LogOf(follower), {.term = top});
    std::vector<Message> apps = Apps(lead.Run(), 2);
    size_t probes = 0;
    for (bool met = false; !met && probes < 100; ++probes) {
      REQUIRE(apps.size() == 1);
      Message app = apps[0];
      app.from = 2;
      app.to = 1;
      Message answer = follow.Step(app).at(0);
      met = !answer.reject;
      answer.from = 2;
      apps = Apps(lead.Step(answer), 2);
    }
    size_t terms = 2;
    for (const auto* log : {&leader, &follower}) {
      for (size_t i = common.size(); i < log->size(); ++i) {
        terms += (*log)[i] != (*log)[i - 1] ? 1 : 0;
      }
    }
    INFO("round " << round);
    REQUIRE(probes <= terms);
    REQUIRE(follow.log().LastIndex() == lead.log().LastIndex());
  }
}

TEST_CASE("The window limits how many Apps are unanswered", "[raft][flow]") {
  Options options = Plain();
  options.max_inflight_messages = 3;
  SoloCore solo(2, options);
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 1));
  size_t sent = 0;
  for (int i = 0; i < 10; ++i) {
    KEELSON_REQUIRE_OK(Propose(solo.core(), "x"));
    sent += Apps(solo.Run(), 2).size();
  }
  CHECK(sent == 3);
  // A heartbeat response lets one empty App through, which notices if the window was lost.
  const std::vector<Message> probe = Apps(solo.Step(solo.From(2, MessageType::kHeartbeatResp)), 2);
  REQUIRE(probe.size() == 1);
  CHECK(probe[0].entries.empty());
  // An answer opens it again, and the rest goes in one message.
  const std::vector<Message> more = Apps(solo.Step(solo.From(2, MessageType::kAppResp, 2)), 2);
  REQUIRE_FALSE(more.empty());
  CHECK(more[0].entries.size() == 7);
}

TEST_CASE("Messages are cut at their limit, but hold at least one entry", "[raft][flow]") {
  Options options = Plain();
  options.max_message_bytes = 1;
  SoloCore solo(2, options, LogOf({1, 1, 1, 1}), {.term = 1});
  solo.Lead();
  solo.Run();
  const std::vector<Message> apps = Apps(solo.Step(solo.From(2, MessageType::kAppResp, 1)), 2);
  REQUIRE(apps.size() == 4);  // 2, 3, 4 and the leader's own 5.
  for (const Message& app : apps) CHECK(app.entries.size() == 1);
}

TEST_CASE("Proposals over the quota are refused until enough is applied", "[raft][quota]") {
  Options options = Plain();
  options.max_uncommitted_bytes = 100;
  SoloCore solo(3, options);
  solo.Lead();
  solo.Run();
  const std::string big(200, 'x');
  KEELSON_REQUIRE_OK(Propose(solo.core(), big));  // One passes in any case.
  KEELSON_CHECK_ERROR(Propose(solo.core(), "y"), absl::StatusCode::kResourceExhausted, "bytes");
  KEELSON_REQUIRE_OK(Propose(solo.core(), ""));  // Empty ones always pass.
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 3));
  REQUIRE(solo.core().hard_state().commit == 3);
  KEELSON_REQUIRE_OK(Propose(solo.core(), "y"));
}

TEST_CASE("A refused batch leaves nothing in the log", "[raft][quota]") {
  Options options = Plain();
  options.max_uncommitted_bytes = 10;
  SoloCore solo(3, options);
  solo.Lead();
  solo.Run();
  KEELSON_REQUIRE_OK(Propose(solo.core(), "12345678"));
  const Index last = solo.core().GetStatus().last_index;
  const std::vector<Payload> batch = {Payload("1"), Payload("2"), Payload("3")};
  KEELSON_CHECK_ERROR(solo.core().Propose(batch), absl::StatusCode::kResourceExhausted, "");
  CHECK(solo.core().GetStatus().last_index == last);
}

TEST_CASE("Proposals are refused where nobody can take them", "[raft][propose]") {
  SECTION("no leader") {
    SoloCore solo(3);
    KEELSON_CHECK_ERROR(Propose(solo.core(), "x"), absl::StatusCode::kUnavailable, "no leader");
  }
  SECTION("a candidate") {
    SoloCore solo(3);
    solo.core().Campaign();
    KEELSON_CHECK_ERROR(Propose(solo.core(), "x"), absl::StatusCode::kUnavailable, "no leader");
  }
  SECTION("a follower that does not forward") {
    Options options;
    options.forward_proposals = false;
    SoloCore solo(3, options);
    solo.Step(App(1, 0, 0, {}, 0));
    KEELSON_CHECK_ERROR(Propose(solo.core(), "x"), absl::StatusCode::kUnavailable, "forward");
  }
  SECTION("nothing to propose") {
    SoloCore solo(3);
    KEELSON_CHECK_ERROR(solo.core().Propose({}), absl::StatusCode::kInvalidArgument, "nothing");
  }
}

TEST_CASE("A peer that cannot be reached is probed again from what it acknowledged",
          "[raft][flow]") {
  SoloCore solo(3, Plain());
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 1));
  for (int i = 0; i < 3; ++i) KEELSON_REQUIRE_OK(Propose(solo.core(), "x"));
  solo.Run();
  CHECK(solo.core().GetStatus().peers[1].next == 5);
  solo.core().ReportUnreachable(2);
  CHECK(solo.core().GetStatus().peers[1].state == ProgressState::kProbe);
  CHECK(solo.core().GetStatus().peers[1].next == 2);
}

// --- Snapshots (section 7) ---

Message Snap(Index index, Term term, std::vector<NodeId> voters) {
  Message message;
  message.type = MessageType::kSnap;
  message.from = 2;
  message.to = 1;
  message.term = 5;
  message.snapshot.emplace();
  message.snapshot->metadata.index = index;
  message.snapshot->metadata.term = term;
  message.snapshot->metadata.conf_state.voters = std::move(voters);
  return message;
}

TEST_CASE("A snapshot replaces log and membership, and is acknowledged once durable",
          "[raft][snapshot]") {
  SoloCore solo(3, Plain(), LogOf({1, 1}));
  KEELSON_REQUIRE_OK(solo.core().Step(Snap(10, 4, {1, 2})));
  CHECK(solo.Take().empty());
  REQUIRE(solo.appends().size() == 1);
  CHECK(solo.appends()[0].must_sync);
  CHECK(solo.appends()[0].snapshot->metadata.index == 10);
  solo.core().Campaign();  // Not while the snapshot is pending.
  CHECK(solo.core().soft_state().role == Role::kFollower);
  const std::vector<Message> sent = solo.AppendOne();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].index == 10);
  const Status status = solo.core().GetStatus();
  CHECK(status.first_index == 11);
  CHECK(status.applied == 10);
  CHECK(status.conf_state.voters == std::vector<NodeId>{1, 2});
}

TEST_CASE("A snapshot that brings nothing new is answered with the commit index",
          "[raft][snapshot]") {
  SoloCore solo(3, Plain(), LogOf({1, 1, 1}), {.term = 1, .commit = 2});
  const std::vector<Message> sent = solo.Step(Snap(2, 1, {1, 2, 3}));
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].index == 2);
  CHECK(solo.events().Count<trace::SnapshotIgnored>() == 1);
  CHECK(solo.log().LastIndex() == 3);
}

TEST_CASE("A snapshot that the log matches only moves the commit index", "[raft][snapshot]") {
  SoloCore solo(3, Plain(), LogOf({1, 1, 1}));
  solo.Step(Snap(2, 1, {1, 2, 3}));
  CHECK(solo.core().hard_state().commit == 2);
  CHECK(solo.log().LastIndex() == 3);  // The entry behind it stays.
}

TEST_CASE("A snapshot of a membership without this node is not taken", "[raft][snapshot]") {
  SoloCore solo(3, Plain());
  solo.Step(Snap(10, 4, {2, 3}));
  CHECK(solo.events().Count<event::SnapshotForeign>() == 1);
  CHECK(solo.core().GetStatus().last_index == 0);
}

TEST_CASE("No second snapshot and no App goes to a peer until the first one is settled",
          "[raft][snapshot]") {
  SoloCore solo(3, Plain(), LogOf({1, 1, 1, 1}), {.term = 1, .commit = 4});
  solo.Run();
  Snapshot offer;
  offer.metadata = {4, 1, solo.core().GetStatus().conf_state};
  solo.log().Compact(4);
  solo.log().OfferSnapshot(offer);
  solo.Lead();
  solo.Run();
  Message reject = solo.From(2, MessageType::kAppResp, 4);
  reject.reject = true;
  reject.reject_hint = 0;
  const std::vector<Message> sent = solo.Step(reject);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].type == MessageType::kSnap);
  KEELSON_REQUIRE_OK(Propose(solo.core(), "x"));
  CHECK(Apps(solo.Run(), 2).empty());
  solo.Step(solo.From(2, MessageType::kHeartbeatResp));
  CHECK(solo.core().GetStatus().peers[1].state == ProgressState::kSnapshot);

  SECTION("it arrived") {
    const std::vector<Message> more = solo.Step(solo.From(2, MessageType::kAppResp, 4));
    CHECK(solo.core().GetStatus().peers[1].state == ProgressState::kReplicate);
    CHECK(Apps(more, 2).size() == 1);
  }
  SECTION("it did not") {
    solo.core().ReportSnapshot(2, false);
    CHECK(solo.core().GetStatus().peers[1].state == ProgressState::kProbe);
    const std::vector<Message> again = solo.Step(solo.From(2, MessageType::kHeartbeatResp));
    REQUIRE(again.size() == 1);
    CHECK(again[0].type == MessageType::kSnap);
  }
}

TEST_CASE("A snapshot that is not ready yet is asked for again", "[raft][snapshot]") {
  SoloCore solo(3, Plain(), LogOf({1, 1}), {.term = 1, .commit = 2});
  solo.Run();
  solo.log().Compact(2);
  solo.Lead();
  solo.Run();
  Message reject = solo.From(2, MessageType::kAppResp, 2);
  reject.reject = true;
  CHECK(solo.Step(reject).empty());
  CHECK(solo.events().Last<trace::SnapshotNotSent>()->why == trace::SnapshotWithheld::kNotReady);
  Snapshot offer;
  offer.metadata = {2, 1, solo.core().GetStatus().conf_state};
  solo.log().OfferSnapshot(offer);
  CHECK(solo.Step(solo.From(2, MessageType::kHeartbeatResp)).size() == 1);
}

TEST_CASE("After a restart nothing is applied twice and nothing is left out", "[raft][restart]") {
  std::vector<Entry> entries = LogOf({1, 1, 1, 1});
  SoloCore solo(3, Plain(), entries, {.term = 1, .commit = 3});
  solo.Run();
  CHECK(solo.applied().size() == 3);

  Options options = Plain();
  options.applied = 2;
  SoloCore second(3, options, entries, {.term = 1, .commit = 3});
  second.Run();
  REQUIRE(second.applied().size() == 1);
  CHECK(second.applied()[0].index == 3);

  // The commit hint may be older than what the state machine holds.
  options.applied = 4;
  SoloCore third(3, options, entries, {.term = 1, .commit = 3});
  third.Run();
  CHECK(third.applied().empty());
  CHECK(third.core().hard_state().commit == 4);
}

}  // namespace
}  // namespace keelson::raft
