#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "container_runtime/config/internal/sections.h"

namespace keelson::container {
namespace {

template <size_t N>
void RequireOneOf(JsonReader& reader, std::string_view field, const std::string& value,
                  const std::array<const char*, N>& known) {
  if (!reader.ok()) return;
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  reader.Fail(field, absl::StrCat("unknown value '", value, "'"));
}

void ReadRlimit(JsonReader& reader, Rlimit* out) {
  static constexpr std::array<const char*, 16> kTypes = {
      "RLIMIT_AS",     "RLIMIT_CORE",   "RLIMIT_CPU",        "RLIMIT_DATA",
      "RLIMIT_FSIZE",  "RLIMIT_LOCKS",  "RLIMIT_MEMLOCK",    "RLIMIT_MSGQUEUE",
      "RLIMIT_NICE",   "RLIMIT_NOFILE", "RLIMIT_NPROC",      "RLIMIT_RSS",
      "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK"};
  reader.Require("type");
  reader.Read("type", &out->type);
  reader.Read("soft", &out->soft);
  reader.Read("hard", &out->hard);
  RequireOneOf(reader, "type", out->type, kTypes);
  if (out->soft > out->hard) reader.Fail("soft", "is above the hard limit");
}

void ReadCapabilities(JsonReader& reader, Capabilities* out) {
  reader.Read("bounding", &out->bounding);
  reader.Read("effective", &out->effective);
  reader.Read("inheritable", &out->inheritable);
  reader.Read("permitted", &out->permitted);
  reader.Read("ambient", &out->ambient);
}

void ReadScheduler(JsonReader& reader, Scheduler* out) {
  static constexpr std::array<const char*, 7> kPolicies = {
      "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR",      "SCHED_BATCH",
      "SCHED_ISO",   "SCHED_IDLE", "SCHED_DEADLINE"};
  reader.Require("policy");
  reader.Read("policy", &out->policy);
  RequireOneOf(reader, "policy", out->policy, kPolicies);
  reader.Read("nice", &out->nice);
  reader.Read("priority", &out->priority);
  reader.Read("flags", &out->flags);
  reader.Read("runtime", &out->runtime);
  reader.Read("deadline", &out->deadline);
  reader.Read("period", &out->period);
  const std::string& policy = out->policy;
  if (out->nice < -20 || out->nice > 19) reader.Fail("nice", "must be in [-20, 19]");
  if (out->priority != 0 && policy != "SCHED_FIFO" && policy != "SCHED_RR") {
    reader.Fail("priority", "counts for SCHED_FIFO and SCHED_RR only");
  }
  const bool times = out->runtime != 0 || out->deadline != 0 || out->period != 0;
  if (times && policy != "SCHED_DEADLINE") {
    reader.Fail("", "runtime, deadline and period count for SCHED_DEADLINE only");
  }
  if (policy != "SCHED_DEADLINE") return;
  // sched(7): 1024 ns <= runtime <= deadline <= period; a period of 0 is the deadline.
  constexpr uint64_t kRuntimeMin = 1024;
  if (out->runtime == 0) reader.Fail("runtime", "SCHED_DEADLINE requires a runtime above 0");
  if (out->deadline == 0) reader.Fail("deadline", "SCHED_DEADLINE requires a deadline above 0");
  if (out->runtime < kRuntimeMin || out->runtime > INT64_MAX) {
    reader.Fail("runtime", "SCHED_DEADLINE runtime must be between 1024 and 2^63 - 1 ns");
  }
  if (out->runtime > out->deadline) {
    reader.Fail("runtime", "SCHED_DEADLINE runtime must be <= deadline");
  }
  if (out->period != 0 && out->deadline > out->period) {
    reader.Fail("deadline", "SCHED_DEADLINE deadline must be <= period");
  }
}

void ReadIoPriority(JsonReader& reader, IoPriority* out) {
  static constexpr std::array<const char*, 3> kClasses = {"IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE",
                                                          "IOPRIO_CLASS_IDLE"};
  reader.Require("class");
  reader.Read("class", &out->io_class);
  RequireOneOf(reader, "class", out->io_class, kClasses);
  reader.Read("priority", &out->priority);
  if (out->priority < 0 || out->priority > 7) reader.Fail("priority", "must be in [0, 7]");
}

void ReadUser(JsonReader& reader, User* out) {
  reader.Read("uid", &out->uid);
  reader.Read("gid", &out->gid);
  reader.Read("umask", &out->umask);
  reader.Read("additionalGids", &out->additional_gids);
}

void CheckEnvironment(JsonReader& reader, const Process& process) {
  for (size_t i = 0; i < process.env.size(); ++i) {
    if (process.env[i].find('=') == std::string::npos) {
      reader.Fail(absl::StrCat("env[", i, "]"),
                  absl::StrCat("'", process.env[i].substr(0, 80), "' has no '='"));
    }
  }
}

}  // namespace

void ReadProcess(JsonReader& reader, Process* out) {
  reader.Read("terminal", &out->terminal);
  reader.Child("consoleSize", [out](JsonReader& size) {
    ConsoleSize& value = out->console_size.emplace();
    size.Read("height", &value.height);
    size.Read("width", &value.width);
  });
  reader.Child("user", [out](JsonReader& user) { ReadUser(user, &out->user); });
  reader.Read("args", &out->args);
  reader.Read("env", &out->env);
  CheckEnvironment(reader, *out);
  reader.Read("cwd", &out->cwd);
  reader.Object("capabilities", &out->capabilities, ReadCapabilities);
  reader.List("rlimits", &out->rlimits, ReadRlimit);
  for (size_t i = 0; i < out->rlimits.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (out->rlimits[i].type == out->rlimits[j].type) {
        reader.Fail("rlimits", absl::StrCat("'", out->rlimits[i].type, "' is listed twice"));
      }
    }
  }
  reader.Read("noNewPrivileges", &out->no_new_privileges);
  reader.Read("apparmorProfile", &out->apparmor_profile);
  reader.Read("selinuxLabel", &out->selinux_label);
  reader.Read("oomScoreAdj", &out->oom_score_adj);
  if (out->oom_score_adj.has_value() &&
      (*out->oom_score_adj < -1000 || *out->oom_score_adj > 1000)) {
    reader.Fail("oomScoreAdj", "must be in [-1000, 1000]");
  }
  reader.Object("scheduler", &out->scheduler, ReadScheduler);
  reader.Object("ioPriority", &out->io_priority, ReadIoPriority);
  reader.Child("execCPUAffinity", [out](JsonReader& affinity) {
    ExecCpuAffinity& value = out->exec_cpu_affinity.emplace();
    affinity.Read("initial", &value.initial);
    affinity.Read("final", &value.final);
  });
}

}  // namespace keelson::container
