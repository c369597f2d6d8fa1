// Three hosts with many groups on virtual time, disks in memory and a network in memory.
#ifndef KEELSON_RAFT_TESTING_VIRTUAL_HOSTS_H_
#define KEELSON_RAFT_TESTING_VIRTUAL_HOSTS_H_

#include <catch2/catch.hpp>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/host.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_world.h"
#include "raft/testing/virtual_network.h"

namespace keelson::raft {

// What survives a crash: disk and machines. The rest is made anew.
struct VirtualHost {
  VirtualHost(sim::SimWorld& world, NodeId node)
      : id(node),
        fs(Random(id), {.faults = {.sync_latency = absl::Milliseconds(1)},
                        .on_latency = [&world](absl::Duration time) { world.Spend(time); }}) {}

  const NodeId id;
  SimFileSystem fs;
  std::map<GroupId, std::unique_ptr<VirtualMachine>> machines;
  std::unique_ptr<sim::SimClock> clock;
  std::unique_ptr<sim::SimExecutor> loop_a, loop_b, append, apply, background;
  std::unique_ptr<Host> host;
  std::vector<std::pair<GroupId, absl::Status>> fatal;
  std::vector<std::pair<GroupId, NodeId>> unknown;
  int life = 0;
};

class VirtualHosts {
 public:
  static constexpr size_t kHosts = 3;

  explicit VirtualHosts(Host::Options options = SmallSegments()) : options_(std::move(options)) {
    options_.dir = "raft";
    options_.cluster_id = 7;
    for (NodeId id = 1; id <= kHosts; ++id) {
      hosts_[id - 1] = std::make_unique<VirtualHost>(world_, id);
      Start(id);
    }
  }

  // Disks are in memory, and a restart reads all of them.
  static Host::Options SmallSegments() {
    Host::Options options;
    options.wal.segment_bytes = 1 << 20;
    return options;
  }

  VirtualHost& At(NodeId id) { return *hosts_[id - 1]; }
  const std::array<std::unique_ptr<VirtualHost>, kHosts>& all() const { return hosts_; }
  sim::SimWorld& world() { return world_; }
  VirtualNetwork& network() { return network_; }

  void RunUntil(const std::function<bool()>& done, absl::Duration limit = absl::Minutes(2)) {
    const absl::Duration deadline = world_.now() + limit;
    for (uint64_t step = 0; step % 256 != 0 || !done(); ++step) {
      REQUIRE(world_.now() < deadline);
      REQUIRE(world_.Step());
    }
  }
  void RunFor(absl::Duration time) {
    const absl::Duration end = world_.now() + time;
    while (world_.now() < end && world_.Step()) {
    }
  }

  // Groups [first, last] with a member on each host.
  void Create(GroupId first, GroupId last) {
    int done = 0;
    for (const auto& host : hosts_) {
      std::vector<Host::NewGroup> groups;
      for (GroupId group = first; group <= last; ++group) {
        groups.push_back({group, AllVoters(), &MachineOf(*host, group, AllVoters())});
      }
      host->host->CreateGroups(std::move(groups), [&done](const absl::Status& status) {
        KEELSON_REQUIRE_OK(status);
        ++done;
      });
    }
    RunUntil([&done] { return done == kHosts; });
  }
  VirtualMachine& MachineOf(VirtualHost& host, GroupId group, const SnapshotMetadata& start) {
    auto& machine = host.machines[group];
    if (machine == nullptr) machine = std::make_unique<VirtualMachine>(start);
    return *machine;
  }
  static SnapshotMetadata AllVoters() { return {.conf_state = {.voters = {1, 2, 3}}}; }

  // Starts the host, with the groups of its log.
  void Start(NodeId id) {
    Open(id);
    VirtualHost& host = At(id);
    for (const GroupId group : host.host->Recovered()) {
      KEELSON_REQUIRE_OK(host.host->StartGroup(group, &MachineOf(host, group, {})));
    }
  }
  // The same without the groups.
  void Open(NodeId id) {
    VirtualHost& host = At(id);
    ++host.life;
    host.clock = std::make_unique<sim::SimClock>(world_, 1);
    const Random random = Random(id * 1000 + static_cast<uint64_t>(host.life));
    for (auto* executor :
         {&host.loop_a, &host.loop_b, &host.append, &host.apply, &host.background}) {
      *executor = std::make_unique<sim::SimExecutor>(world_, random, sim::SimExecutor::Options());
    }
    Host::Options options = options_;
    options.id = id;
    options.wal.incarnation = id;
    options.on_fatal = [&host](GroupId group, absl::Status status) {
      host.fatal.emplace_back(group, std::move(status));
    };
    options.on_unknown_group = [&host](GroupId group, NodeId from) {
      host.unknown.emplace_back(group, from);
    };
    KEELSON_ASSIGN_OR_FAIL(host.host,
                           Host::Open(options, {.clock = host.clock.get(),
                                                .fs = &host.fs,
                                                .transport = &network_.TransportOf(id),
                                                .loops = {host.loop_a.get(), host.loop_b.get()},
                                                .append = host.append.get(),
                                                .apply = host.apply.get(),
                                                .background = host.background.get(),
                                                .random = random}));
    network_.SetSink(id, host.host.get());
    network_.SetStores(id, [&host](GroupId group) { return host.host->Snapshots(group); });
  }

  // The machine loses power.
  void Kill(NodeId id) {
    VirtualHost& host = At(id);
    network_.SetSink(id, nullptr);
    for (auto* executor :
         {&host.loop_a, &host.loop_b, &host.append, &host.apply, &host.background}) {
      (*executor)->Kill();
    }
    host.host.reset();
    host.fs.PowerLoss();
    for (auto& [group, machine] : host.machines) machine->Crash();
  }

  // The host that leads `group` and knows it to be committed so far; 0 if none does.
  NodeId LeaderOf(GroupId group) {
    NodeId leader = kNoNode;
    Term term = 0;
    for (const auto& host : hosts_) {
      const auto node = host->host == nullptr ? nullptr : host->host->Group(group);
      if (node == nullptr) continue;
      const Node::Snapshot peek = node->Peek();
      if (peek.soft_state.role != Role::kLeader || peek.term <= term) continue;
      leader = host->id;
      term = peek.term;
    }
    return leader;
  }
  bool AllLed(GroupId first, GroupId last) {
    for (GroupId group = first; group <= last; ++group) {
      if (LeaderOf(group) == kNoNode) return false;
    }
    return true;
  }
  bool AllAsleep() {
    for (const auto& host : hosts_) {
      if (host->host == nullptr) continue;
      const Host::Stats stats = host->host->GetStats();
      if (stats.asleep != stats.groups) return false;
    }
    return true;
  }

  void Propose(NodeId host, GroupId group, const std::string& value) {
    At(host).host->Group(group)->Propose(Payload(value), nullptr);
  }
  // True when all machines of the group on hosts that live hold `values`.
  bool AllHold(GroupId group, const std::vector<std::string>& values) {
    for (const auto& host : hosts_) {
      if (host->host != nullptr && host->machines.at(group)->values() != values) return false;
    }
    return true;
  }

 private:
  Host::Options options_;
  sim::SimWorld world_{1};
  VirtualNetwork network_{world_};
  std::array<std::unique_ptr<VirtualHost>, kHosts> hosts_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_VIRTUAL_HOSTS_H_
