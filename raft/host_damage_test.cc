// Hosts that find damage, on virtual time: the groups that it concerns come back, the others go on.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "raft/testing/virtual_hosts.h"

namespace keelson::raft {
namespace {

constexpr GroupId kGroups = 12;
const std::string kSegment = "raft/wal/0000000000000001.wal";

std::string ValueOf(GroupId group, int number) {
  return "group " + std::to_string(group) + " value " + std::to_string(number) + ".";
}

// All groups hold three values of their own.
void Fill(VirtualHosts& hosts, GroupId groups = kGroups) {
  hosts.Create(1, groups);
  hosts.RunUntil([&] { return hosts.AllLed(1, groups); });
  for (int number = 1; number <= 3; ++number) {
    for (GroupId group = 1; group <= groups; ++group) {
      hosts.Propose(1, group, ValueOf(group, number));
    }
  }
  hosts.RunUntil([&] {
    for (GroupId group = 1; group <= groups; ++group) {
      if (!hosts.AllHold(group, {ValueOf(group, 1), ValueOf(group, 2), ValueOf(group, 3)})) {
        return false;
      }
    }
    return true;
  });
}

size_t PlaceOf(VirtualHost& host, const std::string& text) {
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(host.fs, kSegment, 8 << 20));
  const size_t place = bytes.find(text);
  REQUIRE(place != std::string::npos);
  return place;
}

bool Sound(VirtualHosts& hosts) {
  return std::all_of(hosts.all().begin(), hosts.all().end(),
                     [](const auto& host) { return host->host->GetStats().recovering == 0; });
}

// Everyone has everything, and takes part again.
void CheckWhole(VirtualHosts& hosts, GroupId groups = kGroups) {
  hosts.RunUntil([&] { return hosts.AllLed(1, groups) && Sound(hosts); });
  for (GroupId group = 1; group <= groups; ++group) hosts.Propose(2, group, "last");
  hosts.RunUntil([&] {
    for (GroupId group = 1; group <= groups; ++group) {
      if (!hosts.AllHold(group,
                         {ValueOf(group, 1), ValueOf(group, 2), ValueOf(group, 3), "last"})) {
        return false;
      }
    }
    return true;
  });
}

TEST_CASE("A damaged entry of one group is fetched again, and the other groups notice nothing",
          "[raft][host][repair]") {
  VirtualHosts hosts;
  Fill(hosts);
  hosts.Kill(3);
  KEELSON_REQUIRE_OK(hosts.At(3).fs.FlipBit(kSegment, PlaceOf(hosts.At(3), ValueOf(5, 2)), 2));

  hosts.Start(3);

  REQUIRE(hosts.At(3).host->Lost().has_value());
  CHECK(hosts.At(3).host->Lost()->groups == std::vector<GroupId>{5});
  CHECK_FALSE(hosts.At(3).host->Lost()->forgotten);
  CHECK(hosts.At(3).host->Group(5)->Peek().recovering);
  CHECK_FALSE(hosts.At(3).host->Group(6)->Peek().recovering);
  CHECK(hosts.At(3).host->GetStats().recovering == 1);
  CheckWhole(hosts);
  // The damage is no part of the log any more.
  hosts.Kill(3);
  hosts.Start(3);
  CHECK_FALSE(hosts.At(3).host->Lost().has_value());
  KEELSON_ASSIGN_OR_FAIL(const bool kept, hosts.At(3).fs.Exists(kSegment + ".damaged"));
  CHECK(kept);
}

TEST_CASE("Groups that sleep are woken by a member that has lost its data",
          "[raft][host][repair]") {
  VirtualHosts hosts;
  Fill(hosts);
  hosts.RunUntil([&] { return hosts.AllAsleep(); });
  // Long enough to lose data, and too short for the others to miss it.
  hosts.Kill(3);
  const size_t place = PlaceOf(hosts.At(3), ValueOf(5, 2));
  KEELSON_REQUIRE_OK(hosts.At(3).fs.FlipBit(kSegment, place - 24 - 32 + 9, 2));
  hosts.Start(3);
  REQUIRE(hosts.At(3).host->GetStats().recovering == kGroups);

  hosts.RunUntil([&] { return Sound(hosts) && hosts.AllAsleep(); }, absl::Seconds(20));
}

TEST_CASE("A record header that is damaged makes all groups recover", "[raft][host][repair]") {
  VirtualHosts hosts;
  Fill(hosts);
  hosts.Kill(3);
  const size_t place = PlaceOf(hosts.At(3), ValueOf(5, 2));
  KEELSON_REQUIRE_OK(hosts.At(3).fs.FlipBit(kSegment, place - 24 - 32 + 9, 2));

  hosts.Start(3);

  CHECK(hosts.At(3).host->GetStats().recovering == kGroups);
  CheckWhole(hosts);
}

TEST_CASE("A host that lost its disk gets all groups again when it says so",
          "[raft][host][repair]") {
  VirtualHosts hosts;
  Fill(hosts);
  hosts.Kill(3);
  const bool only_the_log = GENERATE(true, false);
  if (!only_the_log) hosts.At(3).machines.clear();
  KEELSON_ASSIGN_OR_FAIL(const auto names, hosts.At(3).fs.List("raft/wal"));
  for (const std::string& name : names) {
    KEELSON_REQUIRE_OK(hosts.At(3).fs.Remove("raft/wal/" + name));
  }

  hosts.Start(3);
  std::vector<Host::NewGroup> groups;
  for (GroupId group = 1; group <= kGroups; ++group) {
    groups.push_back({.id = group,
                      .machine = &hosts.MachineOf(hosts.At(3), group, VirtualHosts::AllVoters()),
                      .lost = true});
  }
  bool done = false;
  hosts.At(3).host->CreateGroups(groups, [&](const absl::Status& status) {
    KEELSON_REQUIRE_OK(status);
    done = true;
  });
  hosts.RunUntil([&] { return done; });

  CHECK(hosts.At(3).host->GetStats().groups == kGroups);
  CheckWhole(hosts);
  // One that is there is not made once more.
  absl::Status again;
  hosts.At(3).host->CreateGroups({groups[0]}, [&](const absl::Status& status) { again = status; });
  hosts.RunUntil([&] { return !again.ok(); });
  CHECK(again.code() == absl::StatusCode::kAlreadyExists);
}

TEST_CASE("A machine that is ahead of the log is a loss of that group", "[raft][host][repair]") {
  VirtualHosts hosts;
  Fill(hosts);
  // The machine is durable further than a log from before its last entries.
  KEELSON_REQUIRE_OK(hosts.At(3).machines.at(4)->Flush());
  const SnapshotMetadata ahead = hosts.At(3).machines.at(4)->Applied();
  hosts.Kill(3);
  const size_t place = PlaceOf(hosts.At(3), ValueOf(4, 1));
  KEELSON_REQUIRE_OK(hosts.At(3).fs.FlipBit(kSegment, place, 1));

  hosts.Start(3);

  const Node::Snapshot peek = hosts.At(3).host->Group(4)->Peek();
  CHECK(peek.recovering);
  CHECK(peek.first_index == ahead.index + 1);  // What is applied needs no log.
  CheckWhole(hosts);
}

TEST_CASE("A damaged snapshot that the log relies on is a loss of that group",
          "[raft][host][repair]") {
  Host::Options options = VirtualHosts::SmallSegments();
  options.node.compact_every_entries = 2;
  options.node.keep_entries = 0;
  VirtualHosts hosts(options);
  Fill(hosts, 3);
  // Host 3 misses what follows, which it does not lead, and gets a snapshot of group 2.
  hosts.At(hosts.LeaderOf(2)).host->Group(2)->TransferLeadership(1);
  hosts.RunUntil([&] { return hosts.LeaderOf(2) == 1; });
  hosts.network().Cut(3);
  for (int i = 0; i < 5; ++i) hosts.Propose(1, 2, "more");
  hosts.RunUntil([&] { return hosts.At(1).machines.at(2)->values().size() == 8; });
  hosts.RunFor(absl::Seconds(5));
  hosts.network().Heal(3);
  hosts.RunUntil([&] { return hosts.At(3).machines.at(2)->values().size() == 8; });
  REQUIRE(hosts.At(3).host->Group(2)->GetStats().snapshots_restored == 1);
  hosts.Kill(3);
  // As if the machine had not loaded it yet.
  hosts.At(3).machines.erase(2);
  KEELSON_ASSIGN_OR_FAIL(const auto names, hosts.At(3).fs.List("raft/snapshots/2"));
  REQUIRE(names.size() == 1);
  KEELSON_REQUIRE_OK(hosts.At(3).fs.FlipBit("raft/snapshots/2/" + names[0], 150, 0));
  hosts.MachineOf(hosts.At(3), 2, VirtualHosts::AllVoters());

  hosts.Start(3);

  CHECK(hosts.At(3).host->Group(2)->Peek().recovering);
  CHECK_FALSE(hosts.At(3).host->Group(1)->Peek().recovering);
  CHECK_FALSE(hosts.At(3).host->Lost().has_value());  // Nothing of the log.
  hosts.RunUntil([&] { return Sound(hosts) && hosts.At(3).machines.at(2)->values().size() == 8; });
}

TEST_CASE("A group that cannot do without this host does not start, the others do",
          "[raft][host][repair]") {
  VirtualHosts hosts;
  VirtualHost& host = hosts.At(1);
  const SnapshotMetadata alone{.conf_state = {.voters = {1}}};
  bool created = false;
  host.host->CreateGroups(
      {{1, alone, &hosts.MachineOf(host, 1, alone)}, {2, alone, &hosts.MachineOf(host, 2, alone)}},
      [&](const absl::Status& status) { created = status.ok(); });
  hosts.RunUntil([&] { return created && hosts.LeaderOf(1) == 1 && hosts.LeaderOf(2) == 1; });
  hosts.Propose(1, 1, ValueOf(1, 1));
  hosts.Propose(1, 2, ValueOf(2, 1));
  hosts.RunUntil([&] {
    return host.machines.at(1)->values().size() == 1 && host.machines.at(2)->values().size() == 1;
  });
  hosts.Kill(1);
  KEELSON_REQUIRE_OK(host.fs.FlipBit(kSegment, PlaceOf(host, ValueOf(1, 1)), 1));

  for (int life = 0; life < 2; ++life) {
    hosts.Open(1);
    const absl::Status refused = host.host->StartGroup(1, host.machines.at(1).get());
    CHECK(refused.code() == absl::StatusCode::kDataLoss);
    CHECK(std::string(refused.message()).find("group 1") != std::string::npos);
    CHECK(host.host->Recovered() == std::vector<GroupId>{1, 2});
    KEELSON_REQUIRE_OK(host.host->StartGroup(2, host.machines.at(2).get()));
    hosts.RunUntil([&] { return hosts.LeaderOf(2) == 1; });
    hosts.Kill(1);
  }
}

}  // namespace
}  // namespace keelson::raft
