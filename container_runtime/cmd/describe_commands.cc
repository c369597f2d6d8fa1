// spec, features, plan.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/version.h"
#include "container_runtime/cgroup/host_layout.h"
#include "container_runtime/cmd/context.h"
#include "container_runtime/config/default_spec.h"
#include "container_runtime/plan/capabilities.h"
#include "container_runtime/plan/mount_options.h"
#include "container_runtime/seccomp/seccomp_filter.h"

namespace keelson::container {
namespace {

using Json = nlohmann::ordered_json;

CommandResult WriteSpec(const Context&, const Args& args) {
  const std::string path = args.Text("bundle", ".") + "/config.json";
  if (::access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError("File config.json exists. Remove it first");
  }
  KEELSON_ASSIGN_OR_RETURN(const HostLayout host, DetectHost());
  const bool unified = host.mode() == HostMode::kUnified;
  const std::string text = args.Bool("rootless") ? RootlessSpec(::geteuid(), ::getegid(), unified)
                                                 : DefaultSpec(unified);
  KEELSON_RETURN_IF_ERROR(ReplaceFile(path, text, 0666));
  return 0;
}

Json SeccompFeatures() {
  return {{"enabled", true},
          {"actions",
           {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
            "SCMP_ACT_TRAP"}},
          {"operators",
           {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"}},
          {"archs", SeccompArchitectures()},
          {"knownFlags",
           {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}},
          {"supportedFlags",
           {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}}};
}

CommandResult Features(const Context&, const Args&) {
  const Json cgroup = {
      {"v1", true}, {"v2", true}, {"systemd", true}, {"systemdUser", true}, {"rdma", true}};
  const Json on = {{"enabled", true}};
  const Json json = {
      {"ociVersionMin", "1.0.0"},
      {"ociVersionMax", kOciVersion},
      {"hooks",
       {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
      {"mountOptions", KnownMountOptions()},
      {"linux",
       {{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}},
        {"capabilities", CapabilityNames()},
        {"cgroup", cgroup},
        {"seccomp", SeccompFeatures()},
        {"apparmor", on},
        {"selinux", on},
        {"intelRdt", {{"enabled", true}, {"schemata", true}, {"monitoring", true}}},
        {"mountExtensions", {{"idmap", on}}},
        {"netDevices", on}}},
      {"annotations", {{"org.opencontainers.runc.version", std::string(Version())}}}};
  (void)std::printf("%s\n", json.dump(4).c_str());
  return 0;
}

CommandResult ShowPlan(const Context& context, const Args& args) {
  Runtime runtime(context.runtime);
  const auto load = [&](const std::string& bundle) {
    CreateOptions options;
    options.id = "plan";
    options.bundle = bundle;
    options.config = args.Text("config", "config.json");
    return runtime.MakePlan(options);
  };
  const std::string first = args.rest.empty() ? args.Text("bundle", ".") : args.rest[0];
  KEELSON_ASSIGN_OR_RETURN(const Plan plan, load(first));
  if (!args.Bool("diff")) {
    const bool json = args.Text("format", "text") == "json";
    (void)std::fputs((json ? PlanToJson(plan) + "\n" : PlanToText(plan)).c_str(), stdout);
    return 0;
  }
  if (args.rest.size() != 2) return absl::InvalidArgumentError("plan --diff takes two bundles");
  KEELSON_ASSIGN_OR_RETURN(const Plan other, load(args.rest[1]));
  const std::string diff = DiffPlans(plan, other);
  (void)std::fputs(diff.c_str(), stdout);
  return diff.empty() ? 0 : 1;
}

}  // namespace

std::string VersionText() {
  return absl::StrCat("cradle version ", std::string(Version()),
                      "\ncommit: ", std::string(Commit()), "\nspec: ", kOciVersion,
                      "\n+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP\n");
}

std::vector<Command> DescribeCommands() {
  return {
      {"spec",
       "",
       "Writes a config.json to start from.",
       {{"bundle", 'b', Flag::kText, "folder of the bundle (default: here)"},
        {"rootless", 0, Flag::kBool, "for a user without privileges"}},
       0,
       0,
       true,
       WriteSpec},
      {"features", "", "Prints what this runtime supports, in JSON.", {}, 0, 0, true, Features},
      {"plan",
       "[<bundle> [<bundle>]]",
       "Prints the steps that create would take, and takes none.",
       {{"bundle", 'b', Flag::kText, "folder of the bundle (default: here)"},
        {"config", 0, Flag::kText, "the config's file (default: config.json)"},
        {"format", 'f', Flag::kText, "text (default) or json"},
        {"diff", 0, Flag::kBool, "what differs between two bundles; status 1 when anything does"}},
       0,
       2,
       true,
       ShowPlan},
  };
}

}  // namespace keelson::container
