// One member of a cluster, wired from its parts: log, database, raft, transport, server, ports.
//
//   KEELSON_ASSIGN_OR_RETURN(auto member, Member::Start(options, hooks));
//   ... until a signal ...
//   member->Stop();
#ifndef KEELSON_KVSTORE_DAEMON_MEMBER_H_
#define KEELSON_KVSTORE_DAEMON_MEMBER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/config/options.h"

namespace keelson {
class MetricRegistry;
}  // namespace keelson

namespace keelson::rpc {
class Server;
}  // namespace keelson::rpc

namespace keelson::kvstore {

class Member {
 public:
  struct Hooks {
    // The cluster has a leader and knows this member. Once, on a thread of the member.
    std::function<void()> on_ready;
    // The member has been removed from the cluster for good and should be stopped. Once at most, on a
    // thread of the member.
    std::function<void()> on_removed;
    // The member cannot go on and acknowledges nothing any more: leave without cleaning up.
    std::function<void(const absl::Status&)> on_fatal;
  };

  // Checks the data directory, binds the ports, recovers, serves.
  //
  // Errors:
  //   ALREADY_EXISTS       a port is in use.
  //   FAILED_PRECONDITION  the data directory is not this member's, or in use by another process.
  //   DATA_LOSS            what is on disk is damaged; the message names file and offset.
  //   any other            from the system.
  static absl::StatusOr<std::unique_ptr<Member>> Start(const Options& options, Hooks hooks);

  // Stops if Stop was not called.
  virtual ~Member() = default;

  // Hands leadership over if it can be done quickly, ends running calls, closes everything.
  // Takes a few seconds at most. Idempotent.
  virtual void Stop() = 0;

  // Serves clients by `rpc` too, for instance within this process; call it before rpc->Start. Both are
  // borrowed, and `rpc` is stopped before the member.
  virtual void RegisterServices(rpc::Server* rpc, MetricRegistry* metrics) = 0;

  // Where clients connect: "host:port" with the real ports, in the order of the flags.
  [[nodiscard]] virtual std::vector<std::string> client_addresses() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_DAEMON_MEMBER_H_
