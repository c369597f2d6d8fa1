#include "raft/sim/catch_mutation.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "raft/sim/sim_cluster.h"

namespace keelson::raft::sim {
namespace {

// A run takes milliseconds; one that takes this long has no end.
constexpr unsigned kSecondsPerSeed = 15;

// What the child leaves in memory that both see.
struct Report {
  uint64_t seed;  // of the run under way
  bool violated;
  char invariant[16];
  char text[512];
};

void Set(char* out, size_t size, const std::string& text) {
  std::strncpy(out, text.c_str(), size - 1);
}

// True when the run of `options` shows the defect.
bool RunOne(const RunOptions& options, Report& report) {
  const RunResult result = RunSeed(options);
  if (!result.violation.has_value()) return false;
  report.violated = true;
  Set(report.invariant, sizeof report.invariant, result.violation->invariant);
  Set(report.text, sizeof report.text, result.violation->text);
  return true;
}

[[noreturn]] void RunChild(Mutation mutation, const CatchOptions& options, Report& report) {
  (void)::signal(SIGABRT, SIG_DFL);
  // A failed check prints; here it is a result.
  if (const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0) {
    (void)::dup2(null, STDERR_FILENO);
  }
  for (uint64_t i = 0; i < options.max_seeds; ++i) {
    report.seed = options.first_seed + i;
    (void)::alarm(kSecondsPerSeed);
    if (RunOne(options.run(report.seed, mutation), report)) break;
  }
  ::_exit(0);
}

// Until something breaks; Caught::invariant is empty when nothing did.
Caught RunSeeds(Mutation mutation, const CatchOptions& options) {
  void* shared =
      ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  KEELSON_CHECK(shared != MAP_FAILED) << "no memory for the report";
  Report& report = *static_cast<Report*>(shared);  // Zeros.
  (void)std::fflush(nullptr);
  const pid_t child = ::fork();
  KEELSON_CHECK(child >= 0) << "fork failed";
  if (child == 0) RunChild(mutation, options, report);
  int status = 0;
  KEELSON_CHECK(::waitpid(child, &status, 0) == child) << "the child is gone";

  Caught caught{.seed = report.seed};
  if (WIFSIGNALED(status)) {
    caught.invariant = WTERMSIG(status) == SIGALRM ? "HANG" : "CHECK";
    caught.text = ::strsignal(WTERMSIG(status));
  } else if (report.violated) {
    caught.invariant = report.invariant;
    caught.text = report.text;
  }
  if (!caught.invariant.empty()) caught.seeds = report.seed - options.first_seed + 1;
  (void)::munmap(shared, sizeof(Report));
  return caught;
}

void PrintJson(const MutationInfo& mutation, const Caught& caught) {
  const nlohmann::json json = {{"mutation", mutation.name},
                               {"class", mutation.of_class},
                               {"seeds", caught.seeds},
                               {"seed", caught.seed},
                               {"found_by", caught.invariant},
                               {"text", caught.text},
                               {"product_fails", caught.product_fails}};
  std::printf("%s\n", json.dump().c_str());
}

void PrintLine(const MutationInfo& mutation, const Caught& caught, const CatchOptions& options) {
  if (caught.product_fails) {
    std::printf("%-32s %5d      !  seed %" PRIu64 " fails without it, too: %s: %s\n  replay: %s\n",
                mutation.name, mutation.of_class, caught.seed, caught.invariant.c_str(),
                caught.text.c_str(),
                ReplayCommand(options.run(caught.seed, Mutation::kNone)).c_str());
  } else if (caught.seeds == 0) {
    std::printf("%-32s %5d      -  nothing in %" PRIu64 " seeds\n", mutation.name,
                mutation.of_class, options.max_seeds);
  } else {
    std::printf("%-32s %5d %6" PRIu64 "  %s: %s\n", mutation.name, mutation.of_class, caught.seeds,
                caught.invariant.c_str(), caught.text.c_str());
  }
}

}  // namespace

Caught CatchMutation(const MutationInfo& mutation, const CatchOptions& options) {
  const Caught caught = RunSeeds(mutation.mutation, options);
  if (caught.invariant.empty()) return caught;
  CatchOptions once = options;
  once.first_seed = caught.seed;
  once.max_seeds = 1;
  Caught control = RunSeeds(Mutation::kNone, once);
  if (control.invariant.empty()) return caught;
  control.product_fails = true;
  control.seeds = 0;
  return control;
}

bool CatchAllMutations(const CatchOptions& options) {
  if (!options.json) std::printf("%-32s %5s %6s  %s\n", "mutation", "class", "seeds", "found by");
  std::vector<uint64_t> seeds;
  size_t broken_controls = 0;
  for (const MutationInfo& mutation : Mutations()) {
    const Caught caught = CatchMutation(mutation, options);
    if (caught.product_fails) ++broken_controls;
    if (caught.seeds > 0) seeds.push_back(caught.seeds);
    if (options.json) {
      PrintJson(mutation, caught);
    } else {
      PrintLine(mutation, caught, options);
    }
    (void)std::fflush(stdout);
  }
  std::sort(seeds.begin(), seeds.end());
  const uint64_t median = seeds.empty() ? 0 : seeds[seeds.size() / 2];
  const uint64_t worst = seeds.empty() ? 0 : seeds.back();
  const size_t count = Mutations().size();
  if (options.json) {
    const nlohmann::json json = {{"mutations", count},
                                 {"caught", seeds.size()},
                                 {"median", median},
                                 {"worst", worst},
                                 {"broken_controls", broken_controls}};
    std::printf("%s\n", json.dump().c_str());
  } else {
    std::printf("%zu mutations, %zu caught, median %" PRIu64 " seeds, worst %" PRIu64
                " seeds, %zu controls broken\n",
                count, seeds.size(), median, worst, broken_controls);
  }
  return broken_controls == 0 && seeds.size() == count && median <= kMedianSeeds;
}

}  // namespace keelson::raft::sim
