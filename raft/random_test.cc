// Random runs of a small group: messages are lost, doubled and reordered, disks lag, members
// crash and come back, the membership changes. After every step the safety properties of the
// Raft paper (figure 3) hold; once the network heals, the group works again.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "raft/core.h"
#include "raft/testing/core_network.h"

namespace keelson::raft {
namespace {

struct Plan {
  size_t voters;
  bool pre_vote;
  bool check_quorum;
  bool small_limits;
  bool change_members;
  bool lose_disks = false;
  bool sleep = false;
};

class RandomRun {
 public:
  RandomRun(const Plan& plan, uint64_t seed)
      : plan_(plan), random_(seed), net_(plan.voters, ConfigureFor(plan), seed) {}

  void Steps(int count) {
    for (int i = 0; i < count && net_.violation().empty(); ++i) Step();
  }

  // Everything works again: the group must make progress. Empty when it does.
  std::string Heal() {
    net_.Heal();
    Wait();
    // A transport tells in the end what became of each snapshot.
    for (const NodeId id : net_.ids()) {
      for (const PeerStatus& peer : net_.core(id).GetStatus().peers) {
        if (peer.state == ProgressState::kSnapshot) net_.core(id).ReportSnapshot(peer.id, false);
      }
    }
    Wait();
    // Without pre-vote a member whose log is too short can be the first to campaign many times.
    for (int i = 0; i < 10 && net_.Leader() == kNoNode; ++i) Wait();
    const NodeId leader = net_.Leader();
    if (leader == kNoNode) return "no leader";
    const absl::Status proposed = net_.Propose(leader, "healed");
    if (!proposed.ok()) return proposed.ToString();
    net_.TickAll(5);
    const Status status = net_.core(leader).GetStatus();
    for (const NodeId id : status.conf_state.voters) {
      const std::vector<std::string> applied = net_.Applied(id);
      if (applied.empty() || applied.back() != "healed" || applied != net_.Applied(leader)) {
        return absl::StrCat("member ", id, " lags at ", net_.AppliedIndex(id), " of ",
                            net_.AppliedIndex(leader));
      }
    }
    return "";
  }

  CoreNetwork& net() { return net_; }

 private:
  void Wait() {
    for (int i = 0; i < 15; ++i) {
      net_.TickAll(10);
      // Whoever lost its disk needs a snapshot.
      for (const NodeId id : net_.ids()) net_.OfferSnapshot(id);
    }
  }

  static CoreNetwork::Configure ConfigureFor(const Plan& plan) {
    return [plan](Options& options) {
      options.pre_vote = plan.pre_vote;
      options.check_quorum = plan.check_quorum;
      if (plan.sleep) options.quiesce_ticks = 3;
      options.priority = plan.lose_disks ? static_cast<int64_t>(options.id) : 0;
      if (plan.small_limits) {
        options.max_message_bytes = 1;
        options.max_inflight_messages = 2;
        options.max_apply_bytes = 1;
        options.max_uncommitted_bytes = 64;
      }
    };
  }

  NodeId AnyMember() { return 1 + random_.Below(plan_.voters); }

  void Step() {
    const NodeId id = AnyMember();
    const uint64_t dice = random_.Below(1000);
    if (dice < 550) {
      if (!net_.in_flight().empty()) Network();
    } else if (dice < 700) {
      net_.AppendOne(id);
    } else if (dice < 800) {
      net_.ApplyOne(id);
    } else if (dice < 900) {
      net_.Tick(id);
    } else if (dice < 960) {
      (void)net_.Propose(id, std::to_string(++proposals_));  // May be refused.
    } else if (dice < 970) {
      net_.Restart(id);
    } else if (dice < 975) {
      net_.Compact(id);
    } else if (dice < 980) {
      (void)net_.core(id).ReadIndex(std::to_string(dice));  // May be refused.
      net_.Collect(id);
    } else if (dice < 985) {
      net_.core(id).TransferLeadership(AnyMember());
      net_.Collect(id);
    } else if (dice < 990) {
      net_.core(id).ReportUnreachable(AnyMember());
      net_.Collect(id);
    } else if (dice < 993) {
      net_.Isolate(id);
    } else if (dice < 996) {
      net_.Heal();
    } else if (plan_.change_members) {
      ChangeMembers(id);
    } else if (plan_.lose_disks) {
      LoseDisk(id);
    }
  }

  // Never of so many that no quorum remembers what it has promised.
  void LoseDisk(NodeId id) {
    size_t lost = 1;
    for (const NodeId other : net_.ids()) {
      if (other != id && net_.log(other).InitialHardState().recovering) ++lost;
    }
    if (2 * lost < plan_.voters) net_.LoseDisk(id);
  }

  void Network() {
    const size_t position = random_.Below(net_.in_flight().size());
    if (random_.Bernoulli(0.1)) {
      net_.in_flight().erase(net_.in_flight().begin() + static_cast<ptrdiff_t>(position));
      return;
    }
    if (random_.Bernoulli(0.1)) net_.in_flight().push_back(net_.in_flight()[position]);
    net_.Deliver(position);
  }

  void ChangeMembers(NodeId id) {
    static constexpr ConfChangeType kTypes[] = {ConfChangeType::kAddNode, ConfChangeType::kAddNode,
                                                ConfChangeType::kAddLearner,
                                                ConfChangeType::kRemoveNode};
    ConfChange change;
    for (uint64_t i = 1 + random_.Below(2); i > 0; --i) {
      change.changes.push_back({kTypes[random_.Below(4)], AnyMember()});
    }
    (void)net_.core(id).ProposeConfChange(change);  // May be refused.
    net_.Collect(id);
  }

  Plan plan_;
  Random random_;
  CoreNetwork net_;
  int proposals_ = 0;
};

TEST_CASE("Random runs break no safety property and heal", "[raft][random]") {
  const Plan plan = GENERATE(Plan{1, true, true, false, false}, Plan{2, false, false, false, false},
                             Plan{3, true, true, false, false}, Plan{3, false, false, true, false},
                             Plan{3, true, true, true, false}, Plan{5, true, true, false, false},
                             Plan{4, true, true, false, true}, Plan{5, false, true, true, true},
                             Plan{3, true, true, false, false, true, false},
                             Plan{5, false, false, false, false, true, false},
                             Plan{3, true, true, false, false, false, true},
                             Plan{5, true, true, true, false, true, true});
  const char* only = std::getenv("KEELSON_RAFT_SEED");
  const uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  const uint64_t last = only != nullptr ? first : 200;
  for (uint64_t seed = first; seed <= last; ++seed) {
    INFO("voters=" << plan.voters << " pre_vote=" << plan.pre_vote << " small=" << plan.small_limits
                   << " members=" << plan.change_members << "; replay: KEELSON_RAFT_SEED=" << seed);
    RandomRun run(plan, seed);
    run.Steps(3000);
    REQUIRE(run.net().violation().empty());
    CHECK(run.Heal() == std::string());
    REQUIRE(run.net().violation().empty());
  }
}

}  // namespace
}  // namespace keelson::raft
