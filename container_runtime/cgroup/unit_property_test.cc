#include "container_runtime/cgroup/unit_property.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "base/testing/status_matchers.h"

namespace keelson::container {
namespace {

using Strings = std::vector<std::string>;
constexpr uint64_t kInfinity = UINT64_MAX;

const UnitProperty* Find(const std::vector<UnitProperty>& properties, const std::string& name) {
  const auto it = std::find_if(properties.begin(), properties.end(),
                               [&](const UnitProperty& p) { return p.name == name; });
  return it == properties.end() ? nullptr : &*it;
}

TEST_CASE("Limits have systemd's names for v2", "[cgroup][systemd]") {
  Resources r;
  r.memory = MemoryLimits{.limit = 1000, .reservation = 500, .swap = 3000};
  r.cpu = CpuLimits{.shares = 1024, .quota = 12345, .period = 100000, .cpus = "0-3", .mems = "0"};
  r.pids_limit = 0;
  int64_t quota = 0;

  KEELSON_ASSIGN_OR_FAIL(const auto properties, PropertiesOf(r, true, &quota));

  CHECK(properties == std::vector<UnitProperty>{{"MemoryMax", uint64_t{1000}},
                                                {"MemoryLow", uint64_t{500}},
                                                {"MemorySwapMax", uint64_t{2000}},
                                                {"CPUWeight", uint64_t{100}},
                                                {"CPUQuotaPeriodUSec", uint64_t{100000}},
                                                {"CPUQuotaPerSecUSec", uint64_t{130000}},
                                                {"AllowedCPUs", std::vector<uint8_t>{0x0f}},
                                                {"AllowedMemoryNodes", std::vector<uint8_t>{0x01}},
                                                {"TasksMax", uint64_t{1}}});
  CHECK(quota == 13000);
}

TEST_CASE("Limits have systemd's names for v1, and devices are a list", "[cgroup][systemd]") {
  Resources r;
  r.memory = MemoryLimits{.limit = -1};
  r.cpu = CpuLimits{.shares = 512, .quota = -1};
  r.pids_limit = -1;
  r.block_io = BlockIoLimits{.weight = 20};
  r.devices = {{.allow = true, .type = 'c', .major = 1, .minor = 3, .access = "rwm"},
               {.allow = true, .type = 'c', .major = 136, .access = "rw"},
               {.allow = true, .type = 'b', .access = "m"}};
  int64_t quota = 0;

  KEELSON_ASSIGN_OR_FAIL(const auto properties, PropertiesOf(r, false, &quota));

  using Pairs = std::vector<std::pair<std::string, std::string>>;
  CHECK(Find(properties, "DevicePolicy")->value == UnitValue(std::string("strict")));
  CHECK(Find(properties, "DeviceAllow")->value ==
        UnitValue(Pairs{{"block-*", "m"}, {"char-136", "rw"}, {"/dev/char/1:3", "rwm"}}));
  CHECK(Find(properties, "MemoryLimit")->value == UnitValue(kInfinity));
  CHECK(Find(properties, "CPUShares")->value == UnitValue(uint64_t{512}));
  CHECK(Find(properties, "CPUQuotaPerSecUSec")->value == UnitValue(kInfinity));
  CHECK(Find(properties, "TasksMax")->value == UnitValue(kInfinity));
  CHECK(Find(properties, "BlockIOWeight")->value == UnitValue(uint64_t{20}));
  CHECK(quota == 0);
}

TEST_CASE("A container with all devices has no device policy", "[cgroup][systemd]") {
  Resources r;
  r.devices = {{.allow = true, .type = 'a', .access = "rwm"}};
  int64_t quota = 0;
  KEELSON_ASSIGN_OR_FAIL(const auto properties, PropertiesOf(r, false, &quota));
  CHECK(Find(properties, "DevicePolicy")->value == UnitValue(std::string("auto")));
}

TEST_CASE("v2 files have properties where systemd has them", "[cgroup][systemd]") {
  Resources r;
  r.unified = {{"memory.high", "max"}, {"memory.min", "5"}, {"cpu.max", "50000 100000"},
               {"cpuset.cpus", "1"},   {"pids.max", "9"},   {"memory.oom.group", "1"}};
  int64_t quota = 0;
  KEELSON_ASSIGN_OR_FAIL(const auto properties, PropertiesOf(r, true, &quota));

  CHECK(Find(properties, "MemoryHigh")->value == UnitValue(kInfinity));
  CHECK(Find(properties, "MemoryMin")->value == UnitValue(uint64_t{5}));
  CHECK(Find(properties, "CPUQuotaPerSecUSec")->value == UnitValue(uint64_t{500000}));
  CHECK(Find(properties, "AllowedCPUs")->value == UnitValue(std::vector<uint8_t>{2}));
  CHECK(Find(properties, "TasksMax")->value == UnitValue(uint64_t{9}));
  CHECK(properties.size() == 6);

  r.unified = {{GENERATE("memory.high", "cpu.max", "cpuset.cpus", "cpu.weight"), "x"}};
  CHECK(PropertiesOf(r, true, &quota).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Annotations are properties with values as gdbus writes them", "[cgroup][systemd]") {
  KEELSON_ASSIGN_OR_FAIL(
      const auto properties,
      PropertiesOfAnnotations({{"org.systemd.property.CollectMode", "'inactive-or-failed'"},
                               {"org.systemd.property.TimeoutStopSec", "2.5"},
                               {"org.systemd.property.TimeoutStopUSec", "uint64 123456789"},
                               {"org.systemd.property.After", "['a.service', \"b.service\"]"},
                               {"org.systemd.property.SendSIGHUP", "true"},
                               {"other", "ignored"}}));

  CHECK(properties.size() == 5);
  CHECK(Find(properties, "CollectMode")->value == UnitValue(std::string("inactive-or-failed")));
  CHECK(Find(properties, "After")->value == UnitValue(Strings{"a.service", "b.service"}));
  CHECK(Find(properties, "SendSIGHUP")->value == UnitValue(true));
  CHECK(std::count(properties.begin(), properties.end(),
                   UnitProperty{"TimeoutStopUSec", uint64_t{2500000}}) == 1);
  CHECK(std::count(properties.begin(), properties.end(),
                   UnitProperty{"TimeoutStopUSec", uint64_t{123456789}}) == 1);
}

TEST_CASE("GVariant texts have their types", "[cgroup][systemd]") {
  CHECK(ParseGVariant("12").value() == UnitValue(int32_t{12}));
  CHECK(ParseGVariant("int64 -12").value() == UnitValue(int64_t{-12}));
  CHECK(ParseGVariant("uint32 12").value() == UnitValue(uint32_t{12}));
  CHECK(ParseGVariant("0.5").value() == UnitValue(0.5));
  CHECK(ParseGVariant("double 3").value() == UnitValue(3.0));
  CHECK(ParseGVariant("'it\\'s'").value() == UnitValue(std::string("it's")));
  CHECK(ParseGVariant("@as []").value() == UnitValue(Strings{}));
  CHECK(ParseGVariant(" [ 'a' ] ").value() == UnitValue(Strings{"a"}));
}

TEST_CASE("Bad annotations are refused with their names", "[cgroup][systemd]") {
  const auto value = GENERATE(as<std::string>(), "", "word", "'open", "['a'", "['a' 'b']", "[1]",
                              "uint32 -1", "uint64", "12 13", "99999999999", "'a' x", "1.e", "[");
  CHECK_FALSE(ParseGVariant(value).ok());
  KEELSON_CHECK_ERROR(PropertiesOfAnnotations({{"org.systemd.property.Abc", value}}).status(),
                      absl::StatusCode::kInvalidArgument, "org.systemd.property.Abc");
}

TEST_CASE("Names with other than letters, and seconds that are none, are refused",
          "[cgroup][systemd]") {
  const auto name = GENERATE(as<std::string>(), "", "Ab", "A-b-c", "Ab1c", "A b c");
  CHECK_FALSE(PropertiesOfAnnotations({{"org.systemd.property." + name, "true"}}).ok());
  const auto value = GENERATE(as<std::string>(), "-1", "true", "'a'", "1e300");
  CHECK_FALSE(PropertiesOfAnnotations({{"org.systemd.property.TimeoutStopSec", value}}).ok());
}

}  // namespace
}  // namespace keelson::container
