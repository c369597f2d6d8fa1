// One host of a cluster of processes with many groups, with a load generator inside.
// `./keelson bench raft --part=groups` starts three.
//
//   raft_host_bench --id=1 --dir=/tmp/h1 --peers=127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//
// Reads commands on standard input, one a line, and answers each with a line of JSON:
//   create N      makes groups 1 to N, all hosts being voters
//   stats         counts, and the memory of this process
//   load SECONDS  keeps one entry of --bytes in flight in every group that this host leads
// Ends with the input.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/burst.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/file_system.h"
#include "base/random.h"
#include "raft/host.h"
#include "raft/transport/peer_transport.h"

namespace {

using keelson::Burst;
using keelson::RealClock;
using keelson::RealFileSystem;
using keelson::ThreadExecutor;
using SteadyClock = std::chrono::steady_clock;
namespace raft = keelson::raft;

struct Options {
  raft::NodeId id = 1;
  std::string dir;
  std::vector<std::string> peers;
  size_t bytes = 64;
  int loops = 1;
};

template <typename T>
T Must(absl::StatusOr<T> value) {
  KEELSON_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}
void Must(const absl::Status& status) { KEELSON_CHECK(status.ok()) << status.ToString(); }

// Proposes to a group, when its last entry has been applied, the next one.
class Load {
 public:
  explicit Load(size_t bytes) : bytes_(std::max<size_t>(bytes, 1)) {}

  [[nodiscard]] size_t bytes() const { return bytes_; }

  // Blocks; loads `nodes`, by position. Prints the report.
  void Run(std::vector<std::shared_ptr<raft::Node>> nodes, double seconds) {
    const auto start = SteadyClock::now();
    {
      absl::MutexLock lock(&mu_);
      nodes_ = std::move(nodes);
      started_.assign(nodes_.size(), start);
      latencies_us_.clear();
      errors_ = 0;
      running_ = nodes_.size();
      end_ = start + std::chrono::duration_cast<SteadyClock::duration>(
                         std::chrono::duration<double>(seconds));
    }
    {
      Burst burst;
      for (size_t slot = 0; slot < nodes_.size(); ++slot) Propose(slot);
    }
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](size_t* running) { return *running == 0; }, &running_));
    const double elapsed = std::chrono::duration<double>(SteadyClock::now() - start).count();
    std::sort(latencies_us_.begin(), latencies_us_.end());
    const auto percentile = [this](double p) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      if (latencies_us_.empty()) return uint32_t{0};
      const auto at = static_cast<size_t>(p * static_cast<double>(latencies_us_.size()));
      return latencies_us_[std::min(latencies_us_.size() - 1, at)];
    };
    std::printf(
        "{\"groups\":%zu,\"ops\":%zu,\"errors\":%d,\"seconds\":%.3f,\"p50_us\":%u,"
        "\"p99_us\":%u}\n",
        nodes_.size(), latencies_us_.size(), errors_, elapsed, percentile(0.5), percentile(0.99));
    nodes_.clear();
  }

  // On the apply executor: the entry of this slot.
  void Applied(size_t slot) {
    const auto now = SteadyClock::now();
    {
      absl::MutexLock lock(&mu_);
      if (slot >= nodes_.size()) return;
      latencies_us_.push_back(static_cast<uint32_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(now - started_[slot]).count()));
      started_[slot] = now;
      if (now >= end_) {
        --running_;
        return;
      }
    }
    Propose(slot);
  }

 private:
  void Propose(size_t slot) {
    std::string bytes(bytes_ + sizeof(uint32_t), 'x');
    const auto number = static_cast<uint32_t>(slot);
    std::copy_n(reinterpret_cast<const char*>(&number), sizeof(number), bytes.data());
    nodes_[slot]->Propose(raft::Payload(std::move(bytes)), [this](const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      if (errors_++ == 0) std::fprintf(stderr, "refused: %s\n", status.ToString().c_str());
      --running_;
    });
  }

  const size_t bytes_;
  absl::Mutex mu_;
  std::vector<std::shared_ptr<raft::Node>> nodes_;  // constant while a load runs
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;
  int errors_ ABSL_GUARDED_BY(mu_) = 0;
  SteadyClock::time_point end_ ABSL_GUARDED_BY(mu_);
  std::vector<SteadyClock::time_point> started_ ABSL_GUARDED_BY(mu_);
  std::vector<uint32_t> latencies_us_ ABSL_GUARDED_BY(mu_);
};

// Counts, in memory alone: what is measured is the rest. There is never a snapshot.
class Machine final : public raft::StateMachine {
 public:
  Machine(raft::SnapshotMetadata start, Load& load) : applied_(std::move(start)), load_(load) {}

  raft::SnapshotMetadata Applied() override { return applied_; }
  absl::Status Apply(std::span<const raft::Entry> entries,
                     const raft::SnapshotMetadata& after) override {
    applied_ = after;
    if (!loaded_.load(std::memory_order_acquire)) return absl::OkStatus();
    for (const raft::Entry& entry : entries) {
      if (entry.data.size() != load_.bytes() + sizeof(uint32_t)) continue;
      uint32_t slot = 0;
      std::copy_n(entry.data.view().data(), sizeof(slot), reinterpret_cast<char*>(&slot));
      load_.Applied(slot);
    }
    return absl::OkStatus();
  }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<raft::StateCapture>> Capture() override {
    return absl::UnimplementedError("no snapshots here");
  }
  absl::Status Restore(raft::SnapshotReader&, const raft::SnapshotMetadata&) override {
    return absl::UnimplementedError("no snapshots here");
  }

  // Whether what is applied here is of the load of this process.
  void SetLoaded(bool loaded) { loaded_.store(loaded, std::memory_order_release); }

 private:
  raft::SnapshotMetadata applied_;
  Load& load_;
  std::atomic<bool> loaded_{false};
};

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

class Member {
 public:
  explicit Member(const Options& options) : options_(options), load_(options.bytes) {
    for (int i = 0; i < options.loops; ++i) {
      loops_.push_back(std::make_unique<ThreadExecutor>("raft-loop"));
    }
    MakeTransport();
    raft::Host::Options host;
    host.id = options.id;
    host.cluster_id = 0xbe;
    host.dir = options.dir;
    host.on_fatal = [](raft::GroupId, const absl::Status& status) { Must(status); };
    raft::Host::Env env;
    env.clock = &RealClock();
    env.fs = &RealFileSystem();
    env.transport = transport_.get();
    for (const auto& loop : loops_) env.loops.push_back(loop.get());
    env.append = &append_;
    env.apply = &apply_;
    env.background = &background_;
    env.random = keelson::Random(options.id);
    host_ = Must(raft::Host::Open(host, env));
    Must(transport_->Start(*host_));
  }

  ~Member() {
    transport_->Stop();
    host_->Stop();
    for (const auto& loop : loops_) loop->Stop();
    for (ThreadExecutor* thread : {&append_, &apply_, &background_}) thread->Stop();
  }

  void Serve(std::istream& commands) {
    for (std::string line; std::getline(commands, line);) {
      std::istringstream words(line);
      std::string verb;
      words >> verb;
      Do(verb, words);
      std::fflush(stdout);
    }
  }

 private:
  void MakeTransport() {
    raft::PeerTransport::Options transport;
    transport.self = options_.id;
    transport.cluster_id = 0xbe;
    transport.listen_address = options_.peers[options_.id - 1];
    for (raft::NodeId id = 1; id <= options_.peers.size(); ++id) {
      if (id != options_.id) transport.peers[id] = options_.peers[id - 1];
    }
    transport.max_queued_messages = 1 << 18;  // All groups may speak at once.
    transport.snapshots_of = [this](raft::GroupId group) { return host_->Snapshots(group); };
    transport_ = Must(raft::PeerTransport::Create(std::move(transport)));
  }

  void Create(size_t count) {
    raft::SnapshotMetadata start;
    for (raft::NodeId id = 1; id <= options_.peers.size(); ++id) {
      start.conf_state.voters.push_back(id);
    }
    std::vector<raft::Host::NewGroup> groups;
    for (size_t i = 0; i < count; ++i) {
      machines_.push_back(std::make_unique<Machine>(start, load_));
      groups.push_back({.id = machines_.size(), .start = start, .machine = machines_.back().get()});
    }
    absl::Notification done;
    const auto began = SteadyClock::now();
    host_->CreateGroups(std::move(groups), [&done](const absl::Status& status) {
      Must(status);
      done.Notify();
    });
    done.WaitForNotification();
    std::printf("{\"groups\":%zu,\"seconds\":%.3f}\n", count,
                std::chrono::duration<double>(SteadyClock::now() - began).count());
  }

  void Stats() {
    const raft::Host::Stats stats = host_->GetStats();
    std::printf(
        "{\"groups\":%zu,\"asleep\":%zu,\"leaders\":%zu,\"syncs\":%llu,\"entries\":%llu,"
        "\"messages\":%llu,\"frames\":%llu,\"resident_bytes\":%llu}\n",
        stats.groups, stats.asleep, stats.leaders, static_cast<unsigned long long>(stats.syncs),
        static_cast<unsigned long long>(stats.entries_appended),
        static_cast<unsigned long long>(stats.messages_sent),
        static_cast<unsigned long long>(stats.frames_sent),
        static_cast<unsigned long long>(ResidentBytes()));
  }

  void RunLoad(double seconds) {
    std::vector<std::shared_ptr<raft::Node>> led;
    for (size_t i = 0; i < machines_.size(); ++i) {
      std::shared_ptr<raft::Node> node = host_->Group(i + 1);
      const bool leads = node->Peek().soft_state.role == raft::Role::kLeader;
      machines_[i]->SetLoaded(leads);
      if (leads) led.push_back(std::move(node));
    }
    load_.Run(std::move(led), seconds);
    for (const auto& machine : machines_) machine->SetLoaded(false);
  }

  void Do(const std::string& verb, std::istream& words) {
    if (verb == "create") {
      size_t count = 0;
      words >> count;
      Create(count);
    } else if (verb == "stats") {
      Stats();
    } else if (verb == "load") {
      double seconds = 1;
      words >> seconds;
      RunLoad(seconds);
    } else {
      std::printf("{\"error\":\"unknown command\"}\n");
    }
  }

  const Options options_;
  Load load_;
  std::vector<std::unique_ptr<Machine>> machines_;  // group id - 1
  std::unique_ptr<raft::PeerTransport> transport_;
  std::vector<std::unique_ptr<ThreadExecutor>> loops_;
  ThreadExecutor append_{"raft-append"};
  ThreadExecutor apply_{"raft-apply"};
  ThreadExecutor background_{"raft-snapshot"};
  std::unique_ptr<raft::Host> host_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A host of many raft groups that loads itself, driven by standard input.");
  app.add_option("--id", options.id, "of this host, from 1")->required();
  app.add_option("--dir", options.dir, "an empty folder")->required();
  app.add_option("--peers", options.peers, "host:port of all hosts, by id")
      ->required()
      ->delimiter(',');
  app.add_option("--bytes", options.bytes, "size of each entry")->capture_default_str();
  app.add_option("--loops", options.loops, "threads for the groups")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (options.id < 1 || options.id > options.peers.size()) {
    std::fprintf(stderr, "raft_host_bench: --id %llu is not among --peers\n",
                 static_cast<unsigned long long>(options.id));
    return 2;
  }
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // As kvstored does.
  Member(options).Serve(std::cin);
  return 0;
}
