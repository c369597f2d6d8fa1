// The life of a group: elections, replication, persistence, restart, snapshots, reads.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/testing/core_network.h"
#include "raft/testing/test_sync.h"

namespace keelson::raft {
namespace {

using Strings = std::vector<std::string>;

Options Valid() {
  Options options;
  options.id = 1;
  return options;
}

TEST_CASE("Impossible options are refused", "[raft][core]") {
  const MemoryLog log;
  struct Row {
    std::string name;
    void (*spoil)(Options&);
    std::string text;
  };
  auto row = GENERATE(values<Row>({
      {"no id", [](Options& o) { o.id = 0; }, "node id 0"},
      {"the id of the append thread", [](Options& o) { o.id = kAppendThread; }, "is reserved"},
      {"no heartbeat", [](Options& o) { o.heartbeat_ticks = 0; }, "heartbeat_ticks"},
      {"election as fast as heartbeat", [](Options& o) { o.election_ticks = 1; }, "election_ticks"},
      {"no window", [](Options& o) { o.max_inflight_messages = 0; }, "max_inflight_messages"},
      {"nothing may be applied", [](Options& o) { o.max_apply_bytes = 0; }, "max_apply_bytes"},
      {"a lease without its guard",
       [](Options& o) {
         o.read_mode = ReadMode::kLeaseBased;
         o.check_quorum = false;
       },
       "check_quorum"},
  }));
  DYNAMIC_SECTION(row.name) {
    Options options = Valid();
    row.spoil(options);
    KEELSON_CHECK_ERROR(Core::Create(options, log, Random(1), nullptr),
                        absl::StatusCode::kInvalidArgument, row.text);
  }
}

TEST_CASE("A log that contradicts itself is data loss", "[raft][core]") {
  SnapshotMetadata start;
  start.index = 10;
  start.term = 2;
  start.conf_state.voters = {1};
  Options options = Valid();

  SECTION("the hard state is ahead of the entries") {
    const MemoryLog log(start, {.term = 2, .vote = 1, .commit = 11});
    KEELSON_CHECK_ERROR(Core::Create(options, log, Random(1), nullptr), absl::StatusCode::kDataLoss,
                        "commit 11 is past the last entry 10");
  }
  SECTION("the state machine is ahead of the entries") {
    const MemoryLog log(start);
    options.applied = 11;
    KEELSON_CHECK_ERROR(Core::Create(options, log, Random(1), nullptr), absl::StatusCode::kDataLoss,
                        "applied 11");
  }
  SECTION("entries that the state machine lacks are compacted") {
    const MemoryLog log(start);
    options.applied = 8;
    KEELSON_CHECK_ERROR(Core::Create(options, log, Random(1), nullptr), absl::StatusCode::kDataLoss,
                        "compacted up to 10");
  }
  SECTION("the membership has a node twice") {
    start.conf_state.learners = {1};
    const MemoryLog log(start);
    KEELSON_CHECK_ERROR(Core::Create(options, log, Random(1), nullptr), absl::StatusCode::kDataLoss,
                        "Learners and Voters");
  }
}

TEST_CASE("A single voter elects itself and commits once its own write is durable",
          "[raft][core]") {
  CoreNetwork net(1);
  net.core(1).Campaign();
  net.Collect(1);
  // Pre-vote, then the vote: each waits for the disk.
  CHECK(net.core(1).soft_state().role == Role::kPreCandidate);
  net.AppendOne(1);
  CHECK(net.core(1).soft_state().role == Role::kCandidate);
  net.AppendOne(1);
  CHECK(net.core(1).soft_state().role == Role::kLeader);

  KEELSON_REQUIRE_OK(net.Propose(1, "x"));
  CHECK(net.core(1).hard_state().commit == 0);
  net.Settle();
  CHECK(net.core(1).hard_state().commit == 2);
  CHECK(net.Applied(1) == Strings{"x"});
}

TEST_CASE("Three members elect a leader and apply the same entries", "[raft][core]") {
  CoreNetwork net(3);
  net.Elect(1);
  REQUIRE(net.Leader() == 1);

  KEELSON_REQUIRE_OK(net.Propose(1, "a"));
  KEELSON_REQUIRE_OK(net.Propose(2, "b"));  // A follower forwards.
  net.Settle();

  for (const NodeId id : net.ids()) CHECK(net.Applied(id) == Strings{"a", "b"});
  CHECK(net.violation().empty());
}

TEST_CASE("Ticks alone bring a leader, and heartbeats keep it", "[raft][core]") {
  CoreNetwork net(3);
  net.TickAll(20);
  const NodeId leader = net.Leader();
  REQUIRE(leader != kNoNode);
  const Term term = net.core(leader).hard_state().term;
  net.TickAll(100);
  CHECK(net.Leader() == leader);
  CHECK(net.core(leader).hard_state().term == term);
}

TEST_CASE("What was acknowledged survives the restart of every member", "[raft][core]") {
  CoreNetwork net(3);
  net.Elect(1);
  for (int i = 0; i < 10; ++i) KEELSON_REQUIRE_OK(net.Propose(1, std::to_string(i)));
  net.Settle();
  for (const NodeId id : net.ids()) net.Restart(id);
  net.TickAll(25);
  REQUIRE(net.Leader() != kNoNode);
  KEELSON_REQUIRE_OK(net.Propose(net.Leader(), "after"));
  net.Settle();
  for (const NodeId id : net.ids()) {
    CHECK(net.Applied(id).size() == 11);
    CHECK(net.Applied(id).back() == "after");
  }
  CHECK(net.violation().empty());
}

TEST_CASE("A member that lags behind the log's start is sent a snapshot", "[raft][snapshot]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.Isolate(3);
  for (int i = 0; i < 10; ++i) KEELSON_REQUIRE_OK(net.Propose(1, std::to_string(i)));
  net.Settle();
  net.Compact(1);
  net.Heal();
  net.TickAll(3);
  CHECK(net.events(1).Count<event::SnapshotSent>() == 1);
  CHECK(net.events(3).Count<event::SnapshotRestored>() == 1);
  CHECK(net.Applied(3) == net.Applied(1));
  KEELSON_REQUIRE_OK(net.Propose(1, "more"));
  net.Settle();
  CHECK(net.Applied(3).back() == "more");
  CHECK(net.violation().empty());
}

TEST_CASE("A read is answered at the commit index after a heartbeat round", "[raft][read_index]") {
  CoreNetwork net(3);
  net.Elect(1);
  KEELSON_REQUIRE_OK(net.Propose(1, "a"));
  net.Settle();

  SECTION("on the leader") {
    KEELSON_REQUIRE_OK(net.core(1).ReadIndex("r1"));
    net.Collect(1);
    CHECK(net.reads(1).empty());
    net.Settle();
    CHECK(net.reads(1) == std::vector<ReadState>{{2, "r1"}});
  }
  SECTION("on a follower, by the leader") {
    KEELSON_REQUIRE_OK(net.core(2).ReadIndex("r2"));
    net.Settle();
    CHECK(net.reads(2) == std::vector<ReadState>{{2, "r2"}});
  }
}

}  // namespace
}  // namespace keelson::raft
