// Runs the deterministic cluster simulator over a range of seeds.
//
//   raft_sim --seeds=1000 --first-seed=1
//   raft_sim --seeds=1 --first-seed=4711 --trace
//   raft_sim --profile=host --seeds=1000    # hosts of several groups each
//   raft_sim --profile=list
//
// Exit codes: 0 nothing found, 1 an invariant broke, 2 bad arguments.
#include <CLI/CLI.hpp>

#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include <unistd.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "raft/sim/campaign.h"
#include "raft/sim/catch_mutation.h"
#include "raft/sim/host_mutations.h"
#include "raft/sim/mutations.h"
#include "raft/sim/run_diagram.h"
#include "raft/sim/sim_cluster.h"
#include "raft/sim/swarm.h"

namespace keelson::raft::sim {
namespace {

struct Flags {
  uint64_t seeds = 0;  // 0: 1000, or 2000 to find each mutation
  uint64_t first_seed = 1;
  int nodes = 3;
  std::string profile = "default";
  bool trace = false;
  bool json = false;
  std::string mutation = "none";
  std::string html;  // a file for the diagram of the first bad run, or the last one
  uint64_t html_steps = 4000;
};

// What a failed KEELSON_CHECK of the code under test leaves to print: which run it was.
char replay_note[256];

extern "C" void OnAbort(int) {
  (void)::write(STDERR_FILENO, replay_note,
                std::strlen(replay_note));  // Nothing else is safe here.
  (void)std::signal(SIGABRT, SIG_DFL);
  (void)std::raise(SIGABRT);
}

void NoteRun(const RunOptions& options) {
  (void)std::snprintf(replay_note, sizeof replay_note,
                      "seed %" PRIu64 ": the code under test aborted\nreplay: %s\n", options.seed,
                      ReplayCommand(options).c_str());
}

Mutation MutationOf(const std::string& name) {
  const MutationInfo* info = FindMutation(name);
  return info == nullptr ? Mutation::kNone : info->mutation;
}

HostMutation HostMutationOf(const std::string& name) {
  const HostMutationInfo* info = FindHostMutation(name);
  return info == nullptr ? HostMutation::kNone : info->mutation;
}

void PrintText(const RunOptions& options, const RunResult& result) {
  std::printf("seed %" PRIu64 ": step %" PRIu64 " (%s): %s: %s\n  %s\nreplay: %s\n", result.seed,
              result.steps, absl::FormatDuration(result.virtual_time).c_str(),
              result.violation->invariant.c_str(), result.violation->text.c_str(),
              result.swarm.c_str(), ReplayCommand(options).c_str());
}

nlohmann::json ToJson(const RunOptions& options, const RunResult& result) {
  nlohmann::json json = {{"seed", result.seed},
                         {"steps", result.steps},
                         {"trace_hash", result.trace_hash},
                         {"committed", result.committed},
                         {"elections", result.elections},
                         {"membership_changes", result.membership_changes},
                         {"crashes", result.crashes},
                         {"partitions", result.partitions},
                         {"writes", result.history.writes},
                         {"reads", result.history.reads},
                         {"messages", result.network.sent},
                         {"snapshots", result.network.snapshots_delivered},
                         {"swarm", result.swarm}};
  if (result.violation.has_value()) {
    json["violation"] = {{"invariant", result.violation->invariant},
                         {"text", result.violation->text},
                         {"replay", ReplayCommand(options)}};
  }
  return json;
}

// False, with a message, when the file cannot be written.
bool WriteDiagram(const Flags& flags, const RunOptions& options, const RunResult& result,
                  const RunDiagram& diagram) {
  RunDiagram::Facts facts{
      .title = "seed " + std::to_string(result.seed) + " of profile " + options.profile,
      .violation = "",
      .replay = ReplayCommand(options),
      .swarm = result.swarm,
      .end = absl::ToInt64Nanoseconds(result.virtual_time)};
  if (result.violation.has_value()) {
    facts.violation = result.violation->invariant + ": " + result.violation->text;
  }
  std::ofstream file(flags.html, std::ios::binary);
  file << diagram.Html(facts);
  file.close();
  if (file) return true;
  std::fprintf(stderr, "cannot write '%s'\n", flags.html.c_str());
  return false;
}

int Run(const Flags& flags) {
  (void)std::signal(SIGABRT, OnAbort);
  // One thread cannot deadlock, and looking for it costs a tenth of the time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  Campaign campaign;
  const absl::Time start = absl::Now();
  for (uint64_t i = 0; i < flags.seeds; ++i) {
    RunOptions options{.seed = flags.first_seed + i,
                       .nodes = flags.nodes,
                       .profile = flags.profile,
                       .mutation = MutationOf(flags.mutation),
                       .host_mutation = HostMutationOf(flags.mutation)};
    if (flags.profile == "mix") options = MixedRun(options.seed, options.mutation);
    options.trace = flags.trace;
    options.coverage = &campaign.coverage();
    NoteRun(options);
    RunDiagram diagram({.steps = flags.html_steps});
    if (!flags.html.empty()) options.diagram = &diagram;
    const RunResult result = RunSeed(options);
    campaign.Add(result);
    const bool draw = result.violation.has_value()
                          ? campaign.failures() == 1
                          : campaign.failures() == 0 && i + 1 == flags.seeds;
    if (draw && !flags.html.empty() && !WriteDiagram(flags, options, result, diagram)) return 2;
    if (flags.json) std::printf("%s\n", ToJson(options, result).dump().c_str());
    if (result.violation.has_value() && !flags.json) PrintText(options, result);
  }
  const absl::Duration real = absl::Now() - start;
  const std::string summary = flags.json ? campaign.Json(real) + "\n" : campaign.Text(real);
  (void)std::fputs(summary.c_str(), stdout);  // Nobody is left to tell when stdout is gone.
  return campaign.failures() == 0 ? 0 : 1;
}

int ListProfiles() {
  for (const Profile& profile : Profiles()) std::printf("%-12s %s\n", profile.name, profile.what);
  std::printf("%-12s %s\n", "mix", "all of these and 3 to 5 members, by the seed");
  return 0;
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Runs the deterministic simulator of a raft cluster.");
  app.add_option("--seeds", flags.seeds,
                 "How many seeds to run (1000, and at most 2000 for each of --mutation=all)");
  app.add_option("--first-seed", flags.first_seed, "The first one")->capture_default_str();
  app.add_option("--nodes", flags.nodes, "Members of the cluster")
      ->capture_default_str()
      ->check(CLI::Range(3, 9));
  std::vector<std::string> profiles = {"list", "mix"};
  for (const Profile& profile : Profiles()) profiles.emplace_back(profile.name);
  app.add_option("--profile", flags.profile, "Kind of runs; list: say what each is about")
      ->capture_default_str()
      ->check(CLI::IsMember(profiles));
  app.add_flag("--trace", flags.trace, "Print every event to standard error");
  app.add_flag("--json", flags.json,
               "Print one JSON object a seed (--mutation=all: a defect), and a summary");
  app.add_option(
      "--html", flags.html,
      "Write a space-time diagram of the first run that fails, else of the last, to this "
      "file, for a browser");
  app.add_option("--html-steps", flags.html_steps, "How many steps before its end are drawn")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000}));
  bool failover = false;
  app.add_flag("--failover", failover,
               "Crash at least 10,000 leaders of a healthy group, print how long none led");
  std::vector<std::string> mutations = {"none", "all", "hosts"};
  for (const MutationInfo& info : Mutations()) mutations.emplace_back(info.name);
  for (const HostMutationInfo& info : HostMutations()) mutations.emplace_back(info.name);
  app.add_option(
         "--mutation", flags.mutation,
         "Plant this defect, to see it found; all: find each, print how many seeds it took; "
         "hosts: the same of those of hosts (host-...), which need --profile=host")
      ->capture_default_str()
      ->check(CLI::IsMember(mutations));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (flags.profile == "list") return ListProfiles();
  const bool hosts = flags.mutation == "hosts";
  const bool all = flags.mutation == "all" || hosts;
  if (failover) {
    flags.profile = "failover";
    // Each sees some eighty crashes.
    if (flags.seeds == 0) flags.seeds = 150;
  }
  if (flags.seeds == 0) flags.seeds = all ? 2000 : 1000;
  if (all) {
    const CatchOptions options{
        .first_seed = flags.first_seed, .max_seeds = flags.seeds, .json = flags.json};
    return (hosts ? CatchAllHostMutations(options) : CatchAllMutations(options)) ? 0 : 1;
  }
  return Run(flags);
}

}  // namespace
}  // namespace keelson::raft::sim

int main(int argc, char** argv) { return keelson::raft::sim::Main(argc, argv); }
