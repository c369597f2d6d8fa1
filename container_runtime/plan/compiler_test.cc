#include "container_runtime/plan/compiler.h"

#include <sched.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <string>

#include "base/testing/status_matchers.h"
#include "container_runtime/path/testing/fake_kernel.h"
#include "container_runtime/plan/interpreter.h"
#include "container_runtime/plan/mount_options.h"

namespace keelson::container {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

Spec SmallSpec() {
  Spec spec;
  spec.oci_version = "1.0.2";
  spec.root = Root{.path = "/bundle/rootfs"};
  spec.process = Process{};
  spec.process->args = {"/bin/true"};
  spec.process->cwd = "/";
  for (const auto type : {NamespaceType::kMount, NamespaceType::kPid, NamespaceType::kUts}) {
    spec.linux_.namespaces.push_back({.type = type});
  }
  spec.mounts.push_back({.destination = "/proc", .type = "proc", .source = "proc"});
  return spec;
}

ContainerOptions Options() {
  ContainerOptions options;
  options.program.id = "id";
  options.rootfs = "/bundle/rootfs";
  options.is_directory = [](const std::string&) { return true; };
  return options;
}

void AddUserNamespace(Spec* spec) {
  spec->linux_.namespaces.push_back({.type = NamespaceType::kUser});
  spec->linux_.uid_mappings = {{.container_id = 0, .host_id = 1000, .size = 1}};
  spec->linux_.gid_mappings = spec->linux_.uid_mappings;
}

int PlaceOf(const Plan& plan, Op op) {
  const auto found = std::find_if(plan.child.begin(), plan.child.end(),
                                  [op](const Step& step) { return step.op == op; });
  return found == plan.child.end() ? -1 : static_cast<int>(found - plan.child.begin());
}

TEST_CASE("Equal configs make equal plans, and a difference is told", "[container][plan]") {
  Spec spec = SmallSpec();
  KEELSON_ASSIGN_OR_FAIL(const Plan first, CompileContainer(spec, Options()));
  KEELSON_ASSIGN_OR_FAIL(const Plan second, CompileContainer(spec, Options()));
  spec.hostname = "other";
  KEELSON_ASSIGN_OR_FAIL(const Plan third, CompileContainer(spec, Options()));

  CHECK(DiffPlans(first, second).empty());
  const std::string diff = DiffPlans(first, third);
  CHECK(diff.find("+child   set-hostname") != std::string::npos);
  CHECK(std::count(diff.begin(), diff.end(), '\n') == 1);
  CHECK(PlanToJson(first).find("\"clone\":[\"mount\",\"pid\",\"uts\"]") != std::string::npos);
}

TEST_CASE("What protects is done before what runs", "[container][plan]") {
  Spec spec = SmallSpec();
  spec.process->no_new_privileges = true;
  spec.linux_.seccomp = Seccomp{.default_action = "SCMP_ACT_ALLOW"};
  spec.linux_.masked_paths = {"/proc/keys"};
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(spec, Options()));

  const std::vector<Op> order = {Op::kAttachCgroup,    Op::kNotDumpable,  Op::kMove,
                                 Op::kPivot,           Op::kMask,         Op::kCloseFrom,
                                 Op::kNoNewPrivileges, Op::kDropBounding, Op::kSetUser,
                                 Op::kChangeDirectory, Op::kCapabilities, Op::kFindProgram,
                                 Op::kSeccomp,         Op::kSync,         Op::kExecute};
  for (size_t i = 1; i < order.size(); ++i) {
    CHECK(PlaceOf(plan, order[i - 1]) >= 0);
    CHECK(PlaceOf(plan, order[i - 1]) < PlaceOf(plan, order[i]));
  }
}

TEST_CASE("Without no_new_privs the filter comes while privileges last", "[container][plan]") {
  Spec spec = SmallSpec();
  spec.linux_.seccomp = Seccomp{.default_action = "SCMP_ACT_ALLOW"};
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(spec, Options()));
  CHECK(PlaceOf(plan, Op::kSeccomp) < PlaceOf(plan, Op::kSetUser));
}

TEST_CASE("Sources are copied before a user namespace is entered", "[container][plan]") {
  Spec spec = SmallSpec();
  AddUserNamespace(&spec);
  spec.mounts.push_back({.destination = "/data", .source = "/srv", .options = {"rbind", "ro"}});
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(spec, Options()));

  CHECK(PlaceOf(plan, Op::kCloneTree) == -1);
  CHECK(PlaceOf(plan, Op::kMakeNode) == -1);
  CHECK(std::any_of(plan.outside.begin(), plan.outside.end(), [](const Step& step) {
    return step.op == Op::kCloneTree && std::string(step.path) == "/srv";
  }));
  CHECK((plan.clone_flags & CLONE_NEWUSER) != 0);

  ContainerOptions unprivileged = Options();
  unprivileged.privileged = false;
  KEELSON_ASSIGN_OR_FAIL(const Plan other, CompileContainer(spec, unprivileged));
  CHECK(PlaceOf(other, Op::kCloneTree) >= 0);
}

TEST_CASE("A PID or user namespace is joined by a process that is not the child",
          "[container][plan]") {
  Spec spec = SmallSpec();
  spec.linux_.namespaces[1].path = "/proc/1/ns/pid";
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(spec, Options()));
  REQUIRE(plan.bridge.size() == 2);
  CHECK(plan.bridge[1].op == Op::kSetNs);
  CHECK((plan.clone_flags & CLONE_NEWPID) == 0);
}

TEST_CASE("In a mount namespace of others their root stays as it is", "[container][plan]") {
  Spec spec = SmallSpec();
  spec.linux_.namespaces.erase(spec.linux_.namespaces.begin());
  ContainerOptions options = Options();
  options.kernel_views = {"/proc"};
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(spec, options));

  CHECK((plan.clone_flags & CLONE_NEWNS) == 0);
  CHECK(PlaceOf(plan, Op::kDetach) == -1);
  for (const Step& step : plan.child) {
    CHECK(step.in != kOldRoot);
    CHECK(step.at != kOldRoot);
    CHECK((step.op != Op::kPivot || step.flags == kNoPivot));
  }
}

TEST_CASE("Network devices come before hooks, and are looked up before the clone",
          "[container][plan]") {
  Spec spec = SmallSpec();
  spec.linux_.namespaces.push_back({.type = NamespaceType::kNetwork});
  spec.linux_.net_devices["eth0"].name = "net%d";
  spec.hooks.create_runtime = {Hook{.path = "/bin/true"}};
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(spec, Options()));

  REQUIRE(plan.outside.size() == 1);
  CHECK(plan.outside[0].op == Op::kReadDevice);
  REQUIRE(plan.network.size() == 1);
  CHECK(plan.network[0].op == Op::kMoveDevice);
  CHECK(PlaceOf(plan, Op::kCheckDevice) < PlaceOf(plan, Op::kSync));
  CHECK(PlaceOf(plan, Op::kSync) < PlaceOf(plan, Op::kSetUpDevice));
  CHECK(PlaceOf(plan, Op::kSetUpDevice) < PlaceOf(plan, Op::kMove));

  ContainerOptions unprivileged = Options();
  unprivileged.privileged = false;
  KEELSON_CHECK_ERROR(CompileContainer(spec, unprivileged).status(),
                      absl::StatusCode::kFailedPrecondition, "only the host's root");
}

TEST_CASE("Configs that contradict themselves are refused with the place", "[container][plan]") {
  Spec spec = SmallSpec();
  const auto refused = [&](const std::string& words) {
    KEELSON_CHECK_ERROR(CompileContainer(spec, Options()).status(), kInvalid, words);
  };
  SECTION("no process") {
    spec.process.reset();
    refused("process: is missing");
  }
  SECTION("no arguments") {
    spec.process->args.clear();
    refused("process.args");
  }
  SECTION("relative working directory") {
    spec.process->cwd = "tmp";
    refused("Cwd must be an absolute path");
  }
  SECTION("a user namespace in the host's mount namespace") {
    spec.linux_.namespaces.erase(spec.linux_.namespaces.begin());
    AddUserNamespace(&spec);
    refused("needs a mount namespace");
  }
  SECTION("network devices without a network namespace") {
    spec.linux_.net_devices["eth0"] = {};
    refused("without a private NET namespace");
  }
  SECTION("a hostname for the host") {
    spec.linux_.namespaces.pop_back();
    spec.hostname = "x";
    refused("unable to set hostname");
  }
  SECTION("maps without a user namespace") {
    spec.linux_.uid_mappings = {{.size = 1}};
    refused("no user namespace");
  }
  SECTION("a user namespace without maps") {
    spec.linux_.namespaces.push_back({.type = NamespaceType::kUser});
    refused("no uid and gid mappings");
  }
  SECTION("something over /proc") {
    spec.mounts.push_back({.destination = "/x/../proc/self", .source = "/a", .options = {"bind"}});
    refused("inside /proc");
  }
  SECTION("a relative masked path") {
    spec.linux_.masked_paths = {"proc"};
    refused("is not absolute");
  }
  SECTION("an unknown propagation") {
    spec.linux_.rootfs_propagation = "x";
    refused("linux.rootfsPropagation");
  }
}

TEST_CASE("Only sysctls of the container's own namespaces are set", "[container][plan]") {
  Linux config;
  config.namespaces = {{.type = NamespaceType::kNetwork}, {.type = NamespaceType::kIpc}};
  const auto path = [&](const std::string& name) {
    return SysctlPath(name, config).value_or("refused");
  };
  CHECK(path("net.ipv4.ip_forward") == "net/ipv4/ip_forward");
  CHECK(path("net/ipv4/conf/eth0.100/forwarding") == "net/ipv4/conf/eth0.100/forwarding");
  CHECK(path("net.ipv4.conf.eth0/100.forwarding") == "net/ipv4/conf/eth0.100/forwarding");
  CHECK(path("kernel.shmmax") == "kernel/shmmax");
  for (const char* name : {"vm.swappiness", "kernel.core_pattern", "kernel.domainname", "",
                           "net/../kernel/core_pattern", "net.a+kernel.b", "/net/x", "user.max"}) {
    CHECK(path(name) == "refused");
  }
}

TEST_CASE("Mount options are sorted by what is done with them", "[container][plan]") {
  KEELSON_ASSIGN_OR_FAIL(const MountRequest bind,
                         ParseMountOptions({"rbind", "ro", "rw", "nosuid", "rslave", "rro"}, ""));
  CHECK(bind.recursive);
  CHECK(bind.set == 2);    // MOUNT_ATTR_NOSUID
  CHECK(bind.clear == 1);  // MOUNT_ATTR_RDONLY: the later of two counts
  CHECK(bind.recursive_set == 1);
  CHECK(bind.propagation == std::vector<uint64_t>{(1 << 19) | 0x4000});

  KEELSON_ASSIGN_OR_FAIL(const MountRequest tmpfs,
                         ParseMountOptions({"size=1m", "ro", "tmpcopyup", "defaults"}, "tmpfs"));
  CHECK(tmpfs.copy_up);
  REQUIRE(tmpfs.data.size() == 2);
  CHECK(tmpfs.data[0].second == "1m");
  KEELSON_CHECK_ERROR(ParseMountOptions({"bind", "size=1m"}, "").status(), kInvalid, "size");
}

TEST_CASE("Every mount is made by descriptor, and the root is left last", "[container][plan]") {
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(SmallSpec(), Options()));
  testing::FakeKernel kernel;
  std::vector<int> registers(static_cast<size_t>(plan.registers), 50);
  Machine machine = {.kernel = kernel, .registers = registers.data(), .cgroup_tasks = {}};
  const auto end = static_cast<size_t>(PlaceOf(plan, Op::kPivot)) + 1;
  // The fake has no /dev whose files could be what they should.
  std::vector<Step> steps;
  for (size_t i = 0; i < end; ++i) {
    if (plan.child[i].op != Op::kMakeNode) steps.push_back(plan.child[i]);
  }

  const Outcome outcome = RunSteps(machine, steps);

  INFO(machine.call << " " << outcome.error);
  CHECK(outcome.index == -1);
  CHECK(kernel.Find("open_tree(-100, '/bundle/rootfs')") >= 0);
  CHECK(kernel.Find("fsopen('proc')") >= 0);
  CHECK(kernel.Count("move_mount") == 2);
  CHECK(kernel.Find("pivot_root('.')") < kernel.Find("umount2('.')"));
  CHECK(kernel.Find("umount2('.')") < kernel.Find("chdir('/')"));
}

TEST_CASE("The first step that fails ends the run and is told", "[container][plan]") {
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileContainer(SmallSpec(), Options()));
  testing::FakeKernel kernel;
  kernel.answers[425 + 5] = -EPERM;  // fsopen
  std::vector<int> registers(static_cast<size_t>(plan.registers), 50);
  Machine machine = {.kernel = kernel, .registers = registers.data(), .cgroup_tasks = {}};

  const Outcome outcome = RunSteps(machine, plan.child);

  REQUIRE(outcome.index >= 0);
  CHECK(plan.child[static_cast<size_t>(outcome.index)].op == Op::kNewMount);
  CHECK(outcome.error == EPERM);
  CHECK(std::string(machine.call) == "fsopen");
  CHECK(kernel.Count("pivot_root") == 0);
}

TEST_CASE("exec joins before it is seen, and nothing of it is left open", "[container][plan]") {
  Process process;
  process.args = {"sh"};
  process.cwd = "/";
  ExecOptions options;
  options.join = CLONE_NEWNS | CLONE_NEWPID;
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileExec(process, options));

  CHECK(plan.bridge.empty());
  CHECK(plan.pid_namespace_of == kProcess);
  REQUIRE(plan.child.size() > 3);
  CHECK(plan.child[0].op == Op::kAttachCgroup);
  CHECK(plan.child[1].op == Op::kNotDumpable);
  CHECK(plan.child[2].op == Op::kSetNs);
  CHECK(plan.child[2].flags == CLONE_NEWNS);
  CHECK(PlaceOf(plan, Op::kCloseFrom) >= 0);
  CHECK(PlaceOf(plan, Op::kCloseFrom) < PlaceOf(plan, Op::kFindProgram));
}

TEST_CASE("exec waits for the runtime only if that has something to do", "[container][plan]") {
  Process process;
  process.args = {"sh"};
  process.cwd = "/";
  for (const bool waits : {true, false}) {
    ExecOptions options;
    options.go_waits = waits;
    KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileExec(process, options));

    const int last = PlaceOf(plan, Op::kSync);
    REQUIRE(last >= 0);
    const Step& sync = plan.child[static_cast<size_t>(last)];
    CHECK(sync.value == static_cast<uint64_t>(SyncPoint::kGo));
    CHECK(sync.flags == (waits ? 0U : uint64_t{kNoAnswer}));
  }
}

TEST_CASE("exec into a user namespace is born by who has joined it", "[container][plan]") {
  Process process;
  process.args = {"sh"};
  process.cwd = "/";
  ExecOptions options;
  options.join = CLONE_NEWUSER | CLONE_NEWPID;
  KEELSON_ASSIGN_OR_FAIL(const Plan plan, CompileExec(process, options));

  CHECK(plan.pid_namespace_of == kNone);
  REQUIRE(plan.bridge.size() == 4);
  CHECK(plan.bridge[0].op == Op::kAttachCgroup);
  CHECK(plan.bridge[1].op == Op::kNotDumpable);
  CHECK(plan.bridge[2].op == Op::kSetNs);
  CHECK(plan.bridge[2].flags == (CLONE_NEWUSER | CLONE_NEWPID));
  CHECK(plan.bridge[3].op == Op::kBecomeRoot);
}

}  // namespace
}  // namespace keelson::container
