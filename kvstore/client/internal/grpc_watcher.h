// A watch over one gRPC stream, resumed on another endpoint when the stream breaks.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_GRPC_WATCHER_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_GRPC_WATCHER_H_

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/caller.h"
#include "kvstore/client/internal/endpoint_pool.h"

namespace keelson::kvstore::client_internal {

class GrpcWatcher final : public Watcher {
 public:
  GrpcWatcher(std::shared_ptr<EndpointPool> pool, etcdserverpb::WatchCreateRequest request,
              WatchCallbacks callbacks);
  ~GrpcWatcher() override;

  void RequestProgress() override ABSL_LOCKS_EXCLUDED(write_mu_);

 private:
  using Stream = grpc::ClientReaderWriter<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>;

  void Run();
  // One life of the stream. Returns false when the watch is over.
  bool RunStream(const EndpointPool::Endpoint& endpoint);
  // Reads until the stream breaks or the server ends the watch; then returns false and has
  // called on_end.
  bool ReadAll(Stream& stream);
  void Deliver(const etcdserverpb::WatchResponse& response);
  void End(const absl::Status& status);
  void SetStream(Stream* stream) ABSL_LOCKS_EXCLUDED(write_mu_);

  const std::shared_ptr<EndpointPool> pool_;
  const WatchCallbacks callbacks_;

  // Of the thread alone. start_revision moves on with what was delivered.
  etcdserverpb::WatchCreateRequest request_;
  etcdserverpb::WatchResponse partial_;  // pieces of an answer so far
  bool has_partial_ = false;

  Cancellation cancellation_;
  // Orders writes to the stream: gRPC allows one at a time.
  absl::Mutex write_mu_;
  Stream* stream_ ABSL_GUARDED_BY(write_mu_) = nullptr;  // Lives in RunStream.
  std::thread thread_;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_GRPC_WATCHER_H_
