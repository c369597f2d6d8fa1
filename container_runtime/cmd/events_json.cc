#include "container_runtime/cmd/events_json.h"

#include <nlohmann/json.hpp>

namespace keelson::container {
namespace {

using Json = nlohmann::ordered_json;

Json CounterOf(const MemoryCounter& counter) {
  return {{"limit", counter.limit},
          {"usage", counter.usage},
          {"max", counter.max},
          {"failcnt", counter.failcnt}};
}

Json EntriesOf(const std::vector<BlockIoEntry>& entries) {
  Json list = Json::array();
  for (const BlockIoEntry& entry : entries) {
    list.push_back(
        {{"major", entry.major}, {"minor", entry.minor}, {"op", entry.op}, {"value", entry.value}});
  }
  return list;
}

Json PressureOf(const Pressure& pressure) {
  const auto line = [](const PressureLine& value) -> Json {
    return {{"avg10", value.avg10},
            {"avg60", value.avg60},
            {"avg300", value.avg300},
            {"total", value.total}};
  };
  return {{"some", line(pressure.some)}, {"full", line(pressure.full)}};
}

void AddPressure(const std::optional<Pressure>& pressure, Json* json) {
  if (pressure.has_value()) (*json)["psi"] = PressureOf(*pressure);
}

Json CpuOf(const CpuStats& cpu) {
  Json json = {{"usage", {{"total", cpu.total}, {"kernel", cpu.kernel}, {"user", cpu.user}}},
               {"throttling",
                {{"periods", cpu.periods},
                 {"throttledPeriods", cpu.throttled_periods},
                 {"throttledTime", cpu.throttled_time}}}};
  if (!cpu.per_cpu.empty()) json["usage"]["percpu"] = cpu.per_cpu;
  AddPressure(cpu.pressure, &json);
  return json;
}

Json BlockIoOf(const BlockIoStats& io) {
  Json json = Json::object();
  const auto add = [&json](const char* name, const std::vector<BlockIoEntry>& entries) {
    if (!entries.empty()) json[name] = EntriesOf(entries);
  };
  add("ioServiceBytesRecursive", io.service_bytes);
  add("ioServicedRecursive", io.serviced);
  add("ioQueueRecursive", io.queued);
  add("ioServiceTimeRecursive", io.service_time);
  add("ioWaitTimeRecursive", io.wait_time);
  add("ioMergedRecursive", io.merged);
  add("ioTimeRecursive", io.time);
  add("sectorsRecursive", io.sectors);
  AddPressure(io.pressure, &json);
  return json;
}

}  // namespace

std::string StatsEvent(const std::string& id, const CgroupStats& stats) {
  Json memory = {{"cache", stats.memory.cache},
                 {"usage", CounterOf(stats.memory.usage)},
                 {"swap", CounterOf(stats.memory.swap)},
                 {"kernel", CounterOf(stats.memory.kernel)},
                 {"kernelTCP", CounterOf(stats.memory.kernel_tcp)},
                 {"raw", stats.memory.raw}};
  AddPressure(stats.memory.pressure, &memory);
  Json pids = {{"current", stats.pids.current}};
  if (stats.pids.limit != 0) pids["limit"] = stats.pids.limit;
  Json hugetlb = Json::object();
  for (const auto& [size, value] : stats.hugetlb) {
    hugetlb[size] = {{"usage", value.usage}, {"max", value.max}, {"failcnt", value.failcnt}};
  }
  const Json event = {{"type", "stats"},
                      {"id", id},
                      {"data",
                       {{"cpu", CpuOf(stats.cpu)},
                        {"memory", memory},
                        {"pids", pids},
                        {"blkio", BlockIoOf(stats.block_io)},
                        {"hugetlb", hugetlb},
                        {"intel_rdt", Json::object()},
                        {"network_interfaces", nullptr}}}};
  return event.dump();
}

std::string OomEvent(const std::string& id) { return Json({{"type", "oom"}, {"id", id}}).dump(); }

}  // namespace keelson::container
