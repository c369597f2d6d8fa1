// What a sample of many containers costs: real cgroups, made and removed here.
//
//   bazel run //container_runtime/accounting:accounting_bench -- [containers] [samples]
//
// Prints CPU time and wall time of one sample with kept descriptors, and, beside it, of reading the same by opening each
// file anew (CgroupManager::Stats), as a process for each container would.
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "container_runtime/accounting/accounting_stream.h"
#include "container_runtime/cgroup/cgroupfs_manager.h"

namespace keelson::container {
namespace {

double Seconds(clockid_t clock) {
  timespec now = {};
  KEELSON_CHECK(::clock_gettime(clock, &now) == 0);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void Print(const char* what, int containers, std::vector<double> cpu, std::vector<double> wall) {
  std::sort(cpu.begin(), cpu.end());
  std::sort(wall.begin(), wall.end());
  std::printf("%-34s %7.2f ms CPU, %7.2f ms wall (p50), %6.2f us CPU a container\n", what,
              cpu[cpu.size() / 2] * 1e3, wall[wall.size() / 2] * 1e3,
              cpu[cpu.size() / 2] * 1e6 / containers);
}

int Run(int containers, int samples) {
  rlimit files = {};
  KEELSON_CHECK(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  KEELSON_CHECK(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  const auto host = DetectHost();
  KEELSON_CHECK_OK(host.status());
  auto stream = AccountingStream::Open(RealCgroupSystem(), *host, {});
  KEELSON_CHECK_OK(stream.status());
  const std::string parent = absl::StrCat("/keelson-bench-", ::getpid());
  std::vector<std::unique_ptr<CgroupManager>> managers;
  const double start = Seconds(CLOCK_MONOTONIC);
  for (int i = 0; i < containers; ++i) {
    const auto location =
        LocateCgroups(*host, {.container_id = "x", .cgroups_path = absl::StrCat(parent, "/", i)});
    managers.push_back(NewCgroupfsManager(RealCgroupSystem(), *host, *location, {}));
    KEELSON_CHECK_OK(managers.back()->Create());
    // The manager's own descriptors stay open with it; a fresh one has none.
    managers.back() = NewCgroupfsManager(RealCgroupSystem(), *host, *location, {});
    KEELSON_CHECK_OK((*stream)->Add(absl::StrCat(i), *location));
  }
  std::printf("%d containers in %zu hierarchies, up to %zu descriptors each; made in %.2f s\n",
              containers, host->hierarchies.size(), (*stream)->DescriptorsPerContainer(),
              Seconds(CLOCK_MONOTONIC) - start);
  std::vector<double> cpu, wall;
  for (int i = 0; i < samples; ++i) {
    const double c = Seconds(CLOCK_PROCESS_CPUTIME_ID), w = Seconds(CLOCK_MONOTONIC);
    int seen = 0;
    KEELSON_CHECK_OK((*stream)->Sample([&](const std::string&, const CgroupStats&) { ++seen; }));
    KEELSON_CHECK(seen == containers) << seen;
    cpu.push_back(Seconds(CLOCK_PROCESS_CPUTIME_ID) - c);
    wall.push_back(Seconds(CLOCK_MONOTONIC) - w);
  }
  Print("kept descriptors, one sample", containers, cpu, wall);
  stream->reset();
  cpu.clear();
  wall.clear();
  for (int i = 0; i < std::max(1, samples / 5); ++i) {
    const double c = Seconds(CLOCK_PROCESS_CPUTIME_ID), w = Seconds(CLOCK_MONOTONIC);
    for (auto& manager : managers) {
      KEELSON_CHECK_OK(manager->Stats().status());
      manager = NewCgroupfsManager(RealCgroupSystem(), *host, manager->location(), {});
    }
    cpu.push_back(Seconds(CLOCK_PROCESS_CPUTIME_ID) - c);
    wall.push_back(Seconds(CLOCK_MONOTONIC) - w);
  }
  Print("all files opened anew", containers, cpu, wall);
  for (auto& manager : managers) KEELSON_CHECK_OK(manager->Destroy());
  const auto top = LocateCgroups(*host, {.container_id = "x", .cgroups_path = parent});
  KEELSON_CHECK_OK(NewCgroupfsManager(RealCgroupSystem(), *host, *top, {})->Destroy());
  return 0;
}

}  // namespace
}  // namespace keelson::container

int main(int argc, char** argv) {
  const int containers = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int samples = argc > 2 ? std::atoi(argv[2]) : 20;
  if (containers < 1 || samples < 1) return 2;
  return keelson::container::Run(containers, samples);
}
