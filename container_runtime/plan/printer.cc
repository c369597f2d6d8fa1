#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "container_runtime/plan/plan.h"

namespace keelson::container {
namespace {

constexpr std::array<const char*, static_cast<size_t>(Op::kExecute) + 1> kOpNames = {
    "sync",
    "attach-cgroup",
    "unshare",
    "setns",
    "time-offsets",
    "become-root",
    "set-hostname",
    "set-domainname",
    "loopback-up",
    "read-device",
    "check-device",
    "move-device",
    "set-up-device",
    "join-keyring",
    "open-path",
    "clone-tree",
    "clone-at",
    "new-mount",
    "set-attributes",
    "remount-bind",
    "target",
    "move-mount",
    "copy-up",
    "mask",
    "readonly",
    "detach",
    "pivot",
    "propagation",
    "make-node",
    "symlink",
    "remove-file",
    "console",
    "new-session",
    "reopen-null",
    "own-stdio",
    "write-proc",
    "write-proc-of-child",
    "rlimit",
    "umask",
    "personality",
    "scheduler",
    "io-priority",
    "memory-policy",
    "cpu-affinity",
    "no-new-privileges",
    "seccomp",
    "drop-bounding",
    "set-user",
    "capabilities",
    "ambient",
    "change-directory",
    "not-dumpable",
    "hook",
    "find-program",
    "wait-start",
    "say-started",
    "close-from",
    "execute"};

constexpr std::array<std::pair<uint64_t, const char*>, 8> kCloneNames = {
    {{CLONE_NEWUSER, "user"},
     {CLONE_NEWNS, "mount"},
     {CLONE_NEWPID, "pid"},
     {CLONE_NEWNET, "network"},
     {CLONE_NEWIPC, "ipc"},
     {CLONE_NEWUTS, "uts"},
     {CLONE_NEWCGROUP, "cgroup"},
     {0x80, "time"}}};

constexpr std::array<const char*, kFirstFree> kRegisterNames = {
    "old-root", "root", "proc", "sync", "fifo", "console", "dev", "empty", "trampoline", "process"};

std::string RegisterName(int16_t reg) {
  return reg < kFirstFree ? kRegisterNames[static_cast<size_t>(reg)] : absl::StrCat("r", reg);
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(&out, absl::StrFormat("\\u%04x", static_cast<unsigned>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

// The fields of a step that say something, in a fixed order, as name and JSON value.
std::vector<std::pair<std::string, std::string>> Fields(const Step& step) {
  std::vector<std::pair<std::string, std::string>> fields;
  const auto reg = [&](const char* name, int16_t value) {
    if (value != kNone) fields.emplace_back(name, Quoted(RegisterName(value)));
  };
  reg("out", step.out);
  reg("in", step.in);
  reg("at", step.at);
  if (step.op == Op::kSync) {
    fields.emplace_back("point", Quoted(SyncPointName(static_cast<SyncPoint>(step.value))));
    return fields;
  }
  if (step.path != nullptr) fields.emplace_back("path", Quoted(step.path));
  if (step.text != nullptr) fields.emplace_back("text", Quoted(step.text));
  const auto number = [&](const char* name, uint64_t value) {
    if (value != 0) fields.emplace_back(name, Quoted(absl::StrFormat("0x%x", value)));
  };
  number("flags", step.flags);
  number("value", step.value);
  number("value2", step.value2);
  number("value3", step.value3);
  if (step.options != nullptr) {
    std::string list;
    for (uint32_t i = 0; i < step.count; ++i) {
      const MountOption& option = step.options[i];
      const std::string text = option.value == nullptr
                                   ? std::string(option.key)
                                   : absl::StrCat(option.key, "=", option.value);
      absl::StrAppend(&list, list.empty() ? "" : ",", text);
    }
    if (!list.empty()) fields.emplace_back("options", Quoted(list));
  } else if (step.op == Op::kHook || step.op == Op::kFindProgram) {
    const char* const* argv = step.op == Op::kHook
                                  ? static_cast<const HookCall*>(step.data)->argv
                                  : static_cast<const ProgramCall*>(step.data)->argv;
    std::string list;
    const size_t first = step.op == Op::kHook ? 1 : 2;
    for (size_t i = first; argv[i] != nullptr; ++i) {
      absl::StrAppend(&list, i > first ? " " : "", argv[i]);
    }
    fields.emplace_back("args", Quoted(list));
  } else if (step.count > 0) {
    fields.emplace_back("count", absl::StrCat(step.count));
  }
  if (step.what != nullptr) fields.emplace_back("for", Quoted(step.what));
  return fields;
}

std::vector<std::pair<const char*, const std::vector<Step>*>> Lists(const Plan& plan) {
  return {{"outside", &plan.outside},
          {"bridge", &plan.bridge},
          {"child", &plan.child},
          {"network", &plan.network},
          {"ready", &plan.ready}};
}

std::vector<std::string> Namespaces(const Plan& plan) {
  std::vector<std::string> names;
  for (const auto& [flag, name] : kCloneNames) {
    if ((plan.clone_flags & flag) != 0) names.emplace_back(name);
  }
  return names;
}

// Lines without numbers, so that an added step changes one line and not all after it.
std::vector<std::string> Lines(const Plan& plan) {
  std::string clone = "clone";
  for (const std::string& name : Namespaces(plan)) absl::StrAppend(&clone, " ", name);
  if (plan.pid_namespace_of != kNone) absl::StrAppend(&clone, " in-pid-namespace-of-process");
  std::vector<std::string> lines = {clone};
  for (const auto& [name, steps] : Lists(plan)) {
    for (const Step& step : *steps) {
      std::string line = absl::StrFormat("%-8s%-18s", name, std::string(OpName(step.op)));
      for (const auto& [field, value] : Fields(step))
        absl::StrAppend(&line, " ", field, "=", value);
      while (line.back() == ' ') line.pop_back();
      lines.push_back(line);
    }
  }
  return lines;
}

}  // namespace

std::string_view OpName(Op op) { return kOpNames[static_cast<size_t>(op)]; }

std::string_view SyncPointName(SyncPoint point) {
  constexpr std::array<const char*, 7> kNames = {"map-ids", "cgroup", "hooks",  "ready",
                                                 "go",      "hooked", "network"};
  return kNames[static_cast<size_t>(point)];
}

std::string PlanToText(const Plan& plan) {
  std::string text;
  for (const std::string& line : Lines(plan)) absl::StrAppend(&text, line, "\n");
  return text;
}

std::string PlanToJson(const Plan& plan) {
  std::string text = "{\"clone\":[";
  const char* separator = "";
  for (const std::string& name : Namespaces(plan)) {
    absl::StrAppend(&text, separator, Quoted(name));
    separator = ",";
  }
  absl::StrAppend(&text, "]");
  for (const auto& [name, steps] : Lists(plan)) {
    absl::StrAppend(&text, ",", Quoted(name), ":[");
    separator = "";
    for (const Step& step : *steps) {
      absl::StrAppend(&text, separator, "{\"op\":", Quoted(OpName(step.op)));
      for (const auto& [field, value] : Fields(step)) {
        absl::StrAppend(&text, ",", Quoted(field), ":", value);
      }
      absl::StrAppend(&text, "}");
      separator = ",";
    }
    absl::StrAppend(&text, "]");
  }
  return text + "}";
}

std::string DiffPlans(const Plan& a, const Plan& b) {
  const std::vector<std::string> left = Lines(a);
  const std::vector<std::string> right = Lines(b);
  // Lengths of longest common subsequences of the ends that start at [i][j].
  std::vector<std::vector<uint32_t>> common(left.size() + 1,
                                            std::vector<uint32_t>(right.size() + 1));
  for (size_t i = left.size(); i-- > 0;) {
    for (size_t j = right.size(); j-- > 0;) {
      common[i][j] = left[i] == right[j] ? common[i + 1][j + 1] + 1
                                         : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  std::string text;
  size_t i = 0;
  size_t j = 0;
  while (i < left.size() || j < right.size()) {
    if (i < left.size() && j < right.size() && left[i] == right[j]) {
      ++i;
      ++j;
    } else if (j == right.size() || (i < left.size() && common[i + 1][j] >= common[i][j + 1])) {
      absl::StrAppend(&text, "-", left[i++], "\n");
    } else {
      absl::StrAppend(&text, "+", right[j++], "\n");
    }
  }
  return text;
}

}  // namespace keelson::container
