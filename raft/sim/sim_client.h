// A client of the simulated cluster: one operation at a time, on random nodes, with time-outs
// and retries; everything it sees goes into the history.
#ifndef KEELSON_RAFT_SIM_SIM_CLIENT_H_
#define KEELSON_RAFT_SIM_SIM_CLIENT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/random.h"
#include "raft/sim/client_log.h"
#include "raft/sim/history.h"
#include "raft/sim/sim_member.h"
#include "raft/sim/sim_world.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {

class SimClient {
 public:
  // All borrowed; they outlive the client.
  SimClient(uint64_t id, SimWorld& world, std::vector<SimMember*> members, History& history,
            ClientLog& log, const Swarm& swarm);

  // Works until Stop.
  void Start() { NextOperation(); }
  void Stop() { stopped_ = true; }
  // Begins nothing new before `until`.
  void RestUntil(absl::Duration until) { rest_until_ = until; }

  struct Counters {
    uint64_t retries = 0;
    uint64_t huge_writes = 0;
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

  // A write through `node` that calls `done` when it succeeded; once.
  void WriteOnce(SimMember& node, std::function<void(Index)> done);

 private:
  void NextOperation();
  void Operate();
  void BeginWrite();
  // When an operation began, for the two records of it.
  struct Began {
    Index revision = 0;
    ClientLog::Call call;
  };
  void TryWrite(const Began& began, const KvCommand& command, bool first_try);
  void BeginRead();
  void Finish();  // the operation is over, whatever came of it
  std::string RandomKey();
  SimMember& RandomNode() { return *nodes_[random_.Below(nodes_.size())]; }

  const uint64_t id_;
  SimWorld& world_;
  const std::vector<SimMember*> nodes_;
  History& history_;
  ClientLog& log_;
  const Swarm& swarm_;
  Random random_;
  bool stopped_ = false;
  absl::Duration rest_until_;
  Counters counters_;
  uint64_t sequence_ = 0;   // of the last write
  uint64_t operation_ = 0;  // grows with each attempt, so that late answers are known
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_CLIENT_H_
