// The Client over gRPC.
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/client/client.h"
#include "kvstore/client/internal/caller.h"
#include "kvstore/client/internal/endpoint_pool.h"
#include "kvstore/client/internal/generic_call.h"
#include "kvstore/client/internal/grpc_watcher.h"

namespace keelson::kvstore {
namespace {

using client_internal::CallEndpoint;
using client_internal::CallOptions;
using client_internal::Cancellation;
using client_internal::EndpointPool;
using client_internal::GrpcWatcher;
using client_internal::Repeat;
using client_internal::StreamingCall;
using client_internal::UnaryCall;

constexpr absl::Duration kRenewPauseMin = absl::Milliseconds(500);

// True when sending `request` twice changes nothing.
bool OnlyReads(const etcdserverpb::TxnRequest& request) {
  const auto is_range = [](const etcdserverpb::RequestOp& op) { return op.has_request_range(); };
  return std::all_of(request.success().begin(), request.success().end(), is_range) &&
         std::all_of(request.failure().begin(), request.failure().end(), is_range);
}

absl::StatusOr<etcdserverpb::LeaseKeepAliveResponse> Renew(EndpointPool& pool,
                                                           const CallOptions& options,
                                                           Cancellation* cancellation,
                                                           int64_t lease) {
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  etcdserverpb::LeaseKeepAliveResponse response;
  const absl::Status status = CallEndpoint(
      pool, options, Repeat::kAlways, cancellation,
      [&](const EndpointPool::Endpoint& endpoint, grpc::ClientContext* context) {
        const auto stream = endpoint.lease->LeaseKeepAlive(context);
        stream->Write(request);
        const bool answered = stream->Read(&response);
        stream->WritesDone();
        if (answered) context->TryCancel();  // The stream has done its work.
        const grpc::Status finished = stream->Finish();
        if (answered) return grpc::Status::OK;
        return finished.ok()
                   ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server closed the stream")
                   : finished;
      });
  if (!status.ok()) return status;
  if (response.ttl() <= 0) return absl::NotFoundError("etcdserver: requested lease not found");
  return response;
}

class GrpcKeepAlive final : public KeepAlive {
 public:
  GrpcKeepAlive(std::shared_ptr<EndpointPool> pool, CallOptions options, int64_t lease,
                absl::Duration ttl, KeepAliveCallbacks callbacks)
      : pool_(std::move(pool)),
        options_(options),
        lease_(lease),
        ttl_(ttl),
        callbacks_(std::move(callbacks)),
        thread_([this] { Run(); }) {}

  ~GrpcKeepAlive() override {
    cancellation_.Cancel();
    thread_.join();
  }

 private:
  void Run() {
    absl::Time alive_until = absl::Now() + ttl_;
    while (true) {
      const absl::Time sent = absl::Now();
      const auto renewed = Renew(*pool_, options_, &cancellation_, lease_);
      if (cancellation_.Cancelled()) return;
      if (renewed.ok()) {
        ttl_ = absl::Seconds(renewed->ttl());
        alive_until = sent + ttl_;  // The server counts from when it heard us, never earlier.
        if (callbacks_.on_renewed) callbacks_.on_renewed(*renewed);
      } else if (absl::IsNotFound(renewed.status()) || absl::Now() >= alive_until) {
        if (callbacks_.on_lost) callbacks_.on_lost(renewed.status());
        return;
      }
      const absl::Duration pause =
          renewed.ok() ? std::max(ttl_ / 3, kRenewPauseMin) : kRenewPauseMin / 5;
      if (cancellation_.WaitFor(pause)) return;
    }
  }

  const std::shared_ptr<EndpointPool> pool_;
  const CallOptions options_;
  const int64_t lease_;
  absl::Duration ttl_;  // Of the thread alone.
  const KeepAliveCallbacks callbacks_;
  Cancellation cancellation_;
  std::thread thread_;
};

class GrpcClient final : public Client {
 public:
  GrpcClient(std::shared_ptr<EndpointPool> pool, CallOptions options)
      : pool_(std::move(pool)), options_(options) {}

  absl::StatusOr<etcdserverpb::RangeResponse> Range(
      const etcdserverpb::RangeRequest& request) override {
    return Call<etcdserverpb::RangeResponse>(
        Repeat::kAlways, [&](auto& e, auto* c, auto* r) { return e.kv->Range(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::PutResponse> Put(const etcdserverpb::PutRequest& request) override {
    return Call<etcdserverpb::PutResponse>(
        Repeat::kIfNotSent, [&](auto& e, auto* c, auto* r) { return e.kv->Put(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::DeleteRangeResponse> DeleteRange(
      const etcdserverpb::DeleteRangeRequest& request) override {
    return Call<etcdserverpb::DeleteRangeResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.kv->DeleteRange(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::TxnResponse> Txn(const etcdserverpb::TxnRequest& request) override {
    return Call<etcdserverpb::TxnResponse>(
        OnlyReads(request) ? Repeat::kAlways : Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.kv->Txn(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::CompactionResponse> Compact(
      const etcdserverpb::CompactionRequest& request) override {
    return Call<etcdserverpb::CompactionResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.kv->Compact(c, request, r); });
  }

  absl::StatusOr<etcdserverpb::LeaseGrantResponse> LeaseGrant(
      const etcdserverpb::LeaseGrantRequest& request) override {
    return Call<etcdserverpb::LeaseGrantResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.lease->LeaseGrant(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::LeaseRevokeResponse> LeaseRevoke(int64_t lease) override {
    etcdserverpb::LeaseRevokeRequest request;
    request.set_id(lease);
    return Call<etcdserverpb::LeaseRevokeResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.lease->LeaseRevoke(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::LeaseTimeToLiveResponse> LeaseTimeToLive(int64_t lease,
                                                                        bool keys) override {
    etcdserverpb::LeaseTimeToLiveRequest request;
    request.set_id(lease);
    request.set_keys(keys);
    return Call<etcdserverpb::LeaseTimeToLiveResponse>(
        Repeat::kAlways,
        [&](auto& e, auto* c, auto* r) { return e.lease->LeaseTimeToLive(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::LeaseLeasesResponse> LeaseLeases() override {
    return Call<etcdserverpb::LeaseLeasesResponse>(Repeat::kAlways, [&](auto& e, auto* c, auto* r) {
      return e.lease->LeaseLeases(c, etcdserverpb::LeaseLeasesRequest(), r);
    });
  }
  absl::StatusOr<etcdserverpb::LeaseKeepAliveResponse> LeaseKeepAliveOnce(int64_t lease) override {
    Cancellation never;
    return Renew(*pool_, options_, &never, lease);
  }
  std::unique_ptr<KeepAlive> KeepLeaseAlive(int64_t lease, absl::Duration ttl,
                                            KeepAliveCallbacks callbacks) override {
    return std::make_unique<GrpcKeepAlive>(pool_, options_, lease, ttl, std::move(callbacks));
  }

  std::unique_ptr<Watcher> Watch(const etcdserverpb::WatchCreateRequest& request,
                                 WatchCallbacks callbacks) override {
    return std::make_unique<GrpcWatcher>(pool_, request, std::move(callbacks));
  }

  absl::StatusOr<etcdserverpb::MemberListResponse> MemberList() override {
    etcdserverpb::MemberListRequest request;
    request.set_linearizable(true);
    return Call<etcdserverpb::MemberListResponse>(Repeat::kAlways, [&](auto& e, auto* c, auto* r) {
      return e.cluster->MemberList(c, request, r);
    });
  }
  absl::StatusOr<etcdserverpb::MemberAddResponse> MemberAdd(
      const etcdserverpb::MemberAddRequest& request) override {
    return Call<etcdserverpb::MemberAddResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.cluster->MemberAdd(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::MemberRemoveResponse> MemberRemove(uint64_t id) override {
    etcdserverpb::MemberRemoveRequest request;
    request.set_id(id);
    return Call<etcdserverpb::MemberRemoveResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.cluster->MemberRemove(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::MemberUpdateResponse> MemberUpdate(
      uint64_t id, const std::vector<std::string>& peer_urls) override {
    etcdserverpb::MemberUpdateRequest request;
    request.set_id(id);
    for (const std::string& url : peer_urls) request.add_peerurls(url);
    return Call<etcdserverpb::MemberUpdateResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.cluster->MemberUpdate(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::MemberPromoteResponse> MemberPromote(uint64_t id) override {
    etcdserverpb::MemberPromoteRequest request;
    request.set_id(id);
    return Call<etcdserverpb::MemberPromoteResponse>(
        Repeat::kIfNotSent,
        [&](auto& e, auto* c, auto* r) { return e.cluster->MemberPromote(c, request, r); });
  }
  absl::StatusOr<etcdserverpb::StatusResponse> Status() override {
    return Call<etcdserverpb::StatusResponse>(Repeat::kAlways, [&](auto& e, auto* c, auto* r) {
      return e.maintenance->Status(c, etcdserverpb::StatusRequest(), r);
    });
  }
  absl::StatusOr<std::string> Invoke(const std::string& path, std::string request,
                                     bool may_repeat) override {
    std::string answer;
    Cancellation never;
    KEELSON_RETURN_IF_ERROR(
        CallEndpoint(*pool_, options_, may_repeat ? Repeat::kAlways : Repeat::kIfNotSent, &never,
                     [&](const EndpointPool::Endpoint& endpoint, grpc::ClientContext* context) {
                       return UnaryCall(endpoint.channel, path, request, context, &answer);
                     }));
    return answer;
  }
  absl::Status Snapshot(absl::Duration timeout,
                        absl::FunctionRef<absl::Status(std::string_view, uint64_t)> take) override {
    CallOptions patient = options_;
    patient.command_timeout = timeout;
    absl::Status taken;
    Cancellation never;
    const absl::Status status =
        CallEndpoint(*pool_, patient, Repeat::kIfNotSent, &never,
                     [&](const EndpointPool::Endpoint& endpoint, grpc::ClientContext* context) {
                       return StreamingCall(endpoint.channel, "/etcdserverpb.Maintenance/Snapshot",
                                            "", context, [&](std::string_view message) {
                                              taken = TakePiece(message, take);
                                              return taken.ok();
                                            });
                     });
    return taken.ok() ? status : taken;
  }

 private:
  static absl::Status TakePiece(std::string_view message,
                                absl::FunctionRef<absl::Status(std::string_view, uint64_t)> take) {
    etcdserverpb::SnapshotResponse piece;
    if (!piece.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return absl::DataLossError("a piece of the snapshot cannot be read");
    }
    return take(piece.blob(), piece.remaining_bytes());
  }

  template <typename Response, typename Method>
  absl::StatusOr<Response> Call(Repeat repeat, const Method& method) {
    Response response;
    Cancellation never;
    KEELSON_RETURN_IF_ERROR(
        CallEndpoint(*pool_, options_, repeat, &never,
                     [&](const EndpointPool::Endpoint& endpoint, grpc::ClientContext* context) {
                       response.Clear();
                       return method(endpoint, context, &response);
                     }));
    return response;
  }

  const std::shared_ptr<EndpointPool> pool_;  // Shared with watches and keep-alives.
  const CallOptions options_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Connect(const ConnectOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(std::shared_ptr<EndpointPool> pool, EndpointPool::Make(options));
  const CallOptions call_options{.dial_timeout = options.dial_timeout,
                                 .command_timeout = options.command_timeout};
  return std::make_unique<GrpcClient>(std::move(pool), call_options);
}

}  // namespace keelson::kvstore
