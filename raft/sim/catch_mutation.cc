#include "raft/sim/catch_mutation.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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

// The run that a seed stands for.
using RunOf = std::function<RunOptions(uint64_t seed)>;

[[noreturn]] void RunChild(const RunOf& run_of, const CatchOptions& options, Report& report) {
  (void)::signal(SIGABRT, SIG_DFL);
  // A failed check prints; here it is a result.
  if (const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0) {
    (void)::dup2(null, STDERR_FILENO);
  }
  for (uint64_t i = 0; i < options.max_seeds; ++i) {
    report.seed = options.first_seed + i;
    (void)::alarm(kSecondsPerSeed);
    if (RunOne(run_of(report.seed), report)) break;
  }
  ::_exit(0);
}

Caught Catch(const RunOf& run_of, const CatchOptions& options) {
  void* shared =
      ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  KEELSON_CHECK(shared != MAP_FAILED) << "no memory for the report";
  Report& report = *static_cast<Report*>(shared);  // Zeros.
  (void)std::fflush(nullptr);
  const pid_t child = ::fork();
  KEELSON_CHECK(child >= 0) << "fork failed";
  if (child == 0) RunChild(run_of, options, report);
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

// One line of the table. `kind`: the class, or what stands in its place.
void PrintRow(const char* name, const std::string& kind, const Caught& caught,
              const CatchOptions& options) {
  if (caught.seeds == 0) {
    std::printf("%-32s %5s      -  nothing in %" PRIu64 " seeds\n", name, kind.c_str(),
                options.max_seeds);
  } else {
    std::printf("%-32s %5s %6" PRIu64 "  %s: %s\n", name, kind.c_str(), caught.seeds,
                caught.invariant.c_str(), caught.text.c_str());
  }
  (void)std::fflush(stdout);
}

// The last line. The median.
uint64_t PrintSummary(std::vector<uint64_t> seeds, size_t count) {
  std::sort(seeds.begin(), seeds.end());
  const uint64_t median = seeds.empty() ? 0 : seeds[seeds.size() / 2];
  std::printf("%zu mutations, %zu caught, median %" PRIu64 " seeds, worst %" PRIu64 " seeds\n",
              count, seeds.size(), median, seeds.empty() ? 0 : seeds.back());
  return median;
}

}  // namespace

Caught CatchMutation(const MutationInfo& mutation, const CatchOptions& options) {
  return Catch([&mutation](uint64_t seed) { return MixedRun(seed, mutation.mutation); }, options);
}

Caught CatchHostMutation(const HostMutationInfo& mutation, const CatchOptions& options) {
  return Catch(
      [&mutation](uint64_t seed) {
        return RunOptions{.seed = seed, .profile = "host", .host_mutation = mutation.mutation};
      },
      options);
}

bool CatchAllMutations(const CatchOptions& options) {
  std::printf("%-32s %5s %6s  %s\n", "mutation", "class", "seeds", "found by");
  std::vector<uint64_t> seeds;
  for (const MutationInfo& mutation : Mutations()) {
    const Caught caught = CatchMutation(mutation, options);
    PrintRow(mutation.name, std::to_string(mutation.of_class), caught, options);
    if (caught.seeds > 0) seeds.push_back(caught.seeds);
  }
  const size_t count = Mutations().size();
  return PrintSummary(seeds, count) <= kMedianSeeds && seeds.size() == count;
}

bool CatchAllHostMutations(const CatchOptions& options) {
  std::printf("%-32s %5s %6s  %s\n", "mutation", "", "seeds", "found by");
  std::vector<uint64_t> seeds;
  for (const HostMutationInfo& mutation : HostMutations()) {
    const Caught caught = CatchHostMutation(mutation, options);
    PrintRow(mutation.name, "host", caught, options);
    if (caught.seeds > 0) seeds.push_back(caught.seeds);
  }
  PrintSummary(seeds, HostMutations().size());
  return seeds.size() == HostMutations().size();
}

}  // namespace keelson::raft::sim
