// One member of a simulated cluster: what survives a crash (disk, clock, durable state), and the
// process that runs on it.
#ifndef KEELSON_KVSTORE_TESTING_INTERNAL_SIMULATED_MEMBER_H_
#define KEELSON_KVSTORE_TESTING_INTERNAL_SIMULATED_MEMBER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/metrics.h"
#include "base/rpc/local.h"
#include "base/testing/sim_file_system.h"
#include "kvstore/server/peer_calls.h"
#include "kvstore/server/server.h"
#include "kvstore/state_machine.h"
#include "raft/member_storage.h"
#include "raft/node.h"
#include "raft/sim/sim_executor.h"
#include "raft/sim/sim_network.h"
#include "raft/sim/sim_world.h"

namespace keelson::kvstore {

// Passes on what a state machine says to the server of the life that runs.
class ListenerRelay final : public ApplyListener {
 public:
  void SetTarget(ApplyListener* target) { target_ = target; }

  bool IsWaiting(uint64_t request_id) override { return target_->IsWaiting(request_id); }
  void OnChanges(std::vector<Store::Change> changes) override {
    target_->OnChanges(std::move(changes));
  }
  void OnLeases(std::vector<LeaseChange> changes) override {
    target_->OnLeases(std::move(changes));
  }
  void OnAuth(std::vector<AuthChange> changes) override { target_->OnAuth(std::move(changes)); }
  void OnMembership(const raft::ConfState& in_force) override { target_->OnMembership(in_force); }
  void OnResults(std::vector<CommandResult> results) override {
    target_->OnResults(std::move(results));
  }
  void OnRestored() override { target_->OnRestored(); }

 private:
  ApplyListener* target_ = nullptr;
};

class SimulatedMember {
 public:
  struct Options {
    raft::NodeId id = raft::kNoNode;
    std::vector<Store::MemberAttributes> founders;
    absl::Duration heartbeat_interval;
    absl::Duration election_timeout;
  };
  // Finds the server of another member, and how to say something there; null: not running.
  using FindMember = std::function<SimulatedMember*(raft::NodeId)>;
  // Runs a task at `to`, after a moment, unless the way from `from` is cut.
  using SendTo = std::function<void(raft::NodeId from, raft::NodeId to, Executor::Task task)>;

  SimulatedMember(raft::sim::SimWorld& world, raft::sim::SimNetwork& network, Options options,
                  FindMember find, SendTo send);
  ~SimulatedMember();

  void Start();
  void Crash();
  void Pause(absl::Duration time);
  void SetClockRate(double rate);
  void JumpClock(absl::Duration offset) { clock_.JumpWallClock(offset); }

  [[nodiscard]] bool running() const { return process_ != nullptr; }
  [[nodiscard]] raft::Node::Snapshot Peek() const { return process_->node->Peek(); }
  // Precondition: running.
  [[nodiscard]] Server& server() { return *process_->server; }
  [[nodiscard]] Executor& timers() { return *process_->timers; }
  // Of the life that runs or ran last.
  [[nodiscard]] rpc::LocalServer& rpc() { return *rpc_; }
  [[nodiscard]] uint64_t lives() const { return lives_; }
  [[nodiscard]] std::string name() const;

 private:
  class Peers;
  struct Process {
    std::unique_ptr<raft::sim::SimExecutor> loop, append, apply, background, timers, delivery,
        catch_up, backups, rpc;
    std::unique_ptr<PeerCalls> peers;
    MetricRegistry metrics;
    std::unique_ptr<Server> server;
    raft::MemberStorage storage;
    std::unique_ptr<raft::Node> node;

    [[nodiscard]] std::vector<raft::sim::SimExecutor*> Executors() const {
      return {loop.get(),     append.get(),   apply.get(),   background.get(), timers.get(),
              delivery.get(), catch_up.get(), backups.get(), rpc.get()};
    }
  };

  void MakeExecutors(Process& process);
  void MakeServer(Process& process);
  void StartNode(Process& process);

  raft::sim::SimWorld& world_;
  raft::sim::SimNetwork& network_;
  const Options options_;
  const FindMember find_;
  const SendTo send_;
  Random random_;
  raft::sim::SimClock clock_;
  SimFileSystem disk_;
  ListenerRelay relay_;
  std::unique_ptr<StateMachine> machine_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<rpc::LocalServer> rpc_;
  double clock_rate_ = 1;
  uint64_t lives_ = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_TESTING_INTERNAL_SIMULATED_MEMBER_H_
