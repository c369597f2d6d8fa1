// Runs the simulator of the store over a range of seeds.
//
//   kv_sim --seeds=1000 --first-seed=1
//   kv_sim --seeds=200 --plant=old-leader-revokes
//
// Exit codes: 0 nothing found, 1 a promise was broken, 2 bad arguments.
#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/linearizability/kv_sim.h"

namespace keelson::linearizability {
namespace {

using Number = unsigned long long;  // NOLINT(runtime/int): for printf

struct Total {
  uint64_t failed = 0, operations = 0, unknown = 0, events = 0, expiries = 0, registers = 0;
  SimCounts counts;
};

void Tell(const Total& total, uint64_t seeds, absl::Duration time) {
  const SimCounts& c = total.counts;
  std::printf(
      "faults: %llu kills, %llu power cuts, %llu pauses, %llu cuts of the network, %llu clock "
      "changes, %llu transfers of leadership; members: %llu added, %llu removed, %llu promoted; "
      "%llu snapshots restored, %llu compactions\n",
      Number{c.crashes}, Number{c.power_cuts}, Number{c.pauses}, Number{c.partitions},
      Number{c.clock_changes}, Number{c.transfers}, Number{c.members_added},
      Number{c.members_removed}, Number{c.members_promoted}, Number{c.snapshots_restored},
      Number{c.compactions});
  std::printf(
      "%llu seeds, %llu failed; %llu operations (%llu without an answer), %llu events, %llu keys "
      "ended with their lease, %llu registers searched, %.1f s\n",
      Number{seeds}, Number{total.failed}, Number{total.operations}, Number{total.unknown},
      Number{total.events}, Number{total.expiries}, Number{total.registers},
      absl::ToDoubleSeconds(time));
}

int Run(uint64_t first, uint64_t seeds, Plant plant, bool stop) {
  // One thread cannot deadlock, and looking for it costs a tenth of the time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  Total total;
  const absl::Time begin = absl::Now();
  uint64_t done = 0;
  for (; done < seeds && !(stop && total.failed > 0); ++done) {
    const SimResult result = RunKvSim({.seed = first + done, .plant = plant});
    const Verdict& v = result.verdict;
    total.operations += v.reads + v.writes + v.refused + v.unknown;
    total.unknown += v.unknown;
    total.events += v.events;
    total.expiries += v.expiries;
    total.registers += v.registers_checked;
    total.counts.Add(result.counts);
    if (!result.violations.empty()) {
      ++total.failed;
      std::printf("seed %llu: %s\n", Number{first + done}, result.violations[0].c_str());
    }
    if ((done + 1) % 100 == 0) std::printf("%llu seeds\n", Number{done + 1});
    std::fflush(stdout);
  }
  Tell(total, done, absl::Now() - begin);
  return total.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keelson::linearizability

int main(int argc, char** argv) {
  using keelson::linearizability::Plant;
  CLI::App app("Runs the deterministic simulator of a cluster of the store.");
  uint64_t seeds = 200;
  uint64_t first = 1;
  bool stop = false;
  std::string name = "none";
  std::vector<std::string> names = {"none"};
  for (const auto& plant : keelson::linearizability::Plants()) names.emplace_back(plant.name);
  app.add_option("--seeds", seeds, "How many seeds to run")->capture_default_str();
  app.add_option("--first-seed", first, "The first one")->capture_default_str();
  app.add_flag("--stop", stop, "End with the first seed that fails");
  app.add_option("--plant", name, "Plant this defect, to see it found")
      ->capture_default_str()
      ->check(CLI::IsMember(names));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  Plant planted = Plant::kNone;
  for (const auto& plant : keelson::linearizability::Plants()) {
    if (name == plant.name) planted = plant.plant;
  }
  return keelson::linearizability::Run(first, seeds, planted, stop);
}
