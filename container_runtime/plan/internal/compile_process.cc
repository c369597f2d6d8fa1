#include <fcntl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "container_runtime/plan/capabilities.h"
#include "container_runtime/plan/internal/container_compiler.h"
#include "container_runtime/seccomp/seccomp_filter.h"

namespace keelson::container {
namespace {

constexpr uint64_t kCloneNewTime = 0x80;
constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// <linux/sched/types.h> does not go together with <sched.h>.
struct SchedulerAttributes {
  uint32_t size, sched_policy;
  uint64_t sched_flags;
  int32_t sched_nice;
  uint32_t sched_priority;
  uint64_t sched_runtime, sched_deadline, sched_period;
};

struct Named {
  const char* name;
  int value;
};

constexpr std::array<Named, 16> kRlimits = {{{"RLIMIT_AS", RLIMIT_AS},
                                             {"RLIMIT_CORE", RLIMIT_CORE},
                                             {"RLIMIT_CPU", RLIMIT_CPU},
                                             {"RLIMIT_DATA", RLIMIT_DATA},
                                             {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                                             {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                                             {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                                             {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                                             {"RLIMIT_NICE", RLIMIT_NICE},
                                             {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                                             {"RLIMIT_NPROC", RLIMIT_NPROC},
                                             {"RLIMIT_RSS", RLIMIT_RSS},
                                             {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                                             {"RLIMIT_RTTIME", RLIMIT_RTTIME},
                                             {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                                             {"RLIMIT_STACK", RLIMIT_STACK}}};
constexpr std::array<Named, 7> kPolicies = {{{"SCHED_OTHER", 0},
                                             {"SCHED_FIFO", 1},
                                             {"SCHED_RR", 2},
                                             {"SCHED_BATCH", 3},
                                             {"SCHED_ISO", 4},
                                             {"SCHED_IDLE", 5},
                                             {"SCHED_DEADLINE", 6}}};
constexpr std::array<Named, 7> kSchedulerFlags = {{{"SCHED_FLAG_RESET_ON_FORK", 0x01},
                                                   {"SCHED_FLAG_RECLAIM", 0x02},
                                                   {"SCHED_FLAG_DL_OVERRUN", 0x04},
                                                   {"SCHED_FLAG_KEEP_POLICY", 0x08},
                                                   {"SCHED_FLAG_KEEP_PARAMS", 0x10},
                                                   {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
                                                   {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}}};
constexpr std::array<Named, 3> kIoClasses = {
    {{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}}};
constexpr std::array<Named, 7> kMemoryModes = {{{"MPOL_DEFAULT", 0},
                                                {"MPOL_PREFERRED", 1},
                                                {"MPOL_BIND", 2},
                                                {"MPOL_INTERLEAVE", 3},
                                                {"MPOL_LOCAL", 4},
                                                {"MPOL_PREFERRED_MANY", 5},
                                                {"MPOL_WEIGHTED_INTERLEAVE", 6}}};
constexpr std::array<Named, 3> kMemoryFlags = {{{"MPOL_F_NUMA_BALANCING", 1 << 13},
                                                {"MPOL_F_RELATIVE_NODES", 1 << 14},
                                                {"MPOL_F_STATIC_NODES", 1 << 15}}};

template <size_t N>
absl::StatusOr<int> ValueOf(const std::array<Named, N>& table, const std::string& name,
                            std::string_view place) {
  for (const Named& entry : table) {
    if (name == entry.name) return entry.value;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(place), ": unknown value '", name, "'"));
}

// The bits of a list such as "0-3,7", in words as the kernel takes them.
absl::StatusOr<std::vector<uint64_t>> ParseList(const std::string& text, std::string_view place) {
  constexpr unsigned kBitsMax = 8192;
  std::vector<uint64_t> words(kBitsMax / 64);
  const auto bad = [&]() {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(place), ": '", text, "' is no list such as 0-3,7"));
  };
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  for (const std::string& part : parts) {
    unsigned first = 0;
    unsigned last = 0;
    const char* end = part.data() + part.size();
    auto [next, error] = std::from_chars(part.data(), end, first);
    if (error != std::errc()) return bad();
    last = first;
    if (next != end) {
      if (*next != '-') return bad();
      const auto second = std::from_chars(next + 1, end, last);
      if (second.ec != std::errc() || second.ptr != end) return bad();
    }
    if (first > last || last >= kBitsMax) return bad();
    for (unsigned bit = first; bit <= last; ++bit) words[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  while (words.size() > 1 && words.back() == 0) words.pop_back();
  return words;
}

absl::StatusOr<Step> Processors(Plan& plan, const std::string& list, std::string_view place) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<uint64_t> words, ParseList(list, place));
  return Step{.op = Op::kCpuAffinity,
              .what = "execCPUAffinity",
              .data = plan.Array(words),
              .count = static_cast<uint32_t>(words.size() * sizeof(uint64_t))};
}

std::string SearchPath(const Process& process) {
  for (const std::string& entry : process.env) {
    if (entry.rfind("PATH=", 0) == 0) return entry.substr(5);
  }
  return kDefaultPath;
}

}  // namespace

Step AllProcessors(Plan& plan) {
  constexpr size_t kWords = 128;  // 8192 processors, the kernel's most
  return {.op = Op::kCpuAffinity,
          .what = "processors",
          .flags = kIgnoreFailure,
          .data = plan.Array(std::vector<uint64_t>(kWords, ~uint64_t{0})),
          .count = kWords * sizeof(uint64_t)};
}

void ProcessCompiler::Keyring() {
  if (options_.no_new_keyring) return;
  plan_.child.push_back({.op = Op::kJoinKeyring,
                         .what = "session keyring",
                         .text = plan_.Text(absl::StrCat("_ses.", options_.id))});
}

void ProcessCompiler::Stdio(bool exec) {
  if (!process_.terminal) {
    plan_.child.push_back({.op = Op::kReopenNull});
    if (process_.user.uid != 0) {
      plan_.child.push_back(
          {.op = Op::kOwnStdio, .what = "standard streams", .value = process_.user.uid});
    }
    return;
  }
  uint64_t size = 0;
  if (process_.console_size.has_value()) {
    size = (uint64_t{process_.console_size->width & 0xffff} << 16) |
           (process_.console_size->height & 0xffff);
  }
  plan_.child.push_back({.op = Op::kConsole,
                         .what = "terminal",
                         .flags = (exec ? uint64_t{kOnlyStdio} : 0) |
                                  (options_.plain_newlines ? uint64_t{kPlainNewlines} : 0),
                         .value = size});
  plan_.child.push_back({.op = Op::kOwnStdio, .what = "terminal", .value = process_.user.uid});
}

void ProcessCompiler::Limits(bool from_outside) {
  if (process_.oom_score_adj.has_value()) {
    const char* text = plan_.Text(absl::StrCat(*process_.oom_score_adj));
    if (from_outside) {
      plan_.ready.push_back({.op = Op::kWriteProcOfChild,
                             .what = "oomScoreAdj",
                             .path = "oom_score_adj",
                             .text = text});
    } else {
      plan_.child.push_back({.op = Op::kWriteProc,
                             .what = "oomScoreAdj",
                             .path = "thread-self/oom_score_adj",
                             .text = text});
    }
  }
  std::vector<Step>& list = from_outside ? plan_.ready : plan_.child;
  for (const Rlimit& limit : process_.rlimits) {
    const auto* found = std::find_if(kRlimits.begin(), kRlimits.end(),
                                     [&](const Named& n) { return limit.type == n.name; });
    list.push_back({.op = Op::kRlimit,
                    .what = plan_.Text(absl::StrCat("error setting rlimits: ", limit.type)),
                    .value = static_cast<uint64_t>(found->value),
                    .value2 = limit.soft,
                    .value3 = limit.hard});
  }
  if (from_outside && !plan_.ready.empty()) {
    plan_.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kReady)});
  }
}

absl::Status ProcessCompiler::Attributes(const std::optional<Personality>& personality,
                                         const std::optional<MemoryPolicy>& policy) {
  if (process_.scheduler.has_value()) {
    const Scheduler& in = *process_.scheduler;
    SchedulerAttributes attributes = {};
    attributes.size = sizeof(attributes);
    KEELSON_ASSIGN_OR_RETURN(attributes.sched_policy,
                             ValueOf(kPolicies, in.policy, "process.scheduler.policy"));
    attributes.sched_nice = in.nice;
    attributes.sched_priority = static_cast<uint32_t>(in.priority);
    attributes.sched_runtime = in.runtime;
    attributes.sched_deadline = in.deadline;
    attributes.sched_period = in.period;
    for (const std::string& flag : in.flags) {
      KEELSON_ASSIGN_OR_RETURN(const int bit,
                               ValueOf(kSchedulerFlags, flag, "process.scheduler.flags"));
      attributes.sched_flags |= static_cast<uint64_t>(bit);
    }
    plan_.child.push_back({.op = Op::kScheduler,
                           .what = "scheduler",
                           .data = plan_.Array(std::vector<SchedulerAttributes>{attributes}),
                           .count = 1});
  }
  if (process_.io_priority.has_value()) {
    KEELSON_ASSIGN_OR_RETURN(const int io_class, ValueOf(kIoClasses, process_.io_priority->io_class,
                                                         "process.ioPriority.class"));
    plan_.child.push_back(
        {.op = Op::kIoPriority,
         .what = "ioPriority",
         .value = static_cast<uint64_t>((io_class << 13) | process_.io_priority->priority)});
  }
  if (personality.has_value()) {
    if (!personality->flags.empty()) {
      return absl::InvalidArgumentError("linux.personality.flags: none is supported");
    }
    plan_.child.push_back({.op = Op::kPersonality,
                           .what = "personality",
                           .value = personality->domain == "LINUX32" ? uint64_t{PER_LINUX32} : 0});
  }
  return policy.has_value() ? PlaceMemory(*policy) : absl::OkStatus();
}

absl::Status ProcessCompiler::PlaceMemory(const MemoryPolicy& policy) {
  KEELSON_ASSIGN_OR_RETURN(
      int mode,
      ValueOf(kMemoryModes, policy.mode, "linux.memoryPolicy.mode: invalid memory policy mode"));
  for (const std::string& flag : policy.flags) {
    KEELSON_ASSIGN_OR_RETURN(
        const int bit,
        ValueOf(kMemoryFlags, flag, "linux.memoryPolicy.flags: invalid memory policy flag"));
    mode |= bit;
  }
  std::vector<uint64_t> nodes;
  if (!policy.nodes.empty()) {
    KEELSON_ASSIGN_OR_RETURN(
        nodes, ParseList(policy.nodes, "linux.memoryPolicy.nodes: invalid memory policy node"));
  }
  size_t count = 0;
  for (const uint64_t word : nodes) count += static_cast<size_t>(std::popcount(word));
  if (count > 0 && (policy.mode == "MPOL_DEFAULT" || policy.mode == "MPOL_LOCAL")) {
    return absl::InvalidArgumentError(absl::StrCat("linux.memoryPolicy.nodes: ", policy.mode,
                                                   " mode requires 0 nodes but got ", count));
  }
  plan_.child.push_back({.op = Op::kMemoryPolicy,
                         .what = "memoryPolicy",
                         .value = static_cast<uint64_t>(mode),
                         .value2 = nodes.empty() ? 0 : nodes.size() * 64 + 1,
                         .data = nodes.empty() ? nullptr : plan_.Array(nodes),
                         .count = static_cast<uint32_t>(nodes.size())});
  return absl::OkStatus();
}

void ProcessCompiler::Labels() {
  if (!process_.apparmor_profile.empty()) {
    plan_.child.push_back({.op = Op::kWriteProc,
                           .what = "unable to apply apparmor profile",
                           .path = options_.has_attr_apparmor ? "thread-self/attr/apparmor/exec"
                                                              : "thread-self/attr/exec",
                           .text = plan_.Text("exec " + process_.apparmor_profile)});
  }
  if (!process_.selinux_label.empty()) {
    plan_.child.push_back({.op = Op::kWriteProc,
                           .what = "selinuxLabel",
                           .path = "thread-self/attr/exec",
                           .text = plan_.Text(process_.selinux_label)});
    // The label is that of the next execve, and policies know the program's file, not ours.
    execute_flags_ |= kDirect;
  }
}

absl::Status ProcessCompiler::LoadSeccomp(const Seccomp& seccomp) {
  KEELSON_ASSIGN_OR_RETURN(const SeccompFilter filter, CompileSeccomp(seccomp));
  for (const std::string& warning : filter.warnings) plan_.warnings.push_back(warning);
  if (!AllowsExecveat(filter)) execute_flags_ |= kByPath;
  plan_.child.push_back({.op = Op::kSeccomp,
                         .what = "seccomp",
                         .flags = filter.flags,
                         .data = plan_.Array(filter.code),
                         .count = static_cast<uint32_t>(filter.code.size())});
  return absl::OkStatus();
}

void ProcessCompiler::User() {
  const std::vector<uint32_t>& groups = process_.user.additional_gids;
  plan_.child.push_back({.op = Op::kSetUser,
                         .what = "user",
                         .flags = options_.deny_setgroups && groups.empty() ? 1U : 0U,
                         .value = process_.user.uid,
                         .value2 = process_.user.gid,
                         .data = groups.empty() ? nullptr : plan_.Array(groups),
                         .count = static_cast<uint32_t>(groups.size())});
}

absl::Status ProcessCompiler::Security(const Seccomp* seccomp) {
  plan_.child.push_back(
      {.op = Op::kCloseFrom, .value = static_cast<uint64_t>(3 + options_.preserve_fds)});
  if (process_.no_new_privileges) {
    plan_.child.push_back({.op = Op::kNoNewPrivileges, .what = "noNewPrivileges"});
  }
  Labels();
  // Without no_new_privs only a process with CAP_SYS_ADMIN may load a filter.
  if (seccomp != nullptr && !process_.no_new_privileges) {
    KEELSON_RETURN_IF_ERROR(LoadSeccomp(*seccomp));
  }
  const Capabilities sets = process_.capabilities.value_or(Capabilities{});
  std::vector<std::string> unknown;
  const uint64_t bounding = CapabilityBits(sets.bounding, &unknown);
  const uint64_t ambient = CapabilityBits(sets.ambient, &unknown);
  const Step capabilities = {.op = Op::kCapabilities,
                             .what = "capabilities",
                             .value = CapabilityBits(sets.effective, &unknown),
                             .value2 = CapabilityBits(sets.permitted, &unknown),
                             .value3 = CapabilityBits(sets.inheritable, &unknown)};
  std::sort(unknown.begin(), unknown.end());
  unknown.erase(std::unique(unknown.begin(), unknown.end()), unknown.end());
  for (const std::string& name : unknown) {
    plan_.warnings.push_back(absl::StrCat("ignoring unknown capability ", name));
  }
  // The kernel raises none but these (capabilities(7)).
  const uint64_t raisable = capabilities.value2 & capabilities.value3;
  for (const std::string& name : sets.ambient) {
    const std::optional<int> number = CapabilityNumber(name);
    if (!number.has_value() || ((raisable >> *number) & 1) != 0) continue;
    plan_.warnings.push_back(absl::StrCat("can't raise ambient capability ", name,
                                          ": it is not permitted and inheritable"));
  }
  plan_.child.push_back({.op = Op::kDropBounding, .what = "bounding set", .value = bounding});
  User();
  plan_.child.push_back({.op = Op::kUmask, .value = process_.user.umask.value_or(022)});
  plan_.child.push_back({.op = Op::kChangeDirectory,
                         .what = plan_.Text(absl::StrCat("chdir to cwd (\"", process_.cwd,
                                                         "\") set in config.json failed")),
                         .path = plan_.Text(process_.cwd.empty() ? "/" : process_.cwd)});
  plan_.child.push_back(capabilities);
  if (ambient != 0) {
    plan_.child.push_back({.op = Op::kAmbient, .what = "ambient capabilities", .value = ambient});
  }
  std::vector<std::string> argv = {"cradle-trampoline", ""};
  argv.insert(argv.end(), process_.args.begin(), process_.args.end());
  std::vector<const char*> pointers;
  for (const std::string& arg : argv) pointers.push_back(plan_.Text(arg));
  pointers.push_back(nullptr);
  const ProgramCall call = {.argv = const_cast<const char**>(plan_.Array(pointers)),
                            .envp = plan_.Texts(process_.env),
                            .search_path = plan_.Text(SearchPath(process_))};
  plan_.child.push_back({.op = Op::kFindProgram,
                         .what = plan_.Text(absl::StrCat("exec: \"", process_.args[0], "\"")),
                         .data = plan_.Array(std::vector<ProgramCall>{call}),
                         .count = 1});
  if (seccomp != nullptr && process_.no_new_privileges) {
    KEELSON_RETURN_IF_ERROR(LoadSeccomp(*seccomp));
  }
  return absl::OkStatus();
}

void ProcessCompiler::Start() {
  const auto find = std::find_if(plan_.child.begin(), plan_.child.end(),
                                 [](const Step& step) { return step.op == Op::kFindProgram; });
  const Step program = *find;
  plan_.child.push_back({.op = Op::kExecute,
                         .what = program.what,
                         .flags = execute_flags_,
                         .data = program.data,
                         .count = 1});
}

absl::StatusOr<Plan> CompileExec(const Process& process, const ExecOptions& options) {
  if (process.args.empty()) {
    return absl::InvalidArgumentError("process.args: args must not be empty");
  }
  if (!process.cwd.empty() && process.cwd[0] != '/') {
    return absl::InvalidArgumentError("process.cwd: Cwd must be an absolute path");
  }
  Plan plan;
  const bool user = (options.join & CLONE_NEWUSER) != 0;
  // Who is not in the user namespace yet may be born in a PID namespace of it only with its help.
  std::vector<Step>& joins = user ? plan.bridge : plan.child;
  const ExecCpuAffinity affinity = process.exec_cpu_affinity.value_or(ExecCpuAffinity{});
  if (!affinity.initial.empty()) {
    KEELSON_ASSIGN_OR_RETURN(const Step initial,
                             Processors(plan, affinity.initial, "process.execCPUAffinity.initial"));
    joins.push_back(initial);
  }
  if (!options.program.cgroup_by_call) {
    joins.push_back({.op = Op::kAttachCgroup, .what = "join the container's cgroup"});
  }
  // Before anything of the container can see us (CVE-2016-9962).
  joins.push_back({.op = Op::kNotDumpable});
  uint64_t early = options.join & ~kCloneNewTime;
  if (!user && (early & CLONE_NEWPID) != 0) {
    plan.pid_namespace_of = kProcess;
    early &= ~uint64_t{CLONE_NEWPID};
  }
  if (early != 0) {
    joins.push_back({.op = Op::kSetNs,
                     .what = "join the container's namespaces",
                     .in = kProcess,
                     .flags = early});
  }
  if (user) {
    joins.push_back({.op = Op::kBecomeRoot,
                     .what = "become root of the user namespace",
                     .flags = options.program.deny_setgroups ? 1U : 0U});
  }
  if (options.enter_root) {
    joins.push_back({.op = Op::kPivot, .what = "enter the container's root", .flags = kNoPivot});
  }
  ProcessCompiler compiler(process, options.program, plan);
  if (options.program.cgroup_by_call) {
    plan.child.push_back({.op = Op::kSync, .value = static_cast<uint64_t>(SyncPoint::kCgroup)});
  }
  if ((options.join & kCloneNewTime) != 0) {
    plan.child.push_back(
        {.op = Op::kSetNs, .what = "time namespace", .in = kProcess, .flags = kCloneNewTime});
  }
  plan.child.push_back(
      {.op = Op::kOpenPath, .out = kRoot, .flags = O_PATH | O_DIRECTORY, .path = "/"});
  compiler.Keyring();
  plan.child.push_back({.op = Op::kNewSession});
  compiler.Stdio(/*exec=*/true);
  compiler.Limits(user);
  KEELSON_RETURN_IF_ERROR(compiler.Attributes(options.personality, options.memory_policy));
  if (!affinity.final.empty()) {
    KEELSON_ASSIGN_OR_RETURN(const Step final,
                             Processors(plan, affinity.final, "process.execCPUAffinity.final"));
    plan.child.push_back(final);
  } else if (affinity.initial.empty()) {
    plan.child.push_back(AllProcessors(plan));
  }
  KEELSON_RETURN_IF_ERROR(compiler.Security(options.seccomp));
  plan.child.push_back({.op = Op::kSync,
                        .flags = options.go_waits ? 0U : uint64_t{kNoAnswer},
                        .value = static_cast<uint64_t>(SyncPoint::kGo)});
  compiler.Start();
  return plan;
}

}  // namespace keelson::container
