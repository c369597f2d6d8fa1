// One simulated machine with one member on it: disks, clock, threads, and in each life of
// its process the production Wal, SnapshotStore and Node with a KvMachine on top.
#ifndef KEELSON_RAFT_SIM_SIM_NODE_H_
#define KEELSON_RAFT_SIM_SIM_NODE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/testing/sim_file_system.h"
#include "raft/internal/trace.h"
#include "raft/member_storage.h"
#include "raft/node.h"
#include "raft/observer.h"
#include "raft/sim/conduct.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/history.h"
#include "raft/sim/invariants.h"
#include "raft/sim/kv_machine.h"
#include "raft/sim/log_view.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_member.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_wal.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/wire_rules.h"
#include "raft/snapshot_store.h"
#include "raft/transport.h"
#include "raft/types.h"
#include "raft/wal.h"

namespace keelson::raft::sim {

enum class CrashKind : uint8_t {
  kPower = 0,    // what was not synced meets its fate
  kProcess = 1,  // what was written stays
};

// What was done to a node's log.
enum class DiskStep : uint8_t { kRecovered = 0, kCompacted = 1 };

class SimNode final : public SimMember, public Observer {
 public:
  struct Options {
    NodeId id = kNoNode;
    ConfState members;  // at the first start
    Node::Options node;
    uint64_t segment_bytes = 32 << 10;
    KvMachine::Options machine;
    SimFileSystem::Faults disk;
    SimExecutor::Options executor;
    double slow_apply = 0;  // stall probability of the apply thread
    double halts = 0;       // see Swarm
    absl::Duration halt_time;
  };

  // What the machine stands in. Borrowed, outlives it.
  struct Env {
    SimWorld& world;
    SimNetwork& network;
    Invariants& invariants;
    Conduct& conduct;
    WireRules& wire;
    History& history;
  };

  // What happens to it, for those who plan faults by it. Called in the middle of a step: must not
  // touch the node.
  struct Hooks {
    std::function<void(NodeId, const AnyEvent&)> on_event;
    std::function<void(NodeId, DiskStep)> on_disk;
  };
  void SetHooks(Hooks hooks) { hooks_ = std::move(hooks); }

  SimNode(Env env, const Options& options);
  ~SimNode() override;

  // Starts the process: recovers from the disks. On an error it has not started, and Crash must
  // be called before the next try.
  absl::Status Start();

  // Ends the process at once. Also valid when it does not run.
  void Crash(CrashKind kind);

  // Stops the process for `time`: messages and ticks wait.
  void Pause(absl::Duration time);
  // The same with the whole machine: its monotonic clock stops, too.
  void Suspend(absl::Duration time);

  // What is asked of the disks from now on is not done before `time` has passed.
  void StallDisks(absl::Duration time) { stalled_until_ = env_.world.now() + time; }

  // The state machine does nothing for `time`: what it is given waits.
  void PauseApply(absl::Duration time);

  // Its clock runs at `rate` from now on.
  void SetClockRate(double rate);
  void JumpWallClock(absl::Duration offset) { clock_.JumpWallClock(offset); }

  // The next start of the process goes by these.
  void SetNodeOptions(const Node::Options& options) { options_.node = options; }

  // Something happens to its disks while it does not run.
  void Damage(Random& random, FaultCounts& counts);
  void Wipe();
  // It has lost data, as far as can be seen, and has not recovered yet.
  [[nodiscard]] bool impaired() const { return damaged_ || disk_log_.durable_state.recovering; }
  [[nodiscard]] uint64_t losses() const { return losses_; }
  [[nodiscard]] uint64_t halts() const { return halts_; }

  [[nodiscard]] bool running() const { return process_ != nullptr; }
  // Why the process must end now: its power was cut, or the node reported a fatal error.
  // OK while it may go on.
  [[nodiscard]] absl::Status MustCrash() const;

  // Shows the checker where the node stands; whether the node has done anything since the last time.
  // Call after every event.
  bool Inspect();
  // Asks the node for its whole status, which goes to the checker when the loop answers.
  void RequestStatus();

  void Write(const KvCommand& command, std::function<void(Index)> done,
             std::function<void()> refused) override;
  void Read(const std::string& key, absl::Duration timeout,
            std::function<void(const KvValue*, Index)> done) override;

  [[nodiscard]] Node* node() const override {
    return process_ == nullptr ? nullptr : process_->node.get();
  }
  [[nodiscard]] const KvState& state() const override { return process_->machine->state(); }
  [[nodiscard]] SimFileSystem& disk() { return disk_; }
  [[nodiscard]] NodeId id() const override { return options_.id; }
  // From here on its disk and threads are without faults.
  void Calm();
  // When what its threads do now, or the pause, will be over.
  [[nodiscard]] absl::Duration busy_until() const;

  void On(NodeId self, const Event& event) override;
  void OnTrace(NodeId self, const TraceEvent& step) override;

 private:
  class Sender;

  // All that dies with the process. Destroyed from the last member up.
  struct Process {
    std::unique_ptr<SimExecutor> loop;
    std::unique_ptr<SimExecutor> append;
    std::unique_ptr<SimExecutor> apply;
    std::unique_ptr<SimExecutor> background;
    std::unique_ptr<SimWal> wal;
    std::unique_ptr<SnapshotStore> snapshots;
    std::unique_ptr<KvMachine> machine;
    std::unique_ptr<Transport> transport;
    std::unique_ptr<Node> node;
    absl::Status fatal;
    uint64_t ran = 0;                                                            // tasks
    std::optional<uint64_t> inspected_at;                                        // of these
    std::map<std::pair<uint64_t, uint64_t>, std::function<void(Index)>> writes;  // waiting

    [[nodiscard]] std::array<SimExecutor*, 4> Executors() const {
      return {loop.get(), append.get(), apply.get(), background.get()};
    }
  };

  // Tells those who follow what the node does.
  void Spread(NodeId self, const AnyEvent& event);
  absl::Status Recover(Process& process);
  absl::StatusOr<MemberStorage> OpenStorage(KvMachine& machine);
  absl::Status OpenLogAgain(const MemberStorageOptions& options, MemberStorage& storage);
  void CheckOrderOnDisk();
  KvMachine::Hooks MachineHooks(Process& process);
  void KillExecutors();
  // Whether the thread that sends `messages` stands still then, before it has ended its task.
  bool HaltsAfter(const std::vector<Message>& messages);
  void Halt();
  // The disk took `time`.
  void SpendOnDisk(absl::Duration time);

  const Env env_;
  Options options_;
  Hooks hooks_;
  Random random_;
  SimClock clock_;
  SimFileSystem disk_;          // log and snapshots
  SimFileSystem machine_disk_;  // the state machine's, which never fills up
  DiskLog disk_log_;
  uint64_t starts_ = 0;
  bool damaged_ = false;  // since the last good start
  bool wiped_ = false;
  uint64_t losses_ = 0;  // that it found out
  uint64_t halts_ = 0;
  absl::Duration stalled_until_;
  absl::Duration started_at_;  // when its recovery is over
  bool calm_ = false;
  std::unique_ptr<Process> process_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_NODE_H_
