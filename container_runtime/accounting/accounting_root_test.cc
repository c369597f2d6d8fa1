// The stream over real cgroups: what processes use, who is killed, and what is removed. Also in machines with v2
// alone (tests/vm).
#include <catch2/catch.hpp>

#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <functional>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/accounting/accounting_stream.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"

namespace keelson::container {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(30);

struct Container {
  std::unique_ptr<CgroupManager> manager;
  pid_t child = -1;
};

class World {
 public:
  World() {
    KEELSON_ASSIGN_OR_FAIL(host, DetectHost());
    KEELSON_ASSIGN_OR_FAIL(stream, AccountingStream::Open(RealCgroupSystem(), host, {}));
  }
  ~World() {
    for (auto& [id, container] : containers) End(container);
    const auto parent = LocateCgroups(host, {.container_id = "x", .cgroups_path = Parent()});
    CHECK(NewCgroupfsManager(RealCgroupSystem(), host, *parent, {})->Destroy().ok());
  }

  static std::string Parent() { return absl::StrCat("/keelson-accounting-", ::getpid()); }

  Container& Add(const std::string& id, const Resources& resources) {
    const auto location =
        LocateCgroups(host, {.container_id = id, .cgroups_path = absl::StrCat(Parent(), "/", id)});
    KEELSON_REQUIRE_OK(location);
    Container& container = containers[id];
    container.manager = NewCgroupfsManager(RealCgroupSystem(), host, *location, {});
    KEELSON_REQUIRE_OK(container.manager->Create());
    KEELSON_REQUIRE_OK(container.manager->Apply(resources));
    KEELSON_REQUIRE_OK(stream->Add(id, container.manager->location()));
    return container;
  }

  static void Start(Container& container, const std::function<void()>& body) {
    KEELSON_ASSIGN_OR_FAIL(const Attachment attachment, container.manager->PrepareAttach({}));
    clone_args args = {};
    args.exit_signal = SIGCHLD;
    if (attachment.clone_into.ok()) {
      args.flags = CLONE_INTO_CGROUP;
      args.cgroup = static_cast<uint64_t>(attachment.clone_into.get());
    }
    container.child = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
    if (container.child == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (AttachSelf(attachment, nullptr)) body();
      ::_exit(1);
    }
    REQUIRE(container.child > 0);
  }

  static void End(Container& container) {
    (void)container.manager->Kill(kLimit);
    if (container.child > 0) (void)::waitpid(container.child, nullptr, 0);
    container.child = -1;
    CHECK(container.manager->Destroy().ok());
  }

  std::map<std::string, CgroupStats> Sample() {
    std::map<std::string, CgroupStats> samples;
    KEELSON_REQUIRE_OK(stream->Sample(
        [&](const std::string& id, const CgroupStats& stats) { samples[id] = stats; }));
    return samples;
  }

  HostLayout host;
  std::unique_ptr<AccountingStream> stream;
  std::map<std::string, Container> containers;
};

void Spin() {
  static std::atomic<uint64_t> turns{0};
  while (true) turns.fetch_add(1);
}

void Touch(size_t bytes) {
  auto* memory = static_cast<char*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (size_t i = 0; i < bytes; i += 4096) memory[i] = 1;
}

TEST_CASE("Samples show who uses what", "[accounting][root]") {
  World world;
  World::Start(world.Add("busy", {}), Spin);
  World::Start(world.Add("large", {}), [] {
    Touch(32 << 20);
    while (true) (void)::pause();
  });
  for (int i = 0; i < 30; ++i) (void)world.Add(absl::StrCat("idle", i), {});

  std::map<std::string, CgroupStats> samples;
  // Until both have come far enough; the kernel counts memory of a cgroup in batches.
  for (int i = 0; i < 5000; ++i) {
    samples = world.Sample();
    if (samples["busy"].cpu.total > 50'000'000 && samples["large"].memory.usage.usage > 31 << 20)
      break;
    const timespec pause = {.tv_sec = 0, .tv_nsec = 2'000'000};
    (void)::nanosleep(&pause, nullptr);
  }

  REQUIRE(samples.size() == 32);
  CHECK(samples["busy"].cpu.total > 50'000'000);
  CHECK(samples["large"].memory.usage.usage > 31 << 20);
  CHECK(samples["large"].memory.anonymous >= 30 << 20);
  CHECK(samples["busy"].pids.current == 1);
  CHECK(samples["idle7"].cpu.total == 0);
  CHECK(samples["idle7"].pids.current == 0);
  CHECK(samples["idle7"].memory.usage.usage < 1 << 20);
}

TEST_CASE("A killed container is told of, and a removed one leaves", "[accounting][root]") {
  World world;
  Resources small;
  small.memory = MemoryLimits{.limit = 8 << 20, .swap = 8 << 20};
  Container& victim = world.Add("victim", small);
  (void)world.Add("other", {});
  CHECK(world.stream->Wait(absl::ZeroDuration())->empty());

  World::Start(victim, [] { Touch(64 << 20); });
  KEELSON_ASSIGN_OR_FAIL(const std::vector<AccountingEvent> events, world.stream->Wait(kLimit));

  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == AccountingEvent::kOom);
  CHECK(events[0].id == "victim");
  CHECK(events[0].count >= 1);

  World::End(victim);
  std::vector<AccountingEvent> gone;
  while (gone.empty()) {
    CHECK(world.Sample().count("victim") == 0);
    KEELSON_ASSIGN_OR_FAIL(gone, world.stream->Wait(absl::ZeroDuration()));
  }
  CHECK(gone.front() == AccountingEvent{.kind = AccountingEvent::kGone, .id = "victim"});
  CHECK(world.stream->size() == 1);
  CHECK(world.Sample().size() == 1);
}

}  // namespace
}  // namespace keelson::container
