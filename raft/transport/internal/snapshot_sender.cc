#include "raft/transport/internal/snapshot_sender.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/rpc/client.h"
#include "base/status.h"
#include "raft/transport/codec.h"
#include "raft/transport/internal/caller.h"
#include "raft/transport/internal/pacer.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft::transport {
namespace {

// A transfer that breaks goes on after this pause, unless so many tries in a row brought nothing.
constexpr absl::Duration kPause = absl::Milliseconds(100);
constexpr int kMaxIdleTries = 3;

// One call of SendSnapshot, over a connection of its own. Dropped on the disk executor, since its
// connection cannot be closed on the loop while it is being told something.
class Call final : public rpc::ResponseHandler, public std::enable_shared_from_this<Call> {
 public:
  // Fills in the next part. True: it is the last one. On the disk executor.
  using Next = std::function<bool(v1::SnapshotPart& part, absl::Duration* wait)>;
  using Done = std::function<void(const absl::Status&, const v1::SnapshotResult&)>;

  Call(Hub& hub, const std::string& address, NodeId to)
      : hub_(hub), to_(to), channel_(OpenChannel(hub, address)) {}

  // Sends `first` and then what `next` gives; none without it. `done` runs on the disk executor.
  void Start(const v1::SnapshotPart& first, Next next, Done done) {
    next_ = std::move(next);
    done_ = std::move(done);
    part_ = first;
    last_ = next_ == nullptr;
    const auto call =
        channel_->Start(CallTo(hub_.options(), to_, kSnapshotMethod), shared_from_this());
    {
      absl::MutexLock lock(&mu_);
      call_ = call;
    }
    if (cancelled_) call->Cancel();
    Write();
  }
  void Cancel() {
    cancelled_ = true;
    if (const auto call = GetCall()) call->Cancel();
  }

  void OnMessage(std::string_view message) override {
    if (!result_.ParseFromArray(message.data(), static_cast<int>(message.size()))) result_.Clear();
  }
  void OnRoom() override { Continue(); }
  void OnDone(const absl::Status& status) override {
    ended_ = true;
    hub_.disk().Post([self = shared_from_this(), status] {
      self->done_(status, self->result_);
      {
        absl::MutexLock lock(&self->mu_);
        self->call_ = nullptr;
      }
      // When this returns the loop has let go of the call: it is not the last to do so.
      self->channel_->Close();
    });
  }

 private:
  std::shared_ptr<rpc::ClientCall> GetCall() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return call_;
  }

  void Continue() {
    hub_.disk().Post([self = shared_from_this()] {
      if (self->ended_ || self->last_) return;
      self->part_.Clear();
      absl::Duration wait;
      self->last_ = self->next_(self->part_, &wait);
      self->WriteAfter(wait);
    });
  }
  // In short steps, so that Cancel need not wait for it.
  void WriteAfter(absl::Duration wait) {
    if (wait <= absl::ZeroDuration() || cancelled_) return Write();
    const absl::Duration step = std::min(wait, kPause);
    hub_.disk().PostAfter(
        step, [self = shared_from_this(), wait, step] { self->WriteAfter(wait - step); });
  }
  void Write() {
    const auto call = GetCall();
    if (call == nullptr || ended_) return;
    const bool last = last_;
    const bool room = call->Send(part_.SerializeAsString());
    if (last) {
      call->HalfClose();
    } else if (room) {
      Continue();
    }  // Else OnRoom does.
  }

  Hub& hub_;
  const NodeId to_;
  const std::unique_ptr<rpc::Channel> channel_;
  // Of the disk executor.
  v1::SnapshotPart part_;
  Next next_;
  Done done_;
  bool last_ = false;
  v1::SnapshotResult result_;  // Of the loop until the end.
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> ended_{false};
  absl::Mutex mu_;
  std::shared_ptr<rpc::ClientCall> call_ ABSL_GUARDED_BY(mu_);
};

// A transfer: as many calls as it takes.
class Sender final : public SnapshotSender, public std::enable_shared_from_this<Sender> {
 public:
  Sender(Hub& hub, Hub::Pass pass, const std::string& address, Message message, bool resume,
         std::function<void(absl::Status)> done)
      : hub_(hub),
        pass_(std::move(pass)),
        address_(address),
        counters_(hub.Counters(message.to)),
        message_(std::move(message)),
        done_(std::move(done)),
        resume_(resume),
        pacer_(hub.options().snapshot_bytes_per_second) {}

  // On the disk executor, like all that follows.
  void Begin() {
    self_ = shared_from_this();
    store_ = hub_.SnapshotsOf(message_.group);
    if (store_ == nullptr) {
      Done(absl::FailedPreconditionError("this node stores no snapshots"));
      return;
    }
    Progress(absl::ZeroDuration());
    WatchProgress();
    if (resume_) {
      Ask();
    } else {
      Send({});
    }
  }

  void Cancel() override {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    if (call_ != nullptr) call_->Cancel();
  }

 private:
  // Asks how much of it the peer holds, then goes on behind that.
  void Ask() {
    v1::SnapshotPart part = Header();
    part.set_query(true);
    StartCall(part, nullptr, [this](const absl::Status& status, const v1::SnapshotResult& result) {
      // A peer that does not know the question takes it for a transfer that ends early.
      Held held;
      if (status.ok()) {
        held = {.chunks = result.held_chunks(), .crc = result.held_crc32c()};
      }
      if (held.chunks > furthest_) {
        furthest_ = held.chunks;
        idle_tries_ = 0;
      } else if (++idle_tries_ > kMaxIdleTries) {
        Done(failure_);
        return;
      }
      Send(held);
    });
  }

  struct Held {
    uint64_t chunks = 0;
    uint32_t crc = 0;
  };
  void Send(const Held& held) {
    absl::Status status = Skip(held);
    if (status.ok() && crc_ != held.crc) status = Skip({});  // It holds something else.
    if (!status.ok()) {
      Done(status);
      return;
    }
    const uint64_t first = chunks_;
    v1::SnapshotPart part = Header();
    part.set_first_chunk(first);
    StartCall(
        part, [this](v1::SnapshotPart& next, absl::Duration* wait) { return FillIn(next, wait); },
        [this, first](const absl::Status& done, const v1::SnapshotResult&) {
          OnSent(done, chunks_ > first);
        });
  }

  // Opens the snapshot and passes over what the peer holds.
  absl::Status Skip(const Held& held) {
    const SnapshotMetadata& metadata = message_.snapshot->metadata;
    KEELSON_ASSIGN_OR_RETURN(reader_, store_->OpenSnapshot(metadata.index, metadata.term));
    chunks_ = 0;
    total_bytes_ = 0;
    crc_ = 0;
    while (chunks_ < held.chunks) {
      KEELSON_ASSIGN_OR_RETURN(const std::string chunk, reader_->Next());
      if (chunk.empty()) break;
      Count(chunk);
    }
    return absl::OkStatus();
  }
  void Count(std::string_view chunk) {
    ++chunks_;
    total_bytes_ += chunk.size();
    crc_ = ExtendCrc32c(crc_, chunk);
  }

  bool FillIn(v1::SnapshotPart& part, absl::Duration* wait) {
    absl::StatusOr<std::string> chunk = reader_->Next();
    if (!chunk.ok()) {
      // Should it still get there, no count of chunks is like that.
      error_ = chunk.status();
      CancelCall();
      part.mutable_end()->set_chunks(std::numeric_limits<uint64_t>::max());
      return true;
    }
    if (chunk->empty()) {
      part.mutable_end()->set_chunks(chunks_);
      part.mutable_end()->set_total_bytes(total_bytes_);
      return true;
    }
    Count(*chunk);
    counters_->sent_bytes.fetch_add(chunk->size(), std::memory_order_relaxed);
    *wait = pacer_.Delay(RealClock().Monotonic(), chunk->size());
    Progress(*wait);
    part.mutable_chunk()->set_crc32c(Crc32c(*chunk));
    part.mutable_chunk()->set_data(*std::move(chunk));
    return false;
  }

  void OnSent(const absl::Status& status, bool sent_chunks) {
    if (!error_.ok() || status.ok()) {
      Done(error_.ok() ? status : error_);
      return;
    }
    // The connection broke, or a chunk was damaged on the way. Whom nothing reaches is left alone.
    const bool may_pass = absl::IsUnavailable(status) || absl::IsDataLoss(status);
    if (!may_pass || !sent_chunks || Cancelled()) {
      Done(status);
      return;
    }
    failure_ = status;
    hub_.disk().PostAfter(kPause, [this] { Cancelled() ? Done(failure_) : Ask(); });
  }

  v1::SnapshotPart Header() const {
    v1::SnapshotPart part;
    EncodeMessage(message_, part.mutable_header());
    return part;
  }

  void StartCall(const v1::SnapshotPart& first, Call::Next next, Call::Done done) {
    auto call = std::make_shared<Call>(hub_, address_, message_.to);
    {
      absl::MutexLock lock(&mu_);
      call_ = call;
      if (cancelled_) call->Cancel();
    }
    Progress(absl::ZeroDuration());
    call->Start(first, std::move(next), std::move(done));
  }
  void CancelCall() {
    absl::MutexLock lock(&mu_);
    if (call_ != nullptr) call_->Cancel();
  }
  bool Cancelled() const {
    absl::MutexLock lock(&mu_);
    return cancelled_;
  }

  // It will have made progress in `wait`, if all goes well.
  void Progress(absl::Duration wait) {
    last_progress_.store(absl::ToInt64Milliseconds(RealClock().Monotonic() + wait),
                         std::memory_order_relaxed);
  }

  void WatchProgress() {
    const absl::Duration limit = hub_.options().snapshot_stall_timeout;
    hub_.disk().PostAfter(limit / 4, [weak = weak_from_this(), limit] {
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
    {
      absl::MutexLock lock(&mu_);
      call_.reset();
    }
    const std::shared_ptr<Sender> keep = std::move(self_);
  }

  Hub& hub_;
  const Hub::Pass pass_;
  const std::string address_;
  const std::shared_ptr<PeerCounters> counters_;
  const Message message_;
  const std::function<void(absl::Status)> done_;
  const bool resume_;
  Pacer pacer_;
  std::shared_ptr<Sender> self_;          // from Begin to Done
  std::shared_ptr<SnapshotStore> store_;  // of the group
  std::unique_ptr<SnapshotReader> reader_;
  absl::Status error_;    // of reading
  absl::Status failure_;  // of the last call that broke
  uint64_t chunks_ = 0;   // of the snapshot, as far as it has been read
  uint64_t total_bytes_ = 0;
  uint32_t crc_ = 0;
  uint64_t furthest_ = 0;  // chunks that the peer was seen to hold
  int idle_tries_ = 0;
  std::atomic<int64_t> last_progress_{0};

  mutable absl::Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<Call> call_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<SnapshotSender> SnapshotSender::Start(Hub& hub, const std::string& address,
                                                      Message message, bool resume,
                                                      std::function<void(absl::Status)> done) {
  Hub::Pass pass = hub.Enter();
  if (!pass) return nullptr;
  auto sender = std::make_shared<Sender>(hub, std::move(pass), address, std::move(message), resume,
                                         std::move(done));
  hub.disk().Post([sender] { sender->Begin(); });
  return sender;
}

}  // namespace keelson::raft::transport
