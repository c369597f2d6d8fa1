// The managers on the real kernel: every limit is proven by what it does to a process. Runs on whatever the
// machine mounts (v1, hybrid), and in a virtual machine with v2 alone (tests/vm). Uses cgroups
// "/keelson-test-<pid>-<n>" and removes them.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"

namespace keelson::container {
namespace {

using Code = absl::StatusCode;
constexpr absl::Duration kLimit = absl::Seconds(30);

// Memory that parent and child share.
struct Shared {
  std::atomic<uint64_t> counter{0};
  std::atomic<int> result{-1};
};

std::string ReadText(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A container's cgroup on this machine; killed and removed at the end whatever happens.
class Sandbox {
 public:
  Sandbox() {
    static int count = 0;
    KEELSON_ASSIGN_OR_FAIL(host, DetectHost());
    path = absl::StrCat("/keelson-test-", ::getpid(), "-", count++);
    KEELSON_ASSIGN_OR_FAIL(const CgroupLocation location,
                           LocateCgroups(host, {.container_id = "test", .cgroups_path = path}));
    manager = NewCgroupfsManager(RealCgroupSystem(), host, location, {});
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    shared = new (memory) Shared;
    KEELSON_REQUIRE_OK(manager->Create());
  }
  ~Sandbox() {
    (void)manager->Thaw();
    (void)manager->Kill(kLimit);
    for (const pid_t child : children_) (void)::waitpid(child, nullptr, 0);
    CHECK(manager->Destroy().ok());
    CHECK_FALSE(manager->Exists());
    (void)::munmap(shared, sizeof(Shared));
  }

  // Runs `body` in a child that is born, or puts itself, into the cgroups; its value is the exit
  // status. Status 120: it could not get into its cgroups.
  pid_t Start(const std::function<int()>& body, const SubCgroup& sub = {}) {
    KEELSON_ASSIGN_OR_FAIL(const Attachment attachment, manager->PrepareAttach(sub));
    clone_args args = {};
    args.exit_signal = SIGCHLD;
    if (attachment.clone_into.ok()) {
      args.flags = CLONE_INTO_CGROUP;
      args.cgroup = static_cast<uint64_t>(attachment.clone_into.get());
    }
    const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
    if (pid == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::_exit(AttachSelf(attachment, nullptr) ? body() : 120);
    }
    INFO("clone3: " << std::strerror(errno));
    REQUIRE(pid > 0);
    children_.push_back(pid);
    return pid;
  }

  // The wait status of `pid`.
  int Wait(pid_t pid) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    children_.erase(std::find(children_.begin(), children_.end(), pid));
    return status;
  }
  int Run(const std::function<int()>& body) { return Wait(Start(body)); }

  HostLayout host;
  std::string path;
  std::unique_ptr<CgroupManager> manager;
  Shared* shared = nullptr;

 private:
  std::vector<pid_t> children_;
};

// Waits until `probe` holds; false after a long time.
bool Eventually(const std::function<bool()>& probe) {
  for (int i = 0; i < 10000; ++i) {
    if (probe()) return true;
    const timespec pause = {.tv_sec = 0, .tv_nsec = 2'000'000};
    (void)::nanosleep(&pause, nullptr);
  }
  return false;
}

int Touch(size_t bytes) {
  auto* memory = static_cast<char*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED) return 1;
  for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
  return 0;
}

int CountForEver(Shared* shared) {
  while (true) shared->counter.fetch_add(1);
}

bool Moves(Shared* shared) {
  const uint64_t before = shared->counter;
  return Eventually([&] { return shared->counter != before; });
}

TEST_CASE("A child is in the container's cgroup of every hierarchy", "[cgroup][root]") {
  Sandbox box;
  const pid_t child = box.Start([&] { return CountForEver(box.shared); });
  REQUIRE(Moves(box.shared));

  const std::string cgroups = ReadText(absl::StrCat("/proc/", child, "/cgroup"));
  INFO(cgroups);
  size_t lines = 0;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(cgroups, '\n', absl::SkipEmpty()))) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    REQUIRE(fields.size() == 3);
    // A kernel lists the v2 hierarchy also where nothing mounts it.
    if (fields[1].empty() && box.host.Unified() == nullptr) continue;
    CHECK(fields[2] == box.path);
    ++lines;
  }
  CHECK(lines == box.host.hierarchies.size());
  CHECK(box.manager->Pids().value() == std::vector<pid_t>{child});
}

TEST_CASE("Whoever passes the memory limit is killed, noticed and counted", "[cgroup][root]") {
  Sandbox box;
  Resources r;
  r.memory = MemoryLimits{.limit = 16 << 20, .swap = 16 << 20};
  KEELSON_REQUIRE_OK(box.manager->Apply(r));
  KEELSON_ASSIGN_OR_FAIL(const auto watch, box.manager->WatchOom());

  const int status = box.Run([] { return Touch(64 << 20); });

  INFO("status " << status);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {.events = watch->poll_events(), .data = {}};
  REQUIRE(::epoll_ctl(epoll, EPOLL_CTL_ADD, watch->fd(), &event) == 0);
  CHECK(::epoll_wait(epoll, &event, 1, 30'000) == 1);
  (void)::close(epoll);
  CHECK(watch->Take().value() >= 1);
  CHECK(watch->Take().value() == 0);
  KEELSON_ASSIGN_OR_FAIL(const CgroupStats stats, box.manager->Stats());
  CHECK(stats.memory.oom_kills >= 1);
  CHECK(stats.memory.usage.limit == 16 << 20);
  // Below the limit nobody is killed.
  CHECK(box.Run([] { return Touch(4 << 20); }) == 0);
}

TEST_CASE("Memory and swap limits go up and down in a cgroup in use", "[cgroup][root]") {
  Sandbox box;
  const pid_t child = box.Start([&] { return CountForEver(box.shared); });
  REQUIRE(Moves(box.shared));
  for (const int64_t megabytes : {64, 256, 32, 128, 16}) {
    Resources r;
    r.memory = MemoryLimits{.limit = megabytes << 20, .swap = 2 * megabytes << 20};
    INFO(megabytes << " MiB");
    KEELSON_REQUIRE_OK(box.manager->Update(r));
    CHECK(box.manager->Stats()->memory.usage.limit == static_cast<uint64_t>(megabytes) << 20);
  }
  Resources r;
  r.memory = MemoryLimits{.limit = -1};
  KEELSON_REQUIRE_OK(box.manager->Update(r));
  CHECK(box.manager->Stats()->memory.usage.limit > uint64_t{1} << 60);
  CHECK(::kill(child, 0) == 0);
}

TEST_CASE("fork fails beyond the pids limit", "[cgroup][root]") {
  Sandbox box;
  Resources r;
  r.pids_limit = 3;
  KEELSON_REQUIRE_OK(box.manager->Apply(r));

  const int status = box.Run([] {
    int children = 0;
    while (children < 10) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)::pause();
      }
      if (pid < 0) return errno == EAGAIN ? children : 100;
      ++children;
    }
    return children;
  });

  CHECK(WEXITSTATUS(status) == 2);
}

TEST_CASE("The CPU quota throttles, and its update takes effect", "[cgroup][root]") {
  Sandbox box;
  Resources r;
  r.cpu = CpuLimits{.quota = 5000, .period = 50000};
  KEELSON_REQUIRE_OK(box.manager->Apply(r));
  (void)box.Start([&] { return CountForEver(box.shared); });

  CHECK(Eventually([&] { return box.manager->Stats()->cpu.throttled_periods >= 3; }));
  KEELSON_ASSIGN_OR_FAIL(const CgroupStats stats, box.manager->Stats());
  CHECK(stats.cpu.throttled_time > 0);
  CHECK(stats.cpu.total > 0);
  // Down with a shorter period, up again, and off: whatever the order asks for.
  for (const auto& [quota, period] :
       {std::pair<int64_t, uint64_t>{2000, 10000}, {90000, 100000}, {-1, 100000}}) {
    r.cpu = CpuLimits{.shares = 2, .quota = quota, .period = period};
    INFO(quota << "/" << period);
    KEELSON_REQUIRE_OK(box.manager->Update(r));
  }
}

TEST_CASE("A device outside the rules cannot be opened, those of the defaults can",
          "[cgroup][root]") {
  Sandbox box;
  const auto open_all = [] {
    // Nodes of this test alone: /dev may lack some of them, or be without devices at all.
    const int null = ::open("/dev/null", O_RDWR);
    const int zero = ::open("/dev/zero", O_RDONLY);
    const int kmsg = ::open("/dev/kmsg", O_RDONLY);
    const int error = errno;
    return (null >= 0 ? 1 : 0) + (zero >= 0 ? 2 : 0) + (kmsg >= 0 ? 4 : 0) +
           (kmsg < 0 && error == EPERM ? 8 : 0);
  };
  if (::access("/dev/kmsg", R_OK) != 0) {
    std::cout << "SKIPPED: devices: there is no /dev/kmsg here\n";
    return;
  }

  KEELSON_REQUIRE_OK(box.manager->Apply({}));
  CHECK(WEXITSTATUS(box.Run(open_all)) == 1 + 2 + 8);

  Resources r;
  r.devices = {{.allow = false, .type = 'a', .access = "rwm"},
               {.allow = true, .type = 'c', .major = 1, .minor = 11, .access = "r"}};
  KEELSON_REQUIRE_OK(box.manager->Update(r));
  CHECK(WEXITSTATUS(box.Run(open_all)) == 1 + 2 + 4);

  r.devices = {{.allow = true, .type = 'a', .access = "rwm"}};
  KEELSON_REQUIRE_OK(box.manager->Update(r));
  CHECK(WEXITSTATUS(box.Run(open_all)) == 1 + 2 + 4);

  r.devices = {{.allow = false, .type = 'a', .access = "rwm"}};
  KEELSON_REQUIRE_OK(box.manager->Update(r));
  CHECK(WEXITSTATUS(box.Run(open_all)) == 1 + 2 + 8);
}

TEST_CASE("Freezing stops, thawing goes on, and a new process freezes too", "[cgroup][root]") {
  Sandbox box;
  (void)box.Start([&] { return CountForEver(box.shared); });
  REQUIRE(Moves(box.shared));

  KEELSON_REQUIRE_OK(box.manager->Freeze(kLimit));

  CHECK(box.manager->Freezer().value() == FreezerState::kFrozen);
  const uint64_t stopped = box.shared->counter;
  const timespec moment = {.tv_sec = 0, .tv_nsec = 50'000'000};
  (void)::nanosleep(&moment, nullptr);  // time in which a running child would count
  CHECK(box.shared->counter == stopped);
  KEELSON_REQUIRE_OK(box.manager->Freeze(kLimit));  // once more is no error

  KEELSON_REQUIRE_OK(box.manager->Thaw());
  CHECK(box.manager->Freezer().value() == FreezerState::kThawed);
  CHECK(Moves(box.shared));
}

TEST_CASE("A cgroup that keeps forking can be frozen and killed", "[cgroup][root]") {
  Sandbox box;
  Resources r;
  r.pids_limit = 50;
  KEELSON_REQUIRE_OK(box.manager->Apply(r));
  (void)box.Start([&] {
    (void)::signal(SIGCHLD, SIG_IGN);
    while (true) {
      box.shared->counter.fetch_add(1);
      if (::fork() == 0 && ::fork() == 0) ::_exit(0);
    }
    return 0;
  });
  REQUIRE(Moves(box.shared));

  KEELSON_REQUIRE_OK(box.manager->Freeze(kLimit));
  KEELSON_REQUIRE_OK(box.manager->Kill(kLimit));

  CHECK(box.manager->Pids().value().empty());
}

TEST_CASE("Kill reaches processes of frozen cgroups far below", "[cgroup][root]") {
  Sandbox box;
  const pid_t child = box.Start([&] { return CountForEver(box.shared); });
  REQUIRE(Moves(box.shared));
  // A cgroup inside the container's, as a container that manages cgroups itself makes.
  KEELSON_ASSIGN_OR_FAIL(
      const CgroupLocation below,
      LocateCgroups(box.host, {.container_id = "t", .cgroups_path = box.path + "/x/y"}));
  auto inner = NewCgroupfsManager(RealCgroupSystem(), box.host, below, {});
  KEELSON_REQUIRE_OK(inner->Create());
  KEELSON_REQUIRE_OK(inner->Attach(child));
  CHECK(box.manager->Pids().value() == std::vector<pid_t>{child});
  KEELSON_REQUIRE_OK(inner->Freeze(kLimit));
  for (const Hierarchy& h : box.host.hierarchies) {
    if (h.name != "freezer") continue;
    std::ofstream(absl::StrCat(h.mount_point, box.path, "/x/y/freezer.state")) << "FROZEN";
  }
  KEELSON_CHECK_ERROR(NewCgroupfsManager(RealCgroupSystem(), box.host, box.manager->location(),
                                         {.destroy_limit = absl::ZeroDuration()})
                          ->Destroy(),
                      Code::kFailedPrecondition, absl::StrCat("such as ", child));

  KEELSON_REQUIRE_OK(box.manager->Kill(kLimit));

  const int status = box.Wait(child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  CHECK(inner->Exists());  // and is removed with the container's
}

TEST_CASE("exec goes into a sub-cgroup", "[cgroup][root]") {
  Sandbox box;
  KEELSON_ASSIGN_OR_FAIL(
      const CgroupLocation below,
      LocateCgroups(box.host, {.container_id = "t", .cgroups_path = box.path + "/sub"}));
  auto inner = NewCgroupfsManager(RealCgroupSystem(), box.host, below, {});
  KEELSON_REQUIRE_OK(inner->Create());

  const pid_t child = box.Start([&] { return CountForEver(box.shared); }, {.path = "/sub"});
  REQUIRE(Moves(box.shared));

  CHECK(inner->Pids().value() == std::vector<pid_t>{child});
}

TEST_CASE("A cgroup in use is not created again, and says how many are in it", "[cgroup][root]") {
  Sandbox box;
  (void)box.Start([&] { return CountForEver(box.shared); });
  REQUIRE(Moves(box.shared));

  auto again = NewCgroupfsManager(RealCgroupSystem(), box.host, box.manager->location(), {});
  KEELSON_CHECK_ERROR(again->Create(), Code::kFailedPrecondition, "not empty: 1 process");
}

TEST_CASE("Processors are pinned by cpuset", "[cgroup][root]") {
  Sandbox box;
  if (box.host.OfController("cpuset") == nullptr) {
    std::cout << "SKIPPED: cpuset: the host does not mount it\n";
    return;
  }
  Resources r;
  r.cpu = CpuLimits{.cpus = "0"};
  KEELSON_REQUIRE_OK(box.manager->Apply(r));

  const int status = box.Run([] {
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return 100;
    return CPU_COUNT(&set) * 10 + (CPU_ISSET(0, &set) ? 1 : 0);
  });
  CHECK(WEXITSTATUS(status) == 11);
}

TEST_CASE("Values that the kernel refuses are errors that name them", "[cgroup][root]") {
  Sandbox box;
  Resources r;
  SECTION("a quota below a millisecond") {
    r.cpu = CpuLimits{.quota = 5, .period = 100000};
    KEELSON_CHECK_ERROR(box.manager->Apply(r), Code::kInvalidArgument, "'5");
  }
  SECTION("a processor that is not there") {
    r.cpu = CpuLimits{.cpus = "4000"};
    CHECK_FALSE(box.manager->Apply(r).ok());
  }
  SECTION("an interface file that is not there") {
    r.unified = {{"memory.no_such_file", "1"}};
    CHECK_FALSE(box.manager->Apply(r).ok());
  }
}

TEST_CASE("v2 files can be written by their names", "[cgroup][root]") {
  Sandbox box;
  if (box.host.mode() != HostMode::kUnified) {
    std::cout << "SKIPPED: raw v2 files: this host has its controllers on v1\n";
    return;
  }
  Resources r;
  r.unified = {{"memory.high", "33554432"}, {"cgroup.max.descendants", "7"}};
  KEELSON_REQUIRE_OK(box.manager->Apply(r));

  const std::string folder = absl::StrCat(box.host.Unified()->mount_point, box.path);
  CHECK(ReadText(folder + "/memory.high") == "33554432\n");
  CHECK(ReadText(folder + "/cgroup.max.descendants") == "7\n");
}

TEST_CASE("Pressure is there wherever the kernel has it", "[cgroup][root]") {
  Sandbox box;
  KEELSON_ASSIGN_OR_FAIL(const CgroupStats stats, box.manager->Stats());
  const Hierarchy* v2 = box.host.Unified();
  const bool has =
      v2 != nullptr && !ReadText(absl::StrCat(v2->mount_point, box.path, "/cpu.pressure")).empty();
  CHECK(stats.cpu.pressure.has_value() == has);
}

}  // namespace
}  // namespace keelson::container
