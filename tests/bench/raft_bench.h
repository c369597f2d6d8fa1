// What raft_member_bench and raft_host_bench share: flags, commands on standard input, the transport
// and the load.
#ifndef KEELSON_TESTS_BENCH_RAFT_BENCH_H_
#define KEELSON_TESTS_BENCH_RAFT_BENCH_H_

#include <CLI/CLI.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "raft/node.h"
#include "raft/state_machine.h"
#include "raft/transport/peer_transport.h"
#include "raft/types.h"

namespace keelson::bench {

using SteadyClock = std::chrono::steady_clock;

inline constexpr uint64_t kClusterId = 0xbe;

template <typename T>
T Must(absl::StatusOr<T> value) {
  KEELSON_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}
inline void Must(const absl::Status& status) { KEELSON_CHECK(status.ok()) << status.ToString(); }

struct MemberFlags {
  raft::NodeId id = 1;
  std::string dir;
  std::vector<std::string> peers;
  size_t bytes = 64;  // of each entry; at least 8
};
// --id, --dir, --peers and --bytes.
void AddFlags(CLI::App& app, MemberFlags& flags);
// False, with a message that begins with `program`, when --id is not among --peers.
bool CheckFlags(const char* program, const MemberFlags& flags);

// All peers are voters at first.
raft::SnapshotMetadata FirstMembership(const MemberFlags& flags);
// Where it listens, and the others.
raft::PeerTransport::Options TransportOptions(const MemberFlags& flags);

// Reads commands, one a line, and gives each to `run` with the words behind the verb; false: it is
// unknown. Each prints one line. Ends with the input.
void Serve(std::istream& commands,
           const std::function<bool(const std::string& verb, std::istream& words)>& run);

// Keeps one entry in flight for each slot: proposes it again when it has been applied.
class Load {
 public:
  explicit Load(size_t bytes);

  struct Report {
    size_t ops = 0;
    int errors = 0;
    double seconds = 0;
    uint32_t p50_us = 0, p99_us = 0;
  };
  // Blocks. `nodes`: where each slot proposes.
  Report Run(std::vector<std::shared_ptr<raft::Node>> nodes, double seconds)
      ABSL_LOCKS_EXCLUDED(mu_);

  // On the apply executor.
  void Applied(std::span<const raft::Entry> entries);

 private:
  // True when the slot goes on.
  bool Completed(uint64_t slot, SteadyClock::time_point now) ABSL_LOCKS_EXCLUDED(mu_);
  void Propose(uint64_t slot);
  Report MakeReport(SteadyClock::time_point start) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t bytes_;
  std::atomic<bool> active_{false};
  std::vector<std::shared_ptr<raft::Node>> nodes_;  // constant while a load runs
  absl::Mutex mu_;
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;
  int errors_ ABSL_GUARDED_BY(mu_) = 0;
  SteadyClock::time_point end_ ABSL_GUARDED_BY(mu_);
  std::vector<SteadyClock::time_point> started_ ABSL_GUARDED_BY(mu_);
  std::vector<uint32_t> latencies_us_ ABSL_GUARDED_BY(mu_);
};

// Counts, in memory alone: what is measured is the rest. There is never a snapshot.
class CountingMachine : public raft::StateMachine {
 public:
  explicit CountingMachine(raft::SnapshotMetadata start) : applied_(std::move(start)) {}

  raft::SnapshotMetadata Applied() override { return applied_; }
  absl::Status Apply(std::span<const raft::Entry> entries,
                     const raft::SnapshotMetadata& after) override {
    applied_ = after;
    OnApplied(entries);
    return absl::OkStatus();
  }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<raft::StateCapture>> Capture() override {
    return absl::UnimplementedError("no snapshots here");
  }
  absl::Status Restore(raft::SnapshotReader&, const raft::SnapshotMetadata&) override {
    return absl::UnimplementedError("no snapshots here");
  }

 private:
  virtual void OnApplied(std::span<const raft::Entry> entries) = 0;

  raft::SnapshotMetadata applied_;
};

}  // namespace keelson::bench

#endif  // KEELSON_TESTS_BENCH_RAFT_BENCH_H_
