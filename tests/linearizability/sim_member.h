// One simulated machine with one member of the store on it: the production Server, state machine,
// Raft node and write-ahead log, on a simulated disk, network and clock.
#ifndef KEELSON_TESTS_LINEARIZABILITY_SIM_MEMBER_H_
#define KEELSON_TESTS_LINEARIZABILITY_SIM_MEMBER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/testing/sim_file_system.h"
#include "kvstore/server/server.h"
#include "kvstore/state_machine.h"
#include "raft/member_storage.h"
#include "raft/node.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_world.h"

namespace keelson::linearizability {

// A defect that is put between the parts, to see it found. Those of etcd carry its issue's number.
enum class Plant : uint8_t {
  kNone,
  kStaleReads,         // reads are serializable, and judged as if they were not
  kOldLeaderRevokes,   // 15247: a leader that was stopped ends leases that its successor renewed
  kAppliedTwice,       // 13766: what the store says to have applied is less than what it holds
  kUnsyncedLog,        // 14370: a write is acknowledged before it is on disk
  kEventLost,          // 17529: watchers are not told of a change
  kSnapshotForgotten,  // 15271: watchers are not told that a snapshot replaced the state
};
struct PlantInfo {
  Plant plant;
  const char* name;
};
const std::vector<PlantInfo>& Plants();

class SimMember {
 public:
  struct Options {
    uint64_t id = 0;
    std::string name;
    std::vector<kvstore::Store::MemberAttributes> founders;
    std::vector<kvstore::Store::MemberAttributes> known_members;
    raft::Node::Options node;
    absl::Duration election_timeout;
    double clock_rate = 1;
    SimFileSystem::Faults disk;
    double slow_apply = 0;  // stall probability of the apply thread
    Plant plant = Plant::kNone;
  };
  // Borrowed, outlives it.
  struct Env {
    raft::sim::SimWorld& world;
    raft::sim::SimNetwork& network;
    // Null where there is none of that id.
    std::function<SimMember*(uint64_t)> find;
    // The member's process is about to end: streams to it must be closed.
    std::function<void(SimMember&)> on_down;
  };

  SimMember(Env env, const Options& options);
  ~SimMember();

  // Starts the process. On an error it has not started, and Crash must come before the next try.
  absl::Status Start();
  // Ends it: by the loss of power, or by kill -9.
  void Crash(bool power);
  // Ends it for good.
  void Retire();
  void Pause(absl::Duration time);
  void SetClockRate(double rate);
  // Faults of the disk and slowness end.
  void Calm();

  [[nodiscard]] uint64_t id() const { return options_.id; }
  [[nodiscard]] bool running() const { return process_ != nullptr; }
  [[nodiscard]] bool retired() const { return retired_; }
  // The process must end: something failed for good, or the cluster has removed the member.
  [[nodiscard]] bool failed() const;
  [[nodiscard]] bool removed() const { return removed_; }
  // The following only while it runs.
  [[nodiscard]] kvstore::Server& server() { return *process_->server; }
  [[nodiscard]] raft::Node& node() { return *process_->node; }
  // What comes from outside is served here, so that a stopped process serves nothing.
  [[nodiscard]] Executor& door() { return *process_->door; }
  // Expires with the process.
  [[nodiscard]] std::weak_ptr<void> life() const { return process_->life; }
  [[nodiscard]] kvstore::Store& store() { return machine_->store(); }
  [[nodiscard]] uint64_t snapshots_restored() const { return restored_; }

 private:
  class Relay;
  class Planted;
  class Peers;
  struct Process {
    std::shared_ptr<int> life = std::make_shared<int>(0);
    std::map<std::string, std::unique_ptr<raft::sim::SimExecutor>> executors;
    raft::sim::SimExecutor* door = nullptr;
    std::unique_ptr<Peers> peers;
    std::unique_ptr<kvstore::Server> server;
    std::unique_ptr<raft::Wal> wal;
    std::unique_ptr<raft::SnapshotStore> snapshots;
    std::unique_ptr<raft::StateMachine> planted;  // around the machine
    std::unique_ptr<raft::Node> node;
    absl::Status fatal;
  };

  raft::sim::SimExecutor* AddExecutor(const std::string& name, double stall);
  void MakeServer();
  absl::Status StartNode();

  const Env env_;
  Options options_;
  Random random_;
  raft::sim::SimClock clock_;
  SimFileSystem disk_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<kvstore::StateMachine> machine_;
  uint64_t starts_ = 0;
  uint64_t restored_ = 0;
  bool retired_ = false;
  bool removed_ = false;
  bool calm_ = false;
  std::unique_ptr<Process> process_;
};

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_SIM_MEMBER_H_
