#include <string>

#include "absl/strings/str_cat.h"
#include "container_runtime/config/internal/sections.h"

namespace keelson::container {
namespace {

void ReadDeviceRule(JsonReader& reader, DeviceRule* out) {
  std::string type = "a";
  reader.Require("allow");
  reader.Read("allow", &out->allow);
  reader.Read("type", &type);
  reader.Read("major", &out->major);
  reader.Read("minor", &out->minor);
  reader.Read("access", &out->access);
  if (!reader.ok()) return;
  if (type.empty()) type = "a";
  if (type != "a" && type != "c" && type != "b") {
    return reader.Fail("type", absl::StrCat("unknown device type '", type, "'"));
  }
  out->type = type[0];
  // Other runtimes pass over "a", which some configs have for "all": it denies all and allows nothing more.
  const size_t all = out->access.find('a');
  if (all != std::string::npos) out->access = out->allow ? out->access.erase(all, 1) : "rwm";
  if (out->access.find_first_not_of("rwm") != std::string::npos) {
    reader.Fail("access", absl::StrCat("'", out->access, "' has letters other than r, w and m"));
  }
}

void ReadMemory(JsonReader& reader, MemoryLimits* out) {
  reader.Read("limit", &out->limit);
  reader.Read("reservation", &out->reservation);
  reader.Read("swap", &out->swap);
  reader.Read("kernel", &out->kernel);
  reader.Read("kernelTCP", &out->kernel_tcp);
  reader.Read("swappiness", &out->swappiness);
  reader.Read("disableOOMKiller", &out->disable_oom_killer);
  reader.Read("useHierarchy", &out->use_hierarchy);
  reader.Read("checkBeforeUpdate", &out->check_before_update);
}

void ReadCpu(JsonReader& reader, CpuLimits* out) {
  reader.Read("shares", &out->shares);
  reader.Read("quota", &out->quota);
  reader.Read("burst", &out->burst);
  reader.Read("period", &out->period);
  reader.Read("realtimeRuntime", &out->realtime_runtime);
  reader.Read("realtimePeriod", &out->realtime_period);
  reader.Read("cpus", &out->cpus);
  reader.Read("mems", &out->mems);
  reader.Read("idle", &out->idle);
}

void ReadWeightDevice(JsonReader& reader, WeightDevice* out) {
  reader.Read("major", &out->major);
  reader.Read("minor", &out->minor);
  reader.Read("weight", &out->weight);
  reader.Read("leafWeight", &out->leaf_weight);
}

void ReadThrottleDevice(JsonReader& reader, ThrottleDevice* out) {
  reader.Read("major", &out->major);
  reader.Read("minor", &out->minor);
  reader.Read("rate", &out->rate);
}

void ReadBlockIo(JsonReader& reader, BlockIoLimits* out) {
  reader.Read("weight", &out->weight);
  reader.Read("leafWeight", &out->leaf_weight);
  reader.List("weightDevice", &out->weight_device, ReadWeightDevice);
  reader.List("throttleReadBpsDevice", &out->throttle_read_bps, ReadThrottleDevice);
  reader.List("throttleWriteBpsDevice", &out->throttle_write_bps, ReadThrottleDevice);
  reader.List("throttleReadIOPSDevice", &out->throttle_read_iops, ReadThrottleDevice);
  reader.List("throttleWriteIOPSDevice", &out->throttle_write_iops, ReadThrottleDevice);
}

void ReadHugepageLimit(JsonReader& reader, HugepageLimit* out) {
  reader.Require("pageSize");
  reader.Read("pageSize", &out->page_size);
  reader.Read("limit", &out->limit);
}

void ReadPriority(JsonReader& reader, InterfacePriority* out) {
  reader.Read("name", &out->name);
  reader.Read("priority", &out->priority);
}

void ReadNetwork(JsonReader& reader, NetworkLimits* out) {
  reader.Read("classID", &out->class_id);
  reader.List("priorities", &out->priorities, ReadPriority);
}

}  // namespace

void ReadResources(JsonReader& reader, Resources* out) {
  reader.List("devices", &out->devices, ReadDeviceRule);
  reader.Object("memory", &out->memory, ReadMemory);
  reader.Object("cpu", &out->cpu, ReadCpu);
  reader.Child("pids", [out](JsonReader& pids) { pids.Read("limit", &out->pids_limit); });
  reader.Object("blockIO", &out->block_io, ReadBlockIo);
  reader.List("hugepageLimits", &out->hugepage_limits, ReadHugepageLimit);
  reader.Object("network", &out->network, ReadNetwork);
  reader.Members("rdma", [out](const std::string& device, JsonReader& limit) {
    RdmaLimit& value = out->rdma[device];
    limit.Read("hcaHandles", &value.hca_handles);
    limit.Read("hcaObjects", &value.hca_objects);
  });
  reader.Read("unified", &out->unified);
}

}  // namespace keelson::container
