// Learns the founding members of a cluster from a discovery service: a folder of somebody's version 2
// keys, in which each founder registers (kvstore.md 16.1).
#ifndef KEELSON_KVSTORE_DAEMON_DISCOVERY_H_
#define KEELSON_KVSTORE_DAEMON_DISCOVERY_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/http/client.h"

namespace keelson::kvstore {

// The world of those who discover; tests have another.
struct DiscoveryWorld {
  std::function<void(absl::Duration)> sleep;
  // False: give up, the process is to end.
  std::function<bool()> go_on;
  // What is going on, for the log.
  std::function<void(const std::string& what)> tell = [](const std::string&) {};
};

// Waits before another attempt after `why`, ever longer up to some minutes: `attempt` counts from 0.
// Ends early when the process is to end.
void BackOff(const DiscoveryWorld& world, int attempt, const std::string& why);

// What a founder registers.
struct DiscoveryRequest {
  std::string id;       // of this member
  std::string members;  // "name=peer URL", for each of its peer URLs, joined by commas
};

// What the founders have registered (DiscoveryRequest::members), as for --initial-cluster.
// ALREADY_EXISTS "discovery: found duplicate name" when two have the same name.
absl::StatusOr<std::string> InitialClusterOf(const std::vector<std::string>& registered);

// Waits for an answer.
using DiscoveryFetch = std::function<absl::StatusOr<http::Response>(http::FetchRequest)>;

// Registers in the folder at `url`, which ends with its token, waits until as many have as the folder
// asks for, and returns them as for --initial-cluster. Trouble with the network or the service is waited
// out, ever more patiently.
//
// Errors, with etcd's texts:
//   INVALID_ARGUMENT     "discovery: size key is bad", an URL that cannot be asked.
//   NOT_FOUND            "discovery: size key not found".
//   FAILED_PRECONDITION  "discovery: cluster is full".
//   ALREADY_EXISTS       "discovery: found duplicate id" (this member has registered before) or
//                        as InitialClusterOf.
//   CANCELLED            go_on said so.
absl::StatusOr<std::string> JoinByDiscovery(const DiscoveryFetch& fetch,
                                            const DiscoveryWorld& world, const std::string& url,
                                            const DiscoveryRequest& request);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_DISCOVERY_H_
