// Runs a command in a sandbox: it sees this machine's files, but read-only; it has a /tmp of its own, no network, no
// capabilities, at most 256 MiB of memory and 64 processes, and nothing of it is left when it ends. Needs root.
//
//   sandbox COMMAND [ARGUMENT...]
#include <nlohmann/json.hpp>

#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/config/default_spec.h"
#include "container_runtime/runtime/runtime.h"

namespace {

using keelson::container::Runtime;
using Json = nlohmann::json;

std::string SandboxConfig(const std::vector<std::string>& command) {
  Json config = Json::parse(keelson::container::DefaultSpec(true));
  config["root"] = {{"path", "/"}, {"readonly", true}};
  config["mounts"].push_back({{"destination", "/tmp"},
                              {"type", "tmpfs"},
                              {"source", "tmpfs"},
                              {"options", {"nosuid", "nodev", "size=64m"}}});
  Json& process = config["process"];
  process["terminal"] = false;
  process["args"] = command;
  process["cwd"] = "/tmp";
  process["capabilities"] = Json::object();
  process["noNewPrivileges"] = true;
  config["linux"]["resources"]["memory"] = {{"limit", 256 << 20}};
  config["linux"]["resources"]["pids"] = {{"limit", 64}};
  return config.dump();
}

// The command's exit status, or 128 and the number of the signal that ended it.
absl::StatusOr<int> RunInSandbox(const std::string& folder,
                                 const std::vector<std::string>& command) {
  std::ofstream(folder + "/config.json") << SandboxConfig(command);
  Runtime runtime({.root = folder + "/state"});
  const std::string id = absl::StrCat("sandbox-", ::getpid());
  KEELSON_ASSIGN_OR_RETURN(const keelson::container::Child child,
                           runtime.Run({.id = id, .bundle = folder}));
  const int status = keelson::container::AwaitExit(child);
  KEELSON_RETURN_IF_ERROR(runtime.Delete(id, /*force=*/true));
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  char folder[] = "/run/sandbox-XXXXXX";
  if (argc < 2 || ::mkdtemp(folder) == nullptr) {
    std::cerr << (argc < 2 ? "usage: sandbox COMMAND [ARGUMENT...]\n"
                           : "cannot make a folder in /run\n");
    return 2;
  }
  const absl::StatusOr<int> status = RunInSandbox(folder, {argv + 1, argv + argc});
  std::filesystem::remove_all(folder);
  if (!status.ok()) std::cerr << status.status().message() << '\n';
  return status.ok() ? *status : 1;
}
