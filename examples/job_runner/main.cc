// Runs jobs side by side, each in a container with limits, and says what each has used. Needs root.
//
//   job_runner FILE
//
// A line of FILE is a job: NAME MEMORY_MIB CPU_PERCENT COMMAND... (for sh). While they run, a line each second says
// what they use together; at the end there is a line for each job (throttled: in how many tenths of a second). Exit status: 0 when all jobs ended with 0.
#include <nlohmann/json.hpp>

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "container_runtime/accounting/accounting_stream.h"
#include "container_runtime/config/default_spec.h"
#include "container_runtime/runtime/runtime.h"

namespace {

using keelson::container::AccountingEvent;
using keelson::container::AccountingStream;
using keelson::container::AwaitExit;
using keelson::container::CgroupStats;
using keelson::container::Child;
using keelson::container::Runtime;
using Json = nlohmann::json;

struct Job {
  std::string name, id, command;
  int64_t memory_mib = 0, cpu_percent = 0;
  Child child;
  std::optional<int> status;
  uint64_t oom_kills = 0;
  CgroupStats used;
};

absl::StatusOr<std::vector<Job>> ReadJobs(const std::string& path) {
  std::vector<Job> jobs;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    Job job;
    std::istringstream words(line);
    words >> job.name >> job.memory_mib >> job.cpu_percent;
    std::getline(words >> std::ws, job.command);
    if (job.command.empty() || job.memory_mib <= 0 || job.cpu_percent <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", line, "' is not NAME MEMORY_MIB CPU_PERCENT COMMAND"));
    }
    job.id = absl::StrCat("job-", ::getpid(), "-", jobs.size());
    jobs.push_back(std::move(job));
  }
  if (jobs.empty()) return absl::InvalidArgumentError(absl::StrCat("'", path, "' has no jobs"));
  return jobs;
}

std::string ConfigOf(const Job& job) {
  constexpr int64_t kPeriodUsec = 100000;
  Json config = Json::parse(keelson::container::DefaultSpec(true));
  config["root"] = {{"path", "/"}, {"readonly", true}};
  config["mounts"].push_back({{"destination", "/tmp"}, {"type", "tmpfs"}, {"source", "tmpfs"}});
  config["process"]["terminal"] = false;
  config["process"]["args"] = {"/bin/sh", "-c", job.command};
  config["process"]["cwd"] = "/tmp";
  config["linux"]["cgroupsPath"] = "/" + job.id;
  config["linux"]["resources"] = {
      {"memory", {{"limit", job.memory_mib << 20}, {"swap", job.memory_mib << 20}}},
      {"cpu", {{"quota", job.cpu_percent * kPeriodUsec / 100}, {"period", kPeriodUsec}}}};
  return config.dump();
}

absl::Status StartJob(Runtime& runtime, AccountingStream& stream, const std::string& folder,
                      Job& job) {
  const std::string bundle = absl::StrCat(folder, "/", job.id);
  std::filesystem::create_directory(bundle);
  std::ofstream(bundle + "/config.json") << ConfigOf(job);
  KEELSON_ASSIGN_OR_RETURN(job.child, runtime.Run({.id = job.id, .bundle = bundle}));
  KEELSON_ASSIGN_OR_RETURN(const auto state, runtime.Load(job.id));
  return stream.Add(job.id, state.cgroup);
}

// What a job has used is in its cgroups until they are removed.
absl::Status EndJob(Runtime& runtime, AccountingStream& stream, Job& job) {
  job.status = AwaitExit(job.child);
  KEELSON_ASSIGN_OR_RETURN(const auto state, runtime.Load(job.id));
  KEELSON_ASSIGN_OR_RETURN(const auto cgroup, runtime.Cgroup(state));
  KEELSON_ASSIGN_OR_RETURN(job.used, cgroup->Stats());
  KEELSON_RETURN_IF_ERROR(stream.Remove(job.id));
  return runtime.Delete(job.id, /*force=*/true);
}

// One turn of the loop: waits for jobs to end, for notices, or a second.
absl::Status Turn(Runtime& runtime, AccountingStream& stream, std::vector<Job>& jobs) {
  std::vector<pollfd> fds = {{.fd = stream.fd(), .events = POLLIN, .revents = 0}};
  std::vector<Job*> running;
  for (Job& job : jobs) {
    if (job.status) continue;
    running.push_back(&job);
    fds.push_back({.fd = job.child.pidfd.get(), .events = POLLIN, .revents = 0});
  }
  const int ready = ::poll(fds.data(), fds.size(), 1000);
  KEELSON_ASSIGN_OR_RETURN(const auto events, stream.Wait(absl::ZeroDuration()));
  for (const AccountingEvent& event : events) {
    if (event.kind == AccountingEvent::kOom) std::printf("%s: out of memory\n", event.id.c_str());
  }
  for (size_t i = 0; i < running.size(); ++i) {
    if (fds[i + 1].revents != 0) KEELSON_RETURN_IF_ERROR(EndJob(runtime, stream, *running[i]));
  }
  if (ready != 0) return absl::OkStatus();
  uint64_t cpu_ns = 0, memory = 0;
  KEELSON_RETURN_IF_ERROR(stream.Sample([&](const std::string&, const CgroupStats& stats) {
    cpu_ns += stats.cpu.total;
    memory += stats.memory.usage.usage;
  }));
  std::printf("%zu jobs run: %.1f s of CPU, %.1f MiB\n", running.size(),
              static_cast<double>(cpu_ns) / 1e9, static_cast<double>(memory) / (1 << 20));
  return absl::OkStatus();
}

absl::StatusOr<bool> RunJobs(const std::string& file, const std::string& folder) {
  KEELSON_ASSIGN_OR_RETURN(std::vector<Job> jobs, ReadJobs(file));
  KEELSON_ASSIGN_OR_RETURN(const auto host, keelson::container::DetectHost());
  KEELSON_ASSIGN_OR_RETURN(
      const auto stream, AccountingStream::Open(keelson::container::RealCgroupSystem(), host, {}));
  Runtime runtime({.root = folder + "/state"});
  absl::Status status;
  for (Job& job : jobs) {
    if (status.ok()) status = StartJob(runtime, *stream, folder, job);
  }
  while (status.ok() && stream->size() > 0) status = Turn(runtime, *stream, jobs);
  for (const Job& job : jobs) (void)runtime.Delete(job.id, /*force=*/true);  // After an error.
  if (!status.ok()) return status;
  bool good = true;
  std::printf("%-12s %6s %8s %9s %9s %s\n", "job", "status", "cpu s", "peak MiB", "throttled",
              "oom kills");
  for (const Job& job : jobs) {
    std::printf("%-12s %6d %8.2f %9.1f %9lu %lu\n", job.name.c_str(), *job.status,
                static_cast<double>(job.used.cpu.total) / 1e9,
                static_cast<double>(job.used.memory.usage.max) / (1 << 20),
                job.used.cpu.throttled_periods, job.used.memory.oom_kills);
    good = good && job.status == 0;
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  char folder[] = "/run/job-runner-XXXXXX";
  if (argc != 2 || ::mkdtemp(folder) == nullptr) {
    std::cerr << (argc != 2 ? "usage: job_runner FILE\n" : "cannot make a folder in /run\n");
    return 2;
  }
  const absl::StatusOr<bool> good = RunJobs(argv[1], folder);
  std::filesystem::remove_all(folder);
  if (!good.ok()) std::cerr << good.status().message() << '\n';
  return good.ok() && *good ? 0 : 1;
}
