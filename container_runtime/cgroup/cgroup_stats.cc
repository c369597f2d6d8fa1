#include "container_runtime/cgroup/cgroup_stats.h"

#include <dirent.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "container_runtime/cgroup/conversion.h"

namespace keelson::container {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
// USER_HZ, which the kernel shows to programs whatever it ticks at (cpuacct.stat).
constexpr uint64_t kTickNs = 1'000'000'000 / 100;
constexpr uint64_t kUsecNs = 1000;

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

absl::Status Malformed(const std::string& file, absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", file, "' holds '", text.substr(0, 80), "', which no kernel writes"));
}

absl::Status ParseNumber(const std::string& file, std::string_view text, uint64_t* value) {
  const absl::string_view word = absl::StripAsciiWhitespace(Absl(text));
  if (word == "max") {
    *value = kUnlimited;
    return absl::OkStatus();
  }
  return absl::SimpleAtoi(word, value) ? absl::OkStatus() : Malformed(file, word);
}

// Calls `take(key, value)` for each line "key value".
template <typename Take>
absl::Status ForPairs(const std::string& file, std::string_view text, Take take) {
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n', absl::SkipEmpty())) {
    const size_t space = line.find(' ');
    uint64_t value = 0;
    if (space == absl::string_view::npos || !absl::SimpleAtoi(line.substr(space + 1), &value)) {
      return Malformed(file, line);
    }
    take(line.substr(0, space), value);
  }
  return absl::OkStatus();
}

// A file of one number that becomes `stats.<field>`.
#define KEELSON_NUMBER(field)                                                              \
  [](const std::string& file, std::string_view text, CgroupStats& stats) -> absl::Status { \
    return ParseNumber(file, text, &stats.field);                                          \
  }
// Likewise within stats.cpuset.
#define KEELSON_CPUSET(field)                                                              \
  [](const std::string& file, std::string_view text, CgroupStats& stats) -> absl::Status { \
    if (!stats.cpuset) stats.cpuset.emplace();                                             \
    return ParseNumber(file, text, &stats.cpuset->field);                                  \
  }
#define KEELSON_PRESSURE(field)                                                            \
  [](const std::string& file, std::string_view text, CgroupStats& stats) -> absl::Status { \
    absl::StatusOr<Pressure> pressure = ParsePressure(text);                               \
    if (!pressure.ok()) return Annotate(pressure.status(), file);                          \
    stats.field = *pressure;                                                               \
    return absl::OkStatus();                                                               \
  }
// Of the files with the same meaning the first with content counts.
#define KEELSON_BLOCK(field)                                                               \
  [](const std::string& file, std::string_view text, CgroupStats& stats) -> absl::Status { \
    return ParseBlkio(file, text, &stats.block_io.field);                                  \
  }

absl::Status ParseCpuacctStat(const std::string& file, std::string_view text, CgroupStats& stats) {
  return ForPairs(file, text, [&](absl::string_view key, uint64_t ticks) {
    if (key == "user") stats.cpu.user = ticks * kTickNs;
    if (key == "system") stats.cpu.kernel = ticks * kTickNs;
  });
}

absl::Status ParsePerCpu(const std::string& file, std::string_view text, CgroupStats& stats) {
  stats.cpu.per_cpu.clear();
  for (const absl::string_view word :
       absl::StrSplit(Absl(text), absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    uint64_t value = 0;
    if (!absl::SimpleAtoi(word, &value)) return Malformed(file, word);
    stats.cpu.per_cpu.push_back(value);
  }
  return absl::OkStatus();
}

// A head line "cpu user system", then "0 100 200" for each processor.
absl::Status ParseUsageAll(const std::string& file, std::string_view text, CgroupStats& stats) {
  stats.cpu.per_cpu_user.clear();
  stats.cpu.per_cpu_kernel.clear();
  bool head = true;
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n', absl::SkipEmpty())) {
    if (head) {
      if (!absl::StartsWith(line, "cpu user system")) return Malformed(file, line);
      head = false;
      continue;
    }
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t user = 0, kernel = 0;
    if (words.size() < 3 || !absl::SimpleAtoi(words[1], &user) ||
        !absl::SimpleAtoi(words[2], &kernel)) {
      return Malformed(file, line);
    }
    stats.cpu.per_cpu_user.push_back(user);
    stats.cpu.per_cpu_kernel.push_back(kernel);
  }
  return absl::OkStatus();
}

absl::Status ParseThrottlingV1(const std::string& file, std::string_view text, CgroupStats& stats) {
  return ForPairs(file, text, [&](absl::string_view key, uint64_t value) {
    if (key == "nr_periods") stats.cpu.periods = value;
    if (key == "nr_throttled") stats.cpu.throttled_periods = value;
    if (key == "throttled_time") stats.cpu.throttled_time = value;
  });
}

absl::Status ParseCpuStatV2(const std::string& file, std::string_view text, CgroupStats& stats) {
  return ForPairs(file, text, [&](absl::string_view key, uint64_t value) {
    if (key == "usage_usec") stats.cpu.total = value * kUsecNs;
    if (key == "user_usec") stats.cpu.user = value * kUsecNs;
    if (key == "system_usec") stats.cpu.kernel = value * kUsecNs;
    if (key == "nr_periods") stats.cpu.periods = value;
    if (key == "nr_throttled") stats.cpu.throttled_periods = value;
    if (key == "throttled_usec") stats.cpu.throttled_time = value * kUsecNs;
    if (key == "nr_bursts") stats.cpu.burst_periods = value;
    if (key == "burst_usec") stats.cpu.burst_time = value * kUsecNs;
  });
}

// Of v1 the totals with all cgroups below, of v2 there is nothing else.
void TakeMemoryStat(absl::string_view key, uint64_t value, MemoryStats& memory) {
  if (key == "cache" || key == "file") memory.cache = value;
  if (key == "total_rss" || key == "anon") memory.anonymous = value;
  if (key == "total_inactive_file" || key == "inactive_file") memory.inactive_file = value;
}

absl::Status ParseMemoryStat(const std::string& file, std::string_view text, CgroupStats& stats) {
  stats.memory.raw.clear();
  return ForPairs(file, text, [&](absl::string_view key, uint64_t value) {
    stats.memory.raw.emplace(std::string(key), value);
    TakeMemoryStat(key, value, stats.memory);
  });
}

// memory.oom_control of v1 and memory.events of v2 both have a line "oom_kill N".
absl::Status ParseOomKills(const std::string& file, std::string_view text, CgroupStats& stats) {
  return ForPairs(file, text, [&](absl::string_view key, uint64_t value) {
    if (key == "oom_kill") stats.memory.oom_kills = value;
  });
}

// v1 counts memory+swap together, and so does runc's record; v2 counts swap alone.
absl::Status ParseSwapCurrent(const std::string& file, std::string_view text, CgroupStats& stats) {
  KEELSON_RETURN_IF_ERROR(ParseNumber(file, text, &stats.memory.swap.usage));
  stats.memory.swap.usage += stats.memory.usage.usage;
  return absl::OkStatus();
}
absl::Status ParseSwapMax(const std::string& file, std::string_view text, CgroupStats& stats) {
  uint64_t limit = 0;
  KEELSON_RETURN_IF_ERROR(ParseNumber(file, text, &limit));
  const uint64_t memory = stats.memory.usage.limit;
  stats.memory.swap.limit = limit > kUnlimited - memory ? kUnlimited : limit + memory;
  return absl::OkStatus();
}

absl::Status ParsePidsMax(const std::string& file, std::string_view text, CgroupStats& stats) {
  KEELSON_RETURN_IF_ERROR(ParseNumber(file, text, &stats.pids.limit));
  if (stats.pids.limit == kUnlimited) stats.pids.limit = 0;
  return absl::OkStatus();
}

// Lines "8:0 Read 1282048" or "8:0 6792"; a last line "Total 3477504" sums up.
absl::Status ParseBlkio(const std::string& file, std::string_view text,
                        std::vector<BlockIoEntry>* entries) {
  std::vector<BlockIoEntry> read;
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" :"), absl::SkipEmpty());
    if (words.size() == 2 && words[0] == "Total") continue;
    BlockIoEntry entry;
    if (words.size() < 3 || words.size() > 4 || !absl::SimpleAtoi(words[0], &entry.major) ||
        !absl::SimpleAtoi(words[1], &entry.minor) ||
        !absl::SimpleAtoi(words.back(), &entry.value)) {
      return Malformed(file, line);
    }
    if (words.size() == 4) entry.op = words[2];
    read.push_back(std::move(entry));
  }
  if (entries->empty()) *entries = std::move(read);
  return absl::OkStatus();
}

// Lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
absl::Status ParseIoStat(const std::string& file, std::string_view text, CgroupStats& stats) {
  stats.block_io.service_bytes.clear();
  stats.block_io.serviced.clear();
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    const std::vector<absl::string_view> device = absl::StrSplit(words[0], ':');
    BlockIoEntry entry;
    if (device.size() != 2 || !absl::SimpleAtoi(device[0], &entry.major) ||
        !absl::SimpleAtoi(device[1], &entry.minor)) {
      return Malformed(file, line);
    }
    for (size_t i = 1; i < words.size(); ++i) {
      const std::vector<absl::string_view> pair = absl::StrSplit(words[i], absl::MaxSplits('=', 1));
      const absl::string_view key = pair[0];
      const bool bytes = key == "rbytes" || key == "wbytes";
      if (!bytes && key != "rios" && key != "wios") continue;
      if (pair.size() != 2 || !absl::SimpleAtoi(pair[1], &entry.value)) {
        return Malformed(file, line);
      }
      entry.op = key[0] == 'r' ? "Read" : "Write";
      (bytes ? stats.block_io.service_bytes : stats.block_io.serviced).push_back(entry);
    }
  }
  return absl::OkStatus();
}

absl::Status ParseCpusetList(const std::string& file, std::string_view text, CgroupStats& stats) {
  if (!stats.cpuset) stats.cpuset.emplace();
  KEELSON_ASSIGN_OR_RETURN(auto numbers, NumbersOfList(std::string(text)));
  (file == "cpuset.cpus" ? stats.cpuset->cpus : stats.cpuset->mems) = std::move(numbers);
  return absl::OkStatus();
}

absl::Status ParseRelaxLevel(const std::string& file, std::string_view text, CgroupStats& stats) {
  if (!stats.cpuset) stats.cpuset.emplace();
  return absl::SimpleAtoi(absl::StripAsciiWhitespace(Absl(text)),
                          &stats.cpuset->sched_relax_domain_level)
             ? absl::OkStatus()
             : Malformed(file, Absl(text));
}

// "hugetlb.2MB.rsvd.usage_in_bytes", "hugetlb.2MB.current": the size is the second word. Reservations
// count in place of plain use where the kernel has them, as the limit is on them.
absl::Status ParseHugetlb(const std::string& file, std::string_view text, CgroupStats& stats) {
  const std::vector<std::string> words = absl::StrSplit(file, '.');
  HugetlbStats& of_size = stats.hugetlb[words.at(1)];
  const std::string& what = words.back();
  if (what == "events") {
    return ForPairs(file, text, [&](absl::string_view key, uint64_t value) {
      if (key == "max") of_size.failcnt = value;
    });
  }
  uint64_t value = 0;
  KEELSON_RETURN_IF_ERROR(ParseNumber(file, text, &value));
  if (what == "usage_in_bytes" || what == "current") of_size.usage = value;
  if (what == "max_usage_in_bytes") of_size.max = value;
  if (what == "failcnt") of_size.failcnt = value;
  return absl::OkStatus();
}

// Lines "mlx4_0 hca_handle=2 hca_object=2000".
absl::Status ParseRdma(const std::string& file, std::string_view text, CgroupStats& stats) {
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    for (size_t i = 1; i < words.size(); ++i) {
      const std::vector<absl::string_view> pair = absl::StrSplit(words[i], absl::MaxSplits('=', 1));
      uint64_t value = 0;
      if (pair.size() != 2 || !absl::SimpleAtoi(pair[1], &value)) return Malformed(file, line);
      stats.rdma.current[std::string(words[0])][std::string(pair[0])] = value;
    }
  }
  return absl::OkStatus();
}

std::vector<StatFile> FilesOfV1() {
  return {
      {"cpuacct", false, "cpuacct.usage", KEELSON_NUMBER(cpu.total)},
      {"cpuacct", false, "cpuacct.stat", ParseCpuacctStat},
      {"cpuacct", false, "cpuacct.usage_percpu", ParsePerCpu, true},
      {"cpuacct", false, "cpuacct.usage_all", ParseUsageAll, true},
      {"cpu", false, "cpu.stat", ParseThrottlingV1},
      {"memory", false, "memory.stat", ParseMemoryStat},
      {"memory", false, "memory.usage_in_bytes", KEELSON_NUMBER(memory.usage.usage)},
      {"memory", false, "memory.max_usage_in_bytes", KEELSON_NUMBER(memory.usage.max)},
      {"memory", false, "memory.failcnt", KEELSON_NUMBER(memory.usage.failcnt), true},
      {"memory", false, "memory.limit_in_bytes", KEELSON_NUMBER(memory.usage.limit)},
      {"memory", false, "memory.memsw.usage_in_bytes", KEELSON_NUMBER(memory.swap.usage), true},
      {"memory", false, "memory.memsw.max_usage_in_bytes", KEELSON_NUMBER(memory.swap.max), true},
      {"memory", false, "memory.memsw.failcnt", KEELSON_NUMBER(memory.swap.failcnt), true},
      {"memory", false, "memory.memsw.limit_in_bytes", KEELSON_NUMBER(memory.swap.limit), true},
      {"memory", false, "memory.kmem.usage_in_bytes", KEELSON_NUMBER(memory.kernel.usage), true},
      {"memory", false, "memory.kmem.max_usage_in_bytes", KEELSON_NUMBER(memory.kernel.max), true},
      {"memory", false, "memory.kmem.failcnt", KEELSON_NUMBER(memory.kernel.failcnt), true},
      {"memory", false, "memory.kmem.limit_in_bytes", KEELSON_NUMBER(memory.kernel.limit), true},
      {"memory", false, "memory.kmem.tcp.usage_in_bytes", KEELSON_NUMBER(memory.kernel_tcp.usage),
       true},
      {"memory", false, "memory.kmem.tcp.max_usage_in_bytes", KEELSON_NUMBER(memory.kernel_tcp.max),
       true},
      {"memory", false, "memory.kmem.tcp.failcnt", KEELSON_NUMBER(memory.kernel_tcp.failcnt), true},
      {"memory", false, "memory.kmem.tcp.limit_in_bytes", KEELSON_NUMBER(memory.kernel_tcp.limit),
       true},
      {"memory", false, "memory.oom_control", ParseOomKills},
      {"pids", false, "pids.current", KEELSON_NUMBER(pids.current)},
      {"pids", false, "pids.max", ParsePidsMax, true},
      {"cpuset", false, "cpuset.cpus", ParseCpusetList, true},
      {"cpuset", false, "cpuset.mems", ParseCpusetList, true},
      {"cpuset", false, "cpuset.cpu_exclusive", KEELSON_CPUSET(cpu_exclusive), true},
      {"cpuset", false, "cpuset.mem_hardwall", KEELSON_CPUSET(mem_hardwall), true},
      {"cpuset", false, "cpuset.mem_exclusive", KEELSON_CPUSET(mem_exclusive), true},
      {"cpuset", false, "cpuset.memory_migrate", KEELSON_CPUSET(memory_migrate), true},
      {"cpuset", false, "cpuset.memory_spread_page", KEELSON_CPUSET(memory_spread_page), true},
      {"cpuset", false, "cpuset.memory_spread_slab", KEELSON_CPUSET(memory_spread_slab), true},
      {"cpuset", false, "cpuset.memory_pressure", KEELSON_CPUSET(memory_pressure), true},
      {"cpuset", false, "cpuset.sched_load_balance", KEELSON_CPUSET(sched_load_balance), true},
      {"cpuset", false, "cpuset.sched_relax_domain_level", ParseRelaxLevel, true},
      // The I/O scheduler's counts are the better ones; the throttler's are there without it.
      {"blkio", false, "blkio.bfq.io_serviced_recursive", KEELSON_BLOCK(serviced), true},
      {"blkio", false, "blkio.bfq.io_service_bytes_recursive", KEELSON_BLOCK(service_bytes), true},
      {"blkio", false, "blkio.bfq.io_queued_recursive", KEELSON_BLOCK(queued), true},
      {"blkio", false, "blkio.bfq.io_service_time_recursive", KEELSON_BLOCK(service_time), true},
      {"blkio", false, "blkio.bfq.io_wait_time_recursive", KEELSON_BLOCK(wait_time), true},
      {"blkio", false, "blkio.bfq.io_merged_recursive", KEELSON_BLOCK(merged), true},
      {"blkio", false, "blkio.bfq.time_recursive", KEELSON_BLOCK(time), true},
      {"blkio", false, "blkio.bfq.sectors_recursive", KEELSON_BLOCK(sectors), true},
      {"blkio", false, "blkio.throttle.io_serviced_recursive", KEELSON_BLOCK(serviced)},
      {"blkio", false, "blkio.throttle.io_service_bytes_recursive", KEELSON_BLOCK(service_bytes)},
      {"rdma", false, "rdma.current", ParseRdma, true},
  };
}

std::vector<StatFile> FilesOfV2() {
  return {
      {"", true, "cpu.stat", ParseCpuStatV2},
      {"memory", true, "memory.stat", ParseMemoryStat},
      {"memory", true, "memory.current", KEELSON_NUMBER(memory.usage.usage)},
      {"memory", true, "memory.peak", KEELSON_NUMBER(memory.usage.max)},
      {"memory", true, "memory.max", KEELSON_NUMBER(memory.usage.limit)},
      {"memory", true, "memory.swap.current", ParseSwapCurrent},
      {"memory", true, "memory.swap.max", ParseSwapMax, true},
      {"memory", true, "memory.events", ParseOomKills},
      {"pids", true, "pids.current", KEELSON_NUMBER(pids.current)},
      {"pids", true, "pids.max", ParsePidsMax, true},
      {"io", true, "io.stat", ParseIoStat},
      {"rdma", true, "rdma.current", ParseRdma, true},
      {"", true, "cpu.pressure", KEELSON_PRESSURE(cpu.pressure)},
      {"", true, "memory.pressure", KEELSON_PRESSURE(memory.pressure)},
      {"", true, "io.pressure", KEELSON_PRESSURE(block_io.pressure)},
  };
}

}  // namespace

absl::Status ParseMemoryStatBriefly(const std::string& file, std::string_view text,
                                    CgroupStats& stats) {
  return ForPairs(file, text, [&](absl::string_view key, uint64_t value) {
    TakeMemoryStat(key, value, stats.memory);
  });
}

const std::vector<StatFile>& StatFiles() {
  static const auto* const files = [] {
    auto* all = new std::vector<StatFile>(FilesOfV2());
    // Last, so that a v1 hierarchy, where there is one, has the last word on what both count.
    const std::vector<StatFile> v1 = FilesOfV1();
    all->insert(all->end(), v1.begin(), v1.end());
    return all;
  }();
  return *files;
}

std::vector<StatFile> HugetlbFiles(const std::vector<std::string>& page_sizes, bool unified) {
  std::vector<StatFile> files;
  for (const std::string& size : page_sizes) {
    const std::string prefix = absl::StrCat("hugetlb.", size);
    const auto add = [&](const std::string& suffix) {
      files.push_back({"hugetlb", unified, prefix + suffix, ParseHugetlb, true});
    };
    for (const char* kind : {"", ".rsvd"}) {
      if (unified) {
        add(absl::StrCat(kind, ".current"));
      } else {
        for (const char* what : {".usage_in_bytes", ".max_usage_in_bytes", ".failcnt"}) {
          add(absl::StrCat(kind, what));
        }
      }
    }
    if (unified) add(".events");
  }
  return files;
}

const std::vector<std::string>& HugepageSizes() {
  static const auto* const sizes = [] {
    auto* found = new std::vector<std::string>;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/sys/kernel/mm/hugepages"),
                                                  ::closedir);
    while (dir != nullptr) {
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) break;
      absl::string_view name = entry->d_name;  // "hugepages-2048kB"
      uint64_t kib = 0;
      if (!absl::ConsumePrefix(&name, "hugepages-") || !absl::ConsumeSuffix(&name, "kB") ||
          !absl::SimpleAtoi(name, &kib)) {
        continue;
      }
      found->push_back(kib >= 1 << 20   ? absl::StrCat(kib >> 20, "GB")
                       : kib >= 1 << 10 ? absl::StrCat(kib >> 10, "MB")
                                        : absl::StrCat(kib, "KB"));
    }
    return found;
  }();
  return *sizes;
}

absl::StatusOr<Pressure> ParsePressure(std::string_view text) {
  Pressure pressure;
  for (const absl::string_view line : absl::StrSplit(Absl(text), '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    PressureLine* to = words[0] == "some" ? &pressure.some : &pressure.full;
    if (words[0] != "some" && words[0] != "full") return Malformed("pressure", line);
    for (size_t i = 1; i < words.size(); ++i) {
      const std::vector<absl::string_view> pair = absl::StrSplit(words[i], absl::MaxSplits('=', 1));
      double* average = pair[0] == "avg10"    ? &to->avg10
                        : pair[0] == "avg60"  ? &to->avg60
                        : pair[0] == "avg300" ? &to->avg300
                                              : nullptr;
      const bool good =
          pair.size() == 2 && (average != nullptr   ? absl::SimpleAtod(pair[1], average)
                               : pair[0] == "total" ? absl::SimpleAtoi(pair[1], &to->total)
                                                    : true);
      if (!good) return Malformed("pressure", line);
    }
  }
  return pressure;
}

}  // namespace keelson::container
