#include "container_runtime/cgroup/settings.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "container_runtime/cgroup/conversion.h"

namespace keelson::container {
namespace {

constexpr uint64_t kPeriodDefaultUsec = 100000;
constexpr uint64_t kSwappinessMax = 100;

// Collects groups, leaving out the empty ones.
class Collector {
 public:
  void Begin(std::string controller) {
    End();
    group_.controller = std::move(controller);
  }
  void Add(Setting setting) { group_.settings.push_back(std::move(setting)); }
  std::vector<SettingGroup> Take() {
    End();
    return std::move(groups_);
  }

 private:
  void End() {
    if (!group_.settings.empty()) groups_.push_back(std::move(group_));
    group_ = {};
  }
  SettingGroup group_;
  std::vector<SettingGroup> groups_;
};

std::string MaxOr(int64_t value) { return value < 0 ? "max" : absl::StrCat(value); }

absl::Status CheckMemory(const MemoryLimits& m) {
  const auto check = [](const char* name, const std::optional<int64_t>& value) {
    return value && *value < -1
               ? absl::InvalidArgumentError(
                     absl::StrCat("linux.resources.memory.", name, ": ", *value, " is below -1"))
               : absl::OkStatus();
  };
  KEELSON_RETURN_IF_ERROR(check("limit", m.limit));
  KEELSON_RETURN_IF_ERROR(check("reservation", m.reservation));
  KEELSON_RETURN_IF_ERROR(check("swap", m.swap));
  if (m.swappiness && *m.swappiness > kSwappinessMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "linux.resources.memory.swappiness: invalid memory swappiness value: ", *m.swappiness,
        " (valid range is 0-", kSwappinessMax, ")"));
  }
  return absl::OkStatus();
}

bool Wanted(const std::optional<int64_t>& value) { return value.value_or(0) != 0; }

void MemoryV1(const MemoryLimits& m, Collector& out) {
  out.Begin("memory");
  std::optional<int64_t> swap = m.swap;
  // Unlimited memory below a limit of memory+swap would be refused, and is not what was meant.
  const bool lift_swap = m.limit == -1 && !Wanted(m.swap);
  if (lift_swap) swap = -1;
  if (Wanted(m.limit)) {
    out.Add({.file = "memory.limit_in_bytes", .value = absl::StrCat(*m.limit)});
  }
  if (Wanted(swap)) {
    out.Add({.file = "memory.memsw.limit_in_bytes",
             .value = absl::StrCat(*swap),
             .optional = lift_swap});
  }
  out.Begin("memory");
  if (Wanted(m.reservation)) {
    out.Add({.file = "memory.soft_limit_in_bytes", .value = absl::StrCat(*m.reservation)});
  }
  if (m.disable_oom_killer.value_or(false)) {
    out.Add({.file = "memory.oom_control", .value = "1"});
  }
  if (m.swappiness) {
    out.Add({.file = "memory.swappiness", .value = absl::StrCat(*m.swappiness)});
  }
  // `kernel` and `kernelTCP` are deprecated by the specification, and by the kernel since 5.11.
}

absl::Status MemoryV2(const MemoryLimits& m, Collector& out) {
  KEELSON_ASSIGN_OR_RETURN(const std::optional<int64_t> swap, SwapMax(m.limit, m.swap));
  out.Begin("memory");
  if (swap) {
    // Without swap accounting there is no file, and no swap to limit either.
    out.Add({.file = "memory.swap.max", .value = MaxOr(*swap), .optional = *swap <= 0});
  }
  if (Wanted(m.limit)) out.Add({.file = "memory.max", .value = MaxOr(*m.limit)});
  if (Wanted(m.reservation)) out.Add({.file = "memory.low", .value = MaxOr(*m.reservation)});
  // v2 has neither swappiness nor a way to keep the OOM killer out.
  return absl::OkStatus();
}

void CpuV1(const CpuLimits& c, Collector& out) {
  out.Begin("cpu");
  if (c.shares.value_or(0) != 0) {
    out.Add({.file = "cpu.shares", .value = absl::StrCat(*c.shares), .verify = true});
  }
  out.Begin("cpu");
  if (c.period.value_or(0) != 0) {
    out.Add({.file = "cpu.cfs_period_us", .value = absl::StrCat(*c.period)});
  }
  if (c.burst) {
    out.Add({.file = "cpu.cfs_burst_us", .value = absl::StrCat(*c.burst), .optional = true});
  }
  if (Wanted(c.quota)) {
    out.Add({.file = "cpu.cfs_quota_us", .value = absl::StrCat(*c.quota)});
  }
  out.Begin("cpu");
  if (c.realtime_period.value_or(0) != 0) {
    out.Add({.file = "cpu.rt_period_us", .value = absl::StrCat(*c.realtime_period)});
  }
  if (Wanted(c.realtime_runtime)) {
    out.Add({.file = "cpu.rt_runtime_us", .value = absl::StrCat(*c.realtime_runtime)});
  }
  out.Begin("cpu");
  if (c.idle) out.Add({.file = "cpu.idle", .value = absl::StrCat(*c.idle)});
}

void CpuV2(const CpuLimits& c, Collector& out) {
  out.Begin("cpu");
  if (c.idle) out.Add({.file = "cpu.idle", .value = absl::StrCat(*c.idle)});
  // An idle group has no weight: the kernel refuses the write.
  if (c.shares.value_or(0) != 0 && c.idle.value_or(0) != 1) {
    out.Add({.file = "cpu.weight", .value = absl::StrCat(CpuWeightOfShares(*c.shares))});
  }
  out.Begin("cpu");
  if (c.burst) {
    out.Add({.file = "cpu.max.burst", .value = absl::StrCat(*c.burst), .optional = true});
  }
  if (Wanted(c.quota) || c.period.value_or(0) != 0) {
    const int64_t quota = c.quota.value_or(0);
    const uint64_t period = c.period.value_or(0) == 0 ? kPeriodDefaultUsec : *c.period;
    out.Add({.file = "cpu.max",
             .value = absl::StrCat(quota > 0 ? absl::StrCat(quota) : "max", " ", period)});
  }
}

// The names are the same on both sides.
absl::Status Cpuset(const CpuLimits& c, Collector& out) {
  const auto add = [&](const char* field, const std::string& list) -> absl::Status {
    if (list.empty()) return absl::OkStatus();
    KEELSON_RETURN_IF_ERROR(
        Annotate(NumbersOfList(list).status(), absl::StrCat("linux.resources.cpu.", field)));
    out.Add({.file = absl::StrCat("cpuset.", field), .value = list});
    return absl::OkStatus();
  };
  out.Begin("cpuset");
  KEELSON_RETURN_IF_ERROR(add("cpus", c.cpus));
  return add("mems", c.mems);
}

std::string DeviceName(int64_t major, int64_t minor) { return absl::StrCat(major, ":", minor); }

void BlockIoV1(const BlockIoLimits& b, Collector& out) {
  // The two file names are those of the two I/O schedulers that ever had weights.
  out.Begin("blkio");
  if (b.weight.value_or(0) != 0) {
    const std::string value = absl::StrCat(*b.weight);
    out.Add({.file = "blkio.bfq.weight",
             .value = value,
             .fallback_file = "blkio.weight",
             .fallback_value = value});
  }
  if (b.leaf_weight.value_or(0) != 0) {
    out.Add({.file = "blkio.leaf_weight", .value = absl::StrCat(*b.leaf_weight)});
  }
  for (const WeightDevice& d : b.weight_device) {
    const std::string name = DeviceName(d.major, d.minor);
    if (d.weight.value_or(0) != 0) {
      const std::string value = absl::StrCat(name, " ", *d.weight);
      out.Add({.file = "blkio.bfq.weight_device",
               .value = value,
               .fallback_file = "blkio.weight_device",
               .fallback_value = value});
    }
    if (d.leaf_weight.value_or(0) != 0) {
      out.Add(
          {.file = "blkio.leaf_weight_device", .value = absl::StrCat(name, " ", *d.leaf_weight)});
    }
  }
  const auto throttle = [&](const std::vector<ThrottleDevice>& devices, const char* file) {
    for (const ThrottleDevice& d : devices) {
      out.Add({.file = absl::StrCat("blkio.throttle.", file),
               .value = absl::StrCat(DeviceName(d.major, d.minor), " ", d.rate)});
    }
  };
  throttle(b.throttle_read_bps, "read_bps_device");
  throttle(b.throttle_write_bps, "write_bps_device");
  throttle(b.throttle_read_iops, "read_iops_device");
  throttle(b.throttle_write_iops, "write_iops_device");
}

void BlockIoV2(const BlockIoLimits& b, Collector& out) {
  out.Begin("io");
  if (b.weight.value_or(0) != 0) {
    // BFQ takes the specification's range as it is, io.weight its own.
    out.Add({.file = "io.bfq.weight",
             .value = absl::StrCat(*b.weight),
             .fallback_file = "io.weight",
             .fallback_value = absl::StrCat("default ", IoWeightOfBlkio(*b.weight))});
  }
  for (const WeightDevice& d : b.weight_device) {
    if (d.weight.value_or(0) == 0) continue;
    const std::string name = DeviceName(d.major, d.minor);
    out.Add({.file = "io.bfq.weight",
             .value = absl::StrCat(name, " ", *d.weight),
             .fallback_file = "io.weight",
             .fallback_value = absl::StrCat(name, " ", IoWeightOfBlkio(*d.weight))});
  }
  const auto throttle = [&](const std::vector<ThrottleDevice>& devices, const char* key) {
    for (const ThrottleDevice& d : devices) {
      out.Add({.file = "io.max",
               .value = absl::StrCat(DeviceName(d.major, d.minor), " ", key, "=",
                                     d.rate == 0 ? "max" : absl::StrCat(d.rate))});
    }
  };
  throttle(b.throttle_read_bps, "rbps");
  throttle(b.throttle_write_bps, "wbps");
  throttle(b.throttle_read_iops, "riops");
  throttle(b.throttle_write_iops, "wiops");
}

absl::Status Hugetlb(const Resources& r, bool unified, Collector& out) {
  const char* suffix = unified ? "max" : "limit_in_bytes";
  for (const HugepageLimit& limit : r.hugepage_limits) {
    if (limit.page_size.empty() || limit.page_size.find('/') != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("linux.resources.hugepageLimits: page size '",
                                                     limit.page_size, "' is none"));
    }
    out.Begin("hugetlb");
    const std::string prefix = absl::StrCat("hugetlb.", limit.page_size);
    out.Add({.file = absl::StrCat(prefix, ".", suffix), .value = absl::StrCat(limit.limit)});
    out.Add({.file = absl::StrCat(prefix, ".rsvd.", suffix),
             .value = absl::StrCat(limit.limit),
             .optional = true});
  }
  return absl::OkStatus();
}

void Network(const NetworkLimits& n, Collector& out) {
  out.Begin("net_cls");
  if (n.class_id.value_or(0) != 0) {
    out.Add({.file = "net_cls.classid", .value = absl::StrCat(*n.class_id)});
  }
  out.Begin("net_prio");
  for (const InterfacePriority& p : n.priorities) {
    out.Add({.file = "net_prio.ifpriomap", .value = absl::StrCat(p.name, " ", p.priority)});
  }
}

void Rdma(const Resources& r, Collector& out) {
  out.Begin("rdma");
  for (const auto& [device, limit] : r.rdma) {
    std::string value = device;
    if (limit.hca_handles) absl::StrAppend(&value, " hca_handle=", *limit.hca_handles);
    if (limit.hca_objects) absl::StrAppend(&value, " hca_object=", *limit.hca_objects);
    out.Add({.file = "rdma.max", .value = std::move(value)});
  }
}

}  // namespace

absl::StatusOr<std::vector<SettingGroup>> SettingsFor(const Resources& r, bool unified) {
  Collector out;
  if (r.cpu) KEELSON_RETURN_IF_ERROR(Cpuset(*r.cpu, out));
  if (r.memory) {
    KEELSON_RETURN_IF_ERROR(CheckMemory(*r.memory));
    if (unified) {
      KEELSON_RETURN_IF_ERROR(MemoryV2(*r.memory, out));
    } else {
      MemoryV1(*r.memory, out);
    }
  }
  if (r.cpu && unified) CpuV2(*r.cpu, out);
  if (r.cpu && !unified) CpuV1(*r.cpu, out);
  out.Begin("pids");
  // 0 means "no further process", and the first is born inside: pids.max 0 would refuse that one.
  if (r.pids_limit) {
    out.Add({.file = "pids.max", .value = MaxOr(*r.pids_limit == 0 ? 1 : *r.pids_limit)});
  }
  if (r.block_io && unified) BlockIoV2(*r.block_io, out);
  if (r.block_io && !unified) BlockIoV1(*r.block_io, out);
  KEELSON_RETURN_IF_ERROR(Hugetlb(r, unified, out));
  if (r.network && !unified) Network(*r.network, out);
  Rdma(r, out);
  return out.Take();
}

absl::StatusOr<std::vector<SettingGroup>> UnifiedSettings(const Resources& r) {
  Collector out;
  for (const auto& [file, value] : r.unified) {
    if (file.find('/') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("unified resource \"", file, "\" must be a file name (no slashes)"));
    }
    const size_t dot = file.find('.');
    if (dot == 0 || dot == std::string::npos || file.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("unified resource \"", file, "\" must be in the form CONTROLLER.PARAMETER"));
    }
    const std::string controller = file.substr(0, dot);
    out.Begin(controller == "cgroup" ? "" : controller);
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(value, '\n', absl::SkipEmpty()))) {
      out.Add({.file = file, .value = line});
    }
  }
  return out.Take();
}

}  // namespace keelson::container
