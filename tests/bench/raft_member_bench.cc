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
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/burst.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/file_system.h"
#include "base/random.h"
#include "raft/node.h"
#include "raft/snapshot_store.h"
#include "raft/transport/peer_transport.h"
#include "raft/wal.h"

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
  bool no_sync = false;
};

int64_t Nanos(SteadyClock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

uint32_t Percentile(const std::vector<uint32_t>& sorted, double p) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<size_t>(p * static_cast<double>(sorted.size()));
  return sorted[std::min(sorted.size() - 1, at)];
}

// Proposes entries, and for each that was applied the next one.
class Load {
 public:
  explicit Load(size_t bytes) : bytes_(std::max(bytes, sizeof(uint64_t))) {}

  // Blocks. Prints the report.
  void Run(raft::Node& node, int outstanding, double seconds) {
    const auto start = SteadyClock::now();
    {
      absl::MutexLock lock(&mu_);
      node_ = &node;
      running_ = outstanding;
      started_.assign(static_cast<size_t>(outstanding), start);
      latencies_us_.clear();
      errors_ = 0;
      end_ = start + std::chrono::duration_cast<SteadyClock::duration>(
                         std::chrono::duration<double>(seconds));
      active_.store(true, std::memory_order_release);
    }
    {
      Burst burst;
      for (uint64_t slot = 0; slot < static_cast<uint64_t>(outstanding); ++slot) Propose(slot);
    }
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(
        +[](int* running) { return *running == 0; }, &running_));
    active_.store(false, std::memory_order_release);
    Report(outstanding, std::chrono::duration<double>(SteadyClock::now() - start).count());
  }

  // On the apply executor.
  void Applied(std::span<const raft::Entry> entries) {
    if (!active_.load(std::memory_order_acquire)) return;
    const auto now = SteadyClock::now();
    Burst burst;
    for (const raft::Entry& entry : entries) {
      if (entry.data.size() != bytes_) continue;
      uint64_t slot = 0;
      std::memcpy(&slot, entry.data.view().data(), sizeof(slot));
      if (Completed(slot, now)) Propose(slot);
    }
  }

 private:
  // True when the slot goes on.
  bool Completed(uint64_t slot, SteadyClock::time_point now) {
    absl::MutexLock lock(&mu_);
    if (slot >= started_.size()) return false;
    latencies_us_.push_back(static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - started_[slot]).count()));
    started_[slot] = now;
    if (now < end_) return true;
    --running_;
    return false;
  }

  void Propose(uint64_t slot) {
    std::string bytes(bytes_, 'x');
    std::memcpy(bytes.data(), &slot, sizeof(slot));
    node_->Propose(raft::Payload(std::move(bytes)), [this](const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      if (errors_++ == 0) std::fprintf(stderr, "refused: %s\n", status.ToString().c_str());
      --running_;
    });
  }

  void Report(int outstanding, double elapsed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<uint32_t>& all = latencies_us_;
    std::sort(all.begin(), all.end());
    std::printf(
        "{\"outstanding\":%d,\"ops\":%zu,\"errors\":%d,\"seconds\":%.3f,\"ops_per_second\":%.0f,"
        "\"p50_us\":%u,\"p99_us\":%u}\n",
        outstanding, all.size(), errors_, elapsed, static_cast<double>(all.size()) / elapsed,
        Percentile(all, 0.5), Percentile(all, 0.99));
  }

  const size_t bytes_;
  std::atomic<bool> active_{false};
  raft::Node* node_ = nullptr;
  absl::Mutex mu_;
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  int errors_ ABSL_GUARDED_BY(mu_) = 0;
  SteadyClock::time_point end_ ABSL_GUARDED_BY(mu_);
  std::vector<SteadyClock::time_point> started_ ABSL_GUARDED_BY(mu_);
  std::vector<uint32_t> latencies_us_ ABSL_GUARDED_BY(mu_);
};

// Counts. There is never a snapshot: no member stays away for long.
class Machine final : public raft::StateMachine {
 public:
  Machine(raft::SnapshotMetadata start, Load& load) : applied_(std::move(start)), load_(load) {}

  raft::SnapshotMetadata Applied() override { return applied_; }
  absl::Status Apply(std::span<const raft::Entry> entries,
                     const raft::SnapshotMetadata& after) override {
    if (after.term != applied_.term) {
      absl::MutexLock lock(&mu_);
      for (const raft::Entry& entry : entries) {
        if (entry.term <= term_) continue;
        term_ = entry.term;
        since_ = SteadyClock::now();
      }
    }
    applied_ = after;
    load_.Applied(entries);
    return absl::OkStatus();
  }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<raft::StateCapture>> Capture() override {
    return absl::UnimplementedError("no snapshots here");
  }
  absl::Status Restore(raft::SnapshotReader&, const raft::SnapshotMetadata&) override {
    return absl::UnimplementedError("no snapshots here");
  }

  void PrintTerm() {
    absl::MutexLock lock(&mu_);
    std::printf("{\"term\":%llu,\"since_ns\":%lld}\n", static_cast<unsigned long long>(term_),
                static_cast<long long>(Nanos(since_)));
  }

 private:
  raft::SnapshotMetadata applied_;
  Load& load_;
  absl::Mutex mu_;
  raft::Term term_ ABSL_GUARDED_BY(mu_) = 0;
  SteadyClock::time_point since_ ABSL_GUARDED_BY(mu_);
};

template <typename T>
T Must(absl::StatusOr<T> value) {
  KEELSON_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}
void Must(const absl::Status& status) { KEELSON_CHECK(status.ok()) << status.ToString(); }

class Member {
 public:
  explicit Member(const Options& options) : options_(options), load_(options.bytes) {
    raft::SnapshotMetadata start;
    for (raft::NodeId id = 1; id <= options.peers.size(); ++id) {
      start.conf_state.voters.push_back(id);
    }
    machine_ = std::make_unique<Machine>(start, load_);
    const raft::Identity identity{.cluster_id = 0xbe, .node_id = options.id};
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
                                    .apply = &apply_,
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
    transport.snapshots = snapshots_.get();
    transport.loop = &loop_;
    transport_ = Must(raft::PeerTransport::Create(std::move(transport)));
  }

  void Do(const std::string& verb, std::istream& words) {
    if (verb == "leads") {
      const bool leads = node_->Peek().soft_state.role == raft::Role::kLeader;
      std::printf("{\"leads\":%s}\n", leads ? "true" : "false");
    } else if (verb == "load") {
      int outstanding = 1;
      double seconds = 1;
      words >> outstanding >> seconds;
      load_.Run(*node_, outstanding, seconds);
    } else if (verb == "transfer") {
      raft::NodeId to = 0;
      words >> to;
      const auto now = SteadyClock::now();
      node_->TransferLeadership(to);
      std::printf("{\"at_ns\":%lld}\n", static_cast<long long>(Nanos(now)));
    } else if (verb == "term") {
      machine_->PrintTerm();
    } else {
      std::printf("{\"error\":\"unknown command\"}\n");
    }
  }

  const Options options_;
  Load load_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<raft::Wal> wal_;
  std::unique_ptr<raft::SnapshotStore> snapshots_;
  std::unique_ptr<raft::PeerTransport> transport_;
  keelson::EventLoop loop_{"raft-loop"};
  ThreadExecutor append_{"raft-append"};
  ThreadExecutor apply_{"raft-apply"};
  ThreadExecutor background_{"raft-snapshot"};
  std::unique_ptr<raft::Node> node_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A raft member that loads itself, driven by standard input.");
  app.add_option("--id", options.id, "of this member, from 1")->required();
  app.add_option("--dir", options.dir, "an empty folder for the log")->required();
  app.add_option("--peers", options.peers, "host:port of all members, by id")
      ->required()
      ->delimiter(',');
  app.add_option("--bytes", options.bytes, "size of each entry")->capture_default_str();
  app.add_flag("--no-sync", options.no_sync, "leave out fdatasync, to see what it costs");
  CLI11_PARSE(app, argc, argv);
  if (options.id < 1 || options.id > options.peers.size()) {
    std::fprintf(stderr, "raft_member_bench: --id %llu is not among --peers\n",
                 static_cast<unsigned long long>(options.id));
    return 2;
  }
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // As kvstored does.
  Member(options).Serve(std::cin);
  return 0;
}
