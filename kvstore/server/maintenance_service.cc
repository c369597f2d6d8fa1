#include "kvstore/server/maintenance_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/bbolt/writer.h"
#include "kvstore/migrate/digest.h"
#include "kvstore/migrate/etcd_database.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::SnapshotResponse;

constexpr size_t kChunkBytes = 32 * 1024;  // etcd's

// Streams the store as a bbolt database, which is made while it is sent (kvstore.md 10.5). What a
// slow client does not take holds up other backups, and nothing else.
class SnapshotHandler final : public rpc::CallHandler,
                              public std::enable_shared_from_this<SnapshotHandler> {
 public:
  SnapshotHandler(Server* server, std::shared_ptr<rpc::Call> call)
      : server_(server), call_(std::move(call)) {}

  void OnMessage(std::string_view) override {
    const absl::StatusOr<Origin> who =
        IdentifyCaller(server_, *call_, auth::RightOf("etcdserverpb.Maintenance", "Snapshot"));
    if (!who.ok()) return call_->Finish(who.status());
    if (std::exchange(started_, true)) {
      return call_->Finish(absl::InternalError("a snapshot is asked for by one message"));
    }
    server_->RunBackup([self = shared_from_this()] { self->call_->Finish(self->Stream()); });
  }

  void OnHalfClose() override {
    if (!started_) call_->Finish(absl::InternalError("a snapshot is asked for by one message"));
  }

  void OnRoom() override {
    absl::MutexLock lock(&mu_);
    room_ = true;
  }

  void OnDone() override {
    absl::MutexLock lock(&mu_);
    over_ = true;
  }

 private:
  absl::Status Stream() {
    KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<StoreImage> image, server_->store().TakeImage());
    const auto fill = [&](bbolt::Writer& writer) { return FillEtcdDatabase(*image, writer); };
    KEELSON_ASSIGN_OR_RETURN(const bbolt::Layout layout, bbolt::Measure(fill));
    remaining_ = layout.pages * bbolt::kPageBytes;
    KEELSON_RETURN_IF_ERROR(
        bbolt::Write(layout, fill, [this](std::string_view bytes) { return Take(bytes); }));
    KEELSON_RETURN_IF_ERROR(SendChunk());
    chunk_ = digest_.Take();
    return SendChunk();
  }

  absl::Status Take(std::string_view bytes) {
    digest_.Add(bytes);
    remaining_ -= bytes.size();
    while (!bytes.empty()) {
      const size_t fits = std::min(bytes.size(), kChunkBytes - chunk_.size());
      chunk_.append(bytes.substr(0, fits));
      bytes.remove_prefix(fits);
      if (chunk_.size() == kChunkBytes) KEELSON_RETURN_IF_ERROR(SendChunk());
    }
    return absl::OkStatus();
  }

  // Waits until the client has taken most of what it was sent.
  absl::Status SendChunk() {
    if (chunk_.empty()) return absl::OkStatus();
    SnapshotResponse response;
    response.set_remaining_bytes(remaining_);
    response.mutable_blob()->swap(chunk_);
    {
      const auto may_go_on = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return room_ || over_; };
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&may_go_on));
      if (over_) return absl::CancelledError("the client left");
      room_ = false;  // Before sending: OnRoom may come at once.
    }
    if (call_->Send(response.SerializeAsString())) OnRoom();
    return absl::OkStatus();
  }

  Server* const server_;
  const std::shared_ptr<rpc::Call> call_;
  bool started_ = false;

  // Used by Stream only.
  std::string chunk_;
  Sha256 digest_;
  uint64_t remaining_ = 0;

  absl::Mutex mu_;
  bool room_ ABSL_GUARDED_BY(mu_) = true;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

void RegisterMaintenance(MethodRegistrar& maintenance, Server* server) {
  maintenance.Unary("Alarm", &Server::Alarm);
  maintenance.Unary("Defragment", &Server::Defragment);
  maintenance.Unary("Hash", &Server::Hash);
  maintenance.Unary("HashKV", &Server::HashKV);
  maintenance.Unary("Downgrade", &Server::Downgrade);
  maintenance.ServerStream("Snapshot", [server](const std::shared_ptr<rpc::Call>& call) {
    return std::make_shared<SnapshotHandler>(server, call);
  });
}

}  // namespace keelson::kvstore
