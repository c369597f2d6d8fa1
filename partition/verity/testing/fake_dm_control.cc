#include "partition/verity/testing/fake_dm_control.h"

#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace keelson::partition {
namespace {

constexpr uint32_t kMajor = 253;

dm_ioctl HeaderOf(std::span<const char> buffer) {
  dm_ioctl header = {};
  std::memcpy(&header, buffer.data(), sizeof(header));
  return header;
}

void Answer(const FakeDmControl::Device& device, std::span<char> buffer) {
  dm_ioctl header = HeaderOf(buffer);
  header.dev = uint64_t{kMajor} << 8 | device.minor;
  header.open_count = device.open_count;
  header.flags &= ~uint32_t{DM_SUSPEND_FLAG | DM_READONLY_FLAG | DM_ACTIVE_PRESENT_FLAG};
  if (device.read_only) header.flags |= DM_READONLY_FLAG;
  if (!device.resumed) header.flags |= DM_SUSPEND_FLAG;
  if (!device.active.empty()) header.flags |= DM_ACTIVE_PRESENT_FLAG;
  if (device.deferred_remove) header.flags |= DM_DEFERRED_REMOVE;
  device.uuid.copy(header.uuid, sizeof(header.uuid) - 1);
  std::memcpy(buffer.data(), &header, sizeof(header));
}

// The table of a request: here `next` counts from its own target.
std::vector<DmTarget> TargetsOf(std::span<const char> buffer) {
  const dm_ioctl header = HeaderOf(buffer);
  std::vector<DmTarget> targets;
  size_t at = header.data_start;
  for (uint32_t i = 0; i < header.target_count; ++i) {
    dm_target_spec spec = {};
    std::memcpy(&spec, buffer.data() + at, sizeof(spec));
    targets.push_back({.first_sector = spec.sector_start,
                       .sectors = spec.length,
                       .type = spec.target_type,
                       .parameters = buffer.data() + at + sizeof(spec)});
    at += spec.next;
  }
  return targets;
}

}  // namespace

int FakeDmControl::Create(std::span<char> buffer) {
  const dm_ioctl header = HeaderOf(buffer);
  if (devices_.contains(header.name)) return EBUSY;
  for (const auto& [name, device] : devices_) {
    if (!device.uuid.empty() && device.uuid == header.uuid) return EBUSY;
  }
  devices_[header.name] = {.uuid = header.uuid, .minor = next_minor_++};
  return 0;
}

int FakeDmControl::TableStatus(const Device& device, std::span<char> buffer) {
  dm_ioctl header = HeaderOf(buffer);
  const bool table = (header.flags & DM_STATUS_TABLE_FLAG) != 0;
  header.target_count = static_cast<uint32_t>(device.active.size());
  size_t at = header.data_start;
  for (const DmTarget& target : device.active) {
    const std::string& text = table ? target.parameters : device.status;
    const size_t end = (at + sizeof(dm_target_spec) + text.size() + 1 + 7) / 8 * 8;
    if (end > buffer.size()) {
      header.flags |= DM_BUFFER_FULL_FLAG;
      break;
    }
    dm_target_spec spec = {.sector_start = target.first_sector, .length = target.sectors};
    spec.next = static_cast<uint32_t>(end - header.data_start);
    target.type.copy(spec.target_type, sizeof(spec.target_type) - 1);
    std::memcpy(buffer.data() + at, &spec, sizeof(spec));
    std::memcpy(buffer.data() + at + sizeof(spec), text.c_str(), text.size() + 1);
    at = end;
  }
  std::memcpy(buffer.data(), &header, sizeof(header));
  return 0;
}

int FakeDmControl::Call(unsigned long request, std::span<char> buffer) {
  const auto failure = failures_.find(requests_.size());
  requests_.emplace_back(request, std::string(buffer.data(), buffer.size()));
  if (failure != failures_.end()) return failure->second;
  const dm_ioctl header = HeaderOf(buffer);
  if (header.version[0] != 4) return EINVAL;
  if (request == DM_DEV_CREATE) {
    if (const int error = Create(buffer); error != 0) return error;
  }
  const auto found = devices_.find(header.name);
  if (found == devices_.end()) return ENXIO;
  Device& device = found->second;
  if (request == DM_TABLE_LOAD) {
    device.loaded = TargetsOf(buffer);
    device.read_only = (header.flags & DM_READONLY_FLAG) != 0;
  } else if (request == DM_DEV_SUSPEND) {
    device.resumed = (header.flags & DM_SUSPEND_FLAG) == 0;
    if (device.resumed && !device.loaded.empty()) device.active = std::move(device.loaded);
  } else if (request == DM_TABLE_STATUS) {
    Answer(device, buffer);
    return TableStatus(device, buffer);
  } else if (request == DM_TARGET_MSG) {
    device.deferred_remove = false;
  } else if (request == DM_DEV_REMOVE) {
    if (device.open_count == 0) {
      devices_.erase(found);
      return 0;
    }
    if ((header.flags & DM_DEFERRED_REMOVE) == 0) return EBUSY;
    device.deferred_remove = true;
  }
  Answer(device, buffer);
  return 0;
}

absl::Status FakeDmControl::AddNode(const std::string& name, uint32_t, uint32_t) {
  nodes_.insert(name);
  return absl::OkStatus();
}

absl::Status FakeDmControl::RemoveNode(const std::string& name) {
  nodes_.erase(name);
  return absl::OkStatus();
}

}  // namespace keelson::partition
