// A watch over one stream, resumed on another member when the stream breaks.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_WATCH_STATE_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_WATCH_STATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/callback_queue.h"
#include "kvstore/client/internal/core.h"

namespace keelson::kvstore::client_internal {

// Of the loop alone.
class WatchState : public std::enable_shared_from_this<WatchState> {
 public:
  WatchState(ClientCore* core, etcdserverpb::WatchCreateRequest request, WatchCallbacks callbacks);

  void Open();
  void RequestProgress();
  // Nothing is called any more once the queue is closed too.
  void Cancel();
  [[nodiscard]] CallbackQueue& queue() { return *queue_; }  // any thread

 private:
  class Stream;

  void Send(const std::string& token);
  void OnMessage(uint64_t stream, std::string_view message);
  void OnDone(uint64_t stream, const absl::Status& status);
  void OnCanceled(const etcdserverpb::WatchResponse& response);
  void Collect(etcdserverpb::WatchResponse response);
  void Deliver(etcdserverpb::WatchResponse response);
  // Forgets the stream; what it still says is dropped.
  void Leave();
  void OpenLater();
  void End(const absl::Status& status);

  ClientCore* const core_;
  const std::shared_ptr<const WatchCallbacks> callbacks_;
  const std::shared_ptr<CallbackQueue> queue_;
  // start_revision moves on with what was handed to the queue.
  etcdserverpb::WatchCreateRequest request_;
  etcdserverpb::WatchResponse partial_;  // pieces of an answer so far
  bool has_partial_ = false;
  bool over_ = false;
  uint64_t stream_ = 0;  // number of the one that counts
  bool created_ = false;
  bool wants_progress_ = false;  // asked for while there was no stream
  std::shared_ptr<Endpoint> endpoint_;
  std::shared_ptr<rpc::ClientCall> call_;
  std::string token_;
  bool token_was_new_ = false;
  absl::Duration backoff_;
};

// What the user holds: ends the watch with itself.
std::unique_ptr<Watcher> StartWatch(std::shared_ptr<ClientCore> core,
                                    etcdserverpb::WatchCreateRequest request,
                                    WatchCallbacks callbacks);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_WATCH_STATE_H_
