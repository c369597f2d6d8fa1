#include <nlohmann/json.hpp>

#include "container_runtime/runtime/creation.h"
#include "container_runtime/runtime/runtime.h"

namespace keelson::container {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string Runtime::StateJson(const ContainerState& state, ContainerStatus status, pid_t pid) {
  Json json = {{"ociVersion", state.oci_version},
               {"id", state.id},
               {"pid", pid},
               {"status", StatusName(status)},
               {"bundle", state.bundle},
               {"rootfs", state.rootfs},
               {"created", state.created},
               {"owner", ""}};
  if (!state.annotations.empty()) json["annotations"] = state.annotations;
  return Dump(json);
}

std::string ListenerMessage(const std::string& oci_version, pid_t pid, const std::string& metadata,
                            const std::string& state_json) {
  return Dump({{"ociVersion", oci_version},
               {"fds", Json::array({"seccompFd"})},
               {"pid", pid},
               {"metadata", metadata},
               {"state", Json::parse(state_json)}});
}

}  // namespace keelson::container
