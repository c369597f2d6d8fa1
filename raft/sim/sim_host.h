// One simulated machine with a host of several groups on it: disks, clock, threads, and in each life
// of its process the production Host, its shared log and snapshot stores, with a KvMachine for each
// group.
#ifndef KEELSON_RAFT_SIM_SIM_HOST_H_
#define KEELSON_RAFT_SIM_SIM_HOST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/testing/sim_file_system.h"
#include "raft/host.h"
#include "raft/internal/shared_wal.h"
#include "raft/internal/trace.h"
#include "raft/observer.h"
#include "raft/sim/client_log.h"
#include "raft/sim/conduct.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/history.h"
#include "raft/sim/invariants.h"
#include "raft/sim/kv_machine.h"
#include "raft/sim/log_view.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_member.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_node.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/wire_rules.h"
#include "raft/types.h"

namespace keelson::raft::sim {

// What is known of one group by all hosts, and the judges of it.
struct SimGroup {
  SimGroup(GroupId group, const ConfState& members, const WireRules::Options& wire_options)
      : id(group), conf_state(members), wire(invariants, wire_options) {
    invariants.SetFirstMembership(members);
  }
  const GroupId id;
  const ConfState conf_state;
  Invariants invariants;
  Conduct conduct{invariants};
  WireRules wire;
  History history{invariants};
  ClientLog client_log;
  bool retired = false;  // it is being removed everywhere
};

class SimHost {
 public:
  struct Options {
    NodeId id = kNoNode;
    Node::Options node;
    uint64_t segment_bytes = 32 << 10;
    KvMachine::Options machine;
    SimFileSystem::Faults disk;
    SimExecutor::Options executor;
    double slow_apply = 0;
  };
  // Borrowed, outlives it. `group_of`: of every group that was ever placed here.
  struct Env {
    SimWorld& world;
    SimNetwork& network;
    Invariants& invariants;  // hears of what concerns no group
    std::function<SimGroup&(GroupId)> group_of;
  };

  SimHost(Env env, const Options& options);
  ~SimHost();

  // --- Groups ---

  // This host is to be a member of `group` from now on, or no more. It sees to that as it can, over
  // crashes.
  void Place(GroupId group);
  void Retire(GroupId group);
  // All that are placed are there, and all that are retired are gone.
  [[nodiscard]] bool settled() const;
  // The member of `group` here. Lives as long as the host.
  [[nodiscard]] SimMember& MemberOf(GroupId group);

  // --- The machine: as SimNode ---

  absl::Status Start();
  void Crash(CrashKind kind);
  void Pause(absl::Duration time);
  void StallDisks(absl::Duration time) { stalled_until_ = env_.world.now() + time; }
  void Damage(Random& random, FaultCounts& counts);
  void Wipe();
  void Calm();
  // It has lost data of some group, as far as can be seen, and that has not recovered yet.
  [[nodiscard]] bool impaired() const;
  [[nodiscard]] uint64_t losses() const { return losses_; }
  [[nodiscard]] bool running() const { return process_ != nullptr; }
  [[nodiscard]] absl::Status MustCrash() const;
  [[nodiscard]] absl::Duration busy_until() const;
  void Inspect();
  void RequestStatus(GroupId group);

  [[nodiscard]] Host* host() const { return process_ == nullptr ? nullptr : process_->host.get(); }
  [[nodiscard]] SimFileSystem& disk() { return disk_; }
  [[nodiscard]] NodeId id() const { return options_.id; }
  // How often a group here fell asleep.
  [[nodiscard]] uint64_t sleeps() const { return sleeps_; }

 private:
  class Member;
  class Listener;
  struct Process {
    Process();
    ~Process();
    std::vector<std::unique_ptr<SimExecutor>> executors;  // two loops, append, apply, background
    std::map<GroupId, std::unique_ptr<KvMachine>> machines;
    std::map<GroupId, std::unique_ptr<Listener>> listeners;
    std::unique_ptr<Host> host;
    std::map<GroupId, std::shared_ptr<Node>> nodes;  // those that are started
    std::set<GroupId> creating, removing;            // under way
    absl::Status fatal;
    // Waiting: by group, client and sequence.
    std::map<std::tuple<GroupId, uint64_t, uint64_t>, std::function<void(Index)>> writes;
  };

  absl::Status OpenProcess(Process& process);
  absl::Status StartGroups(Process& process);
  absl::StatusOr<std::unique_ptr<KvMachine>> OpenMachine(Process& process, GroupId group);
  KvMachine::Hooks MachineHooks(Process& process, SimGroup& group);
  std::unique_ptr<SharedWal> Wrap(Process& process, std::unique_ptr<SharedWal> log,
                                  const SharedWal::Recovered& recovered);
  void OnOpened(Process& process, const SharedWal& log, const SharedWal::Recovered& recovered);
  void OnFound(Process& process, GroupId group, const Wal::Recovered& log);
  void OnBeganAnew(Process& process, GroupId group, const Wal::Recovered& now);
  void OnEvent(GroupId group, NodeId self, const Event& event);
  void OnTrace(GroupId group, NodeId self, const TraceEvent& step);
  void Spread(GroupId group, NodeId self, const AnyEvent& event);
  // Makes what is missing, and removes what is too much, now and again.
  void Reconcile();
  void Create(GroupId group);
  void Remove(GroupId group);
  void Later(absl::Duration delay, std::function<void()> task);  // in this life
  void SpendOnDisk(absl::Duration time);
  void Fail(const std::string& text) { env_.invariants.Fail("DUR", text); }
  [[nodiscard]] KvMachine* MachineOf(GroupId group) const;
  [[nodiscard]] Node* NodeOf(GroupId group) const;

  const Env env_;
  const Options options_;
  Random random_;
  SimClock clock_;
  SimFileSystem disk_;
  SimFileSystem machine_disk_;
  std::map<GroupId, std::unique_ptr<Member>> members_;
  std::map<GroupId, DiskLog> disk_logs_;
  std::set<GroupId> placed_, retired_;  // what is wanted
  std::set<GroupId> begun_;             // durably, and perhaps has promised something
  std::set<GroupId> gone_;              // retired, and not here
  std::set<GroupId> removed_;           // of these, those that had been here
  std::set<GroupId> to_be_lost_;        // begun, and nothing is left of it
  uint64_t starts_ = 0;
  uint64_t losses_ = 0;
  uint64_t sleeps_ = 0;
  bool damaged_ = false;  // since the last good start
  bool calm_ = false;
  absl::Duration stalled_until_;
  absl::Duration started_at_;
  std::unique_ptr<Process> process_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_HOST_H_
