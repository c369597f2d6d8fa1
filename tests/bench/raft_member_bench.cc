// One member of a cluster of processes, with a load generator inside: raft/ with its log on disk
// and its transport, and a state machine that only counts. `./keelson bench raft` starts three.
//
//   raft_member_bench --id=1 --dir=/tmp/m1 --peers=127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003
//
// Reads commands on standard input, one a line, and answers each with a line of JSON:
//   leads                     does this member lead?
//   load OUTSTANDING SECONDS  keeps so many entries of --bytes in flight, on the leader
//   transfer ID               asks for a transfer of leadership; answers when (monotonic ns)
//   term                      the term, and when its first entry was applied here (monotonic ns)
// Ends with the input.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/file_system.h"
#include "base/random.h"
#include "raft/node.h"
#include "raft/snapshot_store.h"
#include "raft/transport/peer_transport.h"
#include "raft/wal.h"
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
  bool no_sync = false;
};

int64_t Nanos(SteadyClock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

class Machine final : public bench::CountingMachine {
 public:
  Machine(raft::SnapshotMetadata start, bench::Load& load)
      : CountingMachine(std::move(start)), load_(load) {}

  void PrintTerm() {
    absl::MutexLock lock(&mu_);
    std::printf("{\"term\":%llu,\"since_ns\":%lld}\n", static_cast<unsigned long long>(term_),
                static_cast<long long>(Nanos(since_)));
  }

 private:
  void OnApplied(std::span<const raft::Entry> entries) override {
    if (!entries.empty() && entries.back().term != applied_term_) NoteTerm(entries);
    load_.Applied(entries);
  }
  void NoteTerm(std::span<const raft::Entry> entries) {
    applied_term_ = entries.back().term;
    absl::MutexLock lock(&mu_);
    for (const raft::Entry& entry : entries) {
      if (entry.term <= term_) continue;
      term_ = entry.term;
      since_ = SteadyClock::now();
    }
  }

  bench::Load& load_;
  raft::Term applied_term_ = 0;
  absl::Mutex mu_;
  raft::Term term_ ABSL_GUARDED_BY(mu_) = 0;
  SteadyClock::time_point since_ ABSL_GUARDED_BY(mu_);
};

class Member {
 public:
  explicit Member(const Options& options) : options_(options), load_(options.bytes) {
    const raft::SnapshotMetadata start = bench::FirstMembership(options);
    machine_ = std::make_unique<Machine>(start, load_);
    const raft::Identity identity{.cluster_id = bench::kClusterId, .node_id = options.id};
    raft::Wal::Options wal_options;
    wal_options.unsafe_no_sync = options.no_sync;
    const std::string wal_dir = options.dir + "/wal";
    Must(raft::Wal::Create(RealFileSystem(), wal_dir, identity, start, wal_options));
    raft::Wal::Recovered recovered;
    wal_ = Must(raft::Wal::Open(RealFileSystem(), wal_dir, identity, wal_options, &recovered));
    snapshots_ = Must(raft::SnapshotStore::Open(RealFileSystem(), options.dir + "/snap"));
    MakeTransport();
    raft::Node::Options node;
    node.core.id = options.id;
    node.on_fatal = [](const absl::Status& status) { Must(status); };
    node_ = Must(raft::Node::Start(node,
                                   {.clock = &RealClock(),
                                    .loop = &loop_,
                                    .append = &append_,
                                    .apply = &loop_,  // The machine only counts.
                                    .background = &background_,
                                    .transport = transport_.get(),
                                    .wal = wal_.get(),
                                    .snapshots = snapshots_.get(),
                                    .machine = machine_.get(),
                                    .random = keelson::Random(options.id)},
                                   std::move(recovered)));
    Must(transport_->Start(*node_));
  }

  ~Member() {
    transport_->Stop();
    node_->Stop();
    loop_.Stop();
    for (ThreadExecutor* thread : {&append_, &background_}) thread->Stop();
  }

  bool Do(const std::string& verb, std::istream& words);

 private:
  void MakeTransport() {
    raft::PeerTransport::Options transport = bench::TransportOptions(options_);
    transport.snapshots = snapshots_.get();
    transport.loop = &loop_;
    transport_ = Must(raft::PeerTransport::Create(std::move(transport)));
  }

  void RunLoad(size_t outstanding, double seconds) {
    // The node lives longer than the load.
    const std::shared_ptr<raft::Node> node(std::shared_ptr<void>(), node_.get());
    const bench::Load::Report report =
        load_.Run(std::vector<std::shared_ptr<raft::Node>>(outstanding, node), seconds);
    std::printf(
        "{\"outstanding\":%zu,\"ops\":%zu,\"errors\":%d,\"seconds\":%.3f,"
        "\"ops_per_second\":%.0f,\"p50_us\":%u,\"p99_us\":%u}\n",
        outstanding, report.ops, report.errors, report.seconds,
        static_cast<double>(report.ops) / report.seconds, report.p50_us, report.p99_us);
  }

  const Options options_;
  bench::Load load_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<raft::Wal> wal_;
  std::unique_ptr<raft::SnapshotStore> snapshots_;
  std::unique_ptr<raft::PeerTransport> transport_;
  keelson::EventLoop loop_{"raft-loop"};
  ThreadExecutor append_{"raft-append"};
  ThreadExecutor background_{"raft-snapshot"};
  std::unique_ptr<raft::Node> node_;
};

bool Member::Do(const std::string& verb, std::istream& words) {
  if (verb == "leads") {
    const bool leads = node_->Peek().soft_state.role == raft::Role::kLeader;
    std::printf("{\"leads\":%s}\n", leads ? "true" : "false");
  } else if (verb == "load") {
    size_t outstanding = 1;
    double seconds = 1;
    words >> outstanding >> seconds;
    RunLoad(outstanding, seconds);
  } else if (verb == "transfer") {
    raft::NodeId to = 0;
    words >> to;
    const auto now = SteadyClock::now();
    node_->TransferLeadership(to);
    std::printf("{\"at_ns\":%lld}\n", static_cast<long long>(Nanos(now)));
  } else if (verb == "term") {
    machine_->PrintTerm();
  } else {
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A raft member that loads itself, driven by standard input.");
  bench::AddFlags(app, options);
  app.add_flag("--no-sync", options.no_sync, "leave out fdatasync, to see what it costs");
  CLI11_PARSE(app, argc, argv);
  if (!bench::CheckFlags("raft_member_bench", options)) return 2;
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // As kvstored does.
  Member member(options);
  bench::Serve(std::cin, [&member](const std::string& verb, std::istream& words) {
    return member.Do(verb, words);
  });
  return 0;
}
