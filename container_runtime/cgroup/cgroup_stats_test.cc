#include "container_runtime/cgroup/cgroup_stats.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"

namespace keelson::container {
namespace {

using Code = absl::StatusCode;

// Parses `text` as `file` of v1 or v2.
absl::Status Parse(const std::string& file, bool unified, const std::string& text,
                   CgroupStats& stats) {
  for (const StatFile& kind : StatFiles()) {
    if (kind.file == file && kind.unified == unified) return kind.parse(file, text, stats);
  }
  for (const StatFile& kind : HugetlbFiles({"2MB"}, unified)) {
    if (kind.file == file) return kind.parse(file, text, stats);
  }
  return absl::NotFoundError(file);
}

// Texts of Linux 6.18 and 6.1.
TEST_CASE("v2 counts in microseconds, and without limit", "[cgroup][stats]") {
  CgroupStats s;
  KEELSON_REQUIRE_OK(
      Parse("cpu.stat", true,
            "usage_usec 100\nuser_usec 60\nsystem_usec 40\nnice_usec 0\nnr_periods 5\n"
            "nr_throttled 2\nthrottled_usec 7\nnr_bursts 1\nburst_usec 3\n",
            s));
  KEELSON_REQUIRE_OK(Parse("memory.current", true, "1000\n", s));
  KEELSON_REQUIRE_OK(Parse("memory.max", true, "max\n", s));
  KEELSON_REQUIRE_OK(Parse("memory.swap.current", true, "24\n", s));
  KEELSON_REQUIRE_OK(Parse("memory.swap.max", true, "max\n", s));
  KEELSON_REQUIRE_OK(Parse("memory.events", true, "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\n", s));
  KEELSON_REQUIRE_OK(Parse("pids.max", true, "max\n", s));

  CHECK(s.cpu.total == 100'000);
  CHECK(s.cpu.kernel == 40'000);
  CHECK(s.cpu.throttled_time == 7'000);
  CHECK(s.cpu.burst_time == 3'000);
  CHECK(s.memory.usage.limit == UINT64_MAX);
  CHECK(s.memory.swap.usage == 1024);
  CHECK(s.memory.swap.limit == UINT64_MAX);
  CHECK(s.memory.oom_kills == 3);
  CHECK(s.pids.limit == 0);
}

TEST_CASE("Swap limits of v2 are shown with memory, as on v1", "[cgroup][stats]") {
  CgroupStats s;
  KEELSON_REQUIRE_OK(Parse("memory.max", true, "1000\n", s));
  KEELSON_REQUIRE_OK(Parse("memory.swap.max", true, "500\n", s));
  CHECK(s.memory.swap.limit == 1500);
}

TEST_CASE("I/O is counted by device and direction", "[cgroup][stats]") {
  CgroupStats s;
  KEELSON_REQUIRE_OK(
      Parse("io.stat", true,
            "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 rbytes=7\n9:0 \n", s));
  CHECK(s.block_io.service_bytes ==
        std::vector<BlockIoEntry>{{254, 0, "Read", 1}, {254, 0, "Write", 2}, {8, 16, "Read", 7}});
  CHECK(s.block_io.serviced ==
        std::vector<BlockIoEntry>{{254, 0, "Read", 3}, {254, 0, "Write", 4}});

  CgroupStats v1;
  KEELSON_REQUIRE_OK(
      Parse("blkio.bfq.io_serviced_recursive", false, "8:0 Read 5\n8:0 Total 5\nTotal 5\n", v1));
  // The throttler counts the same again.
  KEELSON_REQUIRE_OK(
      Parse("blkio.throttle.io_serviced_recursive", false, "8:0 Read 6\nTotal 6\n", v1));
  CHECK(v1.block_io.serviced == std::vector<BlockIoEntry>{{8, 0, "Read", 5}, {8, 0, "Total", 5}});
}

TEST_CASE("Processors are counted one by one on v1", "[cgroup][stats]") {
  CgroupStats s;
  KEELSON_REQUIRE_OK(Parse("cpuacct.usage_percpu", false, "10 20 \n", s));
  KEELSON_REQUIRE_OK(Parse("cpuacct.usage_all", false, "cpu user system\n0 1 2\n1 3 4\n", s));
  KEELSON_REQUIRE_OK(Parse("cpuacct.stat", false, "user 3\nsystem 4\n", s));
  CHECK(s.cpu.per_cpu == std::vector<uint64_t>{10, 20});
  CHECK(s.cpu.per_cpu_user == std::vector<uint64_t>{1, 3});
  CHECK(s.cpu.per_cpu_kernel == std::vector<uint64_t>{2, 4});
  CHECK(s.cpu.user == 30'000'000);
}

TEST_CASE("Reservations of huge pages count where the kernel has them", "[cgroup][stats]") {
  CgroupStats s;
  KEELSON_REQUIRE_OK(Parse("hugetlb.2MB.current", true, "1\n", s));
  KEELSON_REQUIRE_OK(Parse("hugetlb.2MB.rsvd.current", true, "2\n", s));
  KEELSON_REQUIRE_OK(Parse("hugetlb.2MB.events", true, "max 3\n", s));
  CHECK(s.hugetlb["2MB"].usage == 2);
  CHECK(s.hugetlb["2MB"].failcnt == 3);
}

TEST_CASE("Pressure has two lines, or one", "[cgroup][stats]") {
  KEELSON_ASSIGN_OR_FAIL(const Pressure p,
                         ParsePressure("some avg10=0.12 avg60=3.00 avg300=0.50 total=123\n"));
  CHECK(p.some.avg10 == 0.12);
  CHECK(p.some.total == 123);
  CHECK(p.full.total == 0);
  const std::string bad = GENERATE("other avg10=0", "some avg10=x", "some avg10", "some total=-1");
  CHECK_FALSE(ParsePressure(bad).ok());
}

TEST_CASE("Texts that no kernel writes are refused with their file", "[cgroup][stats]") {
  struct Row {
    std::string file;
    bool unified;
    std::string text;
  };
  const auto row = GENERATE(values<Row>({
      {"cpu.stat", true, "usage_usec\n"},
      {"cpu.stat", true, "usage_usec x\n"},
      {"memory.current", true, "\n"},
      {"memory.current", true, "-1\n"},
      {"memory.stat", false, "cache 1 2\n"},
      {"io.stat", true, "254 rbytes=1\n"},
      {"io.stat", true, "254:0 rbytes=x\n"},
      {"blkio.throttle.io_serviced_recursive", false, "8:0\n"},
      {"blkio.throttle.io_serviced_recursive", false, "8:0 Read x\n"},
      {"cpuacct.usage_all", false, "cpu user\n0 1\n"},
      {"cpuacct.usage_all", false, "cpu user system\n0 1\n"},
      {"cpuacct.usage_percpu", false, "1 x\n"},
      {"cpuset.cpus", false, "0-\n"},
      {"rdma.current", true, "mlx hca_handle\n"},
  }));
  CgroupStats s;
  const absl::Status status = Parse(row.file, row.unified, row.text, s);
  INFO(row.file << ": " << status.ToString());
  CHECK(status.code() == Code::kInvalidArgument);
}

// `runc events --stats` of runc 1.1.5 for a container on a hybrid host, shortened (tests/interop compares the whole
// with a runc that runs).
TEST_CASE("Statistics have runc's JSON", "[cgroup][stats][json]") {
  CgroupStats s;
  s.cpu.total = 10539824;
  s.cpu.per_cpu = {10539824, 0};
  s.cpu.kernel = 10000000;
  s.cpuset = CpusetStats{
      .cpus = {0, 1}, .mems = {0}, .sched_load_balance = 1, .sched_relax_domain_level = -1};
  s.memory.cache = 8192;
  s.memory.usage = {.usage = 458752, .max = 2535424, .failcnt = 0, .limit = 9223372036854771712u};
  s.memory.raw = {{"cache", 8192}, {"active_anon", 4096}};
  s.pids.current = 1;

  CHECK(
      StatsEventJson("web", s) ==
      R"({"type":"stats","id":"web","data":{"cpu":{"usage":{"total":10539824,"percpu":[10539824,0],)"
      R"("kernel":10000000,"user":0},"throttling":{}},"cpuset":{"cpus":[0,1],"cpu_exclusive":0,"mems":[0],)"
      R"("mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,)"
      R"("memory_pressure":0,"sched_load_balance":1,"sched_relax_domain_level":-1},"memory":{"cache":8192,)"
      R"("usage":{"limit":9223372036854771712,"usage":458752,"max":2535424,"failcnt":0},)"
      R"("swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},)"
      R"("raw":{"active_anon":4096,"cache":8192}},"pids":{"current":1},"blkio":{},"hugetlb":{},"intel_rdt":{},)"
      R"("network_interfaces":null}})");
}

TEST_CASE("Optional parts appear when there is something in them", "[cgroup][stats][json]") {
  CgroupStats s;
  s.cpu.pressure = Pressure{.some = {.avg10 = 1.5, .total = 7}};
  s.block_io.serviced = {{8, 0, "Read", 3}};
  s.hugetlb["2MB"] = {.usage = 5};
  s.cpu.throttled_periods = 2;
  const std::string json = StatsEventJson("a\"\\\n", s);

  for (const char* part :
       {R"("id":"a\"\\\u000a")",
        R"("psi":{"some":{"avg10":1.5,"avg60":0,"avg300":0,"total":7},"full":)",
        R"("ioServicedRecursive":[{"major":8,"op":"Read","value":3}])",
        R"("hugetlb":{"2MB":{"usage":5,"failcnt":0}})", R"("throttling":{"throttledPeriods":2})"}) {
    CHECK_THAT(json, Catch::Contains(part));
  }
  CHECK(OomEventJson("x") == R"({"type":"oom","id":"x"})");
}

}  // namespace
}  // namespace keelson::container
