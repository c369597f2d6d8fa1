// Explores every state of a small Raft group whose members run the real core.
//
//   raft_check                                        the documented bounds
//   raft_check --terms=3 --entries=2 --max-states=1000000
//   raft_check --defect=forgotten-vote                must find something
//
// Exit codes: 0 nothing found, 1 an invariant broke, 2 bad arguments.
#include <CLI/CLI.hpp>

#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "raft/model/bounds.h"
#include "raft/model/explorer.h"

namespace keelson::raft::model {
namespace {

Explorer* explorer_at_work = nullptr;

void PrintTrace(const std::vector<std::string>& trace) {
  size_t number = 0;
  for (const std::string& line : trace) std::printf("%4zu  %s\n", ++number, line.c_str());
}

// A failed KEELSON_CHECK of the core is a finding, too. The core aborts in the middle of a step and
// of nothing else, so the explorer can be asked how it got there.
extern "C" void OnAbort(int) {
  (void)std::signal(SIGABRT, SIG_DFL);
  std::printf("VIOLATION: the core aborted in the last step of\n");
  if (explorer_at_work != nullptr) PrintTrace(explorer_at_work->TraceOfPresentStep());
  (void)std::fflush(stdout);
  std::_Exit(1);
}

double Rate(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

int Check(const Bounds& bounds, bool quiet) {
  const absl::Time start = absl::Now();
  Explorer explorer(bounds);
  explorer_at_work = &explorer;
  (void)std::signal(SIGABRT, OnAbort);
  const Result result = explorer.Run([&](const Progress& now) {
    if (quiet) return;
    std::fprintf(stderr,
                 "%" PRIu64 " states, depth %u, frontier %" PRIu64 ", %zu member states, %.0f s\n",
                 now.states, now.depth, now.frontier, now.members,
                 absl::ToDoubleSeconds(absl::Now() - start));
  });
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  if (result.violation.has_value()) {
    std::printf("VIOLATION after %zu steps: %s\n", result.violation->trace.size(),
                result.violation->what.c_str());
    PrintTrace(result.violation->trace);
  }
  std::printf("%" PRIu64 " states, %" PRIu64
              " steps, depth %u, %zu member states, %zu messages; %.1f s, %.0f states/s\n",
              result.states, result.transitions, result.depth, result.members, result.messages,
              seconds, Rate(result.states, seconds));
  if (result.violation.has_value()) return 1;
  if (result.finished) {
    std::printf("complete: no state within the bounds is left, no violation\n");
  } else {
    std::printf("cut off at %" PRIu64 " states, %" PRIu64
                " of them not continued: complete to depth %u, no violation so far\n",
                result.states, result.frontier, result.depth - 1);
  }
  return 0;
}

}  // namespace
}  // namespace keelson::raft::model

int main(int argc, char** argv) {
  using namespace keelson::raft::model;  // NOLINT(build/namespaces): the program of this library.
  Bounds bounds;
  bool quiet = false;
  std::map<std::string, Defect> defects = {{"none", Defect::kNone}};
  for (const DefectInfo& info : kDefects) defects[std::string(info.name)] = info.defect;
  const std::map<std::string, Start> starts = {{"empty", Start::kEmpty},
                                               {"figure8", Start::kFigure8}};
  CLI::App app("Explores every state of a small Raft group.");
  app.option_defaults()->always_capture_default();
  app.add_option("--nodes", bounds.nodes, "Members of the group.")->check(CLI::Range(1, 5));
  app.add_option("--terms", bounds.terms, "Nobody campaigns for a later term.")
      ->check(CLI::Range(1, 6));
  app.add_option("--entries", bounds.entries, "Clients propose while the log is shorter.")
      ->check(CLI::Range(0, 7));
  app.add_option("--crashes", bounds.crashes, "Crashes of each member.")->check(CLI::Range(0, 9));
  app.add_option("--duplicates", bounds.duplicates, "Messages delivered twice, in a run.")
      ->check(CLI::Range(0, 99));
  app.add_option("--drops", bounds.drops, "Messages taken away, in a run.")
      ->check(CLI::Range(0, 99));
  app.add_option("--heartbeats", bounds.heartbeats, "Heartbeat rounds, in a run.")
      ->check(CLI::Range(0, 99));
  app.add_option("--stalls", bounds.stalls, "Steps after which a disk lags, in a run.")
      ->check(CLI::Range(0, 99));
  app.add_option("--max-states", bounds.max_states, "Where to stop.");
  app.add_option("--pre-vote", bounds.pre_vote, "Campaigns ask before they raise the term.");
  app.add_option("--symmetry", bounds.symmetry, "Count states that differ by names as one.");
  app.add_option("--discard", bounds.discard, "Take away messages that mean nothing any more.");
  std::string start = "empty";
  std::string defect = "none";
  app.add_option("--start", start, "Where runs begin.")->check(CLI::IsMember(&starts));
  app.add_option("--defect", defect, "A mistake to be found.")->check(CLI::IsMember(&defects));
  app.add_flag("--quiet", quiet, "No progress on stderr.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  bounds.start = starts.at(start);
  bounds.defect = defects.at(defect);
  if (bounds.start == Start::kFigure8 && bounds.nodes != 3) {
    std::fprintf(stderr, "raft_check: --start=figure8 needs --nodes=3\n");
    return 2;
  }
  return Check(bounds, quiet);
}
