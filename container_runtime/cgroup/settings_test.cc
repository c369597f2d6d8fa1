#include "container_runtime/cgroup/settings.h"

#include <catch2/catch.hpp>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/conversion.h"

namespace keelson::container {
namespace {

// "file=value" of all settings, one a line; '?' after optional ones, the fallback after '|'.
std::string Text(const absl::StatusOr<std::vector<SettingGroup>>& groups) {
  if (!groups.ok()) return groups.status().ToString();
  std::string text;
  for (const SettingGroup& group : *groups) {
    for (const Setting& s : group.settings) {
      absl::StrAppend(&text, s.file, "=", s.value, s.optional ? "?" : "");
      if (!s.fallback_file.empty()) {
        absl::StrAppend(&text, "|", s.fallback_file, "=", s.fallback_value);
      }
      text += "\n";
    }
  }
  return text;
}

TEST_CASE("cpu.shares 2, 1024 and 262144 are weights 1, 100 and 10000", "[cgroup][convert]") {
  CHECK(CpuWeightOfShares(0) == 1);
  CHECK(CpuWeightOfShares(2) == 1);
  CHECK(CpuWeightOfShares(1024) == 100);
  CHECK(CpuWeightOfShares(262144) == 10000);
  CHECK(CpuWeightOfShares(1 << 30) == 10000);
  uint64_t last = 0;
  for (uint64_t shares = 2; shares <= 262144; ++shares) {
    const uint64_t weight = CpuWeightOfShares(shares);
    if (weight < last || weight < 1 || weight > 10000) FAIL("shares " << shares << ": " << weight);
    last = weight;
  }
}

TEST_CASE("blkio.weight becomes io.weight, linear", "[cgroup][convert]") {
  CHECK(IoWeightOfBlkio(0) == 0);
  CHECK(IoWeightOfBlkio(10) == 1);
  CHECK(IoWeightOfBlkio(500) == 4950);
  CHECK(IoWeightOfBlkio(1000) == 10000);
}

TEST_CASE("Swap of v2 is memory+swap less memory", "[cgroup][convert]") {
  using Number = std::optional<int64_t>;
  struct Row {
    Number memory, total, want;
  };
  const auto row = GENERATE(values<Row>({
      {100, 300, 200},
      {100, 100, 0},
      {100, -1, -1},
      {-1, -1, -1},
      {-1, {}, -1},
      {-1, 300, 300},
      {100, {}, {}},
      {{}, {}, {}},
      {{}, -1, -1},
  }));

  KEELSON_ASSIGN_OR_FAIL(const Number swap, SwapMax(row.memory, row.total));
  CHECK(swap == row.want);
}

TEST_CASE("Swap limits that make no sense are refused", "[cgroup][convert]") {
  KEELSON_CHECK_ERROR(SwapMax({}, 300).status(), absl::StatusCode::kInvalidArgument,
                      "without memory limit");
  KEELSON_CHECK_ERROR(SwapMax(300, 100).status(), absl::StatusCode::kInvalidArgument,
                      "memory+swap limit 100 should be >= memory limit 300");
  CHECK_FALSE(SwapMax(100, -2).ok());
  CHECK_FALSE(SwapMax(-2, 100).ok());
}

TEST_CASE("A list of processors is a bitmap, lowest first", "[cgroup][convert]") {
  CHECK(BitmapOfList("0-3,7").value() == std::vector<uint8_t>{0x8f});
  CHECK(BitmapOfList("8").value() == std::vector<uint8_t>{0, 1});
  CHECK(NumbersOfList("7,0-2,1\n").value() == std::vector<uint16_t>{0, 1, 2, 7});
  CHECK(NumbersOfList("\n").value().empty());
  const std::string bad = GENERATE("x", "1-", "-1", "3-1", "1,,2", "8192", "1 2");
  CHECK_FALSE(BitmapOfList(bad).ok());
}

TEST_CASE("systemd's quota is rounded up to whole percents", "[cgroup][convert]") {
  CHECK(CpuQuotaPerSecond(50000, 100000) == 500000);
  CHECK(CpuQuotaPerSecond(12345, 100000) == 130000);
  CHECK(CpuQuotaPerSecond(-1, 100000) == UINT64_MAX);
  CHECK(CpuQuotaPerSecond(INT64_MAX, 1) == UINT64_MAX);
}

TEST_CASE("Every limit of the specification has its file, on v1 and on v2", "[cgroup][settings]") {
  Resources r;
  r.memory = MemoryLimits{.limit = 1000,
                          .reservation = 500,
                          .swap = 3000,
                          .swappiness = 10,
                          .disable_oom_killer = true};
  r.cpu = CpuLimits{.shares = 1024,
                    .quota = 5000,
                    .burst = 100,
                    .period = 10000,
                    .realtime_runtime = 7,
                    .realtime_period = 8,
                    .cpus = "0-1",
                    .mems = "0",
                    .idle = 0};
  r.pids_limit = 20;
  r.block_io = BlockIoLimits{.weight = 500,
                             .weight_device = {{.major = 8, .minor = 0, .weight = 20}},
                             .throttle_read_bps = {{8, 0, 1}},
                             .throttle_write_bps = {{8, 0, 2}},
                             .throttle_read_iops = {{8, 0, 3}},
                             .throttle_write_iops = {{8, 0, 4}}};
  r.hugepage_limits = {{"2MB", 4194304}};
  r.network = NetworkLimits{.class_id = 1048577, .priorities = {{"eth0", 5}}};
  r.rdma["mlx5_1"] = RdmaLimit{.hca_handles = 3, .hca_objects = 4};

  CHECK(Text(SettingsFor(r, false)) ==
        "cpuset.cpus=0-1\ncpuset.mems=0\n"
        "memory.limit_in_bytes=1000\nmemory.memsw.limit_in_bytes=3000\n"
        "memory.soft_limit_in_bytes=500\nmemory.oom_control=1\nmemory.swappiness=10\n"
        "cpu.shares=1024\ncpu.cfs_period_us=10000\ncpu.cfs_burst_us=100?\ncpu.cfs_quota_us=5000\n"
        "cpu.rt_period_us=8\ncpu.rt_runtime_us=7\ncpu.idle=0\n"
        "pids.max=20\n"
        "blkio.bfq.weight=500|blkio.weight=500\n"
        "blkio.bfq.weight_device=8:0 20|blkio.weight_device=8:0 20\n"
        "blkio.throttle.read_bps_device=8:0 1\nblkio.throttle.write_bps_device=8:0 2\n"
        "blkio.throttle.read_iops_device=8:0 3\nblkio.throttle.write_iops_device=8:0 4\n"
        "hugetlb.2MB.limit_in_bytes=4194304\nhugetlb.2MB.rsvd.limit_in_bytes=4194304?\n"
        "net_cls.classid=1048577\nnet_prio.ifpriomap=eth0 5\n"
        "rdma.max=mlx5_1 hca_handle=3 hca_object=4\n");
  CHECK(Text(SettingsFor(r, true)) ==
        "cpuset.cpus=0-1\ncpuset.mems=0\n"
        "memory.swap.max=2000\nmemory.max=1000\nmemory.low=500\n"
        "cpu.idle=0\ncpu.weight=100\ncpu.max.burst=100?\ncpu.max=5000 10000\n"
        "pids.max=20\n"
        "io.bfq.weight=500|io.weight=default 4950\n"
        "io.bfq.weight=8:0 20|io.weight=8:0 102\n"
        "io.max=8:0 rbps=1\nio.max=8:0 wbps=2\nio.max=8:0 riops=3\nio.max=8:0 wiops=4\n"
        "hugetlb.2MB.max=4194304\nhugetlb.2MB.rsvd.max=4194304?\n"
        "rdma.max=mlx5_1 hca_handle=3 hca_object=4\n");
}

TEST_CASE("What is absent is not written", "[cgroup][settings]") {
  Resources r;
  r.memory = MemoryLimits{};
  r.cpu = CpuLimits{};
  r.block_io = BlockIoLimits{};
  r.network = NetworkLimits{};

  CHECK(Text(SettingsFor(r, false)).empty());
  CHECK(Text(SettingsFor(r, true)).empty());
}

TEST_CASE("Unlimited is -1 on v1 and max on v2", "[cgroup][settings]") {
  Resources r;
  r.memory = MemoryLimits{.limit = -1, .reservation = -1};
  r.pids_limit = -1;
  r.cpu = CpuLimits{.quota = -1};

  CHECK(Text(SettingsFor(r, false)) ==
        "memory.limit_in_bytes=-1\nmemory.memsw.limit_in_bytes=-1?\n"
        "memory.soft_limit_in_bytes=-1\ncpu.cfs_quota_us=-1\npids.max=max\n");
  CHECK(Text(SettingsFor(r, true)) ==
        "memory.swap.max=max?\nmemory.max=max\nmemory.low=max\ncpu.max=max 100000\npids.max=max\n");
}

TEST_CASE("A pids limit of 0 leaves room for the first process", "[cgroup][settings]") {
  Resources r;
  r.pids_limit = 0;
  CHECK(Text(SettingsFor(r, true)) == "pids.max=1\n");
}

TEST_CASE("Settings that depend on one another are in one group", "[cgroup][settings]") {
  Resources r;
  r.cpu = CpuLimits{.quota = 5000, .period = 10000};
  r.memory = MemoryLimits{.limit = 1000, .swap = 3000};

  KEELSON_ASSIGN_OR_FAIL(const auto groups, SettingsFor(r, false));

  REQUIRE(groups.size() == 2);
  CHECK(groups[0].controller == "memory");
  CHECK(groups[0].settings.size() == 2);
  CHECK(groups[1].controller == "cpu");
  CHECK(groups[1].settings.size() == 2);
}

TEST_CASE("Values out of range are refused with their JSON path", "[cgroup][settings]") {
  Resources swappiness;
  swappiness.memory = MemoryLimits{.swappiness = 101};
  KEELSON_CHECK_ERROR(SettingsFor(swappiness, false).status(), absl::StatusCode::kInvalidArgument,
                      "linux.resources.memory.swappiness");
  Resources limit;
  limit.memory = MemoryLimits{.limit = -2};
  KEELSON_CHECK_ERROR(SettingsFor(limit, false).status(), absl::StatusCode::kInvalidArgument,
                      "linux.resources.memory.limit: -2");
  Resources cpus;
  cpus.cpu = CpuLimits{.cpus = "0-x"};
  KEELSON_CHECK_ERROR(SettingsFor(cpus, true).status(), absl::StatusCode::kInvalidArgument,
                      "linux.resources.cpu.cpus");
  Resources pages;
  pages.hugepage_limits = {{"../x", 1}};
  KEELSON_CHECK_ERROR(SettingsFor(pages, true).status(), absl::StatusCode::kInvalidArgument,
                      "hugepageLimits");
}

TEST_CASE("unified takes file names and nothing else", "[cgroup][settings]") {
  Resources good;
  good.unified = {
      {"memory.high", "1000"}, {"cgroup.max.depth", "3"}, {"io.max", "8:0 rbps=1\n9:0 rbps=2"}};
  CHECK(Text(UnifiedSettings(good)) ==
        "cgroup.max.depth=3\nio.max=8:0 rbps=1\nio.max=9:0 rbps=2\nmemory.high=1000\n");
  CHECK(UnifiedSettings(good)->at(0).controller.empty());
  CHECK(UnifiedSettings(good)->at(1).controller == "io");

  const std::string bad = GENERATE("../memory.high", "memory/high", "memory", ".high", "");
  Resources r;
  r.unified = {{bad, "1"}};
  KEELSON_CHECK_ERROR(UnifiedSettings(r).status(), absl::StatusCode::kInvalidArgument,
                      "unified resource");
}

}  // namespace
}  // namespace keelson::container
