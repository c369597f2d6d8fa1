// Elections: Raft paper 5.2 and 5.4.1, thesis 6.4 (pre-vote, check-quorum) and 3.10 (transfer).
#include <catch2/catch.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
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

// Paper 5.1: the current term is exchanged with every message.
TEST_CASE("Any message of a higher term makes a follower of it", "[raft][election]") {
  const bool leads = GENERATE(false, true);
  SoloCore solo(3, Plain());
  if (leads) solo.Lead();
  Message message = solo.From(2, MessageType::kApp);
  message.term = 7;
  solo.Step(message);
  CHECK(solo.core().soft_state() == SoftState{2, Role::kFollower});
  CHECK(solo.core().hard_state().term == 7);
  CHECK(solo.core().hard_state().vote == kNoNode);
}

TEST_CASE("A message of a lower term changes nothing", "[raft][election]") {
  SoloCore solo(3, Plain(), {}, {.term = 5});
  Message message = solo.From(2, MessageType::kApp);
  message.term = 4;
  const std::vector<Message> answer = solo.Step(message);
  REQUIRE(answer.size() == 1);  // Its sender learns the term.
  CHECK(answer[0].type == MessageType::kAppResp);
  CHECK(answer[0].term == 5);
  CHECK(solo.core().hard_state().term == 5);
  CHECK(solo.core().soft_state().leader == kNoNode);

  message.type = MessageType::kVote;
  CHECK(solo.Step(message).empty());
}

// Paper 5.2: randomized timeouts.
TEST_CASE("Election timeouts cover the whole range and nothing outside", "[raft][election]") {
  std::set<int> seen;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SnapshotMetadata start;
    start.conf_state.voters = {1, 2, 3};
    const MemoryLog log(start);
    Options options;
    options.id = 1;
    auto core = Core::Create(options, log, Random(seed), nullptr);
    KEELSON_REQUIRE_OK(core);
    int ticks = 0;
    while ((*core)->soft_state().role == Role::kFollower) {
      (*core)->Tick();
      ++ticks;
    }
    seen.insert(ticks);
  }
  CHECK(*seen.begin() == 10);
  CHECK(*seen.rbegin() == 19);
  CHECK(seen.size() == 10);
}

TEST_CASE("A candidate counts its own vote only once it is durable", "[raft][election]") {
  SoloCore solo(3, Plain());
  solo.core().Campaign();
  (void)solo.Take();
  KEELSON_REQUIRE_OK(solo.core().Step(solo.From(2, MessageType::kVoteResp)));
  CHECK(solo.core().soft_state().role == Role::kCandidate);
  solo.AppendOne();
  CHECK(solo.core().soft_state().role == Role::kLeader);
}

TEST_CASE("A vote leaves only with the work that makes it durable", "[raft][election]") {
  SoloCore solo(3, Plain());
  Message request = solo.From(2, MessageType::kVote);
  request.term = 1;
  KEELSON_REQUIRE_OK(solo.core().Step(request));
  CHECK(solo.Take().empty());
  REQUIRE(solo.appends().size() == 1);
  const AppendWork& work = solo.appends().front();
  CHECK(work.must_sync);
  CHECK(work.hard_state == HardState{1, 2, 0});
  REQUIRE(work.responses.Peek().size() == 1);
  CHECK(work.responses.Peek()[0].type == MessageType::kVoteResp);
}

// Paper 5.2: at most one vote in a term, first come first served.
TEST_CASE("A voter gives one vote a term, and repeats it", "[raft][election]") {
  SoloCore solo(3, Plain());
  Message request = solo.From(2, MessageType::kVote);
  request.term = 1;
  CHECK_FALSE(solo.Step(request)[0].reject);
  CHECK_FALSE(solo.Step(request)[0].reject);
  request.from = 3;
  CHECK(solo.Step(request)[0].reject);
  request.term = 2;
  CHECK_FALSE(solo.Step(request)[0].reject);
}

TEST_CASE("A voter that restarts remembers its vote", "[raft][election]") {
  SoloCore solo(3, Plain(), {}, {.term = 4, .vote = 2});
  Message request = solo.From(3, MessageType::kVote);
  request.term = 4;
  CHECK(solo.Step(request)[0].reject);
}

// Paper 5.4.1.
TEST_CASE("A vote goes only to a log that is at least as up to date", "[raft][election]") {
  struct Row {
    std::vector<Term> own;
    Term term;
    Index index;
    bool granted;
  };
  const Row row = GENERATE(values<Row>({
      {{1}, 1, 1, true},
      {{1}, 1, 2, true},
      {{1, 1}, 1, 1, false},
      {{1}, 2, 1, true},
      {{1, 1}, 2, 1, true},
      {{2}, 1, 1, false},
      {{2}, 1, 9, false},
      {{}, 0, 0, true},
  }));
  SoloCore solo(3, Plain(), LogOf(row.own));
  Message request = solo.From(2, MessageType::kVote, row.index);
  request.term = 3;
  request.log_term = row.term;
  CHECK(solo.Step(request)[0].reject != row.granted);
}

TEST_CASE("A candidate that loses, or hears of a leader, follows in the same term",
          "[raft][election]") {
  SoloCore solo(5, Plain());
  solo.core().Campaign();
  solo.Run();
  SECTION("three rejections") {
    for (const NodeId id : {2, 3, 4}) {
      CHECK(solo.core().soft_state().role == Role::kCandidate);
      Message vote = solo.From(id, MessageType::kVoteResp);
      vote.reject = true;
      solo.Step(vote);
    }
  }
  SECTION("an App of its term") { solo.Step(solo.From(3, MessageType::kApp)); }
  SECTION("a heartbeat of its term") { solo.Step(solo.From(3, MessageType::kHeartbeat)); }
  CHECK(solo.core().soft_state().role == Role::kFollower);
  CHECK(solo.core().hard_state().term == 1);
  CHECK(solo.core().hard_state().vote == 1);
}

TEST_CASE("A second answer of a voter does not count", "[raft][election]") {
  SoloCore solo(5, Plain());
  solo.core().Campaign();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kVoteResp));
  solo.Step(solo.From(2, MessageType::kVoteResp));
  CHECK(solo.core().soft_state().role == Role::kCandidate);
  solo.Step(solo.From(3, MessageType::kVoteResp));
  CHECK(solo.core().soft_state().role == Role::kLeader);
}

// Paper 5.2: heartbeats keep others from campaigning.
TEST_CASE("A leader sends heartbeats every heartbeat_ticks", "[raft][election]") {
  Options options = Plain();
  options.heartbeat_ticks = 3;
  SoloCore solo(3, options);
  solo.Lead();
  solo.Run();
  for (int tick = 1; tick <= 9; ++tick) {
    solo.core().Tick();
    CHECK(solo.Run().size() == (tick % 3 == 0 ? 2 : 0));
  }
}

// Thesis 9.6.
TEST_CASE("A member that was cut off does not raise the term with pre-vote", "[raft][pre_vote]") {
  CoreNetwork net(3);
  net.Elect(1);
  const Term term = net.core(1).hard_state().term;
  net.Isolate(3);
  net.TickAll(100);
  CHECK(net.core(3).hard_state().term == term);
  CHECK(net.core(3).soft_state().role == Role::kPreCandidate);
  net.Heal();
  net.TickAll(5);
  CHECK(net.Leader() == 1);
  CHECK(net.core(1).hard_state().term == term);
  CHECK(net.core(3).soft_state() == SoftState{1, Role::kFollower});
}

TEST_CASE("Without pre-vote and check-quorum the same member deposes the leader",
          "[raft][pre_vote]") {
  CoreNetwork net(3, [](Options& options) {
    options.pre_vote = false;
    options.check_quorum = false;
  });
  net.Elect(1);
  net.Isolate(3);
  net.TickAll(100);
  const Term inflated = net.core(3).hard_state().term;
  CHECK(inflated > 2);
  net.Heal();
  net.TickAll(30);
  CHECK(net.core(1).hard_state().term >= inflated);
}

TEST_CASE("A pre-vote moves neither term nor vote of the voter", "[raft][pre_vote]") {
  Options options = Plain();
  options.pre_vote = true;
  SoloCore solo(3, options, {}, {.term = 3, .vote = 3});
  Message request = solo.From(2, MessageType::kPreVote);
  request.term = 4;
  const std::vector<Message> sent = solo.Step(request);
  REQUIRE(sent.size() == 1);
  CHECK_FALSE(sent[0].reject);
  CHECK(sent[0].term == 4);  // The term that was asked for.
  CHECK(solo.core().hard_state() == HardState{3, 3, 0});
}

TEST_CASE("A pre-vote of an old term is refused with the present one", "[raft][pre_vote]") {
  SoloCore solo(3, {}, {}, {.term = 8});
  Message request = solo.From(2, MessageType::kPreVote);
  request.term = 5;
  const std::vector<Message> sent = solo.Step(request);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].reject);
  CHECK(sent[0].term == 8);
}

TEST_CASE("Answers to the other kind of campaign are ignored", "[raft][pre_vote]") {
  SoloCore solo(3);
  solo.core().Campaign();
  solo.Run();
  REQUIRE(solo.core().soft_state().role == Role::kPreCandidate);
  Message vote = solo.From(2, MessageType::kVoteResp);
  vote.term = solo.core().hard_state().term;
  if (vote.term != 0) solo.Step(vote);
  CHECK(solo.core().soft_state().role == Role::kPreCandidate);
}

TEST_CASE("A leader that hears no quorum for an election timeout steps down",
          "[raft][check_quorum]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.Isolate(1);
  net.Tick(1, 10);
  CHECK(net.core(1).soft_state().role == Role::kLeader);  // It had heard of them before.
  net.Tick(1, 10);
  CHECK(net.core(1).soft_state() == SoftState{kNoNode, Role::kFollower});
  CHECK(net.events(1).Count<event::QuorumLost>() == 1);
}

TEST_CASE("A follower that hears its leader ignores other candidates, terms included",
          "[raft][check_quorum]") {
  SoloCore solo(3);
  Message heartbeat = solo.From(2, MessageType::kHeartbeat);
  heartbeat.term = 1;
  solo.Step(heartbeat);
  Message request = solo.From(3, MessageType::kVote);
  request.term = 9;
  SECTION("ignored within the lease") {
    CHECK(solo.Step(request).empty());
    CHECK(solo.core().hard_state().term == 1);
  }
  SECTION("answered when the leader asked for it") {
    request.context = "CampaignTransfer";
    CHECK(solo.Step(request).size() == 1);
    CHECK(solo.core().hard_state().term == 9);
  }
  SECTION("answered once the lease has run out") {
    solo.core().SetRandomizedElectionTimeout(19);
    for (int i = 0; i < 10; ++i) solo.core().Tick();
    CHECK(solo.Step(request).size() == 1);
    CHECK(solo.core().hard_state().term == 9);
  }
  SECTION("answered after the leader was forgotten") {
    solo.core().ForgetLeader();
    CHECK(solo.Step(request).size() == 1);
  }
}

// Otherwise a member with an inflated term could never come back: nobody would tell the
// leader of it.
TEST_CASE("A leader with an old term is told so", "[raft][check_quorum]") {
  SoloCore solo(3, {}, {}, {.term = 5});
  Message heartbeat = solo.From(2, MessageType::kHeartbeat);
  heartbeat.term = 3;
  const std::vector<Message> sent = solo.Step(heartbeat);
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].type == MessageType::kAppResp);
  CHECK(sent[0].term == 5);
}

TEST_CASE("A learner never campaigns but votes when asked", "[raft][learner]") {
  SnapshotMetadata start;
  start.conf_state.voters = {2, 3};
  start.conf_state.learners = {1};
  MemoryLog log(start);
  CoreNetwork net(0);
  net.AddFrom(1, std::move(log));
  net.Tick(1, 100);
  CHECK(net.core(1).soft_state().role == Role::kFollower);
  net.core(1).Campaign();
  CHECK(net.events(1).Last<event::CampaignRefused>()->why ==
        event::CampaignRefusal::kNotPromotable);

  Message request;
  request.type = MessageType::kVote;
  request.from = 2;
  request.to = 1;
  request.term = 4;
  KEELSON_REQUIRE_OK(net.core(1).Step(request));
  CHECK(net.core(1).hard_state().vote == 2);
}

TEST_CASE("Nobody campaigns with a committed change of membership that is not applied",
          "[raft][election]") {
  std::vector<Entry> entries = LogOf({1});
  entries[0].type = EntryType::kConfChangeV2;
  SoloCore solo(3, Plain(), entries, {.term = 1, .commit = 1});
  solo.core().Campaign();
  CHECK(solo.core().soft_state().role == Role::kFollower);
  CHECK(solo.events().Last<event::CampaignRefused>()->why ==
        event::CampaignRefusal::kUnappliedConfChange);
  solo.Run();  // Applies it.
  solo.core().Campaign();
  CHECK(solo.core().soft_state().role == Role::kCandidate);
}

TEST_CASE("Leadership moves at once to a member that has everything", "[raft][transfer]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.core(1).TransferLeadership(2);
  net.Collect(1);
  net.Settle();
  CHECK(net.Leader() == 2);
}

TEST_CASE("Leadership waits for a member that lags, and no longer than a timeout",
          "[raft][transfer]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.Isolate(3);
  KEELSON_REQUIRE_OK(net.Propose(1, "x"));
  net.Settle();
  net.core(1).TransferLeadership(3);
  net.Collect(1);
  KEELSON_CHECK_ERROR(net.Propose(1, "y"), absl::StatusCode::kUnavailable, "transferred");
  SECTION("it catches up") {
    net.Heal();
    net.Tick(1);
    net.Settle();
    CHECK(net.Leader() == 3);
  }
  SECTION("it does not") {
    for (int i = 0; i < 10; ++i) net.TickAll();
    CHECK(net.core(1).soft_state().role == Role::kLeader);
    CHECK(net.core(1).GetStatus().transferee == kNoNode);
    KEELSON_REQUIRE_OK(net.Propose(1, "y"));
  }
}

TEST_CASE("Transfers to oneself, to learners and to strangers do nothing", "[raft][transfer]") {
  CoreNetwork net(3);
  net.Elect(1);
  const NodeId to = GENERATE(NodeId{1}, NodeId{9});
  net.core(1).TransferLeadership(to);
  net.Collect(1);
  net.Settle();
  CHECK(net.Leader() == 1);
  CHECK(net.core(1).GetStatus().transferee == kNoNode);
}

TEST_CASE("Another target replaces a transfer that runs", "[raft][transfer]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.Isolate(3);
  KEELSON_REQUIRE_OK(net.Propose(1, "x"));
  net.Settle();
  net.core(1).TransferLeadership(3);
  net.core(1).TransferLeadership(2);
  CHECK(net.events(1).Last<event::TransferAborted>()->replaced);
  net.Collect(1);
  net.Settle();
  CHECK(net.core(2).soft_state().role == Role::kLeader);
}

TEST_CASE("A request for a vote that is refused does not start the timer again",
          "[raft][election]") {
  SoloCore solo(3, Plain(), LogOf({1, 1}), {.term = 1, .vote = 0});
  solo.core().SetRandomizedElectionTimeout(10);
  for (int i = 0; i < 9; ++i) solo.core().Tick();
  Message request = solo.From(2, MessageType::kVote, 1);
  request.term = 2;
  request.log_term = 1;
  const std::vector<Message> answer = solo.Step(request);
  REQUIRE(answer.size() == 1);
  REQUIRE(answer[0].reject);
  solo.core().SetRandomizedElectionTimeout(10);
  solo.core().Tick();
  CHECK(solo.core().soft_state().role == Role::kCandidate);
}

// --- Priority ---

CoreNetwork Ranked() {
  return CoreNetwork(3, [](Options& options) { options.priority = options.id == 3 ? 100 : 1; });
}

TEST_CASE("A voter of higher priority refuses a candidate that knows no more", "[raft][priority]") {
  CoreNetwork net = Ranked();
  net.Isolate(2);
  net.Elect(1);
  CHECK(net.Leader() == kNoNode);
  net.Elect(3);
  CHECK(net.Leader() == 3);
}

TEST_CASE("It gives its vote to one that knows more", "[raft][priority]") {
  CoreNetwork net = Ranked();
  net.Elect(2);
  net.Isolate(3);
  KEELSON_REQUIRE_OK(net.Propose(2, "x"));
  net.Settle();
  net.Heal();
  net.Isolate(2);
  net.TickAll(15);  // No more of the leader's lease.
  net.Elect(1);
  CHECK(net.Leader() != 2);
  CHECK(net.core(1).soft_state().role == Role::kLeader);
}

TEST_CASE("It gives in after some refusals, and not before", "[raft][priority]") {
  CoreNetwork net = Ranked();
  net.Isolate(2);
  int campaigns = 0;
  while (net.Leader() == kNoNode && campaigns < 20) {
    net.core(1).Campaign();
    net.Settle();
    ++campaigns;
  }
  CHECK(net.Leader() == 1);
  CHECK(campaigns > 3);
  CHECK(campaigns < 12);
}

TEST_CASE("Leadership that is handed over is not a matter of priority", "[raft][priority]") {
  CoreNetwork net = Ranked();
  net.Elect(3);
  net.core(3).TransferLeadership(1);
  net.Collect(3);
  net.Settle();
  CHECK(net.Leader() == 1);
}

// --- Rivals ---

CoreNetwork PreVoting(size_t voters, bool rank_rivals) {
  return CoreNetwork(voters, [rank_rivals](Options& options) {
    options.pre_vote = true;
    options.rank_rivals = rank_rivals;
  });
}

// Members 1 and 2 ask for pre-votes before either hears of the other; member 3 is down.
void CampaignAtOnce(CoreNetwork& net) {
  net.Isolate(3);
  net.core(1).Campaign();
  net.core(2).Campaign();
  net.Collect(1);
  net.Collect(2);
  net.Settle();
}

TEST_CASE("Of two members that ask at the same time one gives way", "[raft][election]") {
  CoreNetwork net = PreVoting(3, true);
  CampaignAtOnce(net);
  CHECK(net.Leader() == 2);
  CHECK(net.core(2).hard_state().term == 1);
}

TEST_CASE("Without a rank of rivals their votes are split", "[raft][election]") {
  CoreNetwork net = PreVoting(3, false);
  CampaignAtOnce(net);
  CHECK(net.Leader() == kNoNode);
}

TEST_CASE("Of two rivals the one with the longer log goes on", "[raft][election]") {
  CoreNetwork net = PreVoting(3, true);
  net.Elect(3);
  net.Isolate(2);
  KEELSON_REQUIRE_OK(net.Propose(3, "x"));
  net.Settle();
  net.Heal();
  net.Isolate(3);
  net.Tick(1, 10);  // No more of the leader's lease.
  net.Tick(2, 10);
  CampaignAtOnce(net);
  CHECK(net.core(1).soft_state().role == Role::kLeader);
}

TEST_CASE("A member that nobody answers stands in the way of no rival for long",
          "[raft][election]") {
  CoreNetwork net = PreVoting(3, true);
  net.Isolate(3);
  net.SetFilter([](const Message& message) { return message.type == MessageType::kPreVote; });
  net.core(2).Campaign();
  net.Settle();
  REQUIRE(net.core(2).soft_state().role == Role::kPreCandidate);
  net.SetFilter([](const Message&) { return false; });
  SECTION("refused while its own requests may be under way") {
    net.Elect(1);
    CHECK(net.Leader() == kNoNode);
  }
  SECTION("and granted afterwards") {
    net.Tick(2, 2);
    net.Elect(1);
    CHECK(net.Leader() == 1);
  }
}

TEST_CASE("A candidate that was refused asks again within half a timeout, once",
          "[raft][election]") {
  Options options;
  options.election_ticks = 10;
  SoloCore solo(3, options);
  const auto campaign_and_lose = [&solo] {
    Message grant = solo.From(2, MessageType::kPreVoteResp);
    grant.term = solo.core().hard_state().term + 1;
    solo.Step(grant);
    REQUIRE(solo.core().soft_state().role == Role::kCandidate);
    Message refusal = solo.From(2, MessageType::kVoteResp);
    refusal.reject = true;
    solo.Step(refusal);
  };
  const auto tick = [&solo](int times) {
    for (int i = 0; i < times; ++i) solo.core().Tick();
    solo.Run();
  };
  solo.core().Campaign();
  solo.Run();
  campaign_and_lose();
  tick(5);
  REQUIRE(solo.core().soft_state().role == Role::kPreCandidate);
  campaign_and_lose();
  tick(9);
  CHECK(solo.core().soft_state().role == Role::kCandidate);
  SECTION("and as usual when it has followed a leader since") {
    Message heartbeat = solo.From(2, MessageType::kHeartbeat);
    solo.Step(heartbeat);
    tick(9);
    CHECK(solo.core().soft_state() == SoftState{2, Role::kFollower});
  }
}

}  // namespace
}  // namespace keelson::raft
