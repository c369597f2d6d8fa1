// RegisterProcessMetrics: what /proc/self says about this process.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <string>

#include "base/metrics.h"

namespace keelson {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

std::string ReadSmallFile(const char* path) {
  std::string text(4096, '\0');
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return "";
  text.resize(std::fread(text.data(), 1, text.size(), file));
  (void)std::fclose(file);  // Opened for reading: nothing to lose.
  return text;
}

// Field `number` (counted from 1, proc(5)) of /proc/self/stat, at least the third.
double StatField(int number) {
  const std::string text = ReadSmallFile("/proc/self/stat");
  // The second field, the program's name, may hold spaces and parentheses.
  size_t at = text.rfind(')');
  for (int field = 2; at != std::string::npos && field < number; ++field) {
    at = text.find(' ', at + 1);
  }
  if (at == std::string::npos) return kUnknown;
  return std::strtod(text.c_str() + at, nullptr);
}

double CpuSeconds() {
  timespec time{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return kUnknown;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double OpenFds() {
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return kUnknown;
  double count = -1;  // The directory itself is open while we count.
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') ++count;
  }
  (void)::closedir(dir);  // Opened for reading: nothing to lose.
  return count;
}

double MaxFds() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kUnknown;
  return static_cast<double>(limit.rlim_cur);
}

double StartTimeSeconds() {
  const std::string text = ReadSmallFile("/proc/stat");
  // "btime" comes after one line a CPU and may lie behind the first 4 KiB, so the boot
  // time is derived from the two clocks instead when it does.
  double boot = kUnknown;
  if (const size_t at = text.find("\nbtime "); at != std::string::npos) {
    boot = std::strtod(text.c_str() + at + 7, nullptr);
  } else {
    timespec wall{};
    timespec since_boot{};
    if (::clock_gettime(CLOCK_REALTIME, &wall) == 0 &&
        ::clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0) {
      boot = static_cast<double>(wall.tv_sec - since_boot.tv_sec);
    }
  }
  return boot + StatField(22) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

void RegisterProcessMetrics(MetricRegistry& registry) {
  registry.SetCallbackCounter("process_cpu_seconds_total",
                              "User and system CPU time spent, in seconds.", {}, CpuSeconds);
  registry.SetCallbackGauge("process_resident_memory_bytes", "Resident memory, in bytes.", {}, [] {
    return StatField(24) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  });
  registry.SetCallbackGauge("process_open_fds", "Open file descriptors.", {}, OpenFds);
  registry.SetCallbackGauge("process_max_fds", "Limit of open file descriptors.", {}, MaxFds);
  const double start = StartTimeSeconds();
  registry.SetCallbackGauge("process_start_time_seconds",
                            "Start of the process, in seconds since the epoch.", {},
                            [start] { return start; });
}

}  // namespace keelson
