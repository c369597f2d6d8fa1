#include "kvstore/testing/simulated_cluster.h"

#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "kvstore/client/internal/rpc_client.h"
#include "kvstore/testing/internal/simulated_member.h"
#include "kvstore/testing/internal/simulated_wire.h"

namespace keelson::kvstore {
namespace {

using raft::sim::SimExecutor;

// How long a connection that carries nothing is kept: a client's probe and its patience.
constexpr absl::Duration kSilence = absl::Seconds(16);
// Longer than any test, so that one that waits for nothing ends.
constexpr absl::Duration kEnd = absl::Hours(24 * 30);
constexpr absl::Duration kStartLimit = absl::Minutes(1);

class ClusterImpl;

// A client's connection to one member, whichever life of it.
class SimulatedChannel final : public rpc::Channel {
 public:
  SimulatedChannel(ClusterImpl* cluster, std::string client, int member, Executor* loop)
      : cluster_(cluster), client_(std::move(client)), member_(member), loop_(loop) {}
  ~SimulatedChannel() override { Close(); }

  std::shared_ptr<rpc::ClientCall> Start(rpc::CallOptions call,
                                         std::shared_ptr<rpc::ResponseHandler> handler) override;
  void Close() override;
  void Break(const char* why) {
    if (local_ != nullptr) local_->Break(absl::UnavailableError(why));
  }
  [[nodiscard]] const std::string& client() const { return client_; }
  [[nodiscard]] int member() const { return member_; }

 private:
  ClusterImpl* cluster_;  // null when closed
  const std::string client_;
  const int member_;
  Executor* const loop_;
  uint64_t life_ = 0;
  std::unique_ptr<rpc::LocalChannel> local_;
};

class ClusterImpl final : public SimulatedCluster {
 public:
  explicit ClusterImpl(const Options& options)
      : options_(options),
        world_(options.seed),
        network_(world_),
        wire_(world_, options.latency),
        executor_(world_, world_.Stream("executor"), {}) {
    network_.SetFaults({.min_delay = options.latency, .mean_tail = options.latency / 4});
    std::vector<Store::MemberAttributes> founders;
    for (int i = 1; i <= options.members; ++i) {
      founders.push_back({.id = static_cast<uint64_t>(i),
                          .name = Name(i),
                          .peer_urls = {absl::StrCat("http://", Name(i), ":2380")}});
    }
    for (int i = 1; i <= options.members; ++i) {
      members_[i] = std::make_unique<SimulatedMember>(
          world_, network_,
          SimulatedMember::Options{.id = static_cast<raft::NodeId>(i),
                                   .founders = founders,
                                   .heartbeat_interval = options.heartbeat_interval,
                                   .election_timeout = options.election_timeout},
          [this](raft::NodeId id) -> SimulatedMember* {
            SimulatedMember& member = *members_.at(static_cast<int>(id));
            return member.running() ? &member : nullptr;
          },
          [this](raft::NodeId from, raft::NodeId to, Executor::Task task) {
            wire_.Send(Name(static_cast<int>(from)), Name(static_cast<int>(to)), std::move(task));
          });
    }
    for (auto& [number, member] : members_) member->Start();
  }

  // --- For clients ---

  static std::string Name(int member) { return absl::StrCat("member-", member); }
  SimulatedMember& At(int member) { return *members_.at(member); }
  raft::sim::SimWorld& world() { return world_; }
  SimulatedWire& wire() { return wire_; }
  void Add(SimulatedChannel* channel) { channels_.insert(channel); }
  void Remove(SimulatedChannel* channel) { channels_.erase(channel); }
  // False when nothing more can come.
  bool Step() { return world_.now() < kEnd && world_.Step(); }

  // --- SimulatedCluster ---

  std::unique_ptr<Client> NewClient(const std::string& name, const ClientOptions& options) override;
  Executor& executor() override { return executor_; }

  [[nodiscard]] absl::Duration now() const override { return world_.now(); }
  void RunFor(absl::Duration time) override {
    // One event at the end, so that time comes there though nothing else happens.
    bool over = false;
    world_.After(time, [&over] { over = true; });
    while (!over && world_.Step()) {
    }
  }
  bool RunUntil(const std::function<bool()>& done, absl::Duration limit) override {
    const absl::Duration end = world_.now() + limit;
    while (!done()) {
      if (world_.now() >= end || !Step()) return false;
    }
    return true;
  }

  void Crash(int member) override {
    for (SimulatedChannel* const channel : Copy()) {
      if (channel->member() != member) continue;
      wire_.Drop(channel->client(), Name(member));
      channel->Break("the connection broke");
    }
    At(member).Crash();
  }
  void Restart(int member) override { At(member).Start(); }
  void Pause(int member, absl::Duration time) override { At(member).Pause(time); }
  void SetClockRate(int member, double rate) override { At(member).SetClockRate(rate); }
  void JumpClock(int member, absl::Duration offset) override { At(member).JumpClock(offset); }

  void Cut(const std::string& a, const std::string& b) override;
  void Isolate(int member) override {
    for (const auto& [other, unused] : members_) {
      if (other != member) Cut(Name(member), Name(other));
    }
    for (const std::string& client : clients_) Cut(Name(member), client);
  }
  void Heal() override {
    ++cuts_;
    network_.HealLinks();
    wire_.Heal();
  }

  [[nodiscard]] int Leader() const override {
    int leader = 0;
    raft::Term term = 0;
    for (const auto& [number, member] : members_) {
      if (!member->running()) continue;
      const raft::Node::Snapshot peek = member->Peek();
      if (peek.soft_state.role != raft::Role::kLeader || peek.term <= term) continue;
      leader = number;
      term = peek.term;
    }
    return leader;
  }
  [[nodiscard]] bool IsRunning(int member) const override { return members_.at(member)->running(); }
  [[nodiscard]] uint64_t fingerprint() const override {
    return world_.steps() ^ static_cast<uint64_t>(absl::ToInt64Nanoseconds(world_.now())) << 16 ^
           world_.trace_hash();
  }

 private:
  // Breaking one may destroy others.
  std::vector<SimulatedChannel*> Copy() { return {channels_.begin(), channels_.end()}; }

  const Options options_;
  raft::sim::SimWorld world_;
  raft::sim::SimNetwork network_;
  SimulatedWire wire_;
  SimExecutor executor_;
  std::map<int, std::unique_ptr<SimulatedMember>> members_;
  std::set<SimulatedChannel*> channels_;
  std::set<std::string> clients_;
  uint64_t cuts_ = 0;  // grows with each Heal: a cut that came before it is over
};

void ClusterImpl::Cut(const std::string& a, const std::string& b) {
  wire_.Cut(a, b);
  int ends[2] = {0, 0};
  for (const auto& [number, member] : members_) {
    if (Name(number) == a) ends[0] = number;
    if (Name(number) == b) ends[1] = number;
  }
  if (ends[0] != 0 && ends[1] != 0) {
    network_.SetLink(static_cast<raft::NodeId>(ends[0]), static_cast<raft::NodeId>(ends[1]), false);
    network_.SetLink(static_cast<raft::NodeId>(ends[1]), static_cast<raft::NodeId>(ends[0]), false);
    return;
  }
  const std::string client = ends[0] == 0 ? a : b;
  const int member = ends[0] == 0 ? ends[1] : ends[0];
  world_.After(kSilence, [this, client, member, cuts = cuts_] {
    if (cuts != cuts_) return;
    for (SimulatedChannel* const channel : Copy()) {
      if (channel->client() != client || channel->member() != member) continue;
      wire_.Drop(client, Name(member));
      channel->Break("silent for 16s");
    }
  });
}

std::shared_ptr<rpc::ClientCall> SimulatedChannel::Start(
    rpc::CallOptions call, std::shared_ptr<rpc::ResponseHandler> handler) {
  SimulatedMember& member = cluster_->At(member_);
  if (local_ == nullptr || life_ != member.lives()) {
    life_ = member.lives();
    const auto pipe = [cluster = cluster_](const std::string& from, const std::string& to) {
      return [cluster, from, to](Executor::Task task) {
        cluster->wire().Send(from, to, std::move(task));
      };
    };
    const std::string name = ClusterImpl::Name(member_);
    local_ = member.rpc().Connect({.name = name,
                                   .loop = loop_,
                                   .run_on_loop = [](const Executor::Task& task) { task(); },
                                   .to_server = pipe(client_, name),
                                   .to_client = pipe(name, client_)});
  }
  return local_->Start(std::move(call), std::move(handler));
}

void SimulatedChannel::Close() {
  if (ClusterImpl* const cluster = std::exchange(cluster_, nullptr)) cluster->Remove(this);
  if (local_ != nullptr) local_->Close();
}

// A client's machine.
class SimulatedRuntime final : public client_internal::Runtime {
 public:
  SimulatedRuntime(ClusterImpl* cluster, std::string name)
      : cluster_(cluster),
        name_(std::move(name)),
        clock_(cluster->world(), 1),
        loop_(cluster->world(), cluster->world().Stream(name_ + " loop"), {}),
        watch_(cluster->world(), cluster->world().Stream(name_ + " watch"), {}),
        lease_(cluster->world(), cluster->world().Stream(name_ + " lease"), {}) {}

  absl::Duration Monotonic() override { return clock_.Monotonic(); }
  Executor& loop() override { return loop_; }
  void RunOnLoop(const Executor::Task& task) override { task(); }
  Executor& watch_callbacks() override { return watch_; }
  Executor& lease_callbacks() override { return lease_; }

  bool Await(absl::Mutex* mu, const absl::Condition& condition, absl::Duration timeout) override {
    const absl::Duration deadline = Monotonic() + timeout;
    // Time comes to the deadline though nothing else happens.
    if (timeout < kEnd) cluster_->world().After(timeout, [] {});
    while (!condition.Eval()) {
      if (Monotonic() >= deadline) return false;
      mu->Unlock();
      const bool more = cluster_->Step();
      mu->Lock();
      if (!more) return condition.Eval();
    }
    return true;
  }

  absl::StatusOr<std::unique_ptr<rpc::Channel>> Open(const std::string& endpoint) override {
    for (int member = 1; member <= kMembersMax; ++member) {
      if (endpoint != absl::StrCat("http://", ClusterImpl::Name(member), ":2379")) continue;
      auto channel = std::make_unique<SimulatedChannel>(cluster_, name_, member, &loop_);
      cluster_->Add(channel.get());
      return channel;
    }
    return absl::InvalidArgumentError(absl::StrCat("endpoint '", endpoint, "' is no member"));
  }

  void Stop() override {
    for (SimExecutor* const executor : {&loop_, &watch_, &lease_}) executor->Kill();
  }

 private:
  static constexpr int kMembersMax = 99;

  ClusterImpl* const cluster_;
  const std::string name_;
  raft::sim::SimClock clock_;
  SimExecutor loop_;
  SimExecutor watch_;
  SimExecutor lease_;
};

std::unique_ptr<Client> ClusterImpl::NewClient(const std::string& name,
                                               const ClientOptions& options) {
  clients_.insert(name);
  std::vector<std::string> endpoints = options.endpoints;
  for (int i = 1; options.endpoints.empty() && i <= options_.members; ++i) {
    endpoints.push_back(absl::StrCat("http://", Name(i), ":2379"));
  }
  auto client =
      client_internal::MakeClient(std::make_unique<SimulatedRuntime>(this, name), endpoints,
                                  {.dial_timeout = options.dial_timeout,
                                   .command_timeout = options.command_timeout,
                                   .sync_interval = options.sync_interval,
                                   .user = options.user,
                                   .password = options.password});
  KEELSON_CHECK(client.ok());  // The endpoints are members.
  return *std::move(client);
}

}  // namespace

std::unique_ptr<SimulatedCluster> SimulatedCluster::Start(const Options& options) {
  auto cluster = std::make_unique<ClusterImpl>(options);
  KEELSON_CHECK(cluster->RunUntil([&] { return cluster->Leader() != 0; }, kStartLimit));
  return cluster;
}

}  // namespace keelson::kvstore
