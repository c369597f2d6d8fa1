// Learns the founding members of a cluster from a discovery service: a folder of somebody's version 2
// keys, in which each founder registers (kvstore.md 16.1).
#ifndef KEELSON_KVSTORE_DAEMON_DISCOVERY_H_
#define KEELSON_KVSTORE_DAEMON_DISCOVERY_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/http/client.h"

namespace keelson::kvstore {

// The world of JoinByDiscovery; tests have another.
struct DiscoveryWorld {
  // Waits for an answer.
  std::function<absl::StatusOr<http::Response>(http::FetchRequest)> fetch;
  std::function<void(absl::Duration)> sleep;
  // False: give up, the process is to end.
  std::function<bool()> go_on;
  // What is going on, for the log.
  std::function<void(const std::string& what)> tell = [](const std::string&) {};
};

struct DiscoveryRequest {
  std::string url;      // of the folder, with its token
  std::string id;       // of this member, as it registers
  std::string members;  // "name=peer URL", for each of its peer URLs, joined by commas
};

// Registers, waits until as many have as the folder asks for, and returns them as for
// --initial-cluster. Trouble with the network or the service is waited out, ever more patiently.
//
// Errors, with etcd's texts:
//   INVALID_ARGUMENT     "discovery: size key is bad", an URL that cannot be asked.
//   NOT_FOUND            "discovery: size key not found".
//   FAILED_PRECONDITION  "discovery: cluster is full".
//   ALREADY_EXISTS       "discovery: found duplicate id" (this member has registered before) or
//                        "found duplicate name".
//   CANCELLED            go_on said so.
absl::StatusOr<std::string> JoinByDiscovery(const DiscoveryWorld& world,
                                            const DiscoveryRequest& request);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_DISCOVERY_H_
