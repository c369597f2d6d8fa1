// Power cuts at any moment, by seed: nothing acknowledged is lost, nothing appears that was
// not written, and a torn tail is never mistaken for damage.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/testing/wal_testing.h"

namespace keelson::raft {
namespace {

// The naive twin: what a log holds, as plain values.
struct State {
  SnapshotMetadata start;
  std::vector<Entry> entries;
  HardState hard_state;

  [[nodiscard]] Index last() const { return start.index + entries.size(); }
  [[nodiscard]] Term LastTerm() const { return entries.empty() ? start.term : entries.back().term; }
  [[nodiscard]] Term TermAt(Index index) const {
    return index == start.index ? start.term : entries[index - start.index - 1].term;
  }
  void Truncate(Index index) { entries.resize(index - start.index - 1); }

  friend bool operator==(const State&, const State&) = default;
};

struct BatchValues {
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;
  std::optional<SnapshotMetadata> snapshot;
};

// Runs one log through random work and crashes.
class CrashRun {
 public:
  explicit CrashRun(uint64_t seed)
      : seed_(seed), random_(Random(seed).Stream("work")), fs_(Random(seed).Stream("disk"), {}) {
    options_ = SmallSegments(static_cast<uint64_t>(random_.Between(4, 12)) * 1024);
  }

  void Run() {
    INFO("seed " << seed_ << ": KEELSON_WAL_SEED=" << seed_ << " runs it alone");
    KEELSON_REQUIRE_OK(Wal::Create(fs_, kDir, kIdentity, MakeStart(0, 0), options_));
    possible_ = {State{.start = MakeStart(0, 0), .entries = {}, .hard_state = {}}};
    for (int life = 0; life < 4; ++life) {
      if (!Open()) continue;
      fs_.CutPowerAfter(random_.Below(60));
      if (random_.Bernoulli(0.2))
        fs_.SetFaults({.write_error = 0.02, .sync_error = 0.05, .sync_directory_error = 0.1});
      while (Step()) {
      }
      Crash();
    }
    REQUIRE(OpenCleanly());
  }

  [[nodiscard]] const SimFileSystem& fs() const { return fs_; }

 private:
  static constexpr uint64_t kNever = uint64_t{1} << 60;

  // The newest state that was written, durable or not.
  [[nodiscard]] const State& now() const { return possible_.back(); }

  void Crash() {
    wal_.reset();
    fs_.SetFaults({});
    if (random_.Bernoulli(0.8)) {
      fs_.PowerLoss();
    } else {
      if (fs_.power_is_cut()) fs_.PowerLoss();
      fs_.ProcessCrash();
      fs_.CutPowerAfter(kNever);
    }
  }

  // False when the power failed during recovery.
  bool Open() {
    if (random_.Bernoulli(0.3)) fs_.CutPowerAfter(random_.Below(6));
    Wal::Recovered recovered;
    auto wal = Wal::Open(fs_, kDir, kIdentity, options_, &recovered);
    if (fs_.power_is_cut()) {
      fs_.PowerLoss();
      return false;
    }
    Check(wal.status(), recovered);
    wal_ = *std::move(wal);
    return true;
  }

  bool OpenCleanly() {
    Wal::Recovered recovered;
    auto wal = Wal::Open(fs_, kDir, kIdentity, options_, &recovered);
    Check(wal.status(), recovered);
    return wal.ok();
  }

  void Check(const absl::Status& status, const Wal::Recovered& recovered) {
    KEELSON_REQUIRE_OK(status);
    State got = {recovered.start, recovered.entries, recovered.hard_state};
    bool known = false;
    for (State state : possible_) {
      state.hard_state.commit = std::max(state.hard_state.commit, state.start.index);
      known |= state == got;
    }
    INFO("recovered [" << got.start.index + 1 << ", " << got.last() << "] term "
                       << got.hard_state.term << " commit " << got.hard_state.commit
                       << "; acknowledged last " << possible_.front().last() << ", written last "
                       << now().last());
    REQUIRE(known);
    possible_ = {got};  // Open promises that it is durable.
  }

  // One action. False when the log is gone.
  bool Step() {
    const uint64_t dice = random_.Below(10);
    if (dice < 6) return Append();
    if (dice < 9) {
      if (!wal_->Sync().ok()) return false;
      Acknowledge();
      return true;
    }
    return Compact();
  }

  void Acknowledge() { possible_.erase(possible_.begin(), possible_.end() - 1); }

  bool Append() {
    const BatchValues batch = RandomBatch();
    AddStates(batch);
    return wal_
        ->Append(
            {.entries = batch.entries, .hard_state = batch.hard_state, .snapshot = batch.snapshot})
        .ok();
  }

  bool Compact() {
    State state = now();
    const Index index = state.start.index + random_.Below(state.entries.size() + 1);
    const SnapshotMetadata start = MakeStart(index, state.TermAt(index));
    state.entries.erase(state.entries.begin(),
                        state.entries.begin() + static_cast<ptrdiff_t>(index - state.start.index));
    state.start = start;
    possible_.push_back(state);
    if (!wal_->Compact(start).ok()) return false;
    Acknowledge();
    return true;
  }

  BatchValues RandomBatch() {
    BatchValues batch;
    const State& state = now();
    Term term = std::max(state.hard_state.term, state.LastTerm());
    Index next = state.last() + 1;
    if (random_.Bernoulli(0.2)) ++term;
    if (random_.Bernoulli(0.05)) {
      batch.snapshot = MakeStart(state.last() + random_.Below(5), term);
      next = batch.snapshot->index + 1;
    } else if (random_.Bernoulli(0.3) && !state.entries.empty()) {
      // A new leader replaces a tail that was not committed.
      const Index first = std::max(state.hard_state.commit, state.start.index) + 1;
      if (first < next) {
        next = first + random_.Below(next - first);
        ++term;
      }
    }
    const uint64_t count = random_.Below(6);
    const size_t bytes = random_.Bernoulli(0.1) ? 3000 : random_.Below(600);
    batch.entries = MakeEntries(next, next + count, term, bytes);
    batch.entries.pop_back();
    const Index last = next + count - 1;
    const bool need_term = term != state.hard_state.term;
    // The hard state is a must when the old one would commit past the new end.
    if (need_term || random_.Bernoulli(0.5)) {
      const Index floor = batch.snapshot ? batch.snapshot->index : state.hard_state.commit;
      batch.hard_state = HardState{.term = term, .vote = random_.Below(4), .commit = floor};
      if (last > floor) batch.hard_state->commit += random_.Below(last - floor + 1);
    }
    return batch;
  }

  // The states that a crash during `batch` can leave: one for each record, in the order
  // that wal.h and docs/format.md give.
  void AddStates(const BatchValues& batch) {
    State state = now();
    if (batch.hard_state.has_value()) {
      state.hard_state = *batch.hard_state;
      state.hard_state.commit = std::min(state.hard_state.commit, now().last());
      if (!batch.entries.empty()) {
        state.hard_state.commit =
            std::min(state.hard_state.commit, batch.entries.front().index - 1);
      }
      possible_.push_back(state);
    }
    if (batch.snapshot.has_value()) {
      state.start = *batch.snapshot;
      state.entries.clear();
      possible_.push_back(state);
    }
    for (const Entry& entry : batch.entries) {
      state.Truncate(entry.index);
      state.entries.push_back(entry);
      possible_.push_back(state);
    }
    if (batch.hard_state.has_value()) {
      state.hard_state = *batch.hard_state;
      possible_.push_back(state);
    }
  }

  const uint64_t seed_;
  Random random_;
  SimFileSystem fs_;
  Wal::Options options_;
  std::unique_ptr<Wal> wal_;
  // possible_[0] is what has been acknowledged; each later one what one more record makes.
  std::vector<State> possible_;
};

TEST_CASE("No acknowledged entry is lost and none appears from nowhere", "[raft][wal][crash]") {
  if (const char* seed = std::getenv("KEELSON_WAL_SEED"); seed != nullptr) {
    CrashRun(std::strtoull(seed, nullptr, 10)).Run();
    return;
  }
  // A campaign: KEELSON_WAL_CUTS=100000 bazel-bin/raft/wal_crash_test
  const char* const wanted = std::getenv("KEELSON_WAL_CUTS");
  const uint64_t cuts = wanted == nullptr ? 0 : std::strtoull(wanted, nullptr, 10);
  constexpr uint64_t kSeeds = 10000;
  SimFileSystem::Counters sum;
  uint64_t runs = 0;
  for (uint64_t seed = 1; seed <= kSeeds || sum.power_losses < cuts; ++seed, ++runs) {
    CrashRun run(seed);
    run.Run();
    const SimFileSystem::Counters counters = run.fs().counters();
    sum.power_losses += counters.power_losses;
    sum.writes_torn += counters.writes_torn;
    sum.writes_lost += counters.writes_lost;
    sum.injected_errors[2] += counters.injected_errors[2];
  }
  std::printf("%llu runs: %llu power cuts, %llu writes lost, %llu torn, %llu failed syncs\n",
              static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(sum.power_losses),
              static_cast<unsigned long long>(sum.writes_lost),
              static_cast<unsigned long long>(sum.writes_torn),
              static_cast<unsigned long long>(sum.injected_errors[2]));
  // The faults that this is about did happen.
  CHECK(sum.power_losses > kSeeds);
  CHECK(sum.writes_torn > kSeeds / 10);
  CHECK(sum.writes_lost > kSeeds / 10);
  CHECK(sum.injected_errors[2] > kSeeds / 100);
}

}  // namespace
}  // namespace keelson::raft
