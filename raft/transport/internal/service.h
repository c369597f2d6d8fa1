// The receiving side: checks callers, decodes batches, stores snapshots.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_SERVICE_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_SERVICE_H_

#include <atomic>
#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/rpc/call.h"
#include "base/rpc/server.h"
#include "raft/transport/internal/hub.h"
#include "raft/transport/internal/partial_snapshots.h"

namespace keelson::raft::transport {

// The calls that are running, so that Stop can end them on a server that is not ours.
class ActiveCalls {
 public:
  void Add(const std::shared_ptr<rpc::Call>& call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    calls_.insert(call);
  }
  void Remove(const std::shared_ptr<rpc::Call>& call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    calls_.erase(call);
  }
  void EndAll() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    for (const auto& call : calls_) call->Finish(absl::UnavailableError("this node is stopping"));
  }

 private:
  absl::Mutex mu_;
  std::set<std::shared_ptr<rpc::Call>> calls_ ABSL_GUARDED_BY(mu_);
};

// Calls that come or go on after the hub has been closed are refused.
class RaftService {
 public:
  explicit RaftService(Hub& hub) : hub_(hub) {}

  // The server stops before this goes.
  void RegisterOn(rpc::Server& server);
  void EndAll() { calls_.EndAll(); }

 private:
  Hub& hub_;
  ActiveCalls calls_;
  std::atomic<int> receiving_{0};  // snapshots
  PartialSnapshots partials_;
};

// One incoming snapshot. `receiving` counts them.
std::shared_ptr<rpc::CallHandler> ReceiveSnapshot(Hub& hub, ActiveCalls& calls,
                                                  std::atomic<int>& receiving,
                                                  PartialSnapshots& partials,
                                                  const std::shared_ptr<rpc::Call>& call);

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_SERVICE_H_
