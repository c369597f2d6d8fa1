// Hosts with many groups, on virtual time: deterministic, with real cores, drivers and logs.
#include "raft/host.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "raft/testing/virtual_hosts.h"

namespace keelson::raft {
namespace {

constexpr GroupId kGroups = 100;

TEST_CASE("Hundreds of groups elect leaders and apply what they are told, over one log",
          "[raft][host]") {
  VirtualHosts hosts;
  hosts.Create(1, kGroups);
  hosts.RunUntil([&] { return hosts.AllLed(1, kGroups); });
  const uint64_t syncs = hosts.At(1).host->GetStats().syncs;

  for (GroupId group = 1; group <= kGroups; ++group) {
    hosts.Propose(1, group, "a" + std::to_string(group));  // to leaders and followers
    hosts.Propose(1, group, "b" + std::to_string(group));
  }
  hosts.RunUntil([&] {
    for (GroupId group = 1; group <= kGroups; ++group) {
      const std::string number = std::to_string(group);
      if (!hosts.AllHold(group, {"a" + number, "b" + number})) return false;
    }
    return true;
  });

  const Host::Stats stats = hosts.At(1).host->GetStats();
  CHECK(stats.groups == kGroups);
  CHECK(stats.entries_appended >= 3 * kGroups);
  // One sync is for many groups.
  CHECK(stats.syncs - syncs < kGroups / 4);
}

TEST_CASE("Groups without work sleep, and cost no messages and no ticks", "[raft][host]") {
  VirtualHosts hosts;
  hosts.Create(1, kGroups);
  hosts.RunUntil([&] { return hosts.AllLed(1, kGroups) && hosts.AllAsleep(); });
  hosts.RunFor(absl::Seconds(1));

  const uint64_t messages = hosts.network().messages();
  const uint64_t steps = hosts.world().steps();
  hosts.RunFor(absl::Seconds(10));

  // All that is said is "I live", ten times a second to two others.
  CHECK(hosts.network().messages() - messages <= 3 * 2 * 101);
  // Pings, their delivery, and the look at the log: no timer of any group.
  CHECK(hosts.world().steps() - steps < 3 * 101 * 10);

  SECTION("a proposal wakes its group and no other") {
    const NodeId leader = hosts.LeaderOf(17);
    const NodeId to = GENERATE(0, 1) == 0 ? leader : leader % 3 + 1;
    hosts.Propose(to, 17, "x");
    hosts.RunUntil([&] { return hosts.AllHold(17, {"x"}); }, absl::Seconds(1));
    for (NodeId id = 1; id <= 3; ++id) {
      CHECK(hosts.At(id).host->GetStats().asleep >= kGroups - 1);
    }
    hosts.RunUntil([&] { return hosts.AllAsleep(); });
  }
  SECTION("a read wakes its group") {
    const NodeId follower = hosts.LeaderOf(17) % 3 + 1;
    bool read = false;
    hosts.At(follower).host->Group(17)->ReadBarrier(absl::Seconds(5), [&](absl::Status status) {
      KEELSON_REQUIRE_OK(status);
      read = true;
    });
    hosts.RunUntil([&] { return read; }, absl::Seconds(5));
  }
  SECTION("leadership can be handed over") {
    const NodeId leader = hosts.LeaderOf(17);
    hosts.At(leader).host->Group(17)->TransferLeadership(leader % 3 + 1);
    hosts.RunUntil([&] { return hosts.LeaderOf(17) == leader % 3 + 1; }, absl::Seconds(1));
  }
}

TEST_CASE("When a host dies, the groups that slept under its lead get other leaders",
          "[raft][host]") {
  VirtualHosts hosts;
  hosts.Create(1, kGroups);
  hosts.RunUntil([&] { return hosts.AllLed(1, kGroups) && hosts.AllAsleep(); });
  std::set<GroupId> orphans;
  for (GroupId group = 1; group <= kGroups; ++group) {
    if (hosts.LeaderOf(group) == 2) orphans.insert(group);
  }
  REQUIRE(orphans.size() > kGroups / 10);
  REQUIRE(orphans.size() < kGroups);

  hosts.Kill(2);
  size_t most_awake = 0;
  hosts.RunUntil(
      [&] {
        const Host::Stats stats = hosts.At(1).host->GetStats();
        most_awake = std::max(most_awake, stats.groups - stats.asleep);
        return std::all_of(orphans.begin(), orphans.end(),
                           [&](GroupId group) { return hosts.LeaderOf(group) != kNoNode; });
      },
      absl::Seconds(10));

  // The others slept on.
  CHECK(most_awake <= orphans.size());
  CHECK(hosts.At(1).host->GetStats().hosts_lost == 1);
  for (const GroupId group : orphans) hosts.Propose(1, group, "after");
  hosts.RunUntil([&] {
    return std::all_of(orphans.begin(), orphans.end(),
                       [&](GroupId group) { return hosts.AllHold(group, {"after"}); });
  });
  // And it comes back, to the groups that went on without it.
  hosts.Start(2);
  hosts.RunUntil([&] {
    return std::all_of(orphans.begin(), orphans.end(),
                       [&](GroupId group) { return hosts.AllHold(group, {"after"}); });
  });
}

TEST_CASE("All groups come back from the log that they share", "[raft][host][restart]") {
  VirtualHosts hosts;
  hosts.Create(1, kGroups);
  hosts.RunUntil([&] { return hosts.AllLed(1, kGroups); });
  for (GroupId group = 1; group <= kGroups; ++group) {
    for (int i = 0; i < 3; ++i) hosts.Propose(1, group, std::to_string(i));
  }
  // At any moment of it the power fails everywhere.
  const int moment = GENERATE(1, 3, 8, 20, 200);
  hosts.RunFor(absl::Milliseconds(moment));
  std::vector<std::vector<std::string>> applied(kGroups + 1);
  for (GroupId group = 1; group <= kGroups; ++group) {
    for (NodeId id = 1; id <= 3; ++id) {
      const auto& values = hosts.At(id).machines.at(group)->values();
      if (values.size() > applied[group].size()) applied[group] = values;
    }
  }
  for (NodeId id = 1; id <= 3; ++id) hosts.Kill(id);
  for (NodeId id = 1; id <= 3; ++id) hosts.Start(id);
  hosts.RunUntil([&] { return hosts.AllLed(1, kGroups); });
  for (GroupId group = 1; group <= kGroups; ++group) hosts.Propose(2, group, "last");

  hosts.RunUntil([&] {
    for (GroupId group = 1; group <= kGroups; ++group) {
      for (NodeId id = 1; id <= 3; ++id) {
        const auto& values = hosts.At(id).machines.at(group)->values();
        if (values.empty() || values.back() != "last") return false;
      }
    }
    return true;
  });

  // Nothing that was applied anywhere is lost, and all agree.
  for (GroupId group = 1; group <= kGroups; ++group) {
    const auto& values = hosts.At(1).machines.at(group)->values();
    REQUIRE(values.size() > applied[group].size());
    CHECK(std::equal(applied[group].begin(), applied[group].end(), values.begin()));
    CHECK(hosts.AllHold(group, values));
  }
}

TEST_CASE("A removed group is gone, with its log and snapshots, and cannot come back",
          "[raft][host]") {
  VirtualHosts hosts;
  hosts.Create(1, 5);
  hosts.RunUntil([&] { return hosts.AllLed(1, 5); });
  const std::shared_ptr<Node> kept = hosts.At(1).host->Group(3);
  int done = 0;
  for (NodeId id = 1; id <= 3; ++id) {
    hosts.Propose(id, 3, "late");
    hosts.At(id).host->RemoveGroup(3, [&done](const absl::Status& status) {
      KEELSON_REQUIRE_OK(status);
      ++done;
    });
    CHECK(hosts.At(id).host->Group(3) == nullptr);
  }
  hosts.RunUntil([&] { return done == 3; });

  absl::Status refused;
  kept->Propose(Payload("x"), [&refused](const absl::Status& status) { refused = status; });
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  hosts.At(1).host->RemoveGroup(3, [&refused](const absl::Status& status) { refused = status; });
  CHECK(refused.code() == absl::StatusCode::kNotFound);
  const auto create = [&] {
    std::optional<absl::Status> result;
    VirtualMachine machine(VirtualHosts::AllVoters());
    hosts.At(1).host->CreateGroups({{3, VirtualHosts::AllVoters(), &machine}},
                                   [&result](absl::Status status) { result = status; });
    hosts.RunUntil([&result] { return result.has_value(); });
    return *result;
  };
  CHECK(create().code() == absl::StatusCode::kFailedPrecondition);

  hosts.Kill(1);
  hosts.Start(1);
  CHECK(hosts.At(1).host->GetStats().groups == 4);
  CHECK(create().code() == absl::StatusCode::kFailedPrecondition);
  // The others go on.
  hosts.RunUntil([&] { return hosts.AllLed(4, 4); });
  hosts.Propose(1, 4, "x");
  hosts.RunUntil([&] { return hosts.AllHold(4, {"x"}); });
}

TEST_CASE("Groups that keep old segments are compacted", "[raft][host]") {
  Host::Options options = VirtualHosts::SmallSegments();
  options.wal.segment_bytes = 128 << 10;
  options.keep_segments = 3;
  options.node.compact_every_entries = 100;
  options.node.keep_entries = 10;
  VirtualHosts hosts(options);
  hosts.Create(1, 50);
  hosts.RunUntil([&] { return hosts.AllLed(1, 50); });
  // A little of each group in the first segment, then much of one.
  for (GroupId group = 1; group <= 50; ++group) hosts.Propose(1, group, "early");
  hosts.RunUntil([&] { return hosts.AllHold(50, {"early"}); });
  const std::string block(1000, 'x');
  std::vector<std::string> values = {"early"};
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 100; ++i) hosts.Propose(1, 1, block);
    values.insert(values.end(), 100, block);
    hosts.RunUntil([&] { return hosts.AllHold(1, values); });
    hosts.RunFor(absl::Seconds(1));
  }
  hosts.RunFor(absl::Seconds(5));

  for (NodeId id = 1; id <= 3; ++id) {
    KEELSON_ASSIGN_OR_FAIL(const auto names, hosts.At(id).fs.List("raft/wal"));
    const auto segments = std::count_if(
        names.begin(), names.end(), [](const std::string& name) { return name.ends_with(".wal"); });
    CHECK(segments <= 4);
    CHECK(hosts.At(id).machines.at(7)->flushes() > 0);
  }
  // Nothing is lost by it.
  for (NodeId id = 1; id <= 3; ++id) hosts.Kill(id);
  for (NodeId id = 1; id <= 3; ++id) hosts.Start(id);
  hosts.RunUntil([&] { return hosts.AllLed(1, 50); });
  hosts.RunUntil([&] { return hosts.AllHold(1, values) && hosts.AllHold(7, {"early"}); });
}

TEST_CASE("A host that joins a group later is sent a snapshot of that group", "[raft][host]") {
  VirtualHosts hosts;
  const SnapshotMetadata two = {.conf_state = {.voters = {1, 2}}};
  int done = 0;
  const auto create = [&](NodeId id, GroupId group, const SnapshotMetadata& start) {
    VirtualHost& host = hosts.At(id);
    host.host->CreateGroups({{group, start, &hosts.MachineOf(host, group, start)}},
                            [&done](const absl::Status& status) {
                              KEELSON_REQUIRE_OK(status);
                              ++done;
                            });
  };
  for (const GroupId group : {8, 9}) {
    for (const NodeId id : {1, 2}) create(id, group, two);
  }
  hosts.RunUntil([&] { return done == 4 && hosts.LeaderOf(8) != 0 && hosts.LeaderOf(9) != 0; });
  hosts.Propose(1, 8, "eight");
  hosts.Propose(1, 9, "nine");
  create(3, 8, {});
  create(3, 9, {});
  hosts.RunUntil([&] { return done == 6; });
  for (const GroupId group : {8, 9}) {
    hosts.At(1).host->Group(group)->ProposeConfChange(
        {.changes = {{.type = ConfChangeType::kAddNode, .node = 3}}}, nullptr);
  }

  hosts.RunUntil([&] { return hosts.AllHold(8, {"eight"}) && hosts.AllHold(9, {"nine"}); });

  const uint64_t restored = hosts.At(3).host->Group(8)->GetStats().snapshots_restored +
                            hosts.At(3).host->Group(9)->GetStats().snapshots_restored;
  CHECK(restored == 2);
  // Removal takes the snapshots along.
  KEELSON_ASSIGN_OR_FAIL(const bool before, hosts.At(3).fs.Exists("raft/snapshots/8"));
  CHECK(before);
  hosts.At(3).host->RemoveGroup(8, [&done](const absl::Status&) { ++done; });
  hosts.RunUntil([&] { return done == 7; });
  KEELSON_ASSIGN_OR_FAIL(const bool after, hosts.At(3).fs.Exists("raft/snapshots/8"));
  CHECK_FALSE(after);
}

TEST_CASE("A failed sync is the end of all groups of that host, and of no other", "[raft][host]") {
  VirtualHosts hosts;
  hosts.Create(1, 20);
  hosts.RunUntil([&] { return hosts.AllLed(1, 20); });
  hosts.At(1).fs.FailNext(SimOperation::kSync, "raft/wal");
  for (GroupId group = 1; group <= 20; ++group) hosts.Propose(2, group, "x");

  hosts.RunUntil([&] { return !hosts.At(1).fatal.empty(); });

  CHECK(hosts.At(1).fatal.size() == 1);
  CHECK(hosts.At(1).fatal[0].first == 0);
  hosts.Kill(1);  // As the process should do.
  hosts.RunUntil([&] { return hosts.AllLed(1, 20); });
  for (GroupId group = 1; group <= 20; ++group) hosts.Propose(2, group, "y");
  hosts.RunUntil([&] {
    for (GroupId group = 1; group <= 20; ++group) {
      const auto& values = hosts.At(3).machines.at(group)->values();
      if (values.empty() || values.back() != "y") return false;
    }
    return true;
  });
  CHECK(hosts.At(2).fatal.empty());
}

TEST_CASE("What many groups say to one host leaves in one frame", "[raft][host]") {
  Host::Options options = VirtualHosts::SmallSegments();
  options.node.core.quiesce_ticks = 0;  // Heartbeats for ever.
  VirtualHosts hosts(options);
  hosts.Create(1, kGroups);
  hosts.RunUntil([&] { return hosts.AllLed(1, kGroups); });
  hosts.RunFor(absl::Seconds(2));
  const uint64_t messages = hosts.network().messages();
  const uint64_t frames = hosts.network().frames();

  hosts.RunFor(absl::Seconds(10));

  const uint64_t sent = hosts.network().messages() - messages;
  CHECK(sent > 10 * 10 * kGroups);
  CHECK(hosts.network().frames() - frames < sent / 10);
}

TEST_CASE("A message for a group that is not here is told, once for each", "[raft][host]") {
  VirtualHosts hosts;
  hosts.Create(1, 2);
  hosts.RunUntil([&] { return hosts.AllLed(1, 2); });
  Message stray;
  stray.type = MessageType::kApp;
  stray.from = 2;
  stray.to = 1;
  stray.term = 1;
  stray.group = 77;

  hosts.At(1).host->Receive({stray, stray});

  CHECK(hosts.At(1).unknown == std::vector<std::pair<GroupId, NodeId>>{{77, 2}});
  CHECK(hosts.At(1).host->GetStats().unknown_groups == 1);

  // One that was removed here is known, also after a restart.
  bool removed = false;
  hosts.At(1).host->RemoveGroup(2, [&](const absl::Status&) { removed = true; });
  hosts.RunUntil([&] { return removed; });
  for (int life = 0; life < 2; ++life) {
    stray.group = 2;
    hosts.At(1).host->Receive({stray});
    CHECK(hosts.At(1).unknown.size() == 1);
    hosts.Kill(1);
    hosts.Start(1);
  }
}

TEST_CASE("A host whose disk stalls hands over the groups that need it", "[raft][host][disk]") {
  VirtualHosts hosts;
  hosts.Create(1, 30);
  hosts.RunUntil([&] { return hosts.AllLed(1, 30) && hosts.AllAsleep(); });
  std::vector<GroupId> led;
  for (GroupId group = 1; group <= 30; ++group) {
    if (hosts.LeaderOf(group) == 1) led.push_back(group);
  }
  REQUIRE(led.size() >= 2);
  hosts.At(1).append->PauseUntil(hosts.world().now() + absl::Minutes(10));
  const GroupId idle = led.back();
  led.pop_back();
  for (const GroupId group : led) hosts.Propose(2, group, "x");

  hosts.RunUntil(
      [&] {
        return std::all_of(led.begin(), led.end(), [&](GroupId group) {
          return hosts.LeaderOf(group) != 1 && hosts.At(2).machines.at(group)->values().size() == 1;
        });
      },
      absl::Seconds(10));

  CHECK(hosts.At(1).host->GetStats().stall_transfers >= led.size());
  CHECK(hosts.LeaderOf(idle) == 1);  // It asks nothing of the disk.
}

}  // namespace
}  // namespace keelson::raft
