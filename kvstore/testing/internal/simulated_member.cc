#include "kvstore/testing/internal/simulated_member.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "kvstore/server/grpc_services.h"

namespace keelson::kvstore {
namespace {

using raft::sim::SimExecutor;

constexpr uint64_t kClusterId = 0x51a;

}  // namespace

// What members ask each other, beside Raft: straight at the other's server, over the same wire.
class SimulatedMember::Peers final : public PeerCalls {
 public:
  explicit Peers(SimulatedMember* member) : member_(member) {}

  void KeepAlive(raft::NodeId leader, const etcdserverpb::LeaseKeepAliveRequest& request,
                 absl::Duration timeout, etcdserverpb::LeaseKeepAliveResponse* response,
                 Done done) override {
    Ask<etcdserverpb::LeaseKeepAliveResponse>(
        leader, timeout,
        [request](Server& server, auto* answer, Done answered) {
          server.LeaseKeepAlive(request, true, answer, std::move(answered));
        },
        [response, done = std::move(done)](const absl::Status& status, const auto& answer) {
          if (status.ok()) *response = answer;
          done(status);
        });
  }
  void TimeToLive(raft::NodeId leader, const etcdserverpb::LeaseTimeToLiveRequest& request,
                  absl::Duration timeout, etcdserverpb::LeaseTimeToLiveResponse* response,
                  Done done) override {
    Ask<etcdserverpb::LeaseTimeToLiveResponse>(
        leader, timeout,
        [request](Server& server, auto* answer, Done answered) {
          server.LeaseTimeToLive(request, true, answer, std::move(answered));
        },
        [response, done = std::move(done)](const absl::Status& status, const auto& answer) {
          if (status.ok()) *response = answer;
          done(status);
        });
  }
  void Describe(raft::NodeId peer, absl::Duration timeout, Described done) override {
    Ask<ClusterDescription>(
        peer, timeout,
        [](Server& server, ClusterDescription* answer, const Done& answered) {
          server.DescribeCluster(answer);
          answered(absl::OkStatus());
        },
        [done = std::move(done)](const absl::Status& status, const ClusterDescription& answer) {
          if (status.ok()) return done(answer);
          done(status);
        });
  }
  void Promote(raft::NodeId leader, uint64_t id, const Origin& who, absl::Duration timeout,
               Done done) override {
    Ask<int>(
        leader, timeout,
        [id, who](Server& server, int*, Done answered) {
          server.PromoteAsLeader(id, who, std::move(answered));
        },
        [done = std::move(done)](const absl::Status& status, int) { done(status); });
  }

 private:
  template <typename Answer>
  void Ask(raft::NodeId to, absl::Duration timeout, std::function<void(Server&, Answer*, Done)> ask,
           std::function<void(const absl::Status&, const Answer&)> done) {
    struct State {
      Answer answer{};
      bool over = false;
    };
    const auto state = std::make_shared<State>();
    // Runs on the asking member, or never once that has crashed.
    Executor* const home = &member_->timers();
    const auto finish = [state, done = std::move(done)](const absl::Status& status) {
      if (!std::exchange(state->over, true)) done(status, state->answer);
    };
    home->PostAfter(timeout, [finish] { finish(absl::DeadlineExceededError("no answer")); });
    SimulatedMember* const self = member_;
    const raft::NodeId from = self->options_.id;
    const uint64_t life = self->lives_;
    self->send_(from, to, [self, state, finish, ask = std::move(ask), from, to, life] {
      const auto back = [self, finish, from, to, life](const absl::Status& status) {
        self->send_(to, from, [self, finish, life, status] {
          if (!self->running() || self->lives_ != life) return;
          self->timers().Post([finish, status] { finish(status); });
        });
      };
      SimulatedMember* const other = self->find_(to);
      if (other == nullptr) return back(absl::UnavailableError("connection refused"));
      other->timers().Post([other, state, ask, back] {
        if (other->running()) ask(other->server(), &state->answer, back);
      });
    });
  }

  SimulatedMember* const member_;
};

SimulatedMember::SimulatedMember(raft::sim::SimWorld& world, raft::sim::SimNetwork& network,
                                 Options options, FindMember find, SendTo send)
    : world_(world),
      network_(network),
      options_(std::move(options)),
      find_(std::move(find)),
      send_(std::move(send)),
      random_(world.Stream(absl::StrCat("member ", options_.id))),
      clock_(world, 1),
      disk_(random_.Stream("disk"),
            {.faults = {.sync_latency = absl::Milliseconds(1)},
             .on_latency = [&world](absl::Duration time) { world.Spend(time); }}) {}

SimulatedMember::~SimulatedMember() {
  if (process_ != nullptr) Crash();
}

std::string SimulatedMember::name() const { return absl::StrCat("member-", options_.id); }

void SimulatedMember::MakeExecutors(Process& process) {
  const auto make = [this](const char* what) {
    SimExecutor::Options options;
    options.clock_rate = clock_rate_;
    return std::make_unique<SimExecutor>(world_, random_.Stream(absl::StrCat(what, " ", lives_)),
                                         options);
  };
  process.loop = make("loop");
  process.append = make("append");
  process.apply = make("apply");
  process.background = make("background");
  process.timers = make("timers");
  process.delivery = make("delivery");
  process.catch_up = make("catch-up");
  process.backups = make("backups");
  process.rpc = make("rpc");
}

void SimulatedMember::MakeServer(Process& process) {
  Server::Options options;
  options.cluster_id = kClusterId;
  options.member_id = options_.id;
  options.name = name();
  options.client_urls = {absl::StrCat("http://", name(), ":2379")};
  options.founders = options_.founders;
  options.election_timeout = options_.election_timeout;
  options.bcrypt_cost = 4;
  process.peers = std::make_unique<Peers>(this);
  process.server = std::make_unique<Server>(
      options, Server::Env{.clock = &clock_,
                           .file_system = &disk_,
                           .timers = process.timers.get(),
                           .delivery = process.delivery.get(),
                           .catch_up = process.catch_up.get(),
                           .readers = {},
                           .backups = process.backups.get(),
                           .forwarder = process.peers.get(),
                           .peers = process.peers.get(),
                           .random = random_.Stream(absl::StrCat("server ", lives_))});
  Server::MemberHooks hooks;
  hooks.connected = [this] {
    std::vector<raft::NodeId> others;
    for (const Store::MemberAttributes& member : options_.founders) {
      if (member.id != options_.id && network_.LinkUp(member.id, options_.id) &&
          find_(member.id) != nullptr) {
        others.push_back(member.id);
      }
    }
    return others;
  };
  hooks.on_peers = [](const auto&) {};  // Everybody knows where everybody is.
  hooks.on_removed = [] {};
  process.server->SetMemberHooks(std::move(hooks));
  relay_.SetTarget(process.server.get());
  if (machine_ == nullptr) {
    StateMachine::Options machine;
    for (const Store::MemberAttributes& member : options_.founders) {
      machine.initial_conf_state.voters.push_back(member.id);
    }
    machine.initial_members = options_.founders;
    machine_ = StateMachine::OpenInMemory(machine, &relay_);
  }
  process.server->SetStore(&machine_->store());
}

void SimulatedMember::StartNode(Process& process) {
  raft::MemberStorageOptions storage;
  storage.wal_dir = "wal";
  storage.snapshot_dir = "snap";
  storage.identity = {.cluster_id = kClusterId, .node_id = options_.id};
  storage.wal.segment_bytes = 1 << 20;
  storage.wal.incarnation = random_() | 1;
  storage.clock = &clock_;
  storage.random = random_.Stream(absl::StrCat("loss ", lives_));
  auto opened = raft::OpenMemberStorage(disk_, storage, machine_->Applied());
  KEELSON_CHECK(opened.ok());
  process.storage = *std::move(opened);
  raft::Transport& transport =
      network_.Attach(options_.id, {.sink = nullptr,
                                    .snapshots = process.storage.snapshots.get(),
                                    .background = process.background.get(),
                                    .alive = [] { return true; }});
  raft::Node::Options node;
  node.core.id = options_.id;
  node.core.election_ticks =
      static_cast<int>(options_.election_timeout / options_.heartbeat_interval);
  node.tick_interval = options_.heartbeat_interval;
  node.proposal_wait = absl::Seconds(5) + 2 * options_.election_timeout;
  node.on_fatal = [](const absl::Status& status) {
    KEELSON_CHECK(status.ok());  // There are no faults that could bring this about.
  };
  node.on_role_change = [server = process.server.get()](const raft::SoftState& state,
                                                        raft::Term term) {
    server->OnRoleChange(state, term);
  };
  const raft::ConfState members = machine_->Applied().conf_state;
  auto started = raft::Node::Start(node,
                                   {.clock = &clock_,
                                    .loop = process.loop.get(),
                                    .append = process.append.get(),
                                    .apply = process.apply.get(),
                                    .background = process.background.get(),
                                    .transport = &transport,
                                    .wal = process.storage.wal.get(),
                                    .snapshots = process.storage.snapshots.get(),
                                    .machine = machine_.get(),
                                    .random = random_.Stream(absl::StrCat("core ", lives_))},
                                   std::move(process.storage.recovered));
  KEELSON_CHECK(started.ok());
  process.node = *std::move(started);
  network_.SetSink(options_.id, process.node.get());
  process.server->OnMembership(members);
  process.server->Start(process.node.get());
}

void SimulatedMember::Start() {
  KEELSON_CHECK(process_ == nullptr);
  ++lives_;
  world_.Trace("start", {options_.id, lives_});
  process_ = std::make_unique<Process>();
  MakeExecutors(*process_);
  MakeServer(*process_);
  StartNode(*process_);
  rpc_ = rpc::LocalServer::Create(
      {.loop = process_->rpc.get(), .run_on_loop = [](const Executor::Task& task) { task(); }});
  RegisterGrpcServices(rpc_.get(), process_->server.get(), &process_->metrics);
  rpc_->Start();
}

void SimulatedMember::Crash() {
  KEELSON_CHECK(process_ != nullptr);
  world_.Trace("crash", {options_.id});
  for (SimExecutor* const executor : process_->Executors()) executor->Kill();
  network_.Detach(options_.id);
  // The handlers of calls know the server, so they go first.
  rpc_->Stop(absl::ZeroDuration());
  process_->server->Stop();
  process_.reset();
  disk_.PowerLoss();
  machine_->Crash();
}

void SimulatedMember::Pause(absl::Duration time) {
  world_.Trace("pause", {options_.id});
  for (SimExecutor* const executor : process_->Executors()) {
    executor->PauseUntil(world_.now() + time);
  }
}

void SimulatedMember::SetClockRate(double rate) {
  clock_rate_ = rate;
  clock_.SetRate(rate);
  if (process_ == nullptr) return;
  for (SimExecutor* const executor : process_->Executors()) executor->SetClockRate(rate);
}

}  // namespace keelson::kvstore
