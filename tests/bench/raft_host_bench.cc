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
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/file_system.h"
#include "base/random.h"
#include "raft/host.h"
#include "raft/transport/peer_transport.h"
#include "tests/bench/raft_bench.h"

namespace {

using keelson::RealClock;
using keelson::RealFileSystem;
using keelson::ThreadExecutor;
using keelson::bench::Must;
using keelson::bench::SteadyClock;
namespace raft = keelson::raft;
namespace bench = keelson::bench;

struct Options : bench::MemberFlags {
  int loops = 1;
};

class Machine final : public bench::CountingMachine {
 public:
  Machine(raft::SnapshotMetadata start, bench::Load& load)
      : CountingMachine(std::move(start)), load_(load) {}

  // Whether what is applied here is of the load of this process.
  void SetLoaded(bool loaded) { loaded_.store(loaded, std::memory_order_release); }

 private:
  void OnApplied(std::span<const raft::Entry> entries) override {
    if (loaded_.load(std::memory_order_acquire)) load_.Applied(entries);
  }

  bench::Load& load_;
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
    host.cluster_id = bench::kClusterId;
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

  bool Do(const std::string& verb, std::istream& words);

 private:
  void MakeTransport() {
    raft::PeerTransport::Options transport = bench::TransportOptions(options_);
    transport.max_queued_messages = 1 << 18;  // All groups may speak at once.
    transport.snapshots_of = [this](raft::GroupId group) { return host_->Snapshots(group); };
    transport_ = Must(raft::PeerTransport::Create(std::move(transport)));
  }

  void Create(size_t count) {
    const raft::SnapshotMetadata start = bench::FirstMembership(options_);
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
    const size_t groups = led.size();
    const bench::Load::Report report = load_.Run(std::move(led), seconds);
    std::printf(
        "{\"groups\":%zu,\"ops\":%zu,\"errors\":%d,\"seconds\":%.3f,\"p50_us\":%u,"
        "\"p99_us\":%u}\n",
        groups, report.ops, report.errors, report.seconds, report.p50_us, report.p99_us);
    for (const auto& machine : machines_) machine->SetLoaded(false);
  }

  const Options options_;
  bench::Load load_;
  std::vector<std::unique_ptr<Machine>> machines_;  // group id - 1
  std::unique_ptr<raft::PeerTransport> transport_;
  std::vector<std::unique_ptr<ThreadExecutor>> loops_;
  ThreadExecutor append_{"raft-append"};
  ThreadExecutor apply_{"raft-apply"};
  ThreadExecutor background_{"raft-snapshot"};
  std::unique_ptr<raft::Host> host_;
};

bool Member::Do(const std::string& verb, std::istream& words) {
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
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A host of many raft groups that loads itself, driven by standard input.");
  bench::AddFlags(app, options);
  app.add_option("--loops", options.loops, "threads for the groups")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (!bench::CheckFlags("raft_host_bench", options)) return 2;
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // As kvstored does.
  Member member(options);
  bench::Serve(std::cin, [&member](const std::string& verb, std::istream& words) {
    return member.Do(verb, words);
  });
  return 0;
}
