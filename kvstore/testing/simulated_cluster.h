// A whole cluster for tests, in one thread and without time passing: real members (Raft, log,
// store, server) on simulated disks, clocks and a simulated network, with switches for faults. Its
// clients are the ones of kvstore/client, so code that takes a Client is tested as it is.
//
//   auto cluster = SimulatedCluster::Start({.members = 3, .seed = 7});
//   auto client = cluster->NewClient("app");
//   REQUIRE(client->Put(PutOf("a", "1")).ok());       // runs the simulation until it is answered
//   cluster->Isolate(cluster->Leader());
//   REQUIRE(client->Put(PutOf("a", "2")).ok());       // seconds of failover, no time of yours
//   cluster->RunFor(absl::Minutes(10));               // leases end, watches tell, ...
//
// A call of a client runs the simulation until it is answered; callbacks run within such calls and
// within RunFor. The same seed gives the same run, to the last event (fingerprint).
//
// Threading: everything, clients included, belongs to one thread. Clients, watches and sessions are
// destroyed before the cluster.
#ifndef KEELSON_KVSTORE_TESTING_SIMULATED_CLUSTER_H_
#define KEELSON_KVSTORE_TESTING_SIMULATED_CLUSTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/executor.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {

// Members have the numbers 1 to n and are "member-1", ... to Cut and to clients, whose endpoints are
// "http://member-1:2379", ...
class SimulatedCluster {
 public:
  struct Options {
    int members = 3;
    uint64_t seed = 1;
    // Of a message, one way; up to half as much is added by chance.
    absl::Duration latency = absl::Microseconds(200);
    absl::Duration heartbeat_interval = absl::Milliseconds(100);
    absl::Duration election_timeout = absl::Seconds(1);
  };
  struct ClientOptions {
    std::vector<std::string> endpoints = {};  // empty: all members
    absl::Duration dial_timeout = absl::Seconds(2);
    absl::Duration command_timeout = absl::Seconds(5);
    absl::Duration sync_interval = absl::ZeroDuration();
    std::string user = {};
    std::string password = {};
  };

  // With a leader. Aborts when something is wrong with the simulation itself.
  static std::unique_ptr<SimulatedCluster> Start(const Options& options);
  static std::unique_ptr<SimulatedCluster> Start() { return Start(Options()); }
  virtual ~SimulatedCluster() = default;

  // A client on a machine of its own, which `name` names to Cut.
  virtual std::unique_ptr<Client> NewClient(const std::string& name,
                                            const ClientOptions& options) = 0;
  std::unique_ptr<Client> NewClient(const std::string& name) {
    return NewClient(name, ClientOptions());
  }
  // For code under test that takes an executor (discovery::Registration::StartIn).
  virtual Executor& executor() = 0;

  // ---- Time ----

  [[nodiscard]] virtual absl::Duration now() const = 0;  // since the start
  virtual void RunFor(absl::Duration time) = 0;
  // Runs until `done`, at most for `limit`; says whether it came about.
  virtual bool RunUntil(const std::function<bool()>& done, absl::Duration limit) = 0;

  // ---- Faults ----

  // The machine loses power: its memory is gone, and of its disk what was not synced. Connections
  // to it break.
  virtual void Crash(int member) = 0;
  // After a Crash.
  virtual void Restart(int member) = 0;
  // The process stands still (SIGSTOP), while time goes on.
  virtual void Pause(int member, absl::Duration time) = 0;
  // Its clock runs at `rate` from now on: 1 is right, 1.1 a tenth too fast.
  virtual void SetClockRate(int member, double rate) = 0;
  // Its wall clock jumps.
  virtual void JumpClock(int member, absl::Duration offset) = 0;
  // Nothing passes between the two, "member-1" and "app" say, in either direction. What is on its way is
  // held back; a client's connection breaks after a while.
  virtual void Cut(const std::string& a, const std::string& b) = 0;
  // Cuts `member` off from all other members, and from all clients there are.
  virtual void Isolate(int member) = 0;
  // All cuts end.
  virtual void Heal() = 0;

  // ---- What there is to see ----

  // The member that leads, of the latest term; 0: none.
  [[nodiscard]] virtual int Leader() const = 0;
  [[nodiscard]] virtual bool IsRunning(int member) const = 0;
  // Equal for equal runs.
  [[nodiscard]] virtual uint64_t fingerprint() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_TESTING_SIMULATED_CLUSTER_H_
