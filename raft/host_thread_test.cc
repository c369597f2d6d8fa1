// Hosts on real threads: what virtual time (host_test.cc) cannot show is that the locking is right.
// Run it with --config=tsan, too.
#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/host.h"

namespace keelson::raft {
namespace {

constexpr size_t kHosts = 3;
constexpr GroupId kGroups = 40;
constexpr absl::Duration kPatience = absl::Seconds(120);  // Never waited out.

SnapshotMetadata AllVoters() { return {.conf_state = {.voters = {1, 2, 3}}}; }

// Counts what was applied.
class CountingMachine final : public StateMachine {
 public:
  SnapshotMetadata Applied() override { return AllVoters(); }
  absl::Status Apply(std::span<const Entry> entries, const SnapshotMetadata& /*after*/) override {
    for (const Entry& entry : entries) {
      if (!entry.data.empty()) count_.fetch_add(1);
    }
    return absl::OkStatus();
  }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<StateCapture>> Capture() override {
    return absl::UnimplementedError("no snapshots here");
  }
  absl::Status Restore(SnapshotReader& /*reader*/, const SnapshotMetadata& /*to*/) override {
    return absl::UnimplementedError("no snapshots here");
  }
  [[nodiscard]] int count() const { return count_.load(); }

 private:
  std::atomic<int> count_{0};
};

class Cluster;

// Delivers at once, in the caller's thread.
class Loopback final : public Transport {
 public:
  explicit Loopback(Cluster& cluster) : cluster_(cluster) {}
  void Send(std::vector<Message> messages) override;

 private:
  Cluster& cluster_;
};

struct Member {
  SimFileSystem fs{Random(1), {}};
  std::array<CountingMachine, kGroups + 1> machines;
  std::unique_ptr<Loopback> transport;
  std::unique_ptr<ThreadExecutor> loop_a, loop_b, append, apply, background;
  std::unique_ptr<Host> host;
};

class Cluster {
 public:
  Cluster() {
    for (NodeId id = 1; id <= kHosts; ++id) Start(id);
  }
  ~Cluster() {
    for (NodeId id = 1; id <= kHosts; ++id) Stop(id);
  }

  Member& At(NodeId id) { return members_[id - 1]; }

  void Start(NodeId id) {
    Member& m = At(id);
    m.transport = std::make_unique<Loopback>(*this);
    for (auto* executor : {&m.loop_a, &m.loop_b, &m.append, &m.apply, &m.background}) {
      *executor = std::make_unique<ThreadExecutor>("raft");
    }
    Host::Options options;
    options.id = id;
    options.cluster_id = 7;
    options.dir = "raft";
    options.wal.segment_bytes = 1 << 20;
    options.node.tick_interval = absl::Milliseconds(20);
    options.node.core.quiesce_ticks = 5;
    KEELSON_ASSIGN_OR_FAIL(auto host,
                           Host::Open(options, {.clock = &RealClock(),
                                                .fs = &m.fs,
                                                .transport = m.transport.get(),
                                                .loops = {m.loop_a.get(), m.loop_b.get()},
                                                .append = m.append.get(),
                                                .apply = m.apply.get(),
                                                .background = m.background.get(),
                                                .random = Random(id)}));
    {
      absl::WriterMutexLock lock(&mu_);
      m.host = std::move(host);
    }
    std::vector<Host::NewGroup> groups;
    for (GroupId group = 1; group <= kGroups; ++group) {
      groups.push_back({group, AllVoters(), &m.machines[group]});
    }
    absl::Notification done;
    m.host->CreateGroups(std::move(groups), [&done](const absl::Status& status) {
      KEELSON_REQUIRE_OK(status);
      done.Notify();
    });
    done.WaitForNotification();
  }

  void Stop(NodeId id) {
    Member& m = At(id);
    std::unique_ptr<Host> host;
    {
      absl::WriterMutexLock lock(&mu_);
      host = std::move(m.host);
    }
    if (host == nullptr) return;
    host->Stop();
    for (auto* executor : {&m.append, &m.apply, &m.background, &m.loop_a, &m.loop_b}) {
      (*executor)->Stop();
    }
  }

  void Deliver(std::vector<Message> messages) {
    std::map<NodeId, std::vector<Message>> by_peer;
    for (Message& message : messages) by_peer[message.to].push_back(std::move(message));
    absl::ReaderMutexLock lock(&mu_);
    for (auto& [to, batch] : by_peer) {
      if (At(to).host != nullptr) At(to).host->Receive(std::move(batch));
    }
  }

  // Waits until `done`.
  template <typename Done>
  void Await(const Done& done) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (!done()) {
      REQUIRE(absl::Now() < deadline);
      std::this_thread::yield();
    }
  }

 private:
  absl::Mutex mu_;  // the `host` of each member
  std::array<Member, kHosts> members_;
};

void Loopback::Send(std::vector<Message> messages) { cluster_.Deliver(std::move(messages)); }

}  // namespace

TEST_CASE("Many threads use many groups, while some are removed and a host goes",
          "[raft][host][threads]") {
  Cluster cluster;
  constexpr int kEach = 50;
  std::vector<std::thread> threads;
  for (NodeId id = 1; id <= kHosts; ++id) {
    threads.emplace_back([&cluster, id] {
      Host& host = *cluster.At(id).host;
      for (int i = 0; i < kEach; ++i) {
        for (GroupId group = 1; group <= kGroups; ++group) {
          if (const auto node = host.Group(group)) {
            node->Propose(Payload("x" + std::to_string(i)), nullptr);
            if (i % 10 == 0) node->ReadBarrier(absl::Seconds(1), [](const absl::Status&) {});
          }
        }
      }
    });
  }
  // Meanwhile the last few groups go.
  std::atomic<int> removed{0};
  constexpr GroupId kKept = kGroups - 5;
  for (GroupId group = kKept + 1; group <= kGroups; ++group) {
    for (NodeId id = 1; id <= kHosts; ++id) {
      cluster.At(id).host->RemoveGroup(group, [&removed](const absl::Status& status) {
        if (status.ok()) removed.fetch_add(1);
      });
    }
  }
  for (std::thread& thread : threads) thread.join();
  cluster.Await([&] { return removed.load() == 5 * kHosts; });
  for (NodeId id = 1; id <= kHosts; ++id) CHECK(cluster.At(id).host->GetStats().groups == kKept);

  // Proposals may be lost when a leader changes; the rest of them come everywhere.
  cluster.Await([&] {
    for (GroupId group = 1; group <= kKept; ++group) {
      const int count = cluster.At(1).machines[group].count();
      if (count == 0) return false;
      for (NodeId id = 2; id <= kHosts; ++id) {
        if (cluster.At(id).machines[group].count() != count) return false;
      }
    }
    return true;
  });
  // All fall asleep; then a host dies.
  cluster.Await([&] {
    for (NodeId id = 1; id <= kHosts; ++id) {
      if (cluster.At(id).host->GetStats().asleep != kKept) return false;
    }
    return true;
  });
  cluster.Stop(3);
  cluster.Await([&] {
    return cluster.At(1).host->GetStats().leaders + cluster.At(2).host->GetStats().leaders == kKept;
  });
}

}  // namespace keelson::raft
