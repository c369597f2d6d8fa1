#include "raft/sim/sim_host.h"

#include <algorithm>
#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/internal/host_seams.h"
#include "raft/sim/sim_damage.h"
#include "raft/sim/sim_shared_wal.h"

namespace keelson::raft::sim {
namespace {

constexpr uint64_t kClusterId = 0x51b;
constexpr absl::Duration kAgain = absl::Milliseconds(30);
enum : size_t { kLoopA = 0, kLoopB, kAppend, kApply, kBackground, kExecutors };

std::string StateFile(GroupId group) { return absl::StrCat("state-", group); }

}  // namespace

// A member of one group, over all lives of its host.
class SimHost::Member final : public SimMember {
 public:
  Member(SimHost& host, GroupId group) : host_(host), group_(group) {}

  [[nodiscard]] NodeId id() const override { return host_.id(); }
  [[nodiscard]] Node* node() const override { return host_.NodeOf(group_); }
  [[nodiscard]] const KvState& state() const override { return host_.MachineOf(group_)->state(); }

  void Write(const KvCommand& command, std::function<void(Index)> done,
             std::function<void()> refused) override {
    if (node() == nullptr) return;
    host_.process_->writes[{group_, command.client, command.sequence}] = std::move(done);
    node()->Propose(Payload(EncodeKvCommand(command)),
                    [refused = std::move(refused)](const absl::Status&) { refused(); });
  }
  void Read(const std::string& key, absl::Duration timeout,
            std::function<void(const KvValue*, Index)> done) override {
    if (node() == nullptr) return;
    node()->ReadBarrier(timeout, [this, key, done = std::move(done)](const absl::Status& status) {
      if (!status.ok()) return;
      const auto found = state().keys.find(key);
      done(found == state().keys.end() ? nullptr : &found->second, state().applied.index);
    });
  }

 private:
  SimHost& host_;
  const GroupId group_;
};

// Tells the host which group an event is of.
class SimHost::Listener final : public Observer {
 public:
  Listener(SimHost& host, GroupId group) : host_(host), group_(group) {}
  void On(NodeId self, const Event& event) override { host_.OnEvent(group_, self, event); }
  void OnTrace(NodeId self, const TraceEvent& step) override { host_.OnTrace(group_, self, step); }

 private:
  SimHost& host_;
  const GroupId group_;
};

SimHost::Process::Process() = default;
SimHost::Process::~Process() = default;

SimHost::SimHost(Env env, const Options& options)
    : env_(std::move(env)),
      options_(options),
      random_(env_.world.Stream(absl::StrCat("host ", options.id))),
      clock_(env_.world, options.executor.clock_rate),
      disk_(random_.Stream("disk"),
            {.faults = options.disk,
             .capacity_bytes = 0,
             .on_latency = [this](absl::Duration time) { SpendOnDisk(time); }}),
      machine_disk_(random_.Stream("machine disk"),
                    {.faults = {}, .capacity_bytes = 0, .on_latency = [this](absl::Duration time) {
                       SpendOnDisk(time);
                     }}) {}

SimHost::~SimHost() {
  if (process_ == nullptr) return;
  for (const auto& executor : process_->executors) executor->Kill();
}

void SimHost::SpendOnDisk(absl::Duration time) {
  if (stalled_until_ > env_.world.now()) time += stalled_until_ - env_.world.now();
  env_.world.Spend(time);
}

// --- Groups ---

SimMember& SimHost::MemberOf(GroupId group) {
  auto& member = members_[group];
  if (member == nullptr) member = std::make_unique<Member>(*this, group);
  return *member;
}

Node* SimHost::NodeOf(GroupId group) const {
  if (process_ == nullptr) return nullptr;
  const auto found = process_->nodes.find(group);
  return found == process_->nodes.end() ? nullptr : found->second.get();
}

KvMachine* SimHost::MachineOf(GroupId group) const { return process_->machines.at(group).get(); }

void SimHost::Place(GroupId group) {
  placed_.insert(group);
  env_.group_of(group).invariants.AddDisk(id(), &disk_logs_[group]);
  Reconcile();
}

void SimHost::Retire(GroupId group) {
  placed_.erase(group);
  retired_.insert(group);
  Reconcile();
}

bool SimHost::settled() const {
  return running() &&
         std::all_of(placed_.begin(), placed_.end(),
                     [this](GroupId group) { return NodeOf(group) != nullptr; }) &&
         std::all_of(retired_.begin(), retired_.end(),
                     [this](GroupId group) { return gone_.contains(group); });
}

void SimHost::Later(absl::Duration delay, std::function<void()> task) {
  env_.world.After(delay, [this, life = starts_, task = std::move(task)] {
    if (life == starts_ && host() != nullptr) task();
  });
}

void SimHost::Reconcile() {
  if (host() == nullptr) return;
  for (const GroupId group : placed_) {
    const bool there = NodeOf(group) != nullptr || process_->creating.contains(group);
    if (!there) Create(group);
  }
  for (const GroupId group : retired_) {
    if (gone_.contains(group) || process_->removing.contains(group)) continue;
    if (NodeOf(group) != nullptr) {
      Remove(group);
    } else if (!process_->creating.contains(group)) {
      // It never was here, or nothing is left of it.
      if (begun_.contains(group) && !to_be_lost_.contains(group)) continue;
      begun_.erase(group);
      to_be_lost_.erase(group);
      gone_.insert(group);
    }
  }
}

void SimHost::Create(GroupId group) {
  const bool lost = to_be_lost_.contains(group);
  const SimGroup& known = env_.group_of(group);
  env_.world.Trace("create", {id(), group, lost});
  if (!process_->machines.contains(group)) {
    auto machine = OpenMachine(*process_, group);
    if (!machine.ok()) return Later(kAgain, [this] { Reconcile(); });
    process_->machines[group] = *std::move(machine);
  }
  process_->creating.insert(group);
  const auto done = [this, group, life = starts_](const absl::Status& status) {
    if (life != starts_ || process_ == nullptr) return;
    process_->creating.erase(group);
    env_.world.Trace("created", {id(), group, static_cast<uint64_t>(status.code())});
    if (!status.ok()) return Later(kAgain, [this] { Reconcile(); });
    begun_.insert(group);
    to_be_lost_.erase(group);
    process_->nodes[group] = host()->Group(group);
    Reconcile();  // It may have been retired meanwhile.
  };
  host()->CreateGroups({{.id = group,
                         .start = {.conf_state = known.conf_state},
                         .machine = process_->machines[group].get(),
                         .lost = lost}},
                       done);
}

void SimHost::Remove(GroupId group) {
  env_.world.Trace("remove", {id(), group});
  process_->removing.insert(group);
  process_->nodes.erase(group);
  env_.group_of(group).invariants.OnCrashed(id());
  host()->RemoveGroup(group, [this, group, life = starts_](const absl::Status& status) {
    if (life != starts_ || process_ == nullptr) return;
    env_.world.Trace("removed", {id(), group, static_cast<uint64_t>(status.code())});
    // The files of its snapshots may be left; the log has forgotten it.
    gone_.insert(group);
    removed_.insert(group);
    begun_.erase(group);
    to_be_lost_.erase(group);
  });
}

// --- Lives ---

absl::Status SimHost::Start() {
  env_.world.Trace("start", {id(), ++starts_});
  process_ = std::make_unique<Process>();
  absl::Status status = OpenProcess(*process_);
  if (status.ok()) status = StartGroups(*process_);
  started_at_ = env_.world.now();
  if (status.ok()) status = MustCrash();
  if (!status.ok()) return status;
  damaged_ = false;
  env_.network.SetSink(id(), host());
  Reconcile();
  return status;
}

absl::Status SimHost::OpenProcess(Process& process) {
  for (size_t i = 0; i < kExecutors; ++i) {
    SimExecutor::Options executor = options_.executor;
    const bool slow = i == kApply || i == kBackground;
    executor.stall = calm_ ? 0 : std::max(executor.stall, slow ? options_.slow_apply : 0);
    process.executors.push_back(std::make_unique<SimExecutor>(
        env_.world, random_.Stream(absl::StrCat("thread ", i, " of ", starts_)), executor));
  }
  // Of all that ever were here: one that was removed may come back, where its removal is lost.
  for (const auto& [group, disk] : disk_logs_) {
    KEELSON_ASSIGN_OR_RETURN(process.machines[group], OpenMachine(process, group));
  }
  Transport& transport = env_.network.Attach(
      id(), {.sink = nullptr,
             .snapshots_of = [&process](GroupId group) { return process.host->Snapshots(group); },
             .background = process.executors[kBackground].get(),
             .alive = [this] { return MustCrash().ok(); }});
  Host::Options host;
  host.id = id();
  host.cluster_id = kClusterId;
  host.dir = "host";
  host.node = options_.node;
  host.keep_segments = 2;
  host.wal = {.segment_bytes = options_.segment_bytes,
              .unsafe_no_sync = false,
              .incarnation = random_() | 1};
  host.on_fatal = [this, &process](GroupId group, const absl::Status& status) {
    env_.world.Trace("fatal", {id(), group, static_cast<uint64_t>(status.code())});
    process.fatal = status;
  };
  host.on_unknown_group = [this](GroupId group, NodeId from) {
    env_.world.Trace("unknown group", {id(), group, from});
    if (removed_.contains(group)) {
      env_.invariants.Fail("GONE", absl::StrCat("host ", id(), " does not know that group ", group,
                                                " was removed here"));
    }
  };
  const auto thread = [&process](size_t i) { return process.executors[i].get(); };
  KEELSON_ASSIGN_OR_RETURN(process.host,
                           OpenHost(host,
                                    {.clock = &clock_,
                                     .fs = &disk_,
                                     .transport = &transport,
                                     .loops = {thread(kLoopA), thread(kLoopB)},
                                     .append = thread(kAppend),
                                     .apply = thread(kApply),
                                     .background = thread(kBackground),
                                     .random = random_.Stream(absl::StrCat("core ", starts_))},
                                    {.wrap_log =
                                         [this, &process](std::unique_ptr<SharedWal> log,
                                                          const SharedWal::Recovered& recovered) {
                                           return Wrap(process, std::move(log), recovered);
                                         },
                                     .observer_of = [this, &process](GroupId group) -> Observer* {
                                       auto& listener = process.listeners[group];
                                       if (listener == nullptr)
                                         listener = std::make_unique<Listener>(*this, group);
                                       return listener.get();
                                     }}));
  return absl::OkStatus();
}

std::unique_ptr<SharedWal> SimHost::Wrap(Process& process, std::unique_ptr<SharedWal> log,
                                         const SharedWal::Recovered& recovered) {
  OnOpened(process, *log, recovered);
  return std::make_unique<SimSharedWal>(
      id(), std::move(log), recovered,
      SimSharedWal::Hooks{
          .record_of =
              [this](GroupId group) {
                return SimSharedWal::Record{.disk = &disk_logs_[group],
                                            .invariants = &env_.group_of(group).invariants};
              },
          .on_began_anew = [this, &process](
                               GroupId group,
                               const Wal::Recovered& now) { OnBeganAnew(process, group, now); },
          .on_appended = [this](GroupId group) { env_.group_of(group).conduct.OnWritten(id()); }});
}

void SimHost::OnOpened(Process& process, const SharedWal& log,
                       const SharedWal::Recovered& recovered) {
  env_.world.Trace("recovered", {id(), recovered.groups.size(), recovered.torn_bytes});
  if (recovered.loss.has_value() && !damaged_) {
    Fail(absl::StrCat("host ", id(),
                      " finds a loss on a disk that nobody has damaged: ", recovered.loss->what));
  }
  for (const auto& [group, one] : recovered.groups) OnFound(process, group, one);
  // A removal that was not answered may have been done.
  std::erase_if(begun_, [this, &log](GroupId group) {
    if (!retired_.contains(group) || !log.WasRemoved(group)) return false;
    gone_.insert(group);
    removed_.insert(group);
    return true;
  });
  for (const GroupId group : begun_) {
    if (recovered.groups.contains(group)) continue;
    if (!damaged_ && !to_be_lost_.contains(group)) {
      Fail(absl::StrCat("group ", group, ", which had begun, is not on host ", id()));
    }
    to_be_lost_.insert(group);
  }
  // Damage may take the memory of a removal; nothing else may.
  std::erase_if(removed_, [this, &log](GroupId group) {
    if (log.WasRemoved(group)) return false;
    if (!damaged_) Fail(absl::StrCat("host ", id(), " forgot that it removed group ", group));
    return true;
  });
}

void SimHost::OnFound(Process& process, GroupId group, const Wal::Recovered& log) {
  SimGroup& known = env_.group_of(group);
  DiskLog& disk = disk_logs_[group];
  if (gone_.contains(group) && !damaged_) {
    Fail(absl::StrCat("group ", group, ", which was removed, is back on host ", id()));
  }
  // An earlier start may have found the loss and failed then.
  const bool lost =
      log.hard_state.recovering && log.hard_state.incarnation != disk.durable_state.incarnation;
  if (lost) {
    ++losses_;
    disk.NoteLoss();
    known.invariants.OnLoss(id());
    env_.world.Trace("loss", {id(), group, log.start.index, log.entries.size()});
  }
  known.conduct.OnStarted(id());
  known.wire.OnStarted(id());
  known.invariants.OnRecovered(id(), log, process.machines.at(group)->Applied().index);
}

void SimHost::OnBeganAnew(Process& process, GroupId group, const Wal::Recovered& now) {
  SimGroup& known = env_.group_of(group);
  if (!damaged_ && !to_be_lost_.contains(group) && !disk_logs_[group].durable_state.recovering) {
    Fail(absl::StrCat("host ", id(), " gives up the log of group ", group,
                      " on a disk that nobody has damaged"));
  }
  ++losses_;
  env_.world.Trace("anew", {id(), group, now.start.index});
  disk_logs_[group].NoteLoss();
  known.invariants.OnLoss(id());
  known.conduct.OnStarted(id());
  known.wire.OnStarted(id());
  known.invariants.OnRecovered(id(), now, process.machines.at(group)->Applied().index);
}

absl::Status SimHost::StartGroups(Process& process) {
  for (const GroupId group : process.host->Recovered()) {
    KEELSON_RETURN_IF_ERROR(process.host->StartGroup(group, process.machines.at(group).get()));
    process.nodes[group] = process.host->Group(group);
    begun_.insert(group);
    to_be_lost_.erase(group);
    gone_.erase(group);  // Where it was removed is lost.
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<KvMachine>> SimHost::OpenMachine(Process& process, GroupId group) {
  SimGroup& known = env_.group_of(group);
  return KvMachine::Open(machine_disk_, StateFile(group), known.conf_state,
                         random_.Stream(absl::StrCat("machine ", group, " ", starts_)),
                         options_.machine, MachineHooks(process, known));
}

KvMachine::Hooks SimHost::MachineHooks(Process& process, SimGroup& group) {
  return {
      .applied =
          [this, &group](const Entry& entry, const KvState& state, bool last) {
            env_.world.Trace("apply", {id(), group.id, entry.index, entry.term, state.state_hash});
            group.invariants.OnApplied(id(), entry, state, last);
            group.conduct.OnApplied(id(), entry, last ? &state.applied.conf_state : nullptr);
            group.history.Applied(entry, state);
          },
      .restored =
          [this, &group](const KvState& state) {
            env_.world.Trace("restored", {id(), group.id, state.applied.index});
            group.invariants.OnRestored(id(), state);
          },
      .done =
          [&process, &group](const KvCommand& command, Index revision) {
            const auto waiting = process.writes.find({group.id, command.client, command.sequence});
            if (waiting == process.writes.end()) return;
            const std::function<void(Index)> done = std::move(waiting->second);
            process.writes.erase(waiting);
            done(revision);
          }};
}

void SimHost::Crash(CrashKind kind) {
  env_.world.Trace("crash", {id(), static_cast<uint64_t>(kind)});
  if (process_ != nullptr) {
    for (const auto& executor : process_->executors) executor->Kill();
  }
  env_.network.Detach(id());
  process_.reset();
  for (const auto& [group, disk] : disk_logs_) env_.group_of(group).invariants.OnCrashed(id());
  for (SimFileSystem* fs : {&disk_, &machine_disk_}) {
    if (kind == CrashKind::kPower) {
      fs->PowerLoss();
    } else {
      fs->ProcessCrash();
    }
  }
}

void SimHost::Pause(absl::Duration time) {
  if (process_ == nullptr) return;
  env_.world.Trace("pause", {id(), static_cast<uint64_t>(absl::ToInt64Nanoseconds(time))});
  for (const auto& executor : process_->executors) executor->PauseUntil(env_.world.now() + time);
}

absl::Status SimHost::MustCrash() const {
  if (disk_.power_is_cut()) return absl::UnavailableError("the power was cut");
  return process_ == nullptr ? absl::OkStatus() : process_->fatal;
}

absl::Duration SimHost::busy_until() const {
  absl::Duration until;
  if (process_ == nullptr) return until;
  until = started_at_;
  for (const auto& executor : process_->executors) until = std::max(until, executor->busy_until());
  return until;
}

void SimHost::Calm() {
  stalled_until_ = {};
  disk_.SetCapacity(0);
  disk_.SetFaults({});
  disk_.CancelPowerCut();
  disk_.CancelFailNext();
  calm_ = true;
  if (process_ == nullptr) return;
  for (const auto& executor : process_->executors) executor->Calm();
}

// --- Damage ---

void SimHost::Damage(Random& random, FaultCounts& counts) {
  disk_.SetFaults({});
  std::string snapshots = "host/snapshots";
  if (const auto names = disk_.List(snapshots); names.ok() && !names->empty()) {
    snapshots = JoinPath(snapshots, (*names)[random.Below(names->size())]);
  }
  if (DamageDisk(disk_, "host/wal", snapshots, random, counts)) damaged_ = true;
  if (!calm_) disk_.SetFaults(options_.disk);
  env_.world.Trace("damage", {id(), damaged_});
}

void SimHost::Wipe() {
  env_.world.Trace("wipe", {id()});
  disk_.SetFaults({});
  for (SimFileSystem* fs : {&disk_, &machine_disk_}) WipeDisk(*fs);
  if (!calm_) disk_.SetFaults(options_.disk);
  damaged_ = true;
}

bool SimHost::impaired() const {
  return damaged_ || !to_be_lost_.empty() ||
         std::any_of(disk_logs_.begin(), disk_logs_.end(), [this](const auto& log) {
           return !gone_.contains(log.first) && log.second.durable_state.recovering;
         });
}

// --- What is seen of it ---

void SimHost::Inspect() {
  if (host() == nullptr) return;
  for (const auto& [group, node] : process_->nodes) {
    SimGroup& known = env_.group_of(group);
    const Node::Snapshot peek = node->Peek();
    known.invariants.OnPeek(id(), peek);
    known.conduct.OnPeek(id(), peek);
    known.wire.OnPeek(id(), peek);
  }
}

void SimHost::RequestStatus(GroupId group) {
  Node* const node = NodeOf(group);
  if (node == nullptr) return;
  node->GetStatus([this, group](const Status& status) {
    SimGroup& known = env_.group_of(group);
    known.invariants.OnStatus(id(), status);
    known.conduct.OnStatus(id(), status);
    known.wire.OnStatus(id(), status);
  });
}

void SimHost::OnEvent(GroupId group, NodeId self, const Event& event) {
  // A view of its own for each member: there are at most nine hosts.
  sleeps_ += std::holds_alternative<event::FellAsleep>(event) ? 1 : 0;
  env_.group_of(group).invariants.OnEvent(self, event);
  Spread(group, self, event);
}

void SimHost::OnTrace(GroupId group, NodeId self, const TraceEvent& step) {
  Spread(group, self, step);
}

void SimHost::Spread(GroupId group, NodeId self, const AnyEvent& event) {
  env_.world.Trace("event", {group * 10 + self, event.index()});
  SimGroup& known = env_.group_of(group);
  known.conduct.OnEvent(self, event);
  known.wire.OnEvent(self, event, env_.world.now());
}

}  // namespace keelson::raft::sim
