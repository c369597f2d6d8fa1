#include "kvstore/server/range_stream.h"

#include <optional>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/server/range_pages.h"
#include "kvstore/server/service_support.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::RangeRequest;

// Small enough for the first pairs to come soon, large enough for a read to be worth its start.
constexpr size_t kChunkBytes = 256 << 10;

// Reads a piece, sends it, and reads the next one when the client has taken most of what it was sent.
class RangeStreamHandler final : public rpc::CallHandler,
                                 public std::enable_shared_from_this<RangeStreamHandler> {
 public:
  RangeStreamHandler(Server* server, std::shared_ptr<rpc::Call> call)
      : server_(server), call_(std::move(call)) {}

  void OnMessage(std::string_view message) override {
    RangeRequest request;
    if (pages_.has_value() ||
        !request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("a range is asked for by one message"));
    }
    absl::Status valid = ValidateRange(request);
    if (valid.ok()) valid = ValidateStreamedRange(request);
    if (!valid.ok()) return call_->Finish(valid);
    absl::StatusOr<Origin> who =
        IdentifyCaller(server_, *call_, auth::RightOf("etcdserverpb.KV", "RangeStream"));
    if (!who.ok()) return call_->Finish(who.status());
    who_ = *std::move(who);
    pages_.emplace(std::move(request));
    GoOn();
  }

  void OnHalfClose() override {
    if (!pages_.has_value())
      call_->Finish(absl::InternalError("a range is asked for by one message"));
  }

  void OnRoom() override {
    {
      absl::MutexLock lock(&mu_);
      room_ = true;
    }
    GoOn();
  }

  void OnDone() override {
    absl::MutexLock lock(&mu_);
    over_ = true;
  }

 private:
  // Reads the next piece if nobody is at it. Pieces are read one after the other, so that what is below
  // `mu_` in this class belongs to the one who reads.
  void GoOn() {
    {
      absl::MutexLock lock(&mu_);
      if (reading_ || !room_ || over_) return;
      reading_ = true;
      room_ = false;  // Before sending: OnRoom may come at once.
    }
    response_.Clear();
    auto done = [self = shared_from_this()](const absl::Status& status) { self->Send(status); };
    if (pages_->request().count_only()) {
      server_->Range(pages_->request(), &response_, std::move(done), who_);
    } else {
      server_->RangeChunk(pages_->request(), kChunkBytes, &response_, std::move(done), who_);
    }
  }

  void Send(const absl::Status& status) {
    if (!status.ok()) return call_->Finish(status);
    const std::string message = pages_->Take(std::move(response_)).SerializeAsString();
    if (pages_->done()) return call_->Answer(message);
    const bool room = call_->Send(message);
    {
      absl::MutexLock lock(&mu_);
      reading_ = false;
      room_ = room_ || room;
    }
    GoOn();
  }

  Server* const server_;
  const std::shared_ptr<rpc::Call> call_;

  absl::Mutex mu_;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool room_ ABSL_GUARDED_BY(mu_) = true;
  bool over_ ABSL_GUARDED_BY(mu_) = false;

  Origin who_;
  std::optional<RangePages> pages_;
  etcdserverpb::RangeResponse response_;
};

}  // namespace

std::shared_ptr<rpc::CallHandler> StartRangeStream(Server* server,
                                                   const std::shared_ptr<rpc::Call>& call) {
  return std::make_shared<RangeStreamHandler>(server, call);
}

}  // namespace keelson::kvstore
