// The command line of `kvstored gateway`: etcd's names and defaults.
#ifndef KEELSON_KVSTORE_GATEWAY_COMMAND_H_
#define KEELSON_KVSTORE_GATEWAY_COMMAND_H_

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/config/srv.h"
#include "kvstore/gateway/tcp_proxy.h"

namespace keelson::kvstore {

struct GatewayCommand {
  std::optional<std::string> help;  // print this instead of running
  TcpProxyOptions options;
  std::vector<std::string> warnings;
};

// `arguments` are those after "gateway", with the word "start" somewhere among them.
// INVALID_ARGUMENT: one line. Also from --discovery-srv, which asks `world` at once.
absl::StatusOr<GatewayCommand> ParseGatewayCommand(std::span<const std::string> arguments,
                                                   const SrvWorld& world = RealSrvWorld());

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_GATEWAY_COMMAND_H_
