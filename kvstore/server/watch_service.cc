#include "kvstore/server/watch_service.h"

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kvstore/server/service_support.h"
#include "kvstore/server/watch_hub.h"
#include "kvstore/server/watch_stream.h"

namespace keelson::kvstore {
namespace {

// A status as Go's gRPC prints it, which is what etcd puts into the reason.
std::string GoText(const absl::Status& status) {
  const char* code = "Unknown";
  if (absl::IsPermissionDenied(status)) code = "PermissionDenied";
  if (absl::IsUnauthenticated(status)) code = "Unauthenticated";
  if (absl::IsInvalidArgument(status)) code = "InvalidArgument";
  return absl::StrCat("rpc error: code = ", code, " desc = ", status.message());
}

// Whoever makes the stream's Next return nothing leaves the duty to write with the hub, which
// passes it on by Wake; whoever is told that there is no room leaves it with OnRoom. So there is
// one writer at a time.
class WatchHandler final : public rpc::CallHandler,
                           public WatchWaker,
                           public std::enable_shared_from_this<WatchHandler> {
 public:
  WatchHandler(Server* server, std::shared_ptr<rpc::Call> call)
      : server_(server), call_(std::move(call)) {}

  void Start() {
    stream_ = server_->watch_hub().Open(weak_from_this());
    leader_requirement_.emplace(server_, call_);
  }

  void OnMessage(std::string_view message) override {
    etcdserverpb::WatchRequest request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("a watch request cannot be decoded"));
    }
    if (request.has_create_request() && !MayWatch(request.create_request())) return;
    stream_->Handle(request);
    // A client that asks and does not read is not listened to until it does.
    if (!stream_->Crowded()) return;
    call_->Pause();
    read_waits_.store(true);
    ReadOn();
  }

  // The client has said all: the stream ends, as with etcd.
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }

  void Wake() override { WriteAll(); }
  void OnRoom() override { WriteAll(); }

  void OnDone() override {
    stream_->Close();
    leader_requirement_.reset();
  }

 private:
  // A watch that is not allowed ends with the answer that creates it (kvstore.md 6.7).
  bool MayWatch(const etcdserverpb::WatchCreateRequest& request) {
    const absl::StatusOr<Origin> who = IdentifyCaller(server_, *call_, auth::Right::kOwnKeys);
    const absl::Status allowed = who.ok() ? server_->CheckWatch(request, *who) : who.status();
    if (allowed.ok()) return true;
    etcdserverpb::WatchResponse response;
    server_->FillWatchHeader(response.mutable_header());
    response.set_watch_id(-1);
    response.set_created(true);
    response.set_canceled(true);
    response.set_cancel_reason(GoText(allowed));
    // By the queue: whoever sends beside it could be told of room, and write as a second one.
    stream_->Answer(response);
    return false;
  }

  void WriteAll() {
    while (std::optional<std::string> response = stream_->Next()) {
      ReadOn();
      if (!call_->Send(*std::move(response))) return;
    }
  }

  void ReadOn() {
    if (!stream_->Crowded() && read_waits_.exchange(false)) call_->Resume();
  }

  Server* const server_;
  const std::shared_ptr<rpc::Call> call_;
  std::shared_ptr<WatchStream> stream_;
  std::optional<LeaderRequirement> leader_requirement_;  // until OnDone
  std::atomic<bool> read_waits_{false};
};

}  // namespace

std::shared_ptr<rpc::CallHandler> StartWatch(Server* server,
                                             const std::shared_ptr<rpc::Call>& call) {
  auto handler = std::make_shared<WatchHandler>(server, call);
  handler->Start();
  return handler;
}

}  // namespace keelson::kvstore
