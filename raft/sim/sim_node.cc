#include "raft/sim/sim_node.h"

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/sim/record_order.h"
#include "raft/sim/sim_damage.h"

namespace keelson::raft::sim {
namespace {

constexpr char kWalDir[] = "wal";
constexpr char kSnapshotDir[] = "snap";
constexpr char kStateFile[] = "state";
constexpr uint64_t kClusterId = 0x51a;

}  // namespace

// What its threads send by.
class SimNode::Sender final : public Transport {
 public:
  Sender(SimNode& node, Transport& network) : node_(node), network_(network) {}
  void Send(std::vector<Message> messages) override {
    const bool halts = node_.HaltsAfter(messages);
    network_.Send(std::move(messages));
    if (halts) node_.Halt();
  }

 private:
  SimNode& node_;
  Transport& network_;
};

SimNode::SimNode(Env env, const Options& options)
    : env_(env),
      options_(options),
      random_(env.world.Stream(absl::StrCat("node ", options.id))),
      clock_(env.world, options.executor.clock_rate),
      disk_(random_.Stream("disk"),
            {.faults = options.disk,
             .capacity_bytes = 0,
             .on_latency = [this](absl::Duration time) { SpendOnDisk(time); }}),
      machine_disk_(random_.Stream("machine disk"),
                    {.faults = {}, .capacity_bytes = 0, .on_latency = [this](absl::Duration time) {
                       SpendOnDisk(time);
                     }}) {
  env_.invariants.AddDisk(options_.id, &disk_log_);
}

SimNode::~SimNode() { KillExecutors(); }

void SimNode::SpendOnDisk(absl::Duration time) {
  if (stalled_until_ > env_.world.now()) time += stalled_until_ - env_.world.now();
  env_.world.Spend(time);
}

absl::Status SimNode::Start() {
  env_.world.Trace("start", {options_.id, ++starts_});
  process_ = std::make_unique<Process>();
  absl::Status status = Recover(*process_);
  started_at_ = env_.world.now();
  if (status.ok()) status = MustCrash();
  return status;
}

absl::StatusOr<MemberStorage> SimNode::OpenStorage(KvMachine& machine) {
  MemberStorageOptions options{
      .wal_dir = kWalDir,
      .snapshot_dir = kSnapshotDir,
      .identity = {.cluster_id = kClusterId, .node_id = options_.id},
      .wal = {.segment_bytes = options_.segment_bytes,
              .unsafe_no_sync = false,
              .incarnation = random_() | 1},
      .without_log = wiped_ ? WithoutLog::kLostEverything : WithoutLog::kNewMember,
      .clock = &clock_,
      .random = random_.Stream(absl::StrCat("loss ", starts_))};
  KEELSON_ASSIGN_OR_RETURN(MemberStorage storage,
                           OpenMemberStorage(disk_, options, machine.Applied()));
  if (storage.loss.has_value() && !damaged_) {
    env_.invariants.Fail("DUR", absl::StrCat("node ", options_.id, " finds a loss on a disk that ",
                                             "nobody has damaged: ", storage.loss->what));
  }
  // An earlier start may have found the loss and failed then.
  const HardState& state = storage.recovered.hard_state;
  const bool found_before =
      damaged_ && state.recovering && state.incarnation != disk_log_.durable_state.incarnation;
  if (storage.loss.has_value() || found_before) {
    ++losses_;
    env_.world.Trace(
        "loss", {options_.id, storage.recovered.start.index, storage.recovered.entries.size()});
    disk_log_.NoteLoss();
    env_.invariants.OnLoss(options_.id);
  }
  damaged_ = false;
  wiped_ = false;
  if (storage.recovered.torn_bytes > 0) KEELSON_RETURN_IF_ERROR(OpenLogAgain(options, storage));
  return storage;
}

// What was torn has been cut off: who opens the log again finds it clean, and the same.
absl::Status SimNode::OpenLogAgain(const MemberStorageOptions& options, MemberStorage& storage) {
  storage.wal.reset();
  Wal::Recovered again;
  KEELSON_ASSIGN_OR_RETURN(storage.wal,
                           Wal::Open(disk_, kWalDir, options.identity, options.wal, &again));
  if (again.torn_bytes != 0 || again.entries != storage.recovered.entries) {
    env_.invariants.Fail("DUR", absl::StrCat("the log of node ", options_.id, " was opened twice, ",
                                             "and the second time it had ", again.torn_bytes,
                                             " torn bytes and ", again.entries.size(),
                                             " entries after ", storage.recovered.entries.size()));
  }
  return absl::OkStatus();
}

// What a power cut leaves of a write may end behind any of its records.
void SimNode::CheckOrderOnDisk() {
  disk_.SetFaults({});
  if (const auto early = EntryBeforeItsTerm(disk_, kWalDir); early.has_value()) {
    env_.invariants.Fail("DUR", absl::StrCat("node ", options_.id, " writes entry ", early->index,
                                             " of term ", early->term, " ahead of that term"));
  }
  if (!calm_) disk_.SetFaults(options_.disk);
}

void SimNode::Damage(Random& random, FaultCounts& counts) {
  disk_.SetFaults({});
  if (DamageDisk(disk_, kWalDir, kSnapshotDir, random, counts)) damaged_ = true;
  if (!calm_) disk_.SetFaults(options_.disk);
  env_.world.Trace("damage", {options_.id, damaged_});
}

void SimNode::Wipe() {
  env_.world.Trace("wipe", {options_.id});
  disk_.SetFaults({});
  for (SimFileSystem* fs : {&disk_, &machine_disk_}) WipeDisk(*fs);
  if (!calm_) disk_.SetFaults(options_.disk);
  damaged_ = true;
  wiped_ = true;
}

absl::Status SimNode::Recover(Process& process) {
  const auto executor = [&](const char* name, double stall) {
    SimExecutor::Options executor_options = options_.executor;
    executor_options.ran = &process.ran;
    executor_options.stall = calm_ ? 0 : std::max(executor_options.stall, stall);
    return std::make_unique<SimExecutor>(
        env_.world, random_.Stream(absl::StrCat(name, " ", starts_)), executor_options);
  };
  process.loop = executor("loop", 0);
  process.append = executor("append", 0);
  process.apply = executor("apply", options_.slow_apply);
  process.background = executor("background", options_.slow_apply);

  KEELSON_ASSIGN_OR_RETURN(process.machine,
                           KvMachine::Open(machine_disk_, kStateFile, options_.members,
                                           random_.Stream(absl::StrCat("machine ", starts_)),
                                           options_.machine, MachineHooks(process)));
  KEELSON_ASSIGN_OR_RETURN(MemberStorage storage, OpenStorage(*process.machine));
  Wal::Recovered& recovered = storage.recovered;
  process.snapshots = std::move(storage.snapshots);
  env_.conduct.OnStarted(options_.id);
  env_.wire.OnStarted(options_.id);
  env_.invariants.OnRecovered(options_.id, recovered, process.machine->Applied().index);
  process.wal = std::make_unique<SimWal>(
      options_.id, std::move(storage.wal), recovered, disk_log_, env_.invariants,
      SimWal::Hooks{.on_appended =
                        [this](bool entries, bool new_term) {
                          if (entries) env_.conduct.OnWritten(options_.id);
                          if (new_term) CheckOrderOnDisk();
                        },
                    .on_compacted = [this] { hooks_.on_disk(options_.id, DiskStep::kCompacted); }});
  hooks_.on_disk(options_.id, DiskStep::kRecovered);
  env_.world.Trace("recovered", {options_.id, recovered.hard_state.term, recovered.hard_state.vote,
                                 recovered.start.index, recovered.entries.size(),
                                 process.machine->Applied().index, recovered.torn_bytes});

  process.transport = std::make_unique<Sender>(
      *this, env_.network.Attach(options_.id, {.sink = nullptr,
                                               .snapshots = process.snapshots.get(),
                                               .background = process.background.get(),
                                               .alive = [this] { return MustCrash().ok(); }}));
  Node::Options node_options = options_.node;
  node_options.core.id = options_.id;
  node_options.on_fatal = [this, &process](const absl::Status& status) {
    env_.world.Trace("fatal", {options_.id, static_cast<uint64_t>(status.code())});
    process.fatal = status;
  };
  KEELSON_ASSIGN_OR_RETURN(process.node,
                           Node::Start(node_options,
                                       {.clock = &clock_,
                                        .loop = process.loop.get(),
                                        .append = process.append.get(),
                                        .apply = process.apply.get(),
                                        .background = process.background.get(),
                                        .transport = process.transport.get(),
                                        .wal = process.wal.get(),
                                        .snapshots = process.snapshots.get(),
                                        .machine = process.machine.get(),
                                        .observer = this,
                                        .random = random_.Stream(absl::StrCat("core ", starts_))},
                                       std::move(recovered)));
  env_.network.SetSink(options_.id, process.node.get());
  return absl::OkStatus();
}

KvMachine::Hooks SimNode::MachineHooks(Process& process) {
  return {.applied =
              [this](const Entry& entry, const KvState& state, bool last) {
                env_.world.Trace("apply", {options_.id, entry.index, entry.term, state.state_hash});
                env_.invariants.OnApplied(options_.id, entry, state, last);
                env_.conduct.OnApplied(options_.id, entry,
                                       last ? &state.applied.conf_state : nullptr);
                env_.history.Applied(entry, state);
              },
          .restored =
              [this](const KvState& state) {
                env_.world.Trace("restored", {options_.id, state.applied.index});
                env_.invariants.OnRestored(options_.id, state);
              },
          .done =
              [&process](const KvCommand& command, Index revision) {
                const auto waiting = process.writes.find({command.client, command.sequence});
                if (waiting == process.writes.end()) return;
                const std::function<void(Index)> done = std::move(waiting->second);
                process.writes.erase(waiting);
                done(revision);
              }};
}

void SimNode::KillExecutors() {
  if (process_ == nullptr) return;
  for (SimExecutor* executor : process_->Executors()) executor->Kill();
}

void SimNode::Crash(CrashKind kind) {
  env_.world.Trace("crash", {options_.id, static_cast<uint64_t>(kind)});
  KillExecutors();
  env_.network.Detach(options_.id);
  process_.reset();
  env_.invariants.OnCrashed(options_.id);
  // A cut power takes both disks with it.
  for (SimFileSystem* fs : {&disk_, &machine_disk_}) {
    if (kind == CrashKind::kPower) {
      fs->PowerLoss();
    } else {
      fs->ProcessCrash();
    }
  }
}

bool SimNode::HaltsAfter(const std::vector<Message>& messages) {
  const bool refuses = std::any_of(messages.begin(), messages.end(), [](const Message& message) {
    return message.type == MessageType::kAppResp && message.reject;
  });
  return refuses && !calm_ && options_.halts > 0 && random_.Bernoulli(options_.halts);
}

void SimNode::Halt() {
  ++halts_;
  env_.world.Trace("halt", {options_.id});
  env_.world.Spend(absl::Nanoseconds(static_cast<int64_t>(
      random_.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(options_.halt_time))))));
}

void SimNode::Pause(absl::Duration time) {
  if (process_ == nullptr) return;
  env_.world.Trace("pause", {options_.id, static_cast<uint64_t>(absl::ToInt64Nanoseconds(time))});
  for (SimExecutor* executor : process_->Executors()) {
    executor->PauseUntil(env_.world.now() + time);
  }
}

void SimNode::PauseApply(absl::Duration time) {
  if (process_ == nullptr) return;
  env_.world.Trace("pause apply",
                   {options_.id, static_cast<uint64_t>(absl::ToInt64Nanoseconds(time))});
  process_->apply->PauseUntil(env_.world.now() + time);
}

void SimNode::Suspend(absl::Duration time) {
  if (process_ == nullptr || clock_.rate() == 0) return;
  Pause(time);
  env_.world.Trace("suspend", {options_.id});
  clock_.SetRate(0);
  env_.world.After(time, [this] { clock_.SetRate(options_.executor.clock_rate); });
}

void SimNode::SetClockRate(double rate) {
  options_.executor.clock_rate = rate;
  if (clock_.rate() != 0) clock_.SetRate(rate);
  if (process_ == nullptr) return;
  for (SimExecutor* executor : process_->Executors()) executor->SetClockRate(rate);
}

absl::Status SimNode::MustCrash() const {
  if (disk_.power_is_cut()) return absl::UnavailableError("the power was cut");
  return process_ == nullptr ? absl::OkStatus() : process_->fatal;
}

bool SimNode::Inspect() {
  if (process_ == nullptr || process_->node == nullptr) return false;
  // What a node shows changes in its own tasks only, and most events are those of others.
  if (process_->inspected_at == process_->ran) return false;
  process_->inspected_at = process_->ran;
  const Node::Snapshot peek = process_->node->Peek();
  env_.invariants.OnPeek(options_.id, peek);
  env_.conduct.OnPeek(options_.id, peek);
  env_.wire.OnPeek(options_.id, peek);
  return true;
}

void SimNode::RequestStatus() {
  if (node() == nullptr) return;
  node()->GetStatus([this](const Status& status) {
    env_.invariants.OnStatus(options_.id, status);
    env_.conduct.OnStatus(options_.id, status);
    env_.wire.OnStatus(options_.id, status);
  });
}

void SimNode::Write(const KvCommand& command, std::function<void(Index)> done,
                    std::function<void()> refused) {
  if (node() == nullptr) return;
  process_->writes[{command.client, command.sequence}] = std::move(done);
  node()->Propose(Payload(EncodeKvCommand(command)),
                  [refused = std::move(refused)](const absl::Status&) { refused(); });
}

void SimNode::Read(const std::string& key, absl::Duration timeout,
                   std::function<void(const KvValue*, Index)> done) {
  if (node() == nullptr) return;
  node()->ReadBarrier(timeout, [this, key, done = std::move(done)](const absl::Status& status) {
    if (!status.ok()) return;
    const auto found = state().keys.find(key);
    done(found == state().keys.end() ? nullptr : &found->second, state().applied.index);
  });
}

void SimNode::Calm() {
  stalled_until_ = {};
  disk_.SetCapacity(0);
  disk_.SetFaults({});
  disk_.CancelPowerCut();
  disk_.CancelFailNext();
  calm_ = true;
  if (process_ == nullptr) return;
  for (SimExecutor* executor : process_->Executors()) executor->Calm();
}

absl::Duration SimNode::busy_until() const {
  absl::Duration until;
  if (process_ == nullptr) return until;
  until = started_at_;
  for (const SimExecutor* executor : process_->Executors()) {
    until = std::max(until, executor->busy_until());
  }
  return until;
}

void SimNode::On(NodeId self, const Event& event) {
  env_.world.Trace("event", {self, AnyEvent(event).index()});
  if (const auto* role = std::get_if<event::RoleChanged>(&event)) {
    env_.world.Trace("role", {self, static_cast<uint64_t>(role->role)});
  } else if (const auto* changed = std::get_if<event::ConfChanged>(&event)) {
    // Voters, outgoing voters, learners and next learners, a zero after each.
    const ConfState& state = changed->conf_state;
    std::vector<uint64_t> numbers = {self};
    for (const auto* nodes :
         {&state.voters, &state.voters_outgoing, &state.learners, &state.learners_next}) {
      numbers.insert(numbers.end(), nodes->begin(), nodes->end());
      numbers.push_back(0);
    }
    env_.world.Trace("members", numbers);
  }
  env_.invariants.OnEvent(self, event);
  Spread(self, event);
}

void SimNode::OnTrace(NodeId self, const TraceEvent& step) {
  env_.world.Trace("event", {self, AnyEvent(step).index()});
  Spread(self, step);
}

void SimNode::Spread(NodeId self, const AnyEvent& event) {
  env_.conduct.OnEvent(self, event);
  env_.wire.OnEvent(self, event, env_.world.now());
  hooks_.on_event(self, event);
}

}  // namespace keelson::raft::sim
