// The receiving side: checks callers, decodes batches, stores snapshots.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_SERVICE_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "raft/transport/internal/hub.h"
#include "raft/transport/internal/partial_snapshots.h"
#include "raft/transport/raft.grpc.pb.h"

namespace keelson::raft::transport {

// The calls that are running, so that Stop can cancel them on a server that is not ours.
class ActiveCalls {
 public:
  void Add(grpc::CallbackServerContext* call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    calls_.insert(call);
    if (cancelled_) call->TryCancel();
  }
  void Remove(grpc::CallbackServerContext* call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    calls_.erase(call);
  }
  // Those that run and those that come.
  void CancelAll() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    for (grpc::CallbackServerContext* call : calls_) call->TryCancel();
  }

 private:
  absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::set<grpc::CallbackServerContext*> calls_ ABSL_GUARDED_BY(mu_);
};

// Batches come as raw bytes, so that payloads are copied once, into their entries.
class RaftService final
    : public v1::RaftTransport::WithRawCallbackMethod_Stream<
          v1::RaftTransport::WithCallbackMethod_SendSnapshot<v1::RaftTransport::Service>> {
 public:
  explicit RaftService(Hub& hub) : hub_(hub) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Stream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerReadReactor<v1::SnapshotPart>* SendSnapshot(grpc::CallbackServerContext* context,
                                                          v1::SnapshotResult* result) override;

  void CancelAll() { calls_.CancelAll(); }

 private:
  Hub& hub_;
  ActiveCalls calls_;
  std::atomic<int> receiving_{0};  // snapshots
  PartialSnapshots partials_;
};

// One incoming snapshot; deletes itself when the call is done. `receiving` counts them.
grpc::ServerReadReactor<v1::SnapshotPart>* NewSnapshotReceiver(Hub& hub, ActiveCalls& calls,
                                                               std::atomic<int>& receiving,
                                                               PartialSnapshots& partials,
                                                               grpc::CallbackServerContext* context,
                                                               v1::SnapshotResult* result);

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_SERVICE_H_
