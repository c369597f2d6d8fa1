// The checker is checked: each bad sequence of events must be found, by the right name, and
// the good one beside it must not.
#include "raft/sim/invariants.h"

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <vector>

#include "raft/sim/history.h"

namespace keelson::raft::sim {
namespace {

Entry MakeEntry(Index index, Term term, const std::string& data = "x") {
  return {.term = term, .index = index, .type = EntryType::kNormal, .data = Payload(data)};
}

event::RoleChanged Leads(Term term) { return {.role = Role::kLeader, .term = term}; }

// Three nodes whose disks are driven by hand.
class Checked {
 public:
  Checked() {
    for (NodeId id = 1; id <= 3; ++id) {
      checker.AddDisk(id, &disks[id]);
      SetMembership(id, {1, 2, 3}, {});
    }
  }

  void SetMembership(NodeId node, std::vector<NodeId> voters, std::vector<NodeId> outgoing) {
    event::ConfChanged changed;
    changed.conf_state.voters = std::move(voters);
    changed.conf_state.voters_outgoing = std::move(outgoing);
    checker.OnEvent(node, changed);
  }

  void Append(NodeId node, const std::vector<Entry>& entries) {
    disks[node].pending_tails.push_back(entries.front().index);
    REQUIRE(disks[node].written.Append(entries));
    checker.OnAppended(node, entries);
  }
  void SetState(NodeId node, Term term, NodeId vote) {
    disks[node].written_state = {.term = term, .vote = vote, .commit = 0};
    disks[node].pending_states.push_back(disks[node].written_state);
  }
  void Sync(NodeId node) {
    checker.OnSync(node);
    disks[node].MarkSynced();
  }
  void Peek(NodeId node, Term term, Index commit, Index applied, Index first = 1) {
    Node::Snapshot peek;
    peek.id = node;
    peek.term = term;
    peek.commit = commit;
    peek.applied = applied;
    peek.first_index = first;
    checker.OnPeek(node, peek);
  }
  // Entries 1 to `last` of term 1 are durable on nodes 1 and 2 and committed.
  void CommitUpTo(Index last) {
    for (const NodeId node : {NodeId{1}, NodeId{2}}) {
      for (Index index = 1; index <= last; ++index) Append(node, {MakeEntry(index, 1)});
      SetState(node, 1, 1);
      Sync(node);
    }
    Peek(1, 1, last, 0);
    REQUIRE(Found().empty());
  }
  [[nodiscard]] std::string Found() const {
    return checker.violation().has_value() ? checker.violation()->invariant : "";
  }
  static KvState State(Index index, uint64_t stream, uint64_t state) {
    KvState kv;
    kv.applied.index = index;
    kv.stream_hash = stream;
    kv.state_hash = state;
    kv.applied.conf_state.voters = {1, 2, 3};
    return kv;
  }

  std::map<NodeId, DiskLog> disks;
  Invariants checker;
};

TEST_CASE("I1: two leaders of one term", "[raft][sim][invariants]") {
  Checked c;
  c.checker.OnEvent(1, Leads(2));
  c.checker.OnEvent(2, Leads(3));
  CHECK(c.Found().empty());
  c.checker.OnEvent(3, Leads(2));
  CHECK(c.Found() == "I1");
}

TEST_CASE("I2: a second vote in a term, or a grant that is not durable",
          "[raft][sim][invariants]") {
  Checked c;
  Message grant;
  grant.type = MessageType::kVoteResp;
  grant.from = 1;
  grant.to = 2;
  grant.term = 5;
  SECTION("durable: fine") {
    c.SetState(1, 5, 2);
    c.Sync(1);
    c.checker.OnSend(grant);
    CHECK(c.Found().empty());
  }
  SECTION("a later term is durable: it can vote no more in this one") {
    c.SetState(1, 6, 3);
    c.Sync(1);
    c.checker.OnSend(grant);
    CHECK(c.Found().empty());
    grant.to = 3;
    c.checker.OnSend(grant);
    CHECK(c.Found() == "I2");
  }
  SECTION("for another") {
    c.SetState(1, 5, 3);
    c.Sync(1);
    c.checker.OnSend(grant);
    CHECK(c.Found() == "I2");
  }
  SECTION("the vote changes on disk") {
    c.SetState(1, 5, 2);
    c.Sync(1);
    c.SetState(1, 5, 3);
    c.Sync(1);
    CHECK(c.Found() == "I2");
  }
}

TEST_CASE("I3: nothing goes back", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(3);
  c.Peek(1, 2, 3, 3, 2);
  CHECK(c.Found().empty());
  SECTION("term") { c.Peek(1, 1, 3, 3, 2); }
  SECTION("commit") { c.Peek(1, 2, 2, 3, 2); }
  SECTION("applied") { c.Peek(1, 2, 3, 2, 2); }
  SECTION("start of the log") { c.Peek(1, 2, 3, 3, 1); }
  CHECK(c.Found() == "I3");
}

TEST_CASE("I4: equal index and term, different entry or different past",
          "[raft][sim][invariants]") {
  Checked c;
  c.Append(1, {MakeEntry(1, 1), MakeEntry(2, 2)});
  c.Append(2, {MakeEntry(1, 1)});
  CHECK(c.Found().empty());
  SECTION("entry") { c.Append(2, {MakeEntry(2, 2, "other")}); }
  SECTION("past") { c.Append(3, {MakeEntry(1, 2), MakeEntry(2, 2)}); }
  CHECK(c.Found() == "I4");
}

TEST_CASE("I6: committed but not durable on a quorum", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(2);
  c.Append(1, {MakeEntry(3, 1)});
  c.Sync(1);
  c.Append(2, {MakeEntry(3, 1)});  // written, not synced
  SECTION("one only") {
    c.Peek(1, 1, 3, 0);
    CHECK(c.Found() == "I6");
  }
  SECTION("two") {
    c.Sync(2);
    c.Peek(1, 1, 3, 0);
    CHECK(c.Found().empty());
    CHECK(c.checker.committed() == 3);
  }
  SECTION("two, but different entries") {
    c.Append(3, {MakeEntry(1, 1), MakeEntry(2, 1), MakeEntry(3, 2)});
    c.Sync(3);
    c.Peek(1, 1, 3, 0);
    CHECK(c.Found() == "I6");
  }
}

TEST_CASE("I6: the quorum is that of the membership in force, joint ones in both halves",
          "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(2);
  c.Append(1, {MakeEntry(3, 1)});
  c.Sync(1);
  std::string want = "I6";
  SECTION("one of one") {
    c.SetMembership(1, {1}, {});
    c.Peek(1, 1, 2, 1);  // the old membership no longer counts
    want = "";
  }
  SECTION("joint, one half lacks") {
    c.SetMembership(1, {1}, {1, 2, 3});
    c.Peek(1, 1, 2, 1);
  }
  SECTION("joint, both agree") {
    c.SetMembership(1, {1}, {1, 2, 3});
    c.Peek(1, 1, 2, 1);
    c.Append(2, {MakeEntry(3, 1)});
    c.Sync(2);
    want = "";
  }
  SECTION("changed in the same step: either may have decided") {
    c.SetMembership(1, {1}, {});
    c.SetMembership(1, {1, 2, 3}, {});
    want = "";
  }
  c.Peek(1, 1, 3, 1);
  CHECK(c.Found() == want);
}

TEST_CASE("I13: a leader that is no voter", "[raft][sim][invariants]") {
  Checked c;
  c.SetMembership(1, {2, 3}, {});
  SECTION("removed") {
    c.checker.OnEvent(1, Leads(2));
    CHECK(c.Found() == "I13");
  }
  SECTION("still a voter of the outgoing half") {
    c.SetMembership(1, {2, 3}, {1, 2, 3});
    c.checker.OnEvent(1, Leads(2));
    CHECK(c.Found().empty());
  }
}

TEST_CASE("I7: a leader without a committed entry", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(2);
  const Term term = GENERATE(1, 2);  // of the new leader; entries were committed in term 1
  c.checker.OnEvent(3, Leads(term));
  c.Append(3, {MakeEntry(1, term, "own")});
  // A leader of the same term as the commit is caught by I1 and I4 instead.
  CHECK(c.Found() == (term == 2 ? "I7" : "I4"));
}

TEST_CASE("I8: applied beyond commit", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(3);
  SECTION("as peeked") { c.Peek(2, 1, 2, 3); }
  SECTION("as told") {
    Status status;
    status.hard_state.commit = 5;
    status.last_index = 4;
    c.checker.OnStatus(1, status);
  }
  CHECK(c.Found() == "I8");
}

TEST_CASE("I9 and I10: a leader believes too much", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(3);
  c.checker.OnEvent(1, Leads(2));
  c.Append(1, {MakeEntry(4, 2)});
  Status status;
  status.hard_state = {.term = 2, .vote = 1, .commit = 3};
  status.last_index = 4;
  status.soft_state = {.leader = 1, .role = Role::kLeader};
  PeerStatus peer;
  SECTION("of a peer") {
    peer.id = 2;
    peer.match = 4;
    peer.next = 5;
    status.peers = {peer};
    c.checker.OnStatus(1, status);
    CHECK(c.Found() == "I9");
  }
  SECTION("match reaches next") {
    peer.id = 2;
    peer.match = 3;
    peer.next = 3;
    status.peers = {peer};
    c.checker.OnStatus(1, status);
    CHECK(c.Found() == "I9");
  }
  SECTION("of itself") {
    peer.id = 1;
    peer.match = 4;
    peer.next = 5;
    status.peers = {peer};
    c.checker.OnStatus(1, status);
    CHECK(c.Found() == "I10");
  }
  SECTION("of itself, what it inherited: harmless") {
    peer.id = 1;
    peer.match = 3;
    peer.next = 5;
    status.peers = {peer};
    c.checker.OnStatus(1, status);
    CHECK(c.Found().empty());
  }
}

TEST_CASE("I11: one sequence of entries, equal states", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(3);
  c.checker.OnApplied(1, MakeEntry(1, 1), Checked::State(1, 10, 20), true);
  CHECK(c.Found().empty());
  SECTION("a gap") { c.checker.OnApplied(1, MakeEntry(3, 1), Checked::State(3, 1, 1), true); }
  SECTION("twice") { c.checker.OnApplied(1, MakeEntry(1, 1), Checked::State(1, 10, 20), true); }
  SECTION("another entry") {
    c.checker.OnApplied(2, MakeEntry(1, 1, "y"), Checked::State(1, 10, 20), true);
  }
  SECTION("another state") {
    c.checker.OnApplied(2, MakeEntry(1, 1), Checked::State(1, 10, 21), true);
  }
  SECTION("not committed") {
    c.checker.OnApplied(1, MakeEntry(2, 1), Checked::State(2, 1, 1), true);
    c.checker.OnApplied(1, MakeEntry(3, 1), Checked::State(3, 1, 1), true);
    CHECK(c.Found().empty());
    c.checker.OnApplied(1, MakeEntry(4, 1), Checked::State(4, 1, 1), true);
  }
  SECTION("a snapshot of another state") { c.checker.OnRestored(2, Checked::State(1, 10, 99)); }
  CHECK(c.Found() == "I11");
}

TEST_CASE("I15: what is applied is not durable there, or is another entry there",
          "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(1);
  SECTION("missing") {}
  SECTION("not synced") { c.Append(3, {MakeEntry(1, 1)}); }
  SECTION("another term") {
    c.Append(3, {MakeEntry(1, 2)});
    c.Sync(3);
  }
  c.checker.OnApplied(3, MakeEntry(1, 1), Checked::State(1, 1, 1), true);
  CHECK(c.Found() == "I15");
}

TEST_CASE("I15: what is acknowledged is not the entry that the leader sent",
          "[raft][sim][invariants]") {
  Checked c;
  c.SetState(2, 3, 1);
  c.Append(2, {MakeEntry(1, 2)});
  c.Sync(2);
  Message app;
  app.type = MessageType::kApp;
  app.from = 1;
  app.to = 2;
  app.term = 3;
  app.entries = {MakeEntry(1, 3)};
  c.checker.OnSend(app);
  Message ack;
  ack.type = MessageType::kAppResp;
  ack.from = 2;
  ack.to = 1;
  ack.term = 3;
  ack.index = 1;
  c.checker.OnSend(ack);
  CHECK(c.Found() == "I15");
}

TEST_CASE("I12: a leader appends a change while the one before it is not applied",
          "[raft][sim][invariants]") {
  Checked c;
  Entry change = MakeEntry(1, 1);
  change.type = EntryType::kConfChangeV2;
  Node::Snapshot leader;
  leader.id = 1;
  leader.term = 1;
  leader.soft_state.role = Role::kLeader;
  c.checker.OnPeek(1, leader);
  c.Append(1, {change});
  c.checker.CheckChanges(1, std::vector<Entry>{change});
  CHECK(c.Found().empty());
  change.index = 2;
  c.Append(1, {change});
  SECTION("its own") {
    c.checker.CheckChanges(1, std::vector<Entry>{change});
    CHECK(c.Found() == "I12");
  }
  SECTION("one that it gets back from another leader is no new one") {
    leader.soft_state.role = Role::kFollower;
    c.checker.OnPeek(1, leader);
    c.checker.CheckChanges(1, std::vector<Entry>{change});
    CHECK(c.Found().empty());
  }
}

TEST_CASE("I18: the start of a log carries another membership than the one there",
          "[raft][sim][invariants]") {
  Checked c;
  ConfState members;
  members.voters = {1, 2, 3};
  c.checker.SetFirstMembership(members);
  c.checker.OnLogStart(1, {.index = 0, .term = 0, .conf_state = members});
  CHECK(c.Found().empty());
  members.voters = {1, 2};
  c.checker.OnLogStart(1, {.index = 0, .term = 0, .conf_state = members});
  CHECK(c.Found() == "I18");
}

TEST_CASE("I12: another membership after the same entry", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(1);
  KvState state = Checked::State(1, 1, 1);
  c.checker.OnApplied(1, MakeEntry(1, 1), state, true);
  state.applied.conf_state.voters = {9};
  c.checker.OnApplied(2, MakeEntry(1, 1), state, false);  // not the end of a batch: not told
  CHECK(c.Found().empty());
  c.Append(3, {MakeEntry(1, 1)});
  c.Sync(3);
  c.checker.OnApplied(3, MakeEntry(1, 1), state, true);
  CHECK(c.Found() == "I12");
}

TEST_CASE("I12: a membership that makes no sense", "[raft][sim][invariants]") {
  Checked c;
  c.CommitUpTo(1);
  KvState state = Checked::State(1, 1, 1);
  ConfState& conf = state.applied.conf_state;
  SECTION("no voters") { conf.voters = {}; }
  SECTION("a learner that votes") { conf.learners = {2}; }
  SECTION("auto-leave, but not joint") { conf.auto_leave = true; }
  SECTION("a next learner that was no voter") {
    conf.voters_outgoing = {1, 2};
    conf.learners_next = {5};
  }
  c.checker.OnApplied(1, MakeEntry(1, 1), state, true);
  CHECK(c.Found() == "I12");
}

TEST_CASE("I15: an answer before the disk has it", "[raft][sim][invariants]") {
  Checked c;
  c.Append(1, {MakeEntry(1, 1)});
  c.SetState(1, 1, 1);
  Message ack;
  ack.type = MessageType::kAppResp;
  ack.from = 1;
  ack.to = 2;
  ack.term = 1;
  ack.index = 1;
  SECTION("entries and term") {
    c.checker.OnSend(ack);
    CHECK(c.Found() == "I15");
  }
  SECTION("entries only") {
    c.Sync(1);
    c.checker.OnSend(ack);
    CHECK(c.Found().empty());
    ack.index = 2;
    c.checker.OnSend(ack);
    CHECK(c.Found() == "I15");
  }
}

TEST_CASE("DUR: a restart that does not find what was synced", "[raft][sim][invariants]") {
  Checked c;
  c.Append(1, {MakeEntry(1, 1), MakeEntry(2, 1)});
  c.SetState(1, 3, 2);
  c.Sync(1);
  Wal::Recovered recovered;
  recovered.hard_state = {.term = 3, .vote = 2, .commit = 0};
  recovered.entries = {MakeEntry(1, 1), MakeEntry(2, 1)};
  std::string want = "DUR";
  SECTION("all there") { want = ""; }
  SECTION("an entry is missing") { recovered.entries.pop_back(); }
  SECTION("an entry is another") { recovered.entries[1] = MakeEntry(2, 1, "y"); }
  SECTION("the term went back") { recovered.hard_state.term = 2; }
  SECTION("the vote is another") { recovered.hard_state.vote = 3; }
  SECTION("a newer tail had been written, unsynced: either is right") {
    c.Append(1, {MakeEntry(2, 3)});
    recovered.entries[1] = MakeEntry(2, 3);
    want = "";
  }
  c.checker.OnRecovered(1, recovered, 0);
  CHECK(c.Found() == want);
}

// --- Histories ---

class Clients {
 public:
  Clients() : history(checker) {}

  // The command takes effect at `index`.
  KvCommand Effect(Index index, uint64_t client, uint64_t sequence, const std::string& value) {
    const KvCommand command{.client = client, .sequence = sequence, .key = "k", .value = value};
    state.sessions[client] = {.sequence = sequence, .revision = index};
    state.keys["k"] = {.value = value, .revision = index};
    state.applied.index = index;
    history.Applied({.term = 1,
                     .index = index,
                     .type = EntryType::kNormal,
                     .data = Payload(EncodeKvCommand(command))},
                    state);
    return command;
  }
  [[nodiscard]] std::string Found() const {
    return checker.violation().has_value() ? checker.violation()->invariant : "";
  }

  Invariants checker;
  History history;
  KvState state;
};

TEST_CASE("A good history is accepted", "[raft][sim][history]") {
  Clients c;
  const Index w1 = c.history.Begin();
  const Index w2 = c.history.Begin();
  const Index r1 = c.history.Begin();
  const KvCommand first = c.Effect(3, 1, 1, "a");
  const KvCommand second = c.Effect(4, 2, 1, "b");
  c.history.EndWrite(w2, second, 4);
  c.history.EndWrite(w1, first, 3);  // began before the other returned
  const KvValue old{.value = "a", .revision = 3};
  c.history.EndRead(r1, "k", &old, 3);  // so did this
  const KvValue now{.value = "b", .revision = 4};
  c.history.EndRead(c.history.Begin(), "k", &now, 6);
  c.history.EndRead(c.history.Begin(), "none", nullptr, 6);
  c.history.CheckFinal(1, c.state);
  CHECK(c.Found().empty());
}

TEST_CASE("A bad history is found", "[raft][sim][history]") {
  Clients c;
  const KvCommand first = c.Effect(3, 1, 1, "a");
  c.history.EndWrite(c.history.Begin(), first, 3);
  const KvValue a{.value = "a", .revision = 3};
  std::string want = "LIN";
  SECTION("stale read") { c.history.EndRead(c.history.Begin(), "k", nullptr, 2); }
  SECTION("lost key") { c.history.EndRead(c.history.Begin(), "k", nullptr, 3); }
  SECTION("wrong value") {
    const KvValue wrong{.value = "z", .revision = 3};
    c.history.EndRead(c.history.Begin(), "k", &wrong, 3);
  }
  SECTION("a key from nowhere") { c.history.EndRead(c.history.Begin(), "other", &a, 3); }
  SECTION("a read goes back behind another read") {
    c.history.EndRead(c.history.Begin(), "k", &a, 9);
    c.history.EndRead(c.history.Begin(), "k", &a, 8);
  }
  SECTION("a write goes before one that had returned") {
    Clients d;
    const KvCommand early = d.Effect(2, 1, 1, "a");
    const KvCommand late = d.Effect(3, 2, 1, "b");
    d.history.EndWrite(d.history.Begin(), late, 3);
    d.history.EndWrite(d.history.Begin(), early, 2);
    CHECK(d.Found() == "LIN");
    return;
  }
  SECTION("acknowledged at another revision") {
    const KvCommand second = c.Effect(4, 1, 2, "b");
    c.history.EndWrite(c.history.Begin(), second, 5);
    want = "I16";
  }
  SECTION("acknowledged, never done") {
    c.history.EndWrite(c.history.Begin(), {.client = 7, .sequence = 1, .key = "k", .value = ""}, 4);
    want = "I16";
  }
  SECTION("refused, then done") {
    c.history.Refused({.client = 2, .sequence = 1, .key = "k", .value = "b"});
    (void)c.Effect(4, 2, 1, "b");
    want = "I16";
  }
  SECTION("done, then refused") {
    c.history.Refused(first);
    want = "I16";
  }
  SECTION("done twice") {
    (void)c.Effect(4, 1, 1, "a");
    want = "I16";
  }
  SECTION("lost at the end") {
    c.history.CheckFinal(2, KvState());
    want = "LOST";
  }
  CHECK(c.Found() == want);
}

}  // namespace
}  // namespace keelson::raft::sim
