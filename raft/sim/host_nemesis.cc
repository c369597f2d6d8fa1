#include "raft/sim/host_nemesis.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {
namespace {

std::vector<NodeId> IdsOf(const std::vector<std::unique_ptr<SimHost>>& hosts) {
  std::vector<NodeId> ids;
  for (const auto& host : hosts) ids.push_back(host->id());
  return ids;
}

constexpr size_t kFewestGroups = 2;
constexpr size_t kMostGroups = 6;

}  // namespace

HostNemesis::HostNemesis(const Env& env)
    : env_(env),
      random_(env.world.Stream("faults")),
      network_({.world = env.world,
                .network = env.network,
                .swarm = env.swarm,
                .random = random_,
                .counts = counts_},
               IdsOf(env.hosts)) {}

absl::Duration HostNemesis::Exponential(absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      random_.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

void HostNemesis::Repeat(absl::Duration mean, std::function<void()> fault) {
  if (mean == absl::ZeroDuration()) return;
  env_.world.After(Exponential(mean), [this, mean, fault = std::move(fault)] {
    if (!on_) return;
    fault();
    Repeat(mean, fault);
  });
}

void HostNemesis::Start() {
  const Swarm& swarm = env_.swarm;
  for (const auto& host : env_.hosts) {
    env_.world.After(Exponential(absl::Milliseconds(20)), [this, &host] { StartHost(*host); });
  }
  Repeat(swarm.crash_interval, [this] { CrashOne(); });
  Repeat(swarm.cluster_crash_interval, [this] { CrashAll(); });
  Repeat(swarm.pause_interval, [this] { PauseOne(); });
  Repeat(swarm.partition_interval, [this] { network_.CutLinks(kNoNode); });
  Repeat(swarm.clog_interval, [this] { network_.ClogLink(); });
  Repeat(swarm.swizzle_interval, [this] { network_.Swizzle(); });
  Repeat(swarm.transfer_interval, [this] { AskForLeadership(); });
  Repeat(swarm.groups_interval, [this] { ChangeGroups(); });
  Repeat(swarm.bad_sync_interval, [this] { FailSync(); });
  Repeat(swarm.full_disk_interval, [this] { FillDisk(); });
  Repeat(swarm.disk_stall_interval, [this] { StallDisk(); });
  Repeat(swarm.damage_interval, [this] { DamageOne(); });
  Repeat(swarm.wipe_interval, [this] { WipeOne(); });
}

// --- Machines ---

void HostNemesis::CrashOne() {
  SimHost& host = RandomHost();
  if (!host.running()) return;
  if (random_.Bernoulli(env_.swarm.cut_share)) {
    // Somewhere in the next operations of its disk, perhaps between a write and its sync.
    if (random_.Bernoulli(env_.swarm.kill_share)) kills_.insert(host.id());
    return host.disk().CutPowerAfter(random_.Below(12));
  }
  const bool power = random_.Bernoulli(env_.swarm.power_share);
  counts_.Add(power ? Fault::kPowerLoss : Fault::kProcessCrash);
  CrashHost(host, power ? CrashKind::kPower : CrashKind::kProcess,
            Exponential(env_.swarm.restart_delay));
}

void HostNemesis::CrashAll() {
  counts_.Add(Fault::kClusterPowerLoss);
  for (const auto& host : env_.hosts) {
    if (host->running()) CrashHost(*host, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  }
}

void HostNemesis::CrashHost(SimHost& host, CrashKind kind, absl::Duration restart_after) {
  ++crashes_;
  host.Crash(kind);
  env_.world.After(restart_after, [this, &host] {
    if (!host.running()) StartHost(host);
  });
}

void HostNemesis::StartHost(SimHost& host) {
  if (on_ && random_.Bernoulli(env_.swarm.cut_share * 0.3)) {
    counts_.Add(Fault::kCrashInRecovery);
    host.disk().CutPowerAfter(random_.Below(12));
  }
  const absl::Status status = host.Start();
  if (status.ok()) return;
  env_.world.Trace("start failed", {host.id(), static_cast<uint64_t>(status.code())});
  // An I/O error of the disk may be wrapped as a loss; the next start reads again.
  const bool injected = status.message().find("injected") != absl::string_view::npos;
  const bool loss = status.code() == absl::StatusCode::kDataLoss ||
                    status.code() == absl::StatusCode::kFailedPrecondition ||
                    status.code() == absl::StatusCode::kNotFound ||
                    status.code() == absl::StatusCode::kInvalidArgument;
  if (loss && !injected) {
    return env_.invariants.Fail(
        "DUR", absl::StrCat("host ", host.id(), " cannot start: ", status.ToString()));
  }
  CrashHost(host, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
}

void HostNemesis::EndDoomed() {
  for (const auto& host : env_.hosts) {
    if (!host->running() || host->MustCrash().ok()) continue;
    const bool cut = host->disk().power_is_cut();
    const bool killed = kills_.erase(host->id()) > 0 && cut;
    if (cut) counts_.Add(killed ? Fault::kKillInOperation : Fault::kPowerCutInOperation);
    const bool keep = cut ? killed : env_.swarm.keep_cache_after_error;
    CrashHost(*host, keep ? CrashKind::kProcess : CrashKind::kPower,
              on_ ? Exponential(env_.swarm.restart_delay) : absl::Milliseconds(10));
  }
}

void HostNemesis::PauseOne() {
  counts_.Add(Fault::kPause);
  RandomHost().Pause(Exponential(env_.swarm.pause_time));
}

void HostNemesis::FillDisk() {
  SimHost& host = RandomHost();
  counts_.Add(Fault::kFullDisk);
  env_.world.Trace("full disk", {host.id()});
  host.disk().SetCapacity(host.disk().used_bytes() + random_.Below(env_.swarm.segment_bytes * 2));
  env_.world.After(Exponential(env_.swarm.full_disk_time), [&host] { host.disk().SetCapacity(0); });
}

void HostNemesis::FailSync() {
  SimHost& host = RandomHost();
  env_.world.Trace("bad sync", {host.id()});
  host.disk().FailNext(SimOperation::kSync, "wal");
  env_.world.After(Exponential(absl::Milliseconds(5)), [this, &host] {
    if (!on_ || !host.running()) return;
    counts_.Add(Fault::kPowerLoss);
    CrashHost(host, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  });
}

void HostNemesis::StallDisk() {
  SimHost& host = RandomHost();
  counts_.Add(Fault::kDiskStall);
  env_.world.Trace("disk stall", {host.id()});
  host.StallDisks(Exponential(env_.swarm.disk_stall_time));
}

// --- Losses ---

bool HostNemesis::MayImpair(const SimHost& host) const {
  std::set<NodeId> impaired = {host.id()};
  for (const auto& each : env_.hosts) {
    if (each->impaired()) impaired.insert(each->id());
  }
  const std::vector<SimGroup*> live = Live();
  return std::all_of(live.begin(), live.end(), [&impaired](const SimGroup* group) {
    const std::vector<NodeId>& voters = group->conf_state.voters;
    const auto lost = std::count_if(voters.begin(), voters.end(),
                                    [&impaired](NodeId voter) { return impaired.contains(voter); });
    return 2 * static_cast<size_t>(lost) < voters.size();
  });
}

void HostNemesis::DamageOne() {
  SimHost& host = RandomHost();
  if (!host.running() || !MayImpair(host)) return;
  counts_.Add(Fault::kPowerLoss);
  CrashHost(host, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  host.Damage(random_, counts_);
}

void HostNemesis::WipeOne() {
  SimHost& host = RandomHost();
  if (!host.running() || !MayImpair(host)) return;
  counts_.Add(Fault::kWipe);
  CrashHost(host, CrashKind::kPower, Exponential(env_.swarm.restart_delay));
  host.Wipe();
}

// --- Groups ---

std::vector<SimGroup*> HostNemesis::Live() const {
  std::vector<SimGroup*> live;
  for (const auto& group : env_.groups) {
    if (!group->retired) live.push_back(group.get());
  }
  return live;
}

SimGroup* HostNemesis::RandomGroup() {
  const std::vector<SimGroup*> live = Live();
  return live.empty() ? nullptr : live[random_.Below(live.size())];
}

void HostNemesis::AskForLeadership() {
  const SimGroup* group = RandomGroup();
  SimHost& host = RandomHost();
  Node* const node = group == nullptr ? nullptr : host.MemberOf(group->id).node();
  if (node == nullptr) return;
  if (random_.Bernoulli(0.3)) {
    counts_.Add(Fault::kCampaign);
    node->Campaign();
  } else {
    counts_.Add(Fault::kTransfer);
    node->TransferLeadership(RandomHost().id());
  }
}

void HostNemesis::ChangeGroups() {
  const size_t live = Live().size();
  const bool add = live <= kFewestGroups || (live < kMostGroups && random_.Bernoulli(0.5));
  if (add) {
    counts_.Add(Fault::kGroupAdded);
    return env_.add_group();
  }
  counts_.Add(Fault::kGroupRemoved);
  if (SimGroup* group = RandomGroup(); group != nullptr) env_.retire_group(*group);
}

// --- The end of it ---

void HostNemesis::Heal() {
  env_.world.Trace("heal", {});
  on_ = false;
  network_.Heal();
  for (const auto& host : env_.hosts) {
    host->Calm();
    if (host->running()) continue;
    // It may have been left with its power cut in the middle of a recovery.
    host->Crash(CrashKind::kPower);
    StartHost(*host);
  }
}

}  // namespace keelson::raft::sim
