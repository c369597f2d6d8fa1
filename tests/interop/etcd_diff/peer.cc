#include "tests/interop/etcd_diff/peer.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <deque>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"

namespace keelson::etcd_diff {
namespace {

grpc::ByteBuffer Serialize(const google::protobuf::Message& message) {
  const std::string bytes = message.SerializeAsString();
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  KEELSON_CHECK(buffer.Dump(&slices).ok());
  std::string out;
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

class GrpcPeer final : public Peer {
 public:
  explicit GrpcPeer(const std::string& endpoint) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    channel_ = grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
    watch_ = stub_->PrepareCall(&watch_context_, "/etcdserverpb.Watch/Watch", &watch_queue_);
    watch_->StartCall(Tag(kStarted));
    KEELSON_CHECK(Next(watch_queue_) == kStarted) << "no watch stream at " << endpoint;
    watch_->Read(&watch_buffer_, Tag(kRead));
    reader_ = std::thread([this] { ReadWatches(); });
  }

  ~GrpcPeer() override {
    watch_context_.TryCancel();
    reader_.join();
  }

  void Begin(const Operation& operation, const std::string& user) override {
    calls_.push_back(std::make_unique<Call>());
    Call& call = *calls_.back();
    call.context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    if (!user.empty()) call.context.AddMetadata("token", tokens_[user]);
    const std::string method = absl::StrCat("/etcdserverpb.", operation.method);
    ++call.pending;
    if (operation.method == "Lease/LeaseKeepAlive") {
      call.request = Serialize(*operation.request);
      call.stream = stub_->PrepareCall(&call.context, method, &queue_);
      call.stream->StartCall(&call);
      return;
    }
    call.unary =
        stub_->PrepareUnaryCall(&call.context, method, Serialize(*operation.request), &queue_);
    call.unary->StartCall();
    call.unary->Finish(&call.buffer, &call.status, &call);
  }

  absl::Status End(google::protobuf::Message* response) override {
    const std::unique_ptr<Call> call = std::move(calls_.front());
    calls_.pop_front();
    Await(*call);
    if (call->stream != nullptr) Exchange(*call);
    response->Clear();
    if (!call->status.ok()) {
      return {static_cast<absl::StatusCode>(call->status.error_code()),
              call->status.error_message()};
    }
    KEELSON_CHECK(response->ParseFromString(Bytes(call->buffer)));
    response->DiscardUnknownFields();
    return absl::OkStatus();
  }

  void SetToken(const std::string& user, const std::string& token) override {
    tokens_[user] = token;
  }

  void SendWatch(const etcdserverpb::WatchRequest& request) override {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(&can_write_));
      can_write_ = false;
    }
    watch_->Write(Serialize(request), Tag(kWritten));
  }

  std::map<int64_t, Watched> watched() override {
    absl::MutexLock lock(&mu_);
    return watched_;
  }
  size_t events_of(int64_t watch_id) override {
    absl::MutexLock lock(&mu_);
    return watched_[watch_id].events.size();
  }
  void Forget(const std::map<int64_t, Watched>& seen, const std::vector<int64_t>& ended) override {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, part] : seen) {
      std::vector<std::string>& events = watched_[id].events;
      events.erase(events.begin(), events.begin() + static_cast<ptrdiff_t>(part.events.size()));
    }
    for (const int64_t id : ended) watched_.erase(id);
  }
  Made made() override {
    absl::MutexLock lock(&mu_);
    return made_;
  }
  bool ended(int64_t watch_id) override {
    absl::MutexLock lock(&mu_);
    return watched_[watch_id].ended;
  }
  std::pair<int64_t, size_t> progress() override {
    absl::MutexLock lock(&mu_);
    return progress_;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncResponseReader> unary;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;  // instead: a stream of one
    grpc::ByteBuffer request;
    grpc::ByteBuffer buffer;
    grpc::Status status;
    int pending = 0;
  };

  // Until nothing of `call` is under way.
  void Await(const Call& call) {
    while (call.pending > 0) {
      void* tag = nullptr;
      bool ok = false;
      KEELSON_CHECK(queue_.Next(&tag, &ok));
      --static_cast<Call*>(tag)->pending;
    }
  }

  // One request and one answer on a stream that has been started.
  void Exchange(Call& call) {
    call.stream->Write(call.request, &call);
    ++call.pending;
    Await(call);
    call.stream->Read(&call.buffer, &call);
    ++call.pending;
    Await(call);
    call.stream->WritesDone(&call);
    call.stream->Finish(&call.status, &call);
    call.pending += 2;
    Await(call);
  }

  enum : intptr_t { kFailed, kStarted, kRead, kWritten };
  // NOLINTNEXTLINE(performance-no-int-to-ptr): nobody follows it.
  static void* Tag(intptr_t tag) { return reinterpret_cast<void*>(tag); }

  static intptr_t Next(grpc::CompletionQueue& queue) {
    void* tag = nullptr;
    bool ok = false;
    if (!queue.Next(&tag, &ok) || !ok) return kFailed;
    return reinterpret_cast<intptr_t>(tag);
  }

  void ReadWatches() {
    for (;;) {
      const intptr_t tag = Next(watch_queue_);
      if (tag == kFailed) return;
      absl::MutexLock lock(&mu_);
      if (tag == kWritten) {
        can_write_ = true;
        continue;
      }
      etcdserverpb::WatchResponse response;
      KEELSON_CHECK(response.ParseFromString(Bytes(watch_buffer_)));
      watch_->Read(&watch_buffer_, Tag(kRead));
      Keep(response);
    }
  }

  void Keep(etcdserverpb::WatchResponse& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (response.watch_id() == -1 && !response.created() && !response.canceled()) {
      progress_ = {response.header().revision(), progress_.second + 1};
      return;
    }
    Watched& watched = watched_[response.watch_id()];
    for (const mvccpb::Event& event : response.events()) {
      watched.events.push_back(event.ShortDebugString());
    }
    if (!response.created() && !response.canceled()) return;
    // Of a watch that was made the store's revision counts; the rest is when it was sent.
    const bool made = response.created() && !response.canceled();
    const int64_t revision = made ? response.header().revision() : 0;
    response.clear_events();
    response.clear_header();
    watched.answers.push_back(absl::StrCat(response.ShortDebugString(), " at ", revision));
    watched.ended = response.canceled();
    if (response.created()) made_ = {made_.count + 1, response.watch_id()};
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::map<std::string, std::string> tokens_;

  grpc::CompletionQueue queue_;
  std::deque<std::unique_ptr<Call>> calls_;  // under way, oldest first

  grpc::CompletionQueue watch_queue_;
  grpc::ClientContext watch_context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> watch_;
  grpc::ByteBuffer watch_buffer_;
  std::thread reader_;

  absl::Mutex mu_;
  bool can_write_ ABSL_GUARDED_BY(mu_) = true;
  Made made_ ABSL_GUARDED_BY(mu_);
  std::pair<int64_t, size_t> progress_ ABSL_GUARDED_BY(mu_);
  std::map<int64_t, Watched> watched_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<Peer> Peer::Connect(const std::string& endpoint) {
  return std::make_unique<GrpcPeer>(endpoint);
}

}  // namespace keelson::etcd_diff
