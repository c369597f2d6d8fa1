// How a follower asks the leader about lease time, which only the leader knows.
#ifndef KEELSON_KVSTORE_SERVER_LEASE_FORWARDER_H_
#define KEELSON_KVSTORE_SERVER_LEASE_FORWARDER_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kvstore/api/rpc.pb.h"
#include "raft/types.h"

namespace keelson::kvstore {

// Thread-safe. `response` stays valid until `done` runs, once, on any thread. UNAVAILABLE when
// `leader` cannot be reached, DEADLINE_EXCEEDED after `timeout`; else what the leader said.
class LeaseForwarder {
 public:
  using Done = std::function<void(absl::Status)>;

  virtual ~LeaseForwarder() = default;
  virtual void KeepAlive(raft::NodeId leader, const etcdserverpb::LeaseKeepAliveRequest& request,
                         absl::Duration timeout, etcdserverpb::LeaseKeepAliveResponse* response,
                         Done done) = 0;
  virtual void TimeToLive(raft::NodeId leader, const etcdserverpb::LeaseTimeToLiveRequest& request,
                          absl::Duration timeout, etcdserverpb::LeaseTimeToLiveResponse* response,
                          Done done) = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_LEASE_FORWARDER_H_
