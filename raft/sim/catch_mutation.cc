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

// Until something breaks; Caught::invariant is empty when nothing did.
Caught RunSeeds(const RunOf& run_of, const CatchOptions& options) {
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

// `planted` has the defect, `control` has not.
Caught Catch(const RunOf& planted, const RunOf& control, const CatchOptions& options) {
  const Caught caught = RunSeeds(planted, options);
  if (caught.invariant.empty()) return caught;
  CatchOptions once = options;
  once.first_seed = caught.seed;
  once.max_seeds = 1;
  Caught without = RunSeeds(control, once);
  if (without.invariant.empty()) return caught;
  without.product_fails = true;
  without.seeds = 0;
  return without;
}

RunOf MutatedRun(const CatchOptions& options, Mutation mutation) {
  return [&options, mutation](uint64_t seed) { return options.run(seed, mutation); };
}

RunOf HostRun(HostMutation mutation) {
  return [mutation](uint64_t seed) {
    return RunOptions{.seed = seed, .profile = "host", .host_mutation = mutation};
  };
}

// Prints what came of each defect, and at the end of all.
class Table {
 public:
  explicit Table(const CatchOptions& options) : options_(options) {
    if (options_.json) return;
    std::printf("%-32s %5s %6s  %s\n", "mutation", "class", "seeds", "found by");
  }

  // `kind`: the class, or what stands in its place. `control` is the run without the defect.
  void Add(const char* name, const std::string& kind, const Caught& caught, const RunOf& control) {
    ++count_;
    if (caught.product_fails) ++broken_controls_;
    if (caught.seeds > 0) seeds_.push_back(caught.seeds);
    if (options_.json) {
      PrintJson(name, kind, caught);
    } else {
      PrintLine(name, kind, caught, control);
    }
    (void)std::fflush(stdout);
  }

  // All were found, half of them within `median_most` seeds, and no control broke.
  bool End(uint64_t median_most) {
    std::sort(seeds_.begin(), seeds_.end());
    const uint64_t median = seeds_.empty() ? 0 : seeds_[seeds_.size() / 2];
    const uint64_t worst = seeds_.empty() ? 0 : seeds_.back();
    if (options_.json) {
      const nlohmann::json json = {{"mutations", count_},
                                   {"caught", seeds_.size()},
                                   {"median", median},
                                   {"worst", worst},
                                   {"broken_controls", broken_controls_}};
      std::printf("%s\n", json.dump().c_str());
    } else {
      std::printf("%zu mutations, %zu caught, median %" PRIu64 " seeds, worst %" PRIu64
                  " seeds, %zu controls broken\n",
                  count_, seeds_.size(), median, worst, broken_controls_);
    }
    return broken_controls_ == 0 && seeds_.size() == count_ && median <= median_most;
  }

 private:
  static void PrintJson(const char* name, const std::string& kind, const Caught& caught) {
    const nlohmann::json json = {{"mutation", name},
                                 {"class", kind},
                                 {"seeds", caught.seeds},
                                 {"seed", caught.seed},
                                 {"found_by", caught.invariant},
                                 {"text", caught.text},
                                 {"product_fails", caught.product_fails}};
    std::printf("%s\n", json.dump().c_str());
  }

  void PrintLine(const char* name, const std::string& kind, const Caught& caught,
                 const RunOf& control) const {
    if (caught.product_fails) {
      std::printf("%-32s %5s      !  seed %" PRIu64
                  " fails without it, too: %s: %s\n  replay: %s\n",
                  name, kind.c_str(), caught.seed, caught.invariant.c_str(), caught.text.c_str(),
                  ReplayCommand(control(caught.seed)).c_str());
    } else if (caught.seeds == 0) {
      std::printf("%-32s %5s      -  nothing in %" PRIu64 " seeds\n", name, kind.c_str(),
                  options_.max_seeds);
    } else {
      std::printf("%-32s %5s %6" PRIu64 "  %s: %s\n", name, kind.c_str(), caught.seeds,
                  caught.invariant.c_str(), caught.text.c_str());
    }
  }

  const CatchOptions& options_;
  size_t count_ = 0;
  size_t broken_controls_ = 0;
  std::vector<uint64_t> seeds_;
};

}  // namespace

Caught CatchMutation(const MutationInfo& mutation, const CatchOptions& options) {
  return Catch(MutatedRun(options, mutation.mutation), MutatedRun(options, Mutation::kNone),
               options);
}

Caught CatchHostMutation(const HostMutationInfo& mutation, const CatchOptions& options) {
  return Catch(HostRun(mutation.mutation), HostRun(HostMutation::kNone), options);
}

bool CatchAllMutations(const CatchOptions& options) {
  Table table(options);
  for (const MutationInfo& mutation : Mutations()) {
    table.Add(mutation.name, std::to_string(mutation.of_class), CatchMutation(mutation, options),
              MutatedRun(options, Mutation::kNone));
  }
  return table.End(kMedianSeeds);
}

bool CatchAllHostMutations(const CatchOptions& options) {
  Table table(options);
  for (const HostMutationInfo& mutation : HostMutations()) {
    table.Add(mutation.name, "host", CatchHostMutation(mutation, options),
              HostRun(HostMutation::kNone));
  }
  return table.End(options.max_seeds);
}

}  // namespace keelson::raft::sim
