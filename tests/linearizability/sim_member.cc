#include "tests/linearizability/sim_member.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/server/peer_calls.h"

namespace keelson::linearizability {
namespace {

using kvstore::ApplyListener;
using kvstore::Origin;
using raft::sim::SimExecutor;

constexpr uint64_t kClusterId = 0x6b76;
constexpr absl::Duration kWay = absl::Microseconds(300);  // of a call between members

std::vector<raft::NodeId> Ids(const std::vector<kvstore::Store::MemberAttributes>& members) {
  std::vector<raft::NodeId> ids;
  for (const auto& member : members) ids.push_back(member.id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

const std::vector<PlantInfo>& Plants() {
  static const auto& plants = *new std::vector<PlantInfo>{
      {Plant::kStaleReads, "stale-reads"},     {Plant::kOldLeaderRevokes, "old-leader-revokes"},
      {Plant::kAppliedTwice, "applied-twice"}, {Plant::kUnsyncedLog, "unsynced-log"},
      {Plant::kEventLost, "event-lost"},       {Plant::kSnapshotForgotten, "snapshot-forgotten"},
  };
  return plants;
}

// The machine outlives the servers that listen to it.
class SimMember::Relay final : public ApplyListener {
 public:
  Relay(SimMember& member, Random random) : member_(member), random_(random) {}

  bool IsWaiting(uint64_t id) override { return to_ != nullptr && to_->IsWaiting(id); }
  void OnChanges(std::vector<kvstore::Store::Change> changes) override {
    if (to_ == nullptr) return;
    if (member_.options_.plant == Plant::kEventLost && random_.Bernoulli(0.02)) changes.pop_back();
    if (!changes.empty()) to_->OnChanges(std::move(changes));
  }
  void OnLeases(std::vector<LeaseChange> changes) override {
    if (to_ != nullptr) to_->OnLeases(std::move(changes));
  }
  void OnAuth(std::vector<AuthChange> changes) override {
    if (to_ != nullptr) to_->OnAuth(std::move(changes));
  }
  void OnMembership(const raft::ConfState& in_force) override {
    if (to_ != nullptr) to_->OnMembership(in_force);
  }
  void OnResults(std::vector<kvstore::CommandResult> results) override {
    if (to_ != nullptr) to_->OnResults(std::move(results));
  }
  void OnRestored() override {
    ++member_.restored_;
    if (to_ != nullptr && member_.options_.plant != Plant::kSnapshotForgotten) to_->OnRestored();
  }
  void SetServer(kvstore::Server* server) { to_ = server; }

 private:
  SimMember& member_;
  Random random_;
  kvstore::Server* to_ = nullptr;
};

// The machine as the Raft node sees it, with the planted defects of applying.
class SimMember::Planted final : public raft::StateMachine {
 public:
  Planted(kvstore::StateMachine& machine, Plant plant) : machine_(machine), plant_(plant) {}

  raft::SnapshotMetadata Applied() override {
    raft::SnapshotMetadata applied = machine_.Applied();
    if (plant_ == Plant::kAppliedTwice && applied.index > 40) applied.index -= 1;
    return applied;
  }
  absl::Status Apply(std::span<const raft::Entry> entries,
                     const raft::SnapshotMetadata& after) override {
    if (plant_ != Plant::kOldLeaderRevokes) return machine_.Apply(entries, after);
    std::vector<raft::Entry> changed(entries.begin(), entries.end());
    for (raft::Entry& entry : changed) {
      kvstore::Command command;
      if (entry.type != raft::EntryType::kNormal || entry.data.empty() ||
          !command.ParseFromString(std::string(entry.data.view()))) {
        continue;
      }
      command.mutable_origin()->clear_term();
      entry.data = raft::Payload(command.SerializeAsString());
    }
    return machine_.Apply(changed, after);
  }
  absl::Status Flush() override { return machine_.Flush(); }
  std::function<absl::Status()> BeginFlush() override { return machine_.BeginFlush(); }
  absl::StatusOr<std::unique_ptr<raft::StateCapture>> Capture() override {
    return machine_.Capture();
  }
  absl::Status Restore(raft::SnapshotReader& reader,
                       const raft::SnapshotMetadata& metadata) override {
    return machine_.Restore(reader, metadata);
  }

 private:
  kvstore::StateMachine& machine_;
  const Plant plant_;
};

// Calls between members: they take their way, and fail where the network is cut.
class SimMember::Peers final : public kvstore::PeerCalls {
 public:
  explicit Peers(SimMember& member) : member_(member) {}

  void KeepAlive(raft::NodeId leader, const etcdserverpb::LeaseKeepAliveRequest& request,
                 absl::Duration timeout, etcdserverpb::LeaseKeepAliveResponse* response,
                 Done done) override {
    Ask<etcdserverpb::LeaseKeepAliveResponse>(
        leader, timeout,
        [request](kvstore::Server& server, etcdserverpb::LeaseKeepAliveResponse* answer,
                  Done answered) {
          server.LeaseKeepAlive(request, true, answer, std::move(answered));
        },
        [response, done = std::move(done)](const absl::Status& status,
                                           const etcdserverpb::LeaseKeepAliveResponse& answer) {
          *response = answer;
          done(status);
        });
  }
  void TimeToLive(raft::NodeId leader, const etcdserverpb::LeaseTimeToLiveRequest& request,
                  absl::Duration timeout, etcdserverpb::LeaseTimeToLiveResponse* response,
                  Done done) override {
    Ask<etcdserverpb::LeaseTimeToLiveResponse>(
        leader, timeout,
        [request](kvstore::Server& server, etcdserverpb::LeaseTimeToLiveResponse* answer,
                  Done answered) {
          server.LeaseTimeToLive(request, true, answer, std::move(answered));
        },
        [response, done = std::move(done)](const absl::Status& status,
                                           const etcdserverpb::LeaseTimeToLiveResponse& answer) {
          *response = answer;
          done(status);
        });
  }
  void Describe(raft::NodeId peer, absl::Duration timeout, Described done) override {
    Ask<kvstore::ClusterDescription>(
        peer, timeout,
        [](kvstore::Server& server, kvstore::ClusterDescription* answer, const Done& answered) {
          server.DescribeCluster(answer);
          answered(absl::OkStatus());
        },
        [done = std::move(done)](const absl::Status& status,
                                 const kvstore::ClusterDescription& answer) {
          if (status.ok()) return done(answer);
          done(status);
        });
  }
  void Promote(raft::NodeId leader, uint64_t id, const Origin& who, absl::Duration timeout,
               Done done) override {
    Ask<int>(
        leader, timeout,
        [id, who](kvstore::Server& server, int*, Done answered) {
          server.PromoteAsLeader(id, who, std::move(answered));
        },
        [done = std::move(done)](const absl::Status& status, int) { done(status); });
  }

 private:
  template <typename Answer>
  void Ask(raft::NodeId to, absl::Duration timeout,
           std::function<void(kvstore::Server&, Answer*, Done)> call,
           std::function<void(const absl::Status&, const Answer&)> then) {
    raft::sim::SimWorld& world = member_.env_.world;
    auto answer = std::make_shared<Answer>();
    auto finished = std::make_shared<bool>(false);
    auto finish = [answer, finished, life = member_.life(),
                   then = std::move(then)](const absl::Status& status) {
      if (*finished || life.expired()) return;
      *finished = true;
      then(status, *answer);
    };
    world.After(timeout, [finish] { finish(absl::DeadlineExceededError("no answer")); });
    const uint64_t self = member_.id();
    world.After(kWay, [this, self, to, answer, finish, call = std::move(call),
                       life = member_.life()] {
      if (life.expired()) return;
      SimMember* const target = member_.env_.find(to);
      if (target == nullptr || !target->running() || !member_.env_.network.LinkUp(self, to)) {
        return finish(absl::UnavailableError("nobody there"));
      }
      raft::sim::SimWorld& the_world = member_.env_.world;
      raft::sim::SimNetwork& network = member_.env_.network;
      target->door().Post([target, call, answer, finish, self, to, &the_world, &network] {
        call(target->server(), answer.get(), [=, &the_world, &network](const absl::Status& status) {
          the_world.After(kWay, [=, &network] {
            if (network.LinkUp(to, self)) finish(status);
          });
        });
      });
    });
  }

  SimMember& member_;
};

SimMember::SimMember(Env env, const Options& options)
    : env_(std::move(env)),
      options_(options),
      random_(env_.world.Stream(absl::StrCat("member ", options.name))),
      clock_(env_.world, options.clock_rate),
      disk_(random_.Stream("disk"),
            {.faults = options.disk,
             .capacity_bytes = 0,
             .on_latency = [this](absl::Duration time) { env_.world.Spend(time); }}),
      relay_(std::make_unique<Relay>(*this, random_.Stream("relay"))) {
  kvstore::StateMachine::Options machine;
  machine.initial_conf_state.voters = Ids(options_.founders);
  machine.initial_members = options_.founders;
  machine_ = kvstore::StateMachine::OpenInMemory(machine, relay_.get());
}

SimMember::~SimMember() {
  if (process_ == nullptr) return;
  for (auto& [name, executor] : process_->executors) executor->Kill();
  process_->node.reset();
}

SimExecutor* SimMember::AddExecutor(const std::string& name, double stall) {
  SimExecutor::Options options{.stall = calm_ ? 0 : stall, .clock_rate = clock_.rate()};
  auto executor = std::make_unique<SimExecutor>(
      env_.world, random_.Stream(absl::StrCat(name, " ", starts_)), options);
  return (process_->executors[name] = std::move(executor)).get();
}

void SimMember::MakeServer() {
  kvstore::Server::Options options;
  options.cluster_id = kClusterId;
  options.member_id = options_.id;
  options.name = options_.name;
  options.client_urls = {absl::StrCat("http://", options_.name, ":2379")};
  options.founders = options_.founders;
  options.known_members = options_.known_members;
  options.strict_reconfig_check = false;  // It knows connections by the minute.
  options.max_learners = 2;
  options.election_timeout = options_.election_timeout;
  process_->peers = std::make_unique<Peers>(*this);
  Executor* const timers = AddExecutor("timers", 0);
  process_->server = std::make_unique<kvstore::Server>(
      options, kvstore::Server::Env{.clock = &clock_,
                                    .file_system = &disk_,
                                    .timers = timers,
                                    .delivery = AddExecutor("delivery", 0),
                                    .catch_up = AddExecutor("catch up", 0.02),
                                    .readers = {},
                                    .forwarder = process_->peers.get(),
                                    .peers = process_->peers.get(),
                                    .random = random_.Stream(absl::StrCat("server ", starts_))});
  process_->server->SetMemberHooks({.connected = nullptr,
                                    .on_peers = [](const auto&) {},
                                    .on_removed = [this] { removed_ = true; }});
  process_->server->SetStore(&machine_->store());
  relay_->SetServer(process_->server.get());
}

absl::Status SimMember::Start() {
  ++starts_;
  process_ = std::make_unique<Process>();
  process_->door = AddExecutor("door", 0);
  MakeServer();
  const absl::Status status = StartNode();
  if (!status.ok()) process_->fatal = status;
  return status;
}

absl::Status SimMember::StartNode() {
  process_->planted = std::make_unique<Planted>(*machine_, options_.plant);
  raft::MemberStorageOptions storage_options{
      .wal_dir = "wal",
      .snapshot_dir = "snap",
      .identity = {.cluster_id = kClusterId, .node_id = options_.id},
      .wal = {.segment_bytes = 32 << 10,
              .unsafe_no_sync = options_.plant == Plant::kUnsyncedLog,
              .incarnation = random_() | 1},
      .clock = &clock_,
      .random = random_.Stream(absl::StrCat("storage ", starts_))};
  KEELSON_ASSIGN_OR_RETURN(
      raft::MemberStorage storage,
      raft::OpenMemberStorage(disk_, storage_options, process_->planted->Applied()));
  process_->wal = std::move(storage.wal);
  process_->snapshots = std::move(storage.snapshots);
  SimExecutor* const background = AddExecutor("background", 0.05);
  raft::Transport& transport =
      env_.network.Attach(options_.id, {.sink = nullptr,
                                        .snapshots = process_->snapshots.get(),
                                        .background = background,
                                        .alive = [this] { return !failed(); }});
  raft::Node::Options node = options_.node;
  node.core.id = options_.id;
  node.on_fatal = [this](const absl::Status& status) { process_->fatal = status; };
  node.on_role_change = [server = process_->server.get()](const raft::SoftState& state,
                                                          raft::Term term) {
    server->OnRoleChange(state, term);
  };
  const raft::ConfState members = process_->planted->Applied().conf_state;
  KEELSON_ASSIGN_OR_RETURN(
      process_->node, raft::Node::Start(node,
                                        {.clock = &clock_,
                                         .loop = AddExecutor("loop", 0),
                                         .append = AddExecutor("append", 0),
                                         .apply = AddExecutor("apply", options_.slow_apply),
                                         .background = background,
                                         .transport = &transport,
                                         .wal = process_->wal.get(),
                                         .snapshots = process_->snapshots.get(),
                                         .machine = process_->planted.get(),
                                         .random = random_.Stream(absl::StrCat("core ", starts_))},
                                        std::move(storage.recovered)));
  env_.network.SetSink(options_.id, process_->node.get());
  process_->server->OnMembership(members);
  process_->server->Start(process_->node.get());
  return absl::OkStatus();
}

bool SimMember::failed() const {
  return process_ != nullptr && (!process_->fatal.ok() || disk_.power_is_cut());
}

void SimMember::Crash(bool power) {
  if (process_ == nullptr) return;
  env_.on_down(*this);
  for (auto& [name, executor] : process_->executors) executor->Kill();
  env_.network.Detach(options_.id);
  relay_->SetServer(nullptr);
  process_->node.reset();
  process_.reset();
  if (power) {
    disk_.PowerLoss();
  } else {
    disk_.ProcessCrash();
  }
  machine_->Crash();
}

void SimMember::Retire() {
  Crash(false);
  retired_ = true;
}

void SimMember::Pause(absl::Duration time) {
  if (process_ == nullptr) return;
  for (auto& [name, executor] : process_->executors) {
    executor->PauseUntil(env_.world.now() + time);
  }
}

void SimMember::SetClockRate(double rate) {
  clock_.SetRate(rate);
  if (process_ == nullptr) return;
  for (auto& [name, executor] : process_->executors) executor->SetClockRate(rate);
}

void SimMember::Calm() {
  calm_ = true;
  disk_.SetFaults({});
  if (process_ == nullptr) return;
  for (auto& [name, executor] : process_->executors) executor->Calm();
}

}  // namespace keelson::linearizability
