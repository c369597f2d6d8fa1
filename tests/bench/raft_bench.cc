#include "tests/bench/raft_bench.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <istream>
#include <sstream>

#include "base/burst.h"

namespace keelson::bench {
namespace {

uint32_t Percentile(const std::vector<uint32_t>& sorted, double p) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<size_t>(p * static_cast<double>(sorted.size()));
  return sorted[std::min(sorted.size() - 1, at)];
}

}  // namespace

void AddFlags(CLI::App& app, MemberFlags& flags) {
  app.add_option("--id", flags.id, "of this process, from 1")->required();
  app.add_option("--dir", flags.dir, "an empty folder")->required();
  app.add_option("--peers", flags.peers, "host:port of all processes, by id")
      ->required()
      ->delimiter(',');
  app.add_option("--bytes", flags.bytes, "size of each entry, at least 8")->capture_default_str();
}

bool CheckFlags(const char* program, const MemberFlags& flags) {
  if (flags.id >= 1 && flags.id <= flags.peers.size()) return true;
  std::fprintf(stderr, "%s: --id %llu is not among --peers\n", program,
               static_cast<unsigned long long>(flags.id));
  return false;
}

raft::SnapshotMetadata FirstMembership(const MemberFlags& flags) {
  raft::SnapshotMetadata start;
  for (raft::NodeId id = 1; id <= flags.peers.size(); ++id) start.conf_state.voters.push_back(id);
  return start;
}

raft::PeerTransport::Options TransportOptions(const MemberFlags& flags) {
  raft::PeerTransport::Options transport;
  transport.self = flags.id;
  transport.cluster_id = kClusterId;
  transport.listen_address = flags.peers[flags.id - 1];
  for (raft::NodeId id = 1; id <= flags.peers.size(); ++id) {
    if (id != flags.id) transport.peers[id] = flags.peers[id - 1];
  }
  return transport;
}

void Serve(std::istream& commands,
           const std::function<bool(const std::string& verb, std::istream& words)>& run) {
  for (std::string line; std::getline(commands, line);) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (!run(verb, words)) std::printf("{\"error\":\"unknown command\"}\n");
    std::fflush(stdout);
  }
}

Load::Load(size_t bytes) : bytes_(std::max(bytes, sizeof(uint64_t))) {}

Load::Report Load::Run(std::vector<std::shared_ptr<raft::Node>> nodes, double seconds) {
  const auto start = SteadyClock::now();
  nodes_ = std::move(nodes);
  {
    absl::MutexLock lock(&mu_);
    started_.assign(nodes_.size(), start);
    latencies_us_.clear();
    errors_ = 0;
    running_ = nodes_.size();
    end_ = start + std::chrono::duration_cast<SteadyClock::duration>(
                       std::chrono::duration<double>(seconds));
  }
  active_.store(true, std::memory_order_release);
  {
    Burst burst;
    for (uint64_t slot = 0; slot < nodes_.size(); ++slot) Propose(slot);
  }
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(
      +[](size_t* running) { return *running == 0; }, &running_));
  active_.store(false, std::memory_order_release);
  return MakeReport(start);
}

Load::Report Load::MakeReport(SteadyClock::time_point start) {
  std::sort(latencies_us_.begin(), latencies_us_.end());
  return {.ops = latencies_us_.size(),
          .errors = errors_,
          .seconds = std::chrono::duration<double>(SteadyClock::now() - start).count(),
          .p50_us = Percentile(latencies_us_, 0.5),
          .p99_us = Percentile(latencies_us_, 0.99)};
}

void Load::Applied(std::span<const raft::Entry> entries) {
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

bool Load::Completed(uint64_t slot, SteadyClock::time_point now) {
  absl::MutexLock lock(&mu_);
  if (slot >= started_.size()) return false;
  latencies_us_.push_back(static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now - started_[slot]).count()));
  started_[slot] = now;
  if (now < end_) return true;
  --running_;
  return false;
}

void Load::Propose(uint64_t slot) {
  std::string bytes(bytes_, 'x');
  std::memcpy(bytes.data(), &slot, sizeof(slot));
  nodes_[slot]->Propose(raft::Payload(std::move(bytes)), [this](const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    if (errors_++ == 0) std::fprintf(stderr, "refused: %s\n", status.ToString().c_str());
    --running_;
  });
}

}  // namespace keelson::bench
