// The JSON of `runc events`. Written by hand: the order of fields and what is left out when zero differ from
// field to field (types/events.go of runc), and nothing of it needs a library.
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "container_runtime/cgroup/cgroup_stats.h"

namespace keelson::container {
namespace {

// Text of one JSON object or array after the other, with commas where they belong.
class Json {
 public:
  void Open(const char* key, char bracket) {
    Key(key);
    text_ += bracket;
    comma_ = false;
  }
  void Close(char bracket) {
    text_ += bracket;
    comma_ = true;
  }
  void Raw(const char* key, std::string_view value) {
    Key(key);
    text_.append(value);
    comma_ = true;
  }
  void String(const char* key, std::string_view value) {
    std::string quoted = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') {
        quoted += '\\';
        quoted += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        absl::StrAppendFormat(&quoted, "\\u%04x", static_cast<int>(c));
      } else {
        quoted += c;
      }
    }
    Raw(key, quoted + "\"");
  }
  template <typename Number>
  void Always(const char* key, Number value) {
    Raw(key, absl::StrCat(value));
  }
  void UnlessZero(const char* key, uint64_t value) {
    if (value != 0) Always(key, value);
  }
  template <typename Number>
  void Numbers(const char* key, const std::vector<Number>& values) {
    if (values.empty()) return;
    Open(key, '[');
    for (const Number value : values) Always(nullptr, value);
    Close(']');
  }
  std::string Take() { return std::move(text_); }

 private:
  void Key(const char* key) {
    if (comma_) text_ += ',';
    if (key != nullptr) absl::StrAppend(&text_, "\"", key, "\":");
    comma_ = false;
  }
  std::string text_;
  bool comma_ = false;
};

void Write(const char* key, const PressureLine& line, Json& json) {
  json.Open(key, '{');
  json.Always("avg10", line.avg10);
  json.Always("avg60", line.avg60);
  json.Always("avg300", line.avg300);
  json.Always("total", line.total);
  json.Close('}');
}

void Write(const std::optional<Pressure>& pressure, Json& json) {
  if (!pressure) return;
  json.Open("psi", '{');
  Write("some", pressure->some, json);
  Write("full", pressure->full, json);
  json.Close('}');
}

void Write(const CpuStats& cpu, Json& json) {
  json.Open("cpu", '{');
  json.Open("usage", '{');
  json.UnlessZero("total", cpu.total);
  json.Numbers("percpu", cpu.per_cpu);
  json.Numbers("percpu_kernel", cpu.per_cpu_kernel);
  json.Numbers("percpu_user", cpu.per_cpu_user);
  json.Always("kernel", cpu.kernel);
  json.Always("user", cpu.user);
  json.Close('}');
  json.Open("throttling", '{');
  json.UnlessZero("periods", cpu.periods);
  json.UnlessZero("throttledPeriods", cpu.throttled_periods);
  json.UnlessZero("throttledTime", cpu.throttled_time);
  json.Close('}');
  Write(cpu.pressure, json);
  json.Close('}');
}

void Write(const CpusetStats& cpuset, Json& json) {
  json.Open("cpuset", '{');
  json.Numbers("cpus", cpuset.cpus);
  json.Always("cpu_exclusive", cpuset.cpu_exclusive);
  json.Numbers("mems", cpuset.mems);
  json.Always("mem_hardwall", cpuset.mem_hardwall);
  json.Always("mem_exclusive", cpuset.mem_exclusive);
  json.Always("memory_migrate", cpuset.memory_migrate);
  json.Always("memory_spread_page", cpuset.memory_spread_page);
  json.Always("memory_spread_slab", cpuset.memory_spread_slab);
  json.Always("memory_pressure", cpuset.memory_pressure);
  json.Always("sched_load_balance", cpuset.sched_load_balance);
  json.Always("sched_relax_domain_level", cpuset.sched_relax_domain_level);
  json.Close('}');
}

void Write(const char* key, const MemoryCounter& counter, Json& json) {
  json.Open(key, '{');
  json.Always("limit", counter.limit);
  json.UnlessZero("usage", counter.usage);
  json.UnlessZero("max", counter.max);
  json.Always("failcnt", counter.failcnt);
  json.Close('}');
}

void Write(const MemoryStats& memory, Json& json) {
  json.Open("memory", '{');
  json.UnlessZero("cache", memory.cache);
  Write("usage", memory.usage, json);
  Write("swap", memory.swap, json);
  Write("kernel", memory.kernel, json);
  Write("kernelTCP", memory.kernel_tcp, json);
  if (!memory.raw.empty()) {
    json.Open("raw", '{');
    for (const auto& [name, value] : memory.raw) json.Always(name.c_str(), value);
    json.Close('}');
  }
  Write(memory.pressure, json);
  json.Close('}');
}

void Write(const char* key, const std::vector<BlockIoEntry>& entries, Json& json) {
  if (entries.empty()) return;
  json.Open(key, '[');
  for (const BlockIoEntry& entry : entries) {
    json.Open(nullptr, '{');
    json.UnlessZero("major", entry.major);
    json.UnlessZero("minor", entry.minor);
    if (!entry.op.empty()) json.String("op", entry.op);
    json.UnlessZero("value", entry.value);
    json.Close('}');
  }
  json.Close(']');
}

void Write(const BlockIoStats& io, Json& json) {
  json.Open("blkio", '{');
  Write("ioServiceBytesRecursive", io.service_bytes, json);
  Write("ioServicedRecursive", io.serviced, json);
  Write("ioQueueRecursive", io.queued, json);
  Write("ioServiceTimeRecursive", io.service_time, json);
  Write("ioWaitTimeRecursive", io.wait_time, json);
  Write("ioMergedRecursive", io.merged, json);
  Write("ioTimeRecursive", io.time, json);
  Write("sectorsRecursive", io.sectors, json);
  Write(io.pressure, json);
  json.Close('}');
}

}  // namespace

std::string StatsEventJson(const std::string& container_id, const CgroupStats& stats) {
  Json json;
  json.Open(nullptr, '{');
  json.String("type", "stats");
  json.String("id", container_id);
  json.Open("data", '{');
  Write(stats.cpu, json);
  Write(stats.cpuset.value_or(CpusetStats()), json);
  Write(stats.memory, json);
  json.Open("pids", '{');
  json.UnlessZero("current", stats.pids.current);
  json.UnlessZero("limit", stats.pids.limit);
  json.Close('}');
  Write(stats.block_io, json);
  json.Open("hugetlb", '{');
  for (const auto& [size, use] : stats.hugetlb) {
    json.Open(size.c_str(), '{');
    json.UnlessZero("usage", use.usage);
    json.UnlessZero("max", use.max);
    json.Always("failcnt", use.failcnt);
    json.Close('}');
  }
  json.Close('}');
  json.Raw("intel_rdt", "{}");
  json.Raw("network_interfaces", "null");
  json.Close('}');
  json.Close('}');
  return json.Take();
}

std::string OomEventJson(const std::string& container_id) {
  Json json;
  json.Open(nullptr, '{');
  json.String("type", "oom");
  json.String("id", container_id);
  json.Close('}');
  return json.Take();
}

}  // namespace keelson::container
