// pause, resume, ps, update, events.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cmd/context.h"
#include "container_runtime/config/parser.h"
#include "container_runtime/resctrl/resctrl.h"
#include "container_runtime/runtime/command.h"
#include "container_runtime/runtime/process_id.h"

namespace keelson::container {
namespace {

CommandResult Pause(const Context& context, const Args& args) {
  KEELSON_RETURN_IF_ERROR(Runtime(context.runtime).Pause(args.rest[0]));
  return 0;
}

CommandResult Resume(const Context& context, const Args& args) {
  KEELSON_RETURN_IF_ERROR(Runtime(context.runtime).Resume(args.rest[0]));
  return 0;
}

// The lines of ps(1) whose PID is one of `pids`, and the header.
absl::StatusOr<std::string> FilterTable(const std::string& table, const std::vector<pid_t>& pids) {
  std::istringstream lines(table);
  std::string line;
  std::string result;
  int column = -1;
  while (std::getline(lines, line)) {
    const std::vector<std::string> cells = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (column < 0) {
      const auto found = std::find(cells.begin(), cells.end(), "PID");
      if (found == cells.end()) {
        return absl::InvalidArgumentError("couldn't find PID field in ps output");
      }
      column = static_cast<int>(found - cells.begin());
      absl::StrAppend(&result, line, "\n");
      continue;
    }
    if (static_cast<size_t>(column) >= cells.size()) continue;
    const std::string& cell = cells[static_cast<size_t>(column)];
    pid_t pid = 0;
    (void)std::from_chars(cell.data(), cell.data() + cell.size(), pid);
    if (std::find(pids.begin(), pids.end(), pid) != pids.end())
      absl::StrAppend(&result, line, "\n");
  }
  return result;
}

CommandResult Ps(const Context& context, const Args& args) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids,
                           Runtime(context.runtime).Pids(args.rest[0]));
  const std::string format = args.Text("format", "table");
  if (format == "json") {
    std::string text;
    for (const pid_t pid : pids) absl::StrAppend(&text, text.empty() ? "" : ",", pid);
    (void)std::printf("[%s]\n", text.c_str());
    return 0;
  }
  if (format != "table") return absl::InvalidArgumentError("invalid format option");
  std::vector<std::string> argv = {"ps"};
  argv.insert(argv.end(), args.rest.begin() + 1, args.rest.end());
  if (argv.size() == 1) argv.emplace_back("-ef");
  KEELSON_ASSIGN_OR_RETURN(const std::string table, ReadCommand(argv));
  KEELSON_ASSIGN_OR_RETURN(const std::string text, FilterTable(table, pids));
  (void)std::fputs(text.c_str(), stdout);
  return 0;
}

// A flag's number into a field, when it is given.
template <typename T>
absl::Status Take(const Args& args, const char* flag, bool bytes, std::optional<T>* out) {
  if (!args.Has(flag)) return absl::OkStatus();
  absl::StatusOr<int64_t> value = bytes ? ParseBytes(args.Text(flag)) : args.Number(flag);
  if (!value.ok()) return Annotate(value.status(), absl::StrCat("--", flag));
  *out = static_cast<T>(*value);
  return absl::OkStatus();
}

absl::StatusOr<Resources> ResourcesFromFlags(const Args& args) {
  Resources resources;
  MemoryLimits memory;
  KEELSON_RETURN_IF_ERROR(Take(args, "memory", true, &memory.limit));
  KEELSON_RETURN_IF_ERROR(Take(args, "memory-reservation", true, &memory.reservation));
  KEELSON_RETURN_IF_ERROR(Take(args, "memory-swap", true, &memory.swap));
  if (memory.limit || memory.reservation || memory.swap) resources.memory = memory;
  CpuLimits cpu;
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-period", false, &cpu.period));
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-quota", false, &cpu.quota));
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-burst", false, &cpu.burst));
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-share", false, &cpu.shares));
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-rt-period", false, &cpu.realtime_period));
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-rt-runtime", false, &cpu.realtime_runtime));
  KEELSON_RETURN_IF_ERROR(Take(args, "cpu-idle", false, &cpu.idle));
  cpu.cpus = args.Text("cpuset-cpus");
  cpu.mems = args.Text("cpuset-mems");
  resources.cpu = cpu;
  KEELSON_RETURN_IF_ERROR(Take(args, "pids-limit", false, &resources.pids_limit));
  BlockIoLimits block_io;
  KEELSON_RETURN_IF_ERROR(Take(args, "blkio-weight", false, &block_io.weight));
  if (block_io.weight) resources.block_io = block_io;
  return resources;
}

CommandResult Update(const Context& context, const Args& args) {
  Runtime runtime(context.runtime);
  if (args.Has("l3-cache-schema") || args.Has("mem-bw-schema")) {
    const IntelRdt shares = {.l3_cache_schema = args.Text("l3-cache-schema"),
                             .mem_bw_schema = args.Text("mem-bw-schema")};
    KEELSON_RETURN_IF_ERROR(runtime.UpdateShares(args.rest[0], ResctrlGroup::SchemataOf(shares)));
  }
  Resources resources;
  if (args.Has("resources")) {
    const std::string file = args.Text("resources");
    KEELSON_ASSIGN_OR_RETURN(const std::string text,
                             ReadHostFile(file == "-" ? "/dev/stdin" : file));
    KEELSON_ASSIGN_OR_RETURN(resources, ParseResources(text));
  } else {
    KEELSON_ASSIGN_OR_RETURN(resources, ResourcesFromFlags(args));
  }
  KEELSON_RETURN_IF_ERROR(runtime.Update(args.rest[0], resources));
  return 0;
}

absl::Status PrintStats(CgroupManager& cgroup, const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const CgroupStats stats, cgroup.Stats());
  (void)std::printf("%s\n", StatsEventJson(id, stats).c_str());
  (void)std::fflush(stdout);
  return absl::OkStatus();
}

CommandResult Events(const Context& context, const Args& args) {
  const std::string& id = args.rest[0];
  Runtime runtime(context.runtime);
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, runtime.Load(id));
  if (runtime.StatusOf(state) == ContainerStatus::kStopped) {
    return absl::FailedPreconditionError(absl::StrCat("container with id ", id, " is not running"));
  }
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, runtime.Cgroup(state));
  if (args.Bool("stats")) {
    KEELSON_RETURN_IF_ERROR(PrintStats(*cgroup, id));
    return 0;
  }
  absl::Duration interval;
  if (!absl::ParseDuration(args.Text("interval", "5s"), &interval) ||
      interval <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("duration interval must be greater than 0");
  }
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd pidfd, OpenProcess(state.pid, state.start_time));
  const absl::StatusOr<std::unique_ptr<OomWatch>> oom = cgroup->WatchOom();
  while (true) {
    pollfd events[2] = {{.fd = pidfd.get(), .events = POLLIN, .revents = 0},
                        {.fd = oom.ok() ? (*oom)->fd() : -1, .events = POLLIN, .revents = 0}};
    const int ready = ::poll(events, 2, static_cast<int>(absl::ToInt64Milliseconds(interval)));
    if (ready < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    if (events[1].revents != 0) {
      const absl::StatusOr<uint64_t> count = (*oom)->Take();
      if (count.ok() && *count > 0) (void)std::printf("%s\n", OomEventJson(id).c_str());
      (void)std::fflush(stdout);
    }
    if (events[0].revents != 0) return 0;
    if (ready == 0) {
      KEELSON_RETURN_IF_ERROR(PrintStats(*cgroup, id));
    }
  }
}

}  // namespace

std::vector<Command> ResourceCommands() {
  return {
      {"pause", "<container-id>", "Stops every process of a container.", {}, 1, 1, true, Pause},
      {"resume", "<container-id>", "Lets a paused container go on.", {}, 1, 1, true, Resume},
      {"ps",
       "<container-id> [ps options]",
       "Lists the processes of a container.",
       {{"format", 'f', Flag::kText, "table (default) or json"}},
       1,
       -1,
       false,
       Ps},
      {"update",
       "<container-id>",
       "Changes the limits of a container.",
       {{"resources", 'r', Flag::kText, "file (- for standard input) with a resources object"},
        {"memory", 0, Flag::kText, "memory, in bytes"},
        {"memory-reservation", 0, Flag::kText, "memory that is left alone, in bytes"},
        {"memory-swap", 0, Flag::kText, "memory and swap, in bytes; -1: no limit"},
        {"cpu-period", 0, Flag::kText, "period of the quota, in microseconds"},
        {"cpu-quota", 0, Flag::kText, "time in each period, in microseconds"},
        {"cpu-burst", 0, Flag::kText, "time that may be saved up, in microseconds"},
        {"cpu-share", 0, Flag::kText, "share against other containers"},
        {"cpu-rt-period", 0, Flag::kText, "period of real-time processes, in microseconds"},
        {"cpu-rt-runtime", 0, Flag::kText, "their time in each period, in microseconds"},
        {"cpu-idle", 0, Flag::kText, "1: only when nobody else wants to run"},
        {"cpuset-cpus", 0, Flag::kText, "processors, such as 0-3,7"},
        {"cpuset-mems", 0, Flag::kText, "memory nodes"},
        {"pids-limit", 0, Flag::kText, "processes; -1: no limit"},
        {"blkio-weight", 0, Flag::kText, "weight of block devices' use, 10 to 1000"},
        {"l3-cache-schema", 0, Flag::kText, "shares of L3 caches, such as L3:0=f"},
        {"mem-bw-schema", 0, Flag::kText, "shares of memory bandwidth, such as MB:0=50"}},
       1,
       1,
       true,
       Update},
      {"events",
       "<container-id>",
       "Prints statistics and out-of-memory notices, one JSON object a line.",
       {{"interval", 0, Flag::kText, "time between statistics (default 5s)"},
        {"stats", 0, Flag::kBool, "statistics once, and no more"}},
       1,
       1,
       true,
       Events},
  };
}

}  // namespace keelson::container
