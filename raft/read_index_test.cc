// Linearizable reads (thesis 6.4, raft.md section 9).
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/core.h"
#include "raft/testing/core_network.h"
#include "raft/testing/solo_core.h"

namespace keelson::raft {
namespace {

using Reads = std::vector<ReadState>;

std::vector<Message> OfType(const std::vector<Message>& messages, MessageType type) {
  std::vector<Message> result;
  for (const Message& message : messages) {
    if (message.type == type) result.push_back(message);
  }
  return result;
}

// A leader of three that has committed entry 1, of its own term.
void LeadAndCommit(SoloCore& solo) {
  solo.Lead();
  solo.Run();
  solo.Step(solo.From(2, MessageType::kAppResp, 1));
  REQUIRE(solo.core().hard_state().commit == 1);
}

Message Echo(SoloCore& solo, const Message& heartbeat) {
  Message echo = solo.From(heartbeat.to, MessageType::kHeartbeatResp);
  echo.context = heartbeat.context;
  return echo;
}

TEST_CASE("A read waits until the leader has committed an entry of its term",
          "[raft][read_index]") {
  SoloCore solo(3);
  solo.Lead();
  solo.Run();
  KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
  CHECK(OfType(solo.Run(), MessageType::kHeartbeat).empty());
  const auto heartbeats =
      OfType(solo.Step(solo.From(2, MessageType::kAppResp, 1)), MessageType::kHeartbeat);
  REQUIRE(heartbeats.size() == 2);
  solo.Step(Echo(solo, heartbeats[0]));
  CHECK(solo.reads() == Reads{{1, "r"}});
}

TEST_CASE("One echo of the newest round answers all reads before it", "[raft][read_index]") {
  SoloCore solo(3);
  LeadAndCommit(solo);
  for (const char* context : {"a", "b", "c"}) KEELSON_REQUIRE_OK(solo.core().ReadIndex(context));
  const auto heartbeats = OfType(solo.Run(), MessageType::kHeartbeat);
  REQUIRE(heartbeats.size() == 6);
  SECTION("the last round") {
    solo.Step(Echo(solo, heartbeats[4]));
    CHECK(solo.reads() == Reads{{1, "a"}, {1, "b"}, {1, "c"}});
  }
  SECTION("the second round") {
    solo.Step(Echo(solo, heartbeats[3]));
    CHECK(solo.reads() == Reads{{1, "a"}, {1, "b"}});
  }
}

// etcd #20418: a caller that retries with the same context must not have its new read confirmed
// by the delayed echo of the old round.
TEST_CASE("A retried context is not confirmed by the echo of an earlier round",
          "[raft][read_index]") {
  SoloCore solo(3);
  LeadAndCommit(solo);
  KEELSON_REQUIRE_OK(solo.core().ReadIndex("same"));
  const auto first = OfType(solo.Run(), MessageType::kHeartbeat);
  solo.Step(Echo(solo, first[0]));
  REQUIRE(solo.reads().size() == 1);

  KEELSON_REQUIRE_OK(solo.core().ReadIndex("same"));
  const auto second = OfType(solo.Run(), MessageType::kHeartbeat);
  solo.Step(Echo(solo, first[1]));  // Late.
  CHECK(solo.reads().size() == 1);
  solo.Step(Echo(solo, second[1]));
  CHECK(solo.reads().size() == 2);
}

TEST_CASE("Made-up and foreign contexts confirm nothing", "[raft][read_index]") {
  SoloCore solo(3);
  LeadAndCommit(solo);
  KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
  solo.Run();
  Message echo = solo.From(2, MessageType::kHeartbeatResp);
  echo.context =
      GENERATE(std::string("r"), std::string(8, '\xff'), std::string(9, '\0'), std::string());
  solo.Step(echo);
  CHECK(solo.reads().empty());
}

TEST_CASE("A leader that was deposed answers no read", "[raft][read_index]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.Isolate(1);
  KEELSON_REQUIRE_OK(net.core(1).ReadIndex("stale"));
  net.Collect(1);
  net.Settle();
  net.core(2).Tick();
  for (int i = 0; i < 30; ++i) {
    net.Tick(2);
    net.Tick(3);
    net.Settle();
  }
  REQUIRE(net.core(1).hard_state().term < net.core(2).hard_state().term);
  net.Heal();
  net.TickAll(5);
  CHECK(net.reads(1).empty());
}

TEST_CASE("A single voter answers at once", "[raft][read_index]") {
  SoloCore solo(1);
  solo.core().Campaign();
  solo.Run();
  KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
  solo.Run();
  CHECK(solo.reads() == Reads{{1, "r"}});
}

TEST_CASE("Heartbeats repeat a round that lost its messages", "[raft][read_index]") {
  CoreNetwork net(3);
  net.Elect(1);
  net.SetFilter([](const Message& m) { return m.type == MessageType::kHeartbeat; });
  KEELSON_REQUIRE_OK(net.core(1).ReadIndex("r"));
  net.Settle();
  CHECK(net.reads(1).empty());
  net.SetFilter({});
  net.TickAll(1);
  CHECK(net.reads(1) == Reads{{1, "r"}});
}

TEST_CASE("Reads are refused without a leader and beyond the bound", "[raft][read_index]") {
  Options options;
  options.max_pending_reads = 2;
  SoloCore solo(3, options);
  KEELSON_CHECK_ERROR(solo.core().ReadIndex("r"), absl::StatusCode::kUnavailable, "no leader");
  LeadAndCommit(solo);
  KEELSON_REQUIRE_OK(solo.core().ReadIndex("a"));
  KEELSON_REQUIRE_OK(solo.core().ReadIndex("b"));
  KEELSON_CHECK_ERROR(solo.core().ReadIndex("c"), absl::StatusCode::kResourceExhausted, "too many");
}

TEST_CASE("A lease answers reads without a round, until it runs out", "[raft][lease]") {
  Options options;
  options.read_mode = ReadMode::kLeaseBased;
  options.lease_margin_ticks = 2;
  SoloCore solo(3, options);
  LeadAndCommit(solo);
  solo.core().Tick();
  const auto heartbeats = OfType(solo.Run(), MessageType::kHeartbeat);
  REQUIRE(heartbeats.size() == 2);
  for (int i = 0; i < 3; ++i) solo.core().Tick();  // The answer takes its time.
  solo.Run();
  solo.Step(Echo(solo, heartbeats[0]));

  SECTION("within the lease") {
    // From the sending: E = 10, 3 ticks passed, 2 are margin, and one may have begun.
    for (int i = 0; i < 3; ++i) solo.core().Tick();
    solo.Run();
    KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
    solo.Run();
    CHECK(solo.reads() == Reads{{1, "r"}});
  }
  SECTION("after it") {
    for (int i = 0; i < 4; ++i) solo.core().Tick();
    solo.Run();
    KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
    const auto round = OfType(solo.Run(), MessageType::kHeartbeat);
    CHECK(solo.reads().empty());
    solo.Step(Echo(solo, round.back()));
    CHECK(solo.reads() == Reads{{1, "r"}});
  }
  SECTION("not after the process stood still") {
    solo.core().SkipTicks(10);
    KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
    solo.Run();
    CHECK(solo.reads().empty());
  }
  SECTION("not while leadership is handed over") {
    solo.core().TransferLeadership(2);
    solo.Run();
    KEELSON_REQUIRE_OK(solo.core().ReadIndex("r"));
    solo.Run();
    CHECK(solo.reads().empty());
  }
}

TEST_CASE("With lease reads a restarted voter keeps what it may have promised", "[raft][lease]") {
  Options options;
  options.read_mode = ReadMode::kLeaseBased;
  SoloCore solo(3, options, {}, {.term = 3, .vote = 2});
  Message request = solo.From(3, MessageType::kVote);
  request.term = 4;
  CHECK(solo.Step(request).empty());
  solo.core().SetRandomizedElectionTimeout(19);
  for (int i = 0; i < 10; ++i) solo.core().Tick();
  CHECK(solo.Step(request).size() == 1);
}

}  // namespace
}  // namespace keelson::raft
