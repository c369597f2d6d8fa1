#include "raft/transport/internal/snapshot_sender.h"

#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/channel.h"
#include "raft/transport/raft.grpc.pb.h"

namespace keelson::raft::transport {
namespace {

class Sender final : public SnapshotSender,
                     public grpc::ClientWriteReactor<v1::SnapshotPart>,
                     public std::enable_shared_from_this<Sender> {
 public:
  Sender(Hub& hub, Hub::Pass pass, const std::string& address, Message message,
         std::function<void(absl::Status)> done)
      : hub_(hub),
        pass_(std::move(pass)),
        address_(address),
        counters_(hub.Counters(message.to)),
        message_(std::move(message)),
        done_(std::move(done)) {
    AddCallerMetadata(hub.options(), message_.to, context_);
  }

  // On the disk executor, like all that reads.
  void Begin() {
    self_ = shared_from_this();
    if (hub_.options().snapshots == nullptr) {
      Done(absl::FailedPreconditionError("this node stores no snapshots"));
      return;
    }
    const SnapshotMetadata& metadata = message_.snapshot->metadata;
    auto reader = hub_.options().snapshots->OpenSnapshot(metadata.index, metadata.term);
    if (!reader.ok()) {
      Done(reader.status());
      return;
    }
    reader_ = *std::move(reader);
    channel_ = OpenChannel(hub_.options(), address_);
    hub_.Keep(channel_);
    stub_ = v1::RaftTransport::NewStub(channel_);
    stub_->async()->SendSnapshot(&context_, &result_, this);
    AddHold();
    EncodeMessage(message_, part_.mutable_header());
    Progress();
    StartWrite(&part_);
    StartCall();
    WatchProgress();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnWriteDone(bool ok) override {
    Progress();
    if (!ok || last_) {
      RemoveHold();
      return;
    }
    hub_.disk().Post([this] { WriteNext(); });
  }

  void OnDone(const grpc::Status& status) override {
    Done(error_.ok() ? FromGrpc(status) : error_);
  }

 private:
  void WriteNext() {
    absl::StatusOr<std::string> chunk = reader_->Next();
    if (!chunk.ok()) {
      error_ = chunk.status();
      context_.TryCancel();
      RemoveHold();
      return;
    }
    part_.Clear();
    if (chunk->empty()) {
      part_.mutable_end()->set_chunks(chunks_);
      part_.mutable_end()->set_total_bytes(total_bytes_);
      last_ = true;
      StartWriteLast(&part_, grpc::WriteOptions());
      return;
    }
    ++chunks_;
    total_bytes_ += chunk->size();
    counters_->sent_bytes.fetch_add(chunk->size(), std::memory_order_relaxed);
    part_.mutable_chunk()->set_crc32c(Crc32c(*chunk));
    part_.mutable_chunk()->set_data(*std::move(chunk));
    StartWrite(&part_);
  }

  void Progress() {
    last_progress_.store(absl::ToInt64Milliseconds(RealClock().Monotonic()),
                         std::memory_order_relaxed);
  }

  void WatchProgress() {
    const absl::Duration limit = hub_.options().snapshot_stall_timeout;
    hub_.timers().PostAfter(limit / 4, [weak = weak_from_this(), limit] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      const int64_t now = absl::ToInt64Milliseconds(RealClock().Monotonic());
      if (now - self->last_progress_.load(std::memory_order_relaxed) >
          absl::ToInt64Milliseconds(limit)) {
        self->Cancel();
        return;
      }
      self->WatchProgress();
    });
  }

  // The last act.
  void Done(const absl::Status& status) {
    done_(status);
    const std::shared_ptr<Sender> keep = std::move(self_);
  }

  Hub& hub_;
  const Hub::Pass pass_;  // goes last: when it is gone, so are all uses of the channel
  const std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::RaftTransport::Stub> stub_;
  const std::shared_ptr<PeerCounters> counters_;
  const Message message_;
  const std::function<void(absl::Status)> done_;
  std::shared_ptr<Sender> self_;  // from Begin to Done
  grpc::ClientContext context_;
  v1::SnapshotResult result_;
  v1::SnapshotPart part_;
  std::unique_ptr<SnapshotReader> reader_;
  bool last_ = false;
  absl::Status error_;
  uint64_t chunks_ = 0;
  uint64_t total_bytes_ = 0;
  std::atomic<int64_t> last_progress_{0};
};

}  // namespace

std::shared_ptr<SnapshotSender> SnapshotSender::Start(Hub& hub, const std::string& address,
                                                      Message message,
                                                      std::function<void(absl::Status)> done) {
  Hub::Pass pass = hub.Enter();
  if (!pass) return nullptr;
  auto sender =
      std::make_shared<Sender>(hub, std::move(pass), address, std::move(message), std::move(done));
  hub.disk().Post([sender] { sender->Begin(); });
  return sender;
}

}  // namespace keelson::raft::transport
