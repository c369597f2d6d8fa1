// The driver on real threads and a simulated disk: what the deterministic simulator
// (raft/sim) cannot show is that its locking is right. Run it with --config=tsan, too.
#include "raft/node.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/check.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/member_storage.h"

namespace keelson::raft {
namespace {

constexpr size_t kMembers = 3;
constexpr absl::Duration kPatience =
    absl::Seconds(60);  // A bound for a broken test, never waited out.

ConfState AllVoters() { return {.voters = {1, 2, 3}}; }

// Remembers what it was given; durable as of the last Flush, as raft/state_machine.h asks.
class LogMachine final : public StateMachine {
 public:
  SnapshotMetadata Applied() override {
    absl::MutexLock lock(&mu_);
    return durable_position_;
  }
  absl::Status Apply(std::span<const Entry> entries, const SnapshotMetadata& after) override {
    absl::MutexLock lock(&mu_);
    for (const Entry& entry : entries) {
      if (!entry.data.empty()) values_.push_back(std::string(entry.data.view()));
    }
    position_ = after;
    return absl::OkStatus();
  }
  absl::Status Flush() override {
    absl::MutexLock lock(&mu_);
    durable_position_ = position_;
    durable_values_ = values_;
    return absl::OkStatus();
  }
  // Once flushes are held: goes on beside them, and each waits until it is let go.
  std::function<absl::Status()> BeginFlush() override {
    absl::MutexLock lock(&mu_);
    if (!held_) return nullptr;
    if (first_held_ == 0) first_held_ = position_.index;
    return [this, position = position_, values = values_] {
      absl::MutexLock flush_lock(&mu_);
      const auto may_go = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return let_go_ > 0; };
      mu_.Await(absl::Condition(&may_go));
      --let_go_;
      durable_position_ = position;
      durable_values_ = values;
      return absl::OkStatus();
    };
  }
  void HoldFlushes() {
    absl::MutexLock lock(&mu_);
    held_ = true;
  }
  void LetGo(int flushes) {
    absl::MutexLock lock(&mu_);
    let_go_ += flushes;
  }
  // Where the first flush that was held began.
  Index FirstHeld() {
    absl::MutexLock lock(&mu_);
    return first_held_;
  }
  absl::StatusOr<std::unique_ptr<StateCapture>> Capture() override;
  absl::Status Restore(SnapshotReader& reader, const SnapshotMetadata& metadata) override {
    std::vector<std::string> values;
    while (true) {
      KEELSON_ASSIGN_OR_RETURN(std::string chunk, reader.Next());
      if (chunk.empty()) break;
      for (size_t at = 0; at < chunk.size();) {
        const size_t end = chunk.find('\n', at);
        values.push_back(chunk.substr(at, end - at));
        at = end + 1;
      }
    }
    absl::MutexLock lock(&mu_);
    durable_position_ = position_ = metadata;
    durable_values_ = values_ = values;
    return absl::OkStatus();
  }
  // What a power cut leaves.
  void Crash() {
    absl::MutexLock lock(&mu_);
    position_ = durable_position_;
    values_ = durable_values_;
  }
  void Wipe() {
    absl::MutexLock lock(&mu_);
    position_ = durable_position_ = {.conf_state = AllVoters()};
    values_.clear();
    durable_values_.clear();
  }
  std::vector<std::string> Values() {
    absl::MutexLock lock(&mu_);
    return values_;
  }
  void WaitForSize(size_t size) {
    absl::MutexLock lock(&mu_);
    const auto enough = [this, size]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return values_.size() >= size; };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&enough), kPatience));
  }

 private:
  absl::Mutex mu_;
  SnapshotMetadata position_ ABSL_GUARDED_BY(mu_) = {.conf_state = AllVoters()};
  SnapshotMetadata durable_position_ ABSL_GUARDED_BY(mu_) = {.conf_state = AllVoters()};
  std::vector<std::string> values_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> durable_values_ ABSL_GUARDED_BY(mu_);
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  int let_go_ ABSL_GUARDED_BY(mu_) = 0;
  Index first_held_ ABSL_GUARDED_BY(mu_) = 0;
};

class LogCapture final : public StateCapture {
 public:
  LogCapture(SnapshotMetadata position, std::vector<std::string> values)
      : position_(std::move(position)), values_(std::move(values)) {}
  const SnapshotMetadata& metadata() const override { return position_; }
  absl::Status WriteTo(SnapshotWriter& writer) override {
    // One append: chunks then hold whole lines, which Restore relies on.
    std::string all;
    for (const std::string& value : values_) all += value + '\n';
    return writer.Append(all);
  }

 private:
  const SnapshotMetadata position_;
  const std::vector<std::string> values_;
};

absl::StatusOr<std::unique_ptr<StateCapture>> LogMachine::Capture() {
  absl::MutexLock lock(&mu_);
  return std::make_unique<LogCapture>(position_, values_);
}

class Cluster;

// Delivers at once, in the caller's thread; copies snapshots between the stores.
class Loopback final : public Transport {
 public:
  Loopback(Cluster& cluster, NodeId self) : cluster_(cluster), self_(self) {}
  void Send(std::vector<Message> messages) override;

 private:
  Cluster& cluster_;
  const NodeId self_;
};

// One member: disk and state machine outlive a crash, the rest is made anew.
struct Member {
  explicit Member(NodeId member_id) : id(member_id) {}

  const NodeId id;
  SimFileSystem fs{Random(id), {}};
  LogMachine machine;
  std::unique_ptr<Wal> wal;
  std::unique_ptr<SnapshotStore> snapshots;
  std::unique_ptr<Loopback> transport;
  std::unique_ptr<ThreadExecutor> loop, append, apply, background;
  std::unique_ptr<Node> node;
  std::atomic<bool> fatal{false};
  bool wiped = false;               // before the next start
  std::optional<StorageLoss> loss;  // found at the last start
  // The next snapshot that it sends is damaged on its disk before.
  std::atomic<bool> damage_next_snapshot{false};
};

class Cluster {
 public:
  explicit Cluster(Node::Options options = {}) : options_(std::move(options)) {
    options_.tick_interval = absl::Milliseconds(10);
    for (size_t i = 0; i < kMembers; ++i) {
      members_[i] = std::make_unique<Member>(i + 1);
    }
    // Those that run look at the others.
    for (const auto& member : members_) Start(member->id);
  }
  ~Cluster() {
    for (const auto& member : members_) Stop(member->id);
  }

  void Start(NodeId id) {
    Member& m = At(id);
    const MemberStorageOptions storage_options{
        .wal_dir = "wal",
        .snapshot_dir = "snap",
        .identity = {.cluster_id = 7, .node_id = id},
        .wal = WalOptions(),
        .without_log = m.wiped ? WithoutLog::kLostEverything : WithoutLog::kNewMember,
        .random = Random(id)};
    KEELSON_ASSIGN_OR_FAIL(MemberStorage storage,
                           OpenMemberStorage(m.fs, storage_options, m.machine.Applied()));
    m.loss = storage.loss;
    m.wal = std::move(storage.wal);
    m.snapshots = std::move(storage.snapshots);
    m.transport = std::make_unique<Loopback>(*this, id);
    m.loop = std::make_unique<ThreadExecutor>("loop");
    m.append = std::make_unique<ThreadExecutor>("append");
    m.apply = std::make_unique<ThreadExecutor>("apply");
    m.background = std::make_unique<ThreadExecutor>("background");
    Node::Options options = options_;
    options.core.id = id;
    options.on_fatal = [&m](const absl::Status&) { m.fatal = true; };
    KEELSON_ASSIGN_OR_FAIL(auto node, Node::Start(options,
                                                  {.clock = &RealClock(),
                                                   .loop = m.loop.get(),
                                                   .append = m.append.get(),
                                                   .apply = m.apply.get(),
                                                   .background = m.background.get(),
                                                   .transport = m.transport.get(),
                                                   .wal = m.wal.get(),
                                                   .snapshots = m.snapshots.get(),
                                                   .machine = &m.machine,
                                                   .random = Random(id)},
                                                  std::move(storage.recovered)));
    absl::WriterMutexLock lock(&mu_);
    m.node = std::move(node);
  }

  // Ends the member's threads and drops what was not synced.
  void Stop(NodeId id) {
    Member& m = At(id);
    std::unique_ptr<Node> node;
    {
      absl::WriterMutexLock lock(&mu_);
      node = std::move(m.node);
    }
    if (node == nullptr) return;
    for (auto* executor : {&m.append, &m.apply, &m.background, &m.loop}) (*executor)->Stop();
    node.reset();
    for (auto* executor : {&m.append, &m.apply, &m.background, &m.loop}) executor->reset();
    m.wal.reset();
    m.snapshots.reset();
    m.fs.PowerLoss();
    m.machine.Crash();
  }

  void Deliver(NodeId from, std::vector<Message> messages) {
    absl::ReaderMutexLock lock(&mu_);
    std::map<NodeId, std::vector<Message>> by_peer;
    for (Message& message : messages) by_peer[message.to].push_back(std::move(message));
    for (auto& [to, batch] : by_peer) {
      Member& receiver = At(to);
      if (receiver.node == nullptr) {
        if (At(from).node != nullptr) At(from).node->ReportUnreachable(to);
        continue;
      }
      std::erase_if(batch, [&, to = to](const Message& message) {
        if (message.type != MessageType::kSnap) return false;
        const bool arrived = CopySnapshot(At(from), receiver, message);
        if (At(from).node != nullptr) At(from).node->ReportSnapshot(to, arrived);
        return !arrived;
      });
      receiver.node->Receive(std::move(batch));
    }
  }

  Member& At(NodeId id) { return *members_[id - 1]; }

  // The member that leads, waiting for one.
  NodeId Leader() {
    const absl::Time deadline = absl::Now() + kPatience;
    while (absl::Now() < deadline) {
      for (const auto& member : members_) {
        absl::ReaderMutexLock lock(&mu_);
        if (member->node == nullptr) continue;
        if (member->node->Peek().soft_state.role == Role::kLeader) return member->id;
      }
      std::this_thread::yield();
    }
    FAIL("no leader");
    return kNoNode;
  }

  // Loses all that the member has; it must not run.
  void Wipe(NodeId id) {
    Member& m = At(id);
    for (const std::string dir : {"wal", "snap"}) {
      KEELSON_ASSIGN_OR_FAIL(const auto names, m.fs.List(dir));
      for (const std::string& name : names) {
        KEELSON_REQUIRE_OK(m.fs.Remove(JoinPath(dir, name)));
      }
      KEELSON_REQUIRE_OK(m.fs.SyncDirectory(dir));
    }
    m.machine.Wipe();
    m.wiped = true;
  }

  // Waits until the member counts again.
  void WaitUntilRecovered(NodeId id) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (At(id).node->Peek().recovering) {
      REQUIRE(absl::Now() < deadline);
      std::this_thread::yield();
    }
  }

  // Waits until its log has lost its beginning.
  void WaitUntilCompacted(NodeId id) {
    const absl::Time deadline = absl::Now() + kPatience;
    while (At(id).node->Peek().first_index == 1) {
      REQUIRE(absl::Now() < deadline);
      std::this_thread::yield();
    }
  }

  static Wal::Options WalOptions() { return {.segment_bytes = 1 << 20}; }

 private:
  static bool CopySnapshot(Member& from, Member& to, const Message& message) {
    const SnapshotMetadata& metadata = message.snapshot->metadata;
    // This one, not another that is there as well or is being made.
    const std::string file = absl::StrFormat("%016x-%016x.snap", metadata.term, metadata.index);
    if (from.damage_next_snapshot && from.fs.FlipRandomBit(file).has_value()) {
      from.damage_next_snapshot = false;
    }
    auto reader = from.snapshots->OpenSnapshot(metadata.index, metadata.term);
    if (!reader.ok()) return false;
    auto writer = to.snapshots->Create(metadata);
    KEELSON_CHECK(writer.ok());
    while (true) {
      auto chunk = (*reader)->Next();
      if (!chunk.ok()) return false;
      if (chunk->empty()) break;
      KEELSON_CHECK((*writer)->Append(*chunk).ok());
    }
    KEELSON_CHECK((*writer)->Commit().ok());
    return true;
  }

  Node::Options options_;
  absl::Mutex mu_;  // the `node` of each member
  std::array<std::unique_ptr<Member>, kMembers> members_;
};

void Loopback::Send(std::vector<Message> messages) { cluster_.Deliver(self_, std::move(messages)); }

void ProposeAll(Cluster& cluster, NodeId to, const std::string& prefix, int count) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cluster, to, prefix, t, count] {
      for (int i = t; i < count; i += 4) {
        cluster.At(to).node->Propose(Payload(prefix + std::to_string(i)), nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("What many threads propose is applied everywhere, once, in one order", "[raft][node]") {
  Cluster cluster;
  const NodeId leader = cluster.Leader();
  const NodeId follower = leader % kMembers + 1;

  ProposeAll(cluster, leader, "a", 500);
  ProposeAll(cluster, follower, "b", 500);  // forwarded

  for (NodeId id = 1; id <= kMembers; ++id) cluster.At(id).machine.WaitForSize(1000);
  const std::vector<std::string> values = cluster.At(1).machine.Values();
  CHECK(values.size() == 1000);
  CHECK(std::map<std::string, int>([&] {
          std::map<std::string, int> counts;
          for (const std::string& value : values) ++counts[value];
          return counts;
        }())
            .size() == 1000);
  CHECK(cluster.At(2).machine.Values() == values);
  CHECK(cluster.At(3).machine.Values() == values);
}

TEST_CASE("Proposals that wait together share a sync", "[raft][node]") {
  Cluster cluster;
  const NodeId leader = cluster.Leader();
  ProposeAll(cluster, leader, "x", 2000);
  cluster.At(leader).machine.WaitForSize(2000);

  const Node::Stats stats = cluster.At(leader).node->GetStats();
  CHECK(stats.entries_appended >= 2000);
  CHECK(stats.syncs < stats.entries_appended);
}

TEST_CASE("A read barrier on any member sees what was applied before it", "[raft][node]") {
  Cluster cluster;
  const NodeId leader = cluster.Leader();
  for (int round = 1; round <= 20; ++round) {
    cluster.At(leader).node->Propose(Payload("v" + std::to_string(round)), nullptr);
    cluster.At(leader).machine.WaitForSize(static_cast<size_t>(round));
    for (NodeId id = 1; id <= kMembers; ++id) {
      absl::Notification done;
      size_t seen = 0;
      absl::Status status;
      cluster.At(id).node->ReadBarrier(kPatience, [&](const absl::Status& result) {
        status = result;
        seen = cluster.At(id).machine.Values().size();
        done.Notify();
      });
      done.WaitForNotification();
      KEELSON_REQUIRE_OK(status);
      CHECK(seen >= static_cast<size_t>(round));
    }
  }
}

TEST_CASE("A member that lost its memory and all that was unsynced catches up",
          "[raft][node][restart]") {
  Node::Options options;
  SECTION("from the log") {}
  SECTION("from a snapshot, when the log has been compacted") {
    options.compact_every_entries = 50;
    options.keep_entries = 5;
  }
  Cluster cluster(options);
  ProposeAll(cluster, cluster.Leader(), "a", 100);
  const NodeId victim = cluster.Leader();
  cluster.At(victim).machine.WaitForSize(100);

  cluster.Stop(victim);
  const NodeId leader = cluster.Leader();
  REQUIRE(leader != victim);
  ProposeAll(cluster, leader, "b", 400);
  cluster.At(leader).machine.WaitForSize(500);
  cluster.Start(victim);

  cluster.At(victim).machine.WaitForSize(500);
  CHECK(cluster.At(victim).machine.Values() == cluster.At(leader).machine.Values());
}

TEST_CASE("Entries are applied beside a flush, and the log is kept from where the flush began",
          "[raft][node][compact]") {
  Node::Options options;
  options.compact_every_entries = 50;
  options.keep_entries = 5;
  Cluster cluster(options);
  const NodeId leader = cluster.Leader();
  Member& member = cluster.At(leader);
  member.machine.HoldFlushes();
  const absl::Time deadline = absl::Now() + kPatience;
  ProposeAll(cluster, leader, "a", 100);
  while (member.machine.FirstHeld() == 0 && absl::Now() < deadline) std::this_thread::yield();
  ProposeAll(cluster, leader, "b", 200);
  member.machine.WaitForSize(300);
  CHECK(member.node->Peek().first_index == 1);

  member.machine.LetGo(1);
  while (member.node->Peek().first_index == 1 && absl::Now() < deadline) std::this_thread::yield();
  CHECK(member.machine.FirstHeld() < 300);
  CHECK(member.node->Peek().first_index == member.machine.FirstHeld() - options.keep_entries + 1);
  member.machine.LetGo(1000);
}

TEST_CASE("A log of large entries is cut by their bytes", "[raft][node][compact]") {
  Node::Options options;
  options.compact_every_bytes = 100'000;
  options.keep_bytes = 20'000;
  Cluster cluster(options);
  const NodeId leader = cluster.Leader();
  const std::string large(1000, 'x');
  ProposeAll(cluster, leader, large, 500);
  cluster.At(leader).machine.WaitForSize(500);
  // Far fewer than the 5,000 that may stay. What was applied beside a flush waits for the next entry.
  const absl::Time deadline = absl::Now() + kPatience;
  const auto first = [&] { return cluster.At(leader).node->Peek().first_index; };
  while (first() < 300 && absl::Now() < deadline) {
    const size_t size = cluster.At(leader).machine.Values().size();
    ProposeAll(cluster, leader, large, 1);
    cluster.At(leader).machine.WaitForSize(size + 1);
  }
  CHECK(first() >= 300);
}

TEST_CASE("A member that lost durable data gets it back from the others and is a voter again",
          "[raft][node][repair]") {
  Node::Options options;
  const bool short_logs = GENERATE(false, true);
  if (short_logs) {
    options.compact_every_entries = 50;
    options.keep_entries = 5;
  }
  Cluster cluster(options);
  ProposeAll(cluster, cluster.Leader(), "a", 200);
  const NodeId victim = cluster.Leader();
  for (NodeId id = 1; id <= kMembers; ++id) cluster.At(id).machine.WaitForSize(200);
  cluster.Stop(victim);
  SECTION("a bit of its log has flipped") {
    // Far before the end, so that the machine's state may be ahead of what is left.
    KEELSON_REQUIRE_OK(cluster.At(victim).fs.FlipBit("wal/0000000000000001.wal", 1000, 3));
  }
  SECTION("its disk was replaced") { cluster.Wipe(victim); }

  cluster.Start(victim);
  REQUIRE(cluster.At(victim).loss.has_value());
  ProposeAll(cluster, cluster.Leader(), "b", 200);
  cluster.At(victim).machine.WaitForSize(400);
  cluster.WaitUntilRecovered(victim);

  // With one of the others gone, nothing is committed without it.
  const NodeId gone = victim % kMembers + 1;
  cluster.Stop(gone);
  const NodeId leader = cluster.Leader();
  ProposeAll(cluster, leader, "c", 100);
  cluster.At(leader).machine.WaitForSize(500);
  cluster.At(victim).machine.WaitForSize(500);
  CHECK(cluster.At(victim).machine.Values() == cluster.At(leader).machine.Values());

  // What it found is over: the next start is like any other.
  cluster.Stop(victim);
  cluster.At(victim).wiped = false;
  cluster.Start(victim);
  CHECK_FALSE(cluster.At(victim).loss.has_value());
  CHECK_FALSE(cluster.At(victim).node->Peek().recovering);
}

TEST_CASE("A snapshot that is found damaged when it is sent is made anew", "[raft][node][repair]") {
  Node::Options options;
  options.compact_every_entries = 50;
  options.keep_entries = 5;
  Cluster cluster(options);
  const NodeId leader = cluster.Leader();
  const NodeId follower = leader % kMembers + 1;
  cluster.Stop(follower);
  ProposeAll(cluster, leader, "a", 300);
  const NodeId other = 6 - leader - follower;
  for (const NodeId id : {leader, other}) {
    cluster.At(id).machine.WaitForSize(300);
    // Or the log would bring the follower up to date.
    cluster.WaitUntilCompacted(id);
    // Who leads by then sends it: on a busy machine that changes.
    cluster.At(id).damage_next_snapshot = true;
  }
  cluster.Start(follower);
  cluster.At(follower).machine.WaitForSize(300);
  size_t damaged = 0;
  for (const NodeId id : {leader, other}) {
    if (cluster.At(id).damage_next_snapshot) continue;
    KEELSON_ASSIGN_OR_FAIL(const auto names, cluster.At(id).fs.List("snap"));
    damaged += std::count_if(names.begin(), names.end(), [](const std::string& name) {
      return name.ends_with(".snap.damaged");
    });
  }
  CHECK(damaged > 0);
}

TEST_CASE("A failed sync stops the member and nothing more is acknowledged by it",
          "[raft][node][disk]") {
  Cluster cluster;
  const NodeId leader = cluster.Leader();
  const NodeId follower = leader % kMembers + 1;
  cluster.At(follower).fs.FailNext(SimOperation::kSync, "wal");

  ProposeAll(cluster, leader, "a", 10);
  cluster.At(leader).machine.WaitForSize(10);  // by the other two

  const absl::Time deadline = absl::Now() + kPatience;
  while (!cluster.At(follower).fatal && absl::Now() < deadline) std::this_thread::yield();
  CHECK(cluster.At(follower).fatal);
}

TEST_CASE("A stopped node refuses at once", "[raft][node]") {
  Cluster cluster;
  Node& node = *cluster.At(cluster.Leader()).node;
  node.Stop();

  absl::Status refused;
  node.Propose(Payload("late"), [&refused](const absl::Status& status) { refused = status; });
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  absl::Notification done;
  node.ReadBarrier(kPatience, [&done](const absl::Status& status) {
    CHECK(status.code() == absl::StatusCode::kCancelled);
    done.Notify();
  });
  done.WaitForNotification();
}

}  // namespace keelson::raft
