// The objects that `events` prints, with runc's names (types/events.go).
#ifndef KEELSON_CONTAINER_RUNTIME_CMD_EVENTS_JSON_H_
#define KEELSON_CONTAINER_RUNTIME_CMD_EVENTS_JSON_H_

#include <string>

#include "container_runtime/cgroup/cgroup_stats.h"

namespace keelson::container {

std::string StatsEvent(const std::string& id, const CgroupStats& stats);
std::string OomEvent(const std::string& id);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CMD_EVENTS_JSON_H_
