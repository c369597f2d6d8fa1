#include "kvstore/client/internal/rpc_client.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/client/internal/keep_alive_state.h"
#include "kvstore/client/internal/stream_call.h"
#include "kvstore/client/internal/watch_state.h"

namespace keelson::kvstore::client_internal {
namespace {

using namespace etcdserverpb;  // NOLINT: the messages of all methods

// True when sending `request` twice changes nothing.
bool OnlyReads(const TxnRequest& request) {
  const auto reads = [](const RequestOp& op) {
    return op.has_request_range() || (op.has_request_txn() && OnlyReads(op.request_txn()));
  };
  return std::all_of(request.success().begin(), request.success().end(), reads) &&
         std::all_of(request.failure().begin(), request.failure().end(), reads);
}

class RpcClient final : public Client {
 public:
  explicit RpcClient(std::shared_ptr<ClientCore> core) : core_(std::move(core)) {}

  absl::StatusOr<RangeResponse> Range(const RangeRequest& request) override {
    UnaryRequest call = Read("/etcdserverpb.KV/Range", request);
    // Whoever is content with an old value is so with that of a member alone.
    call.wants_leader = !request.serializable();
    return Call<RangeResponse>(std::move(call));
  }
  absl::StatusOr<PutResponse> Put(const PutRequest& request) override {
    return Call<PutResponse>(Write("/etcdserverpb.KV/Put", request));
  }
  absl::StatusOr<DeleteRangeResponse> DeleteRange(const DeleteRangeRequest& request) override {
    return Call<DeleteRangeResponse>(Write("/etcdserverpb.KV/DeleteRange", request));
  }
  absl::StatusOr<TxnResponse> Txn(const TxnRequest& request) override {
    constexpr char kPath[] = "/etcdserverpb.KV/Txn";
    return Call<TxnResponse>(OnlyReads(request) ? Read(kPath, request) : Write(kPath, request));
  }
  absl::StatusOr<CompactionResponse> Compact(const CompactionRequest& request) override {
    return Call<CompactionResponse>(Write("/etcdserverpb.KV/Compact", request));
  }

  absl::StatusOr<LeaseGrantResponse> LeaseGrant(const LeaseGrantRequest& request) override {
    return Call<LeaseGrantResponse>(Write("/etcdserverpb.Lease/LeaseGrant", request));
  }
  absl::StatusOr<LeaseRevokeResponse> LeaseRevoke(int64_t lease) override {
    LeaseRevokeRequest request;
    request.set_id(lease);
    return Call<LeaseRevokeResponse>(Write("/etcdserverpb.Lease/LeaseRevoke", request));
  }
  absl::StatusOr<LeaseTimeToLiveResponse> LeaseTimeToLive(int64_t lease, bool keys) override {
    LeaseTimeToLiveRequest request;
    request.set_id(lease);
    request.set_keys(keys);
    return Call<LeaseTimeToLiveResponse>(Read("/etcdserverpb.Lease/LeaseTimeToLive", request));
  }
  absl::StatusOr<LeaseLeasesResponse> LeaseLeases() override {
    return Call<LeaseLeasesResponse>(Read("/etcdserverpb.Lease/LeaseLeases", LeaseLeasesRequest()));
  }
  absl::StatusOr<LeaseKeepAliveResponse> LeaseKeepAliveOnce(int64_t lease) override {
    return ReadRenewal(core_->Call(RenewalOf(lease, core_->options().command_timeout)));
  }
  std::unique_ptr<KeepAlive> KeepLeaseAlive(int64_t lease, absl::Duration ttl,
                                            KeepAliveCallbacks callbacks) override {
    return StartKeepAlive(core_, lease, ttl, std::move(callbacks));
  }

  std::unique_ptr<Watcher> Watch(const WatchCreateRequest& request,
                                 WatchCallbacks callbacks) override {
    return StartWatch(core_, request, std::move(callbacks));
  }

  absl::StatusOr<std::string> Invoke(const std::string& path, std::string request,
                                     bool may_repeat) override {
    return core_->Call(
        {.path = path,
         .bytes = std::move(request),
         .repeat = may_repeat ? Repeat::kAlways : Repeat::kIfNotDone,
         .wants_leader = false,  // Who says nothing about it gets what the member says.
         .timeout = core_->options().command_timeout});
  }

  absl::Status Snapshot(absl::Duration timeout,
                        absl::FunctionRef<absl::Status(std::string_view, uint64_t)> take) override {
    return CallStream(
        core_, "/etcdserverpb.Maintenance/Snapshot", "", timeout, [&](std::string_view message) {
          SnapshotResponse piece;
          if (!piece.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
            return absl::DataLossError("a piece of the snapshot cannot be read");
          }
          return take(piece.blob(), piece.remaining_bytes());
        });
  }

  absl::Status SyncEndpoints() override;
  std::vector<std::string> Endpoints() override {
    std::vector<std::string> names;
    core_->runtime().RunOnLoop([&] { names = core_->pool().Names(); });
    return names;
  }
  absl::Duration Monotonic() override { return core_->runtime().Monotonic(); }
  bool Await(absl::Mutex* mu, const absl::Condition& condition, absl::Duration timeout) override {
    return core_->runtime().Await(mu, condition, timeout);
  }

  absl::StatusOr<MemberListResponse> MemberList() override {
    MemberListRequest request;
    request.set_linearizable(true);
    return Call<MemberListResponse>(Read("/etcdserverpb.Cluster/MemberList", request));
  }
  absl::StatusOr<MemberAddResponse> MemberAdd(const MemberAddRequest& request) override {
    return Call<MemberAddResponse>(Write("/etcdserverpb.Cluster/MemberAdd", request));
  }
  absl::StatusOr<MemberRemoveResponse> MemberRemove(uint64_t id) override {
    MemberRemoveRequest request;
    request.set_id(id);
    return Call<MemberRemoveResponse>(Write("/etcdserverpb.Cluster/MemberRemove", request));
  }
  absl::StatusOr<MemberUpdateResponse> MemberUpdate(
      uint64_t id, const std::vector<std::string>& peer_urls) override {
    MemberUpdateRequest request;
    request.set_id(id);
    for (const std::string& url : peer_urls) request.add_peerurls(url);
    return Call<MemberUpdateResponse>(Write("/etcdserverpb.Cluster/MemberUpdate", request));
  }
  absl::StatusOr<MemberPromoteResponse> MemberPromote(uint64_t id) override {
    MemberPromoteRequest request;
    request.set_id(id);
    return Call<MemberPromoteResponse>(Write("/etcdserverpb.Cluster/MemberPromote", request));
  }
  absl::StatusOr<StatusResponse> Status() override {
    UnaryRequest call = Read("/etcdserverpb.Maintenance/Status", StatusRequest());
    call.wants_leader = false;
    return Call<StatusResponse>(std::move(call));
  }

 private:
  template <typename Request>
  UnaryRequest Read(const char* path, const Request& request) {
    return {.path = path,
            .bytes = request.SerializeAsString(),
            .repeat = Repeat::kAlways,
            .timeout = core_->options().command_timeout};
  }
  template <typename Request>
  UnaryRequest Write(const char* path, const Request& request) {
    return {.path = path,
            .bytes = request.SerializeAsString(),
            .repeat = Repeat::kIfNotDone,
            .timeout = core_->options().command_timeout};
  }
  template <typename Response>
  absl::StatusOr<Response> Call(UnaryRequest request) {
    KEELSON_ASSIGN_OR_RETURN(const std::string bytes, core_->Call(std::move(request)));
    Response response;
    if (!response.ParseFromString(bytes)) {
      return absl::InternalError("an answer cannot be decoded");
    }
    return response;
  }

  const std::shared_ptr<ClientCore> core_;  // Shared with watches and keep-alives.
};

absl::Status RpcClient::SyncEndpoints() {
  struct Outcome {
    absl::Mutex mu;
    bool came ABSL_GUARDED_BY(mu) = false;
    absl::Status status ABSL_GUARDED_BY(mu);
  };
  const auto outcome = std::make_shared<Outcome>();
  core_->runtime().loop().Post([core = core_.get(), outcome] {
    core->Sync([outcome](const absl::Status& status) {
      absl::MutexLock lock(&outcome->mu);
      outcome->status = status;
      outcome->came = true;
    });
  });
  absl::MutexLock lock(&outcome->mu);
  if (!core_->runtime().Await(&outcome->mu, absl::Condition(&outcome->came),
                              absl::InfiniteDuration())) {
    return absl::InternalError("the simulation has come to its end");
  }
  return outcome->status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> MakeClient(std::unique_ptr<Runtime> runtime,
                                                   const std::vector<std::string>& endpoints,
                                                   const CoreOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(std::shared_ptr<ClientCore> core,
                           ClientCore::Make(std::move(runtime), endpoints, options));
  return std::make_unique<RpcClient>(std::move(core));
}

}  // namespace keelson::kvstore::client_internal
