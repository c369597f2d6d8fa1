// Power cuts at any moment while many groups write to one log, by seed: no group loses what a
// sync covered, none gains what was not written, and what one wrote never ends up in another.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/internal/shared_wal.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

// The naive twin of one group's log.
struct State {
  SnapshotMetadata start;
  std::vector<Entry> entries;
  HardState hard_state;

  [[nodiscard]] Index last() const { return start.index + entries.size(); }
  [[nodiscard]] Term TermAt(Index index) const {
    return index == start.index ? start.term : entries[index - start.index - 1].term;
  }

  friend bool operator==(const State&, const State&) = default;
};

using States = std::map<GroupId, State>;

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed)
      : seed_(seed), random_(Random(seed).Stream("work")), fs_(Random(seed).Stream("disk"), {}) {
    options_ = SmallSegments(static_cast<uint64_t>(random_.Between(4, 12)) * 1024);
  }

  void Run() {
    INFO("seed " << seed_ << ": KEELSON_WAL_SEED=" << seed_ << " runs it alone");
    KEELSON_REQUIRE_OK(SharedWal::Create(fs_, kDir, kIdentity, options_));
    for (int life = 0; life < 4; ++life) {
      if (!Open()) continue;
      fs_.CutPowerAfter(random_.Below(60));
      if (random_.Bernoulli(0.2)) {
        fs_.SetFaults({.write_error = 0.02, .sync_error = 0.05, .sync_directory_error = 0.1});
      }
      while (Step()) {
      }
      Crash();
    }
    REQUIRE(Open());
  }

  [[nodiscard]] SimFileSystem::Counters counters() const { return fs_.counters(); }

 private:
  static constexpr uint64_t kNever = uint64_t{1} << 60;

  [[nodiscard]] const States& now() const { return possible_.back(); }

  void Crash() {
    log_.reset();
    fs_.SetFaults({});
    if (fs_.power_is_cut() || random_.Bernoulli(0.8)) {
      fs_.PowerLoss();
    } else {
      fs_.ProcessCrash();
    }
    fs_.CutPowerAfter(kNever);
  }

  bool Open() {
    SharedWal::Recovered recovered;
    auto log = SharedWal::Open(fs_, kDir, kIdentity, options_, &recovered);
    KEELSON_REQUIRE_OK(log);
    log_ = *std::move(log);
    States got;
    for (auto& [group, one] : recovered.groups) {
      got[group] = {one.start, std::move(one.entries), one.hard_state};
    }
    bool known = false;
    for (States states : possible_) {
      for (auto& [group, state] : states) {
        state.hard_state.commit = std::max(state.hard_state.commit, state.start.index);
      }
      known |= states == got;
    }
    INFO("recovered " << got.size() << " groups; written " << now().size());
    REQUIRE(known);
    possible_ = {got};
    return true;
  }

  // One action. False when the log is gone.
  bool Step() {
    const uint64_t dice = random_.Below(20);
    if (dice < 2 || now().empty()) return AddGroup();
    const auto chosen =
        std::next(now().begin(), static_cast<ptrdiff_t>(random_.Below(now().size())));
    const GroupId group = chosen->first;
    if (dice < 12) return Append(group, chosen->second);
    if (dice < 16) return Sync();
    if (dice < 19) return Compact(group, chosen->second);
    return RemoveGroup(group);
  }

  bool Sync() {
    if (!log_->Sync().ok()) return false;
    possible_.erase(possible_.begin(), possible_.end() - 1);
    return true;
  }

  bool AddGroup() {
    States states = now();
    const GroupId group = next_group_++;
    states[group] = {.start = MakeStart(random_.Below(3), 0), .entries = {}, .hard_state = {}};
    if (states[group].start.index > 0) states[group].start.term = 1;
    states[group].hard_state.commit = states[group].start.index;
    possible_.push_back(states);
    return log_->AddGroup(group, states[group].start).ok();
  }

  bool RemoveGroup(GroupId group) {
    States states = now();
    states.erase(group);
    possible_.push_back(states);
    return log_->RemoveGroup(group).ok();
  }

  bool Compact(GroupId group, State state) {
    const Index index = state.start.index + random_.Below(state.entries.size() + 1);
    const SnapshotMetadata start = MakeStart(index, state.TermAt(index));
    state.entries.erase(state.entries.begin(),
                        state.entries.begin() + static_cast<ptrdiff_t>(index - state.start.index));
    state.start = start;
    Push(group, state);
    return log_->Group(group)->Compact(start).ok();
  }

  void Push(GroupId group, const State& state) {
    States states = now();
    states[group] = state;
    possible_.push_back(std::move(states));
  }

  bool Append(GroupId group, State state) {
    Term term = std::max<Term>({state.hard_state.term, state.TermAt(state.last()), 1});
    Index first = state.last() + 1;
    const Index committed = std::max(state.hard_state.commit, state.start.index);
    if (random_.Bernoulli(0.3)) {
      ++term;
      first = committed + 1 + random_.Below(first - committed);
    }
    const Index last = first + random_.Below(5);
    const auto entries = MakeEntries(first, last, term, random_.Below(500));
    std::optional<HardState> hard_state;
    if (term != state.hard_state.term || random_.Bernoulli(0.5)) {
      hard_state = {.term = term, .vote = random_.Below(4), .commit = committed};
      hard_state->commit += random_.Below(last - committed + 1);
      state.hard_state = *hard_state;
      state.hard_state.commit = std::min({hard_state->commit, now().at(group).last(), first - 1});
      Push(group, state);
    }
    for (const Entry& entry : entries) {
      state.entries.resize(entry.index - state.start.index - 1);
      state.entries.push_back(entry);
      Push(group, state);
    }
    if (hard_state.has_value()) {
      state.hard_state = *hard_state;
      Push(group, state);
    }
    return log_->Group(group)->Append({.entries = entries, .hard_state = hard_state}).ok();
  }

  const uint64_t seed_;
  Random random_;
  SimFileSystem fs_;
  Wal::Options options_;
  std::unique_ptr<SharedWal> log_;
  GroupId next_group_ = 1;
  // possible_[0] is what has been synced; each later one what one more record makes.
  std::vector<States> possible_ = {{}};
};

TEST_CASE("No group loses what was synced, and none gains anything", "[raft][shared_wal][crash]") {
  if (const char* seed = std::getenv("KEELSON_WAL_SEED"); seed != nullptr) {
    CrashRun(std::strtoull(seed, nullptr, 10)).Run();
    return;
  }
  constexpr uint64_t kSeeds = 2000;
  SimFileSystem::Counters sum;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    CrashRun run(seed);
    run.Run();
    sum.power_losses += run.counters().power_losses;
    sum.writes_torn += run.counters().writes_torn;
    sum.writes_lost += run.counters().writes_lost;
  }
  // The faults that this is about did happen.
  CHECK(sum.power_losses > kSeeds);
  CHECK(sum.writes_torn > kSeeds / 10);
  CHECK(sum.writes_lost > kSeeds / 10);
}

}  // namespace
}  // namespace keelson::raft
