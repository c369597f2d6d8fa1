#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "container_runtime/config/internal/sections.h"

namespace keelson::container {
namespace {

constexpr std::array<const char*, 9> kActions = {
    "SCMP_ACT_KILL",  "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",  "SCMP_ACT_ERRNO",        "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW", "SCMP_ACT_LOG",          "SCMP_ACT_NOTIFY"};
constexpr std::array<const char*, 7> kOperators = {
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
    "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
constexpr std::array<const char*, 4> kFlags = {
    "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"};

template <size_t N>
void RequireOneOf(JsonReader& reader, std::string_view field, const std::string& value,
                  const std::array<const char*, N>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  reader.Fail(field, absl::StrCat("unknown value '", value, "'"));
}

void ReadArg(JsonReader& reader, SeccompArg* out) {
  reader.Read("index", &out->index);
  reader.Read("value", &out->value);
  reader.Read("valueTwo", &out->value_two);
  reader.Read("op", &out->op);
  if (out->index > 5) reader.Fail("index", "must be in [0, 5]");
  RequireOneOf(reader, "op", out->op, kOperators);
}

void ReadSyscall(JsonReader& reader, SeccompSyscall* out) {
  reader.Read("names", &out->names);
  if (reader.ok() && out->names.empty()) reader.Fail("names", "is empty");
  reader.Require("action");
  reader.Read("action", &out->action);
  reader.Read("errnoRet", &out->errno_ret);
  RequireOneOf(reader, "action", out->action, kActions);
  if (out->errno_ret.has_value() && *out->errno_ret > 0xffff) {
    reader.Fail("errnoRet", "must be below 65536");
  }
  if (out->errno_ret.has_value() && out->action != "SCMP_ACT_ERRNO" &&
      out->action != "SCMP_ACT_TRACE") {
    reader.Fail("errnoRet", absl::StrCat("does not go with action '", out->action, "'"));
  }
  reader.List("args", &out->args, ReadArg);
}

}  // namespace

void ReadSeccomp(JsonReader& reader, Seccomp* out) {
  reader.Require("defaultAction");
  reader.Read("defaultAction", &out->default_action);
  reader.Read("defaultErrnoRet", &out->default_errno_ret);
  reader.Read("architectures", &out->architectures);
  reader.Read("flags", &out->flags);
  reader.Read("listenerPath", &out->listener_path);
  reader.Read("listenerMetadata", &out->listener_metadata);
  RequireOneOf(reader, "defaultAction", out->default_action, kActions);
  // Without an agent that answers already, nothing could run at all.
  if (out->default_action == "SCMP_ACT_NOTIFY") {
    reader.Fail("defaultAction", "SCMP_ACT_NOTIFY cannot be the default");
  }
  for (const std::string& flag : out->flags) RequireOneOf(reader, "flags", flag, kFlags);
  reader.List("syscalls", &out->syscalls, ReadSyscall);
  for (const SeccompSyscall& rule : out->syscalls) {
    const bool write = std::find(rule.names.begin(), rule.names.end(), "write") != rule.names.end();
    if (rule.action == "SCMP_ACT_NOTIFY" && write) {
      // The runtime must write before the agent has the descriptor.
      reader.Fail("syscalls", "SCMP_ACT_NOTIFY cannot be used for the write syscall");
    }
  }
}

}  // namespace keelson::container
