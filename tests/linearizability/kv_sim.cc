#include "tests/linearizability/kv_sim.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/linearizability/sim_clients.h"

namespace keelson::linearizability {
namespace {

using kvstore::Server;
using kvstore::Store;

constexpr absl::Duration kFaultTime = absl::Seconds(5);
constexpr absl::Duration kRestTime = absl::Seconds(40);
constexpr uint64_t kMaxSteps = 8'000'000;
constexpr int64_t kKeptRevisions = 60;
constexpr size_t kFounders = 3;

Store::MemberAttributes Founder(size_t number) {
  return {.id = number + 1,
          .name = absl::StrCat("m", number + 1),
          .client_urls = {},
          .peer_urls = {absl::StrCat("http://m", number + 1, ":2380")}};
}

class KvSim {
 public:
  explicit KvSim(const SimOptions& options)
      : options_(options),
        world_(options.seed),
        random_(world_.Stream("cluster")),
        network_(world_),
        scene_{.world = world_, .members = members_, .history = history_} {
    DrawSwarm();
    scene_.serializable_reads = options.plant == Plant::kStaleReads;
    history_.clock_error = drift_;
    for (size_t i = 0; i < kFounders; ++i) founders_.push_back(Founder(i));
    for (const Store::MemberAttributes& founder : founders_) AddMember(founder, {});
    for (size_t i = 0; i < kFounders; ++i) {
      watches_.push_back(
          NewWatch(absl::StrCat("watch of m", i + 1), true, i, Everything(), Everything(), 2));
    }
    using Kind = SimClient::Kind;
    constexpr Kind kKinds[] = {Kind::kRegister, Kind::kLock, Kind::kAppend,  Kind::kRegister,
                               Kind::kSet,      Kind::kLock, Kind::kRegister};
    for (size_t i = 0; i < std::size(kKinds); ++i) {
      clients_.push_back(std::make_unique<SimClient>(scene_, static_cast<int>(i) + 1, kKinds[i],
                                                     i % 2 == 0,
                                                     world_.Stream(absl::StrCat("client ", i))));
    }
  }

  // The processes go before the world's queue does.
  ~KvSim() {
    for (const auto& member : members_) member->Crash(false);
  }

  SimResult Run() {
    for (const auto& member : members_) (void)member->Start();
    for (const auto& watch : watches_) watch->Open();
    for (const auto& client : clients_) client->Start();
    Keep();
    Strike();
    Churn();
    Adopt();
    Hop();
    RunUntil(kFaultTime, [] { return false; });
    Heal();
    Rest();
    SimResult result;
    result.verdict = Check(history_);
    result.violations = std::move(violations_);
    for (const std::string& line : result.verdict.violations) result.violations.push_back(line);
    for (const auto& member : members_) counts_.snapshots_restored += member->snapshots_restored();
    result.counts = counts_;
    result.steps = world_.steps();
    result.trace_hash = world_.trace_hash();
    return result;
  }

 private:
  static std::string Everything() { return std::string(1, '\0'); }

  // Each run has a part of the faults.
  void DrawSwarm() {
    Random random = world_.Stream("swarm");
    node_.tick_interval = absl::Milliseconds(10);
    node_.core.election_ticks = 10;
    node_.proposal_wait = absl::Milliseconds(500);
    node_.compact_every_entries = static_cast<uint64_t>(random.Between(10, 200));
    node_.keep_entries = random.Below(20);
    raft::sim::SimNetwork::Faults network;
    network.reorder = random.Bernoulli(0.3);
    if (random.Bernoulli(0.4)) network.drop = random.Unit() * 0.1;
    // Nothing arrives twice: members talk by streams, and what is passed on to a leader is not told
    // apart from its double, as with etcd.
    if (random.Bernoulli(0.3)) network.snapshot_failure = random.Unit() * 0.5;
    if (random.Bernoulli(0.4)) network.mean_tail = absl::Milliseconds(10) * random.Unit();
    network_.SetFaults(network);
    if (random.Bernoulli(0.5)) disk_.sync_latency = absl::Milliseconds(5) * random.Unit();
    if (random.Bernoulli(0.2)) disk_.slow_operation = 0.01;
    if (random.Bernoulli(0.15)) disk_.sync_error = 0.002;
    if (random.Bernoulli(0.3)) slow_apply_ = random.Unit() * 0.3;
    if (random.Bernoulli(0.5)) drift_ = 0.02 + random.Unit() * 0.2;
    for (bool* on : {&crashes_, &pauses_, &partitions_, &transfers_}) *on = random.Bernoulli(0.7);
    churns_ = random.Bernoulli(0.5);
    compacts_ = random.Bernoulli(0.7);
    strike_interval_ = absl::Milliseconds(random.Between(60, 500));
  }

  double DrawRate() { return 1 + (2 * random_.Unit() - 1) * drift_; }

  SimMember& AddMember(const Store::MemberAttributes& who,
                       const std::vector<Store::MemberAttributes>& known) {
    SimMember::Options options{.id = who.id,
                               .name = who.name,
                               .founders = founders_,
                               .known_members = known,
                               .node = node_,
                               .election_timeout = absl::Milliseconds(100),
                               .clock_rate = DrawRate(),
                               .disk = disk_,
                               .slow_apply = slow_apply_,
                               .plant = options_.plant};
    SimMember::Env env{.world = world_,
                       .network = network_,
                       .find = [this](uint64_t id) { return Find(id); },
                       .on_down = [this](SimMember& member) { OnDown(member); }};
    members_.push_back(std::make_unique<SimMember>(env, options));
    return *members_.back();
  }

  SimMember* Find(uint64_t id) {
    for (const auto& member : members_) {
      if (member->id() == id) return member.get();
    }
    return nullptr;
  }

  void OnDown(const SimMember& member) {
    for (const auto& watch : watches_) watch->OnDown(member);
    for (const auto& watch : hops_) watch->OnDown(member);
  }

  std::shared_ptr<SimWatch> NewWatch(const std::string& name, bool pinned, size_t member,
                                     const std::string& key, const std::string& range_end,
                                     int64_t start) {
    return std::make_shared<SimWatch>(scene_, name, pinned, member, key, range_end, start,
                                      world_.Stream(name));
  }

  // --- Running ---

  bool RunUntil(absl::Duration until, const std::function<bool()>& done) {
    while (!done()) {
      if (world_.now() >= until || !world_.Step()) return false;
      for (size_t i = 0; i < members_.size(); ++i) {
        SimMember& member = *members_[i];
        if (member.retired()) continue;
        if (member.removed()) {
          member.Retire();
        } else if (member.failed()) {
          Restart(member, true);
        }
      }
      if (world_.steps() > kMaxSteps) {
        violations_.push_back("LIVE: too many events");
        return false;
      }
    }
    return true;
  }

  void Restart(SimMember& member, bool power) {
    member.Crash(power);
    world_.After(absl::Milliseconds(random_.Between(5, healed_ ? 20 : 600)), [this, &member] {
      if (member.running() || member.retired()) return;
      if (!member.Start().ok()) Restart(member, false);
    });
  }

  // Requests for progress, and compactions of what every long watch has passed.
  void Keep() {
    if (scene_.stopping) return;
    int64_t seen = watches_[0]->heard();
    for (const auto& watch : watches_) {
      watch->RequestProgress();
      seen = std::min(seen, watch->heard());
    }
    scene_.seen = seen;
    const int64_t target = seen - kKeptRevisions;
    if (compacts_ && target > scene_.compacted + 30) {
      scene_.compacted = target;
      etcdserverpb::CompactionRequest request;
      request.set_revision(target);
      scene_.Call<etcdserverpb::CompactionRequest, etcdserverpb::CompactionResponse>(
          *members_[random_.Below(members_.size())],
          [](Server& server, const auto& asked, auto* answer, Server::Done done) {
            server.Compact(asked, answer, std::move(done));
          },
          request,
          [this](const absl::Status& status, const auto&) { counts_.compactions += status.ok(); });
    }
    world_.After(absl::Milliseconds(random_.Between(10, 150)), [this] { Keep(); });
  }

  // A watch from somewhere in the past, for a while.
  void Hop() {
    if (scene_.stopping) return;
    constexpr const char* kPrefixes[] = {"reg/", "set/", "list/", "lock/"};
    const std::string prefix = kPrefixes[random_.Below(std::size(kPrefixes))];
    std::string end = prefix;
    ++end.back();
    const auto watch = NewWatch(absl::StrCat("hop ", hops_.size()), random_.Bernoulli(0.5),
                                random_.Below(members_.size()), prefix, end,
                                random_.Between(scene_.compacted + 2, scene_.seen + 3));
    hops_.push_back(watch);
    watch->Open();
    world_.After(absl::Milliseconds(random_.Between(50, 1500)), [watch] { watch->Finish(0); });
    world_.After(absl::Milliseconds(random_.Between(50, 300)), [this] { Hop(); });
  }

  // --- Faults ---

  void Strike() {
    world_.After(strike_interval_ * (0.2 + 1.6 * random_.Unit()), [this] {
      if (healed_) return;
      StrikeOnce(*members_[random_.Below(members_.size())]);
      Strike();
    });
  }

  void StrikeOnce(SimMember& member) {
    if (member.retired()) return;
    switch (random_.Below(8)) {
      case 0:
      case 1:
        if (!crashes_ || !member.running()) return;
        ++(random_.Bernoulli(0.5) ? counts_.crashes : counts_.power_cuts);
        return Restart(member, random_.Bernoulli(0.5));
      case 2:
        if (!crashes_ || !random_.Bernoulli(0.3)) return;
        for (const auto& one : members_) {
          if (!one->running()) continue;
          ++counts_.power_cuts;
          Restart(*one, true);
        }
        return;
      case 3:
      case 4:
        if (!pauses_) return;
        ++counts_.pauses;
        return member.Pause(
            absl::Milliseconds(random_.Between(20, random_.Bernoulli(0.5) ? 3000 : 400)));
      case 5:
        if (!partitions_) return;
        ++counts_.partitions;
        return Cut(member);
      case 6:
        if (drift_ == 0) return;
        ++counts_.clock_changes;
        return member.SetClockRate(DrawRate());
      default:
        if (!transfers_ || !member.running() || !member.server().IsLeader()) return;
        ++counts_.transfers;
        member.node().TransferLeadership(members_[random_.Below(members_.size())]->id());
    }
  }

  // Alone, or in one direction only, for a while.
  void Cut(SimMember& member) {
    const bool out = random_.Bernoulli(0.8);
    const bool in = !out || random_.Bernoulli(0.7);
    std::vector<uint64_t> others;
    for (const auto& other : members_) {
      if (other.get() != &member) others.push_back(other->id());
    }
    const auto set = [this, others, out, in, id = member.id()](bool up) {
      for (const uint64_t other : others) {
        if (out) network_.SetLink(id, other, up);
        if (in) network_.SetLink(other, id, up);
      }
    };
    set(false);
    world_.After(absl::Milliseconds(random_.Between(50, 2000)), [set] { set(true); });
  }

  // --- Membership ---

  void Churn() {
    if (!churns_) return;
    world_.After(absl::Milliseconds(random_.Between(100, 900)), [this] {
      if (healed_) return;
      ChangeMembers();
      Churn();
    });
  }

  void ChangeMembers() {
    SimMember& asked = *members_[random_.Below(members_.size())];
    if (!asked.running()) return;
    const auto members = asked.store().Members();
    const auto count = static_cast<size_t>(std::count_if(
        members.begin(), members.end(), [](const auto& one) { return !one.removed; }));
    for (const Store::MemberAttributes& one : members) {
      if (one.is_learner && !one.removed && random_.Bernoulli(0.5)) return Promote(asked, one.id);
    }
    if (count > 3 && random_.Bernoulli(0.6)) {
      const Store::MemberAttributes& victim = members[random_.Below(members.size())];
      if (!victim.removed) Remove(asked, victim.id);
    } else if (members_.size() < 6) {
      Add(asked, random_.Bernoulli(0.5));
    }
  }

  // Whoever asked for a member may not have heard that it was added. Somebody starts it all the same.
  void Adopt() {
    for (size_t i = 0; i < members_.size() && churns_; ++i) {
      if (!members_[i]->running()) continue;
      const auto table = members_[i]->store().Members();
      for (const Store::MemberAttributes& one : table) {
        if (one.removed || Find(one.id) != nullptr) continue;
        ++counts_.members_added;
        Launch(one.id, absl::StrCat("n", one.id), table);
      }
    }
    world_.After(absl::Milliseconds(400), [this] { Adopt(); });
  }

  void Launch(uint64_t id, const std::string& name,
              const std::vector<Store::MemberAttributes>& known) {
    SimMember& fresh =
        AddMember({.id = id, .name = name, .client_urls = {}, .peer_urls = {}}, known);
    if (!fresh.Start().ok()) Restart(fresh, false);
  }

  void Add(SimMember& asked, bool learner) {
    etcdserverpb::MemberAddRequest request;
    const std::string name = absl::StrCat("m", members_.size() + 1 + added_++ * 100);
    request.add_peerurls(absl::StrCat("http://", name, ":2380"));
    request.set_islearner(learner);
    scene_.Call<etcdserverpb::MemberAddRequest, etcdserverpb::MemberAddResponse>(
        asked,
        [](Server& server, const auto& what, auto* answer, Server::Done done) {
          server.MemberAdd(what, answer, std::move(done), {});
        },
        request,
        [this, name](const absl::Status& status, const auto& answer) {
          if (!status.ok() || Find(answer.member().id()) != nullptr) return;
          ++counts_.members_added;
          std::vector<Store::MemberAttributes> known;
          for (const etcdserverpb::Member& member : answer.members()) {
            known.push_back({.id = member.id(),
                             .name = member.name(),
                             .client_urls = {},
                             .peer_urls = {member.peerurls().begin(), member.peerurls().end()},
                             .is_learner = member.islearner()});
          }
          Launch(answer.member().id(), name, known);
        });
  }

  void Remove(SimMember& asked, uint64_t id) {
    etcdserverpb::MemberRemoveRequest request;
    request.set_id(id);
    scene_.Call<etcdserverpb::MemberRemoveRequest, etcdserverpb::MemberRemoveResponse>(
        asked,
        [](Server& server, const auto& what, auto* answer, Server::Done done) {
          server.MemberRemove(what, answer, std::move(done), {});
        },
        request,
        [this](const absl::Status& status, const auto&) {
          counts_.members_removed += status.ok();
        });
  }

  void Promote(SimMember& asked, uint64_t id) {
    etcdserverpb::MemberPromoteRequest request;
    request.set_id(id);
    scene_.Call<etcdserverpb::MemberPromoteRequest, etcdserverpb::MemberPromoteResponse>(
        asked,
        [](Server& server, const auto& what, auto* answer, Server::Done done) {
          server.MemberPromote(what, answer, std::move(done), {});
        },
        request,
        [this](const absl::Status& status, const auto&) {
          counts_.members_promoted += status.ok();
        });
  }

  // --- The end ---

  void Heal() {
    healed_ = true;
    scene_.stopping = true;
    network_.SetFaults({});
    network_.HealLinks();
    for (const auto& member : members_) {
      member->Calm();
      if (!member->running() && !member->retired() && !member->Start().ok()) {
        Restart(*member, false);
      }
    }
  }

  SimMember* Leader() {
    for (const auto& member : members_) {
      if (member->running() && member->server().IsLeader()) return member.get();
    }
    return nullptr;
  }

  static std::vector<Pair> PairsOf(SimMember& member) {
    etcdserverpb::RangeRequest request;
    request.set_key(Everything());
    request.set_range_end(Everything());
    etcdserverpb::RangeResponse response;
    (void)member.store().Range(request, &response);
    std::vector<Pair> pairs;
    for (const mvccpb::KeyValue& pair : response.kvs()) pairs.push_back(PairOf(pair));
    return pairs;
  }

  // The members in force hold the same, and nothing changes any more.
  bool IsQuiet() {
    SimMember* const leader = Leader();
    if (leader == nullptr || !leader->store().Leases().empty()) return false;
    const raft::Node::Snapshot top = leader->node().Peek();
    if (top.applied != top.last_index) return false;
    for (const Store::MemberAttributes& one : leader->store().Members()) {
      if (one.removed) continue;
      SimMember* const member = Find(one.id);
      if (member == nullptr || !member->running()) return false;
      const raft::Node::Snapshot peek = member->node().Peek();
      if (peek.applied != top.applied || peek.term != top.term) return false;
    }
    return true;
  }

  void Rest() {
    const absl::Duration end = world_.now() + kRestTime;
    std::optional<int64_t> before;
    for (;;) {
      // Quiet twice, with more than a lease's life in between.
      if (!RunUntil(end, [this] { return IsQuiet(); })) {
        violations_.push_back("LIVE: it does not come to rest after all faults have ended");
        break;
      }
      const int64_t revision = Leader()->store().Revision();
      if (revision == before) break;
      before = revision;
      RunUntil(world_.now() + absl::Seconds(3), [] { return false; });
    }
    SimMember* const leader = Leader();
    if (leader != nullptr) CompareMembers(*leader);
    const bool heard = RunUntil(world_.now() + absl::Seconds(10), [this] {
      return std::all_of(watches_.begin(), watches_.end(), [this](const auto& watch) {
        return watch->heard() >= history_.final_revision || watch->ended();
      });
    });
    if (!heard) violations_.push_back("LIVE: a watch stands still after all faults have ended");
    for (const auto& watch : watches_) {
      watch->Finish(watch->heard() >= history_.final_revision ? history_.final_revision : 0);
    }
    for (const auto& watch : hops_) watch->Finish(0);
    history_.compacted = scene_.compacted;
  }

  void CompareMembers(SimMember& leader) {
    history_.final_revision = leader.store().Revision();
    history_.final_pairs = PairsOf(leader);
    for (const Store::MemberAttributes& one : leader.store().Members()) {
      SimMember* const member = one.removed ? nullptr : Find(one.id);
      if (member == nullptr || !member->running()) continue;
      const bool same = member->store().Revision() == history_.final_revision &&
                        member->store().CompactedRevision() == leader.store().CompactedRevision() &&
                        PairsOf(*member) == history_.final_pairs;
      if (!same) {
        violations_.push_back(absl::StrCat("SAME: members ", leader.id(), " and ", member->id(),
                                           " hold different states"));
      }
    }
  }

  const SimOptions options_;
  raft::sim::SimWorld world_;
  Random random_;
  raft::sim::SimNetwork network_;
  raft::Node::Options node_;
  SimFileSystem::Faults disk_;
  double slow_apply_ = 0;
  double drift_ = 0;
  bool crashes_ = false, pauses_ = false, partitions_ = false, transfers_ = false;
  bool churns_ = false, compacts_ = false;
  absl::Duration strike_interval_;
  bool healed_ = false;
  uint64_t added_ = 0;
  std::vector<Store::MemberAttributes> founders_;
  Members members_;
  History history_;
  SimScene scene_;
  SimCounts counts_;
  std::vector<std::string> violations_;
  std::vector<std::shared_ptr<SimWatch>> watches_;
  std::vector<std::shared_ptr<SimWatch>> hops_;
  std::vector<std::unique_ptr<SimClient>> clients_;
};

}  // namespace

void SimCounts::Add(const SimCounts& other) {
  crashes += other.crashes;
  power_cuts += other.power_cuts;
  pauses += other.pauses;
  partitions += other.partitions;
  clock_changes += other.clock_changes;
  transfers += other.transfers;
  members_added += other.members_added;
  members_removed += other.members_removed;
  members_promoted += other.members_promoted;
  snapshots_restored += other.snapshots_restored;
  compactions += other.compactions;
}

SimResult RunKvSim(const SimOptions& options) { return KvSim(options).Run(); }

}  // namespace keelson::linearizability
