// What a container's cgroups have used, in one record for v1, v2 and hybrid hosts. Parsing is pure.
//
// Units: nanoseconds of CPU time, bytes, counts since the cgroup was made. "No limit" is UINT64_MAX on v2
// and the kernel's own huge number on v1, as runc shows it.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_STATS_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_STATS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::container {

// Pressure stall information of one kind (Documentation/accounting/psi.rst).
struct PressureLine {
  double avg10 = 0, avg60 = 0, avg300 = 0;  // percent of the time
  uint64_t total = 0;                       // microseconds
};
struct Pressure {
  PressureLine some, full;
};

struct CpuStats {
  uint64_t total = 0, user = 0, kernel = 0;                         // ns
  std::vector<uint64_t> per_cpu, per_cpu_user, per_cpu_kernel;      // ns; v1 only
  uint64_t periods = 0, throttled_periods = 0, throttled_time = 0;  // counts, ns
  uint64_t burst_periods = 0, burst_time = 0;                       // count, ns; v2 only
  std::optional<Pressure> pressure;
};

struct CpusetStats {  // v1 only
  std::vector<uint16_t> cpus, mems;
  uint64_t cpu_exclusive = 0, mem_hardwall = 0, mem_exclusive = 0, memory_migrate = 0,
           memory_spread_page = 0, memory_spread_slab = 0, memory_pressure = 0,
           sched_load_balance = 0;
  int64_t sched_relax_domain_level = 0;
};

struct MemoryCounter {
  uint64_t usage = 0, max = 0, failcnt = 0, limit = 0;
};

struct MemoryStats {
  uint64_t cache = 0;
  uint64_t anonymous = 0;                         // rss of v1, anon of v2
  uint64_t inactive_file = 0;                     // page cache that can go at once
  MemoryCounter usage, swap, kernel, kernel_tcp;  // swap: memory+swap
  std::map<std::string, uint64_t> raw;            // memory.stat
  uint64_t oom_kills = 0;
  std::optional<Pressure> pressure;
  // What Kubernetes counts: usage less the page cache that can go at once.
  [[nodiscard]] uint64_t WorkingSet() const {
    return usage.usage - (inactive_file < usage.usage ? inactive_file : usage.usage);
  }
};

struct PidsStats {
  uint64_t current = 0, limit = 0;  // limit 0: none
};

struct BlockIoEntry {
  uint64_t major = 0, minor = 0;
  std::string op;  // "Read", "Write" ...
  uint64_t value = 0;
  friend bool operator==(const BlockIoEntry&, const BlockIoEntry&) = default;
};

struct BlockIoStats {
  std::vector<BlockIoEntry> service_bytes, serviced, queued, service_time, wait_time, merged, time,
      sectors;
  std::optional<Pressure> pressure;
};

struct HugetlbStats {
  uint64_t usage = 0, max = 0, failcnt = 0;
};

struct RdmaStats {
  std::map<std::string, std::map<std::string, uint64_t>> current;  // device -> key -> value
};

struct CgroupStats {
  CpuStats cpu;
  std::optional<CpusetStats> cpuset;
  MemoryStats memory;
  PidsStats pids;
  BlockIoStats block_io;
  std::map<std::string, HugetlbStats> hugetlb;  // by page size, "2MB"
  RdmaStats rdma;
};

// A file of one cgroup and how it is read into a record: what `events` and the accounting stream
// open. `parse` gets the file's text; text of a kernel that writes more than is known is no error.
struct StatFile {
  std::string controller;  // to find the hierarchy; "" for every v2 cgroup
  bool unified = false;
  std::string file;
  // Errors: INVALID_ARGUMENT text that no kernel writes.
  absl::Status (*parse)(const std::string& file, std::string_view text, CgroupStats& stats);
  // Costly for the kernel or of use for `events` alone; the stream leaves it out.
  bool detail = false;
};

// Every file, in the order in which they must be parsed. hugetlb is not among them: its files depend on the
// machine's page sizes; see HugetlbFiles.
const std::vector<StatFile>& StatFiles();
std::vector<StatFile> HugetlbFiles(const std::vector<std::string>& page_sizes, bool unified);

// Sizes of huge pages that this machine has, as cgroup files name them: "2MB", "1GB". Read once.
const std::vector<std::string>& HugepageSizes();

// As the parser of memory.stat in StatFiles, but leaves `memory.raw` empty: some forty allocations less.
absl::Status ParseMemoryStatBriefly(const std::string& file, std::string_view text,
                                    CgroupStats& stats);

// "some avg10=..." and "full ..." of a *.pressure file.
absl::StatusOr<Pressure> ParsePressure(std::string_view text);

// The JSON object of `runc events --stats` for `stats` (types.Event with type "stats"), without a newline:
// names, order of fields and omission of zeros as runc has them, with the pressure fields of 1.2 and later.
std::string StatsEventJson(const std::string& container_id, const CgroupStats& stats);
// Of an out-of-memory notice.
std::string OomEventJson(const std::string& container_id);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_CGROUP_STATS_H_
