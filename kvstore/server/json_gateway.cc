#include "kvstore/server/json_gateway.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/metrics.h"
#include "base/rpc/call.h"
#include "base/rpc/server.h"
#include "kvstore/server/grpc_services.h"
#include "kvstore/server/json_methods.h"
#include "kvstore/server/json_objects.h"

namespace keelson::kvstore {
namespace {

using Path = JsonMethod;
using Kind = JsonMethod::Kind;
using Start = decltype(rpc::Method::start);
using Writer = std::shared_ptr<http::ResponseWriter>;

// Keeps what is registered, to be called here. Its metrics are thrown away: those of gRPC are
// counted by the server for gRPC.
class Methods final : public rpc::Server {
 public:
  void Register(rpc::Method method) override { starts_[method.path] = std::move(method.start); }
  void Start() override {}
  void Adopt(UniqueFd, bool) override {}
  void Stop(absl::Duration) override {}
  [[nodiscard]] rpc::ServerStats Stats() const override { return {}; }

  // By "/etcdserverpb.KV/Range".
  [[nodiscard]] kvstore::Start Find(const std::string& path) const { return starts_.at(path); }

  MetricRegistry metrics;

 private:
  std::map<std::string, kvstore::Start> starts_;
};

// kvstore.md 14.5, but for FAILED_PRECONDITION, which is 412 with etcd 3.4.23.
int HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kCancelled:
      return 408;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kFailedPrecondition:
      return 412;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

// How many calls run at the same time; more wait for their turn. etcd's gateway is a client with one
// connection, so that --max-concurrent-streams holds for all of them. Thread-safe.
class CallSlots {
 public:
  explicit CallSlots(uint64_t count) : free_(count) {}

  // Runs `start` when there is room: now, or in some call of Leave.
  void Enter(std::function<void()> start) {
    {
      absl::MutexLock lock(&mu_);
      if (free_ == 0) {
        waiting_.push_back(std::move(start));
        return;
      }
      --free_;
    }
    start();
  }
  void Leave() {
    std::function<void()> next;
    {
      absl::MutexLock lock(&mu_);
      if (waiting_.empty()) {
        ++free_;
        return;
      }
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    next();
  }

 private:
  absl::Mutex mu_;
  uint64_t free_ ABSL_GUARDED_BY(mu_);
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
};

// One call. The handler runs on the executor only, and so does the end of the call.
class GatewayCall final : public rpc::Call, public std::enable_shared_from_this<GatewayCall> {
 public:
  GatewayCall(const Path& path, Start start, Executor* executor, std::shared_ptr<CallSlots> slots,
              std::string token, std::string address, Writer writer)
      : path_(path),
        start_(std::move(start)),
        executor_(executor),
        slots_(std::move(slots)),
        metadata_{{"token", std::move(token)}},
        peer_{.address = std::move(address)},
        writer_(std::move(writer)) {}

  // `messages`: the requests, as protobuf's bytes.
  void Run(std::deque<std::string> messages) {
    messages_ = std::move(messages);
    writer_->OnDisconnect([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->End();
    });
    slots_->Enter([self = shared_from_this()] {
      self->executor_->Post([self] {
        if (self->Ended()) return self->slots_->Leave();  // The client has not waited.
        self->entered_ = true;
        self->handler_ = self->start_(self);
        self->Drive();
      });
    });
  }

  [[nodiscard]] std::string_view Metadata(std::string_view name) const override {
    return name == "token" ? std::string_view(metadata_[0].second) : std::string_view();
  }
  [[nodiscard]] const rpc::Metadata& AllMetadata() const override { return metadata_; }
  [[nodiscard]] const rpc::Peer& peer() const override { return peer_; }

  // The fields are gRPC's, and have no place in JSON.
  void Accept(rpc::Metadata) override {
    absl::MutexLock lock(&mu_);
    if (!ended_) Begin();
  }

  bool Send(std::string message) override {
    absl::MutexLock lock(&mu_);
    if (ended_) return true;
    Begin();
    (void)writer_->Write(absl::StrCat("{\"result\":", AnswerJson(path_, message), "}\n"));
    return true;
  }

  void Answer(std::string message) override {
    {
      absl::MutexLock lock(&mu_);
      if (ended_) return;
      writer_->Send(http::JsonResponse(200, AnswerJson(path_, message)));
    }
    End();
  }

  void Finish(const absl::Status& status) override {
    {
      absl::MutexLock lock(&mu_);
      if (ended_) return;
      if (!begun_ && !status.ok()) {
        writer_->Send(http::JsonResponse(HttpStatus(status.code()), JsonOfError(status)));
      } else {
        Begin();
        if (!status.ok())
          (void)writer_->Write(absl::StrCat("{\"error\":", JsonOfError(status), "}\n"));
        writer_->Finish();
      }
    }
    End();
  }

  void Pause() override {
    absl::MutexLock lock(&mu_);
    paused_ = true;
  }
  void Resume() override {
    {
      absl::MutexLock lock(&mu_);
      paused_ = false;
    }
    executor_->Post([self = shared_from_this()] { self->Drive(); });
  }

 private:
  void Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (std::exchange(begun_, true)) return;
    http::Headers headers;
    headers.Add("Content-Type", "application/json");
    writer_->Start(200, std::move(headers));
  }

  [[nodiscard]] bool Waits() const {
    absl::MutexLock lock(&mu_);
    return ended_ || paused_;
  }

  [[nodiscard]] bool Ended() const {
    absl::MutexLock lock(&mu_);
    return ended_;
  }

  // Hands the requests to the handler as it takes them. On the executor.
  void Drive() {
    while (handler_ != nullptr && !Waits()) {
      if (!messages_.empty()) {
        const std::string message = std::move(messages_.front());
        messages_.pop_front();
        handler_->OnMessage(message);
        continue;
      }
      if (path_.kind != Kind::kEndless && !std::exchange(closed_, true)) handler_->OnHalfClose();
      return;
    }
  }

  void End() {
    {
      absl::MutexLock lock(&mu_);
      if (std::exchange(ended_, true)) return;
    }
    executor_->Post([self = shared_from_this()] {
      if (const auto handler = std::exchange(self->handler_, nullptr)) handler->OnDone();
      if (std::exchange(self->entered_, false)) self->slots_->Leave();
    });
  }

  const Path path_;
  const Start start_;
  Executor* const executor_;
  const std::shared_ptr<CallSlots> slots_;
  const rpc::Metadata metadata_;
  const rpc::Peer peer_;  // without a certificate, as etcd's gateway has its own
  const Writer writer_;

  // Used on the executor only.
  std::shared_ptr<rpc::CallHandler> handler_;
  std::deque<std::string> messages_;
  bool closed_ = false;
  bool entered_ = false;  // and has not left

  mutable absl::Mutex mu_;
  bool begun_ ABSL_GUARDED_BY(mu_) = false;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

void Serve(const Path& path, const Start& start, Executor* executor,
           const std::shared_ptr<CallSlots>& slots, const http::Request& request,
           const Writer& writer) {
  const auto refuse = [&writer](const absl::Status& status) {
    writer->Send(http::JsonResponse(HttpStatus(status.code()), JsonOfError(status)));
  };
  const auto objects = SplitJsonObjects(request.body);
  if (!objects.has_value()) return refuse(absl::InvalidArgumentError("the body is not JSON"));
  if (path.kind == Kind::kUnary && objects->size() != 1) {
    return refuse(absl::InvalidArgumentError("one JSON object is expected"));
  }
  std::deque<std::string> messages;
  for (const std::string& object : *objects) {
    absl::StatusOr<std::string> message = RequestBytes(path, object);
    if (!message.ok()) return refuse(message.status());
    messages.push_back(*std::move(message));
  }
  std::string token(request.headers.Find("authorization").value_or(""));
  std::make_shared<GatewayCall>(path, start, executor, slots, std::move(token),
                                request.peer_address, writer)
      ->Run(std::move(messages));
}

}  // namespace

void AddJsonGateway(http::Router& router, Server* server, Executor* executor, uint64_t max_calls) {
  const auto slots = std::make_shared<CallSlots>(max_calls);
  const auto methods = std::make_shared<Methods>();
  RegisterGrpcServices(methods.get(), server, &methods->metrics);
  for (const Path& path : JsonMethods()) {
    const Start start = methods->Find(path.method);
    for (const char* prefix : {"/v3", "/v3beta", "/v3alpha"}) {
      router.Handle("POST", absl::StrCat(prefix, path.path),
                    // The methods' metrics live as long as their handlers.
                    [path, start, executor, slots, methods](const http::Request& request,
                                                            const Writer& writer) {
                      Serve(path, start, executor, slots, request, writer);
                    });
    }
  }
}

}  // namespace keelson::kvstore
