#include "base/rpc/local.h"

#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/rpc/internal/client_stream.h"
#include "base/rpc/internal/outgoing.h"

namespace keelson::rpc {
namespace {

class ServerCore;
class LocalClientCall;

// What both ends of a call know.
struct Way {
  // The client's loop, until its channel is closed; the server, which may have more to say, goes later.
  struct Gate {
    absl::Mutex mu;
    bool closed ABSL_GUARDED_BY(mu) = false;
  };

  LocalLink link;
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();

  void ToServer(Executor::Task task) const {
    link.to_server ? link.to_server(std::move(task)) : task();
  }
  void ToClient(Executor::Task task) const {
    Executor::Task post = [gate = gate, loop = link.loop, task = std::move(task)] {
      absl::MutexLock lock(&gate->mu);
      if (!gate->closed) loop->Post(task);
    };
    link.to_client ? link.to_client(std::move(post)) : post();
  }
  void CloseToClient() const {
    absl::MutexLock lock(&gate->mu);
    gate->closed = true;
  }
};

// The server's end. What it says of itself runs on the server's loop.
class LocalServerCall final : public Call, public std::enable_shared_from_this<LocalServerCall> {
 public:
  LocalServerCall(std::shared_ptr<ServerCore> core, std::shared_ptr<const Way> way,
                  std::weak_ptr<LocalClientCall> client, rpc::Metadata metadata)
      : core_(std::move(core)),
        way_(std::move(way)),
        client_(std::move(client)),
        metadata_(std::move(metadata)),
        peer_{.address = way_->link.name} {}

  [[nodiscard]] std::string_view Metadata(std::string_view name) const override {
    for (const auto& [key, value] : metadata_) {
      if (key == name) return value;
    }
    return {};
  }
  [[nodiscard]] const rpc::Metadata& AllMetadata() const override { return metadata_; }
  [[nodiscard]] const Peer& peer() const override { return peer_; }
  void Accept(rpc::Metadata fields) override;
  bool Send(std::string message) override;
  void Finish(const absl::Status& status) override;
  void Answer(std::string message) override {
    (void)Send(std::move(message));
    Finish(absl::OkStatus());
  }
  void Pause() override {
    absl::MutexLock lock(&mu_);
    paused_ = true;
  }
  void Resume() override;

  // --- On the server's loop ---
  void Begin(const Method* method);
  // A message, or nothing for the end of the messages.
  void Receive(std::optional<std::string> message);
  // The client went.
  void Abandon() { End(absl::CancelledError("cancelled")); }
  // The server goes.
  void Shut() { Finish(absl::UnavailableError("the server is going away")); }
  void Conclude();

  // Any thread.
  void Post(Executor::Task task);
  // Any thread: the client's handler has had `bytes`.
  void Delivered(size_t bytes);

 private:
  void Drain();
  // The first end counts; true when this is it.
  bool End(const absl::Status& status);

  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<const Way> way_;
  const std::weak_ptr<LocalClientCall> client_;
  const rpc::Metadata metadata_;
  const Peer peer_;
  const Method* method_ = nullptr;
  std::shared_ptr<CallHandler> handler_;  // of the loop
  absl::Mutex mu_;
  std::deque<std::optional<std::string>> received_ ABSL_GUARDED_BY(mu_);
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mu_);
  size_t undelivered_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool wants_room_ ABSL_GUARDED_BY(mu_) = false;
};

// Kept by its channels and calls too, so that they see when the server has stopped.
class ServerCore final : public std::enable_shared_from_this<ServerCore> {
 public:
  explicit ServerCore(LocalServerOptions options) : options_(std::move(options)) {}

  // Any thread. False when the server has stopped: then it does nothing.
  bool Post(Executor::Task task) {
    absl::MutexLock lock(&mu_);
    if (stopped_) return false;
    options_.loop->Post(std::move(task));
    return true;
  }
  [[nodiscard]] bool stopped() {
    absl::MutexLock lock(&mu_);
    return stopped_;
  }
  void RunOnLoop(const Executor::Task& task) { options_.run_on_loop(task); }

  void Begin(const std::shared_ptr<LocalServerCall>& call, const std::string& path) {
    if (stopped()) return call->Shut();
    const auto method = methods.find(path);
    calls_.insert(call);
    ++calls_total;
    call->Begin(method == methods.end() ? nullptr : &method->second);
  }
  void Forget(const std::shared_ptr<LocalServerCall>& call) { calls_.erase(call); }
  // What runs on the loop may be dropped when that stops, so all of it ends here.
  void Stop() {
    {
      absl::MutexLock lock(&mu_);
      stopped_ = true;
    }
    while (!calls_.empty()) {
      const std::shared_ptr<LocalServerCall> call = *calls_.begin();
      call->Shut();
      call->Conclude();
      calls_.erase(call);
    }
  }

  std::map<std::string, Method> methods;  // constant after Start
  std::atomic<uint64_t> calls_total{0};
  std::atomic<uint64_t> sent_bytes{0};
  std::atomic<uint64_t> received_bytes{0};

 private:
  const LocalServerOptions options_;
  std::set<std::shared_ptr<LocalServerCall>> calls_;  // of the loop
  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

// The client's end. What it says of itself runs on the client's loop.
class LocalClientCall final : public ClientCall,
                              public std::enable_shared_from_this<LocalClientCall> {
 public:
  LocalClientCall(std::shared_ptr<const Way> way, std::shared_ptr<ResponseHandler> handler)
      : way_(std::move(way)), handler_(std::move(handler)) {}

  bool Send(std::string message) override {
    ToServer([message = std::move(message)](LocalServerCall& call) { call.Receive(message); });
    return true;
  }
  void HalfClose() override {
    ToServer([](LocalServerCall& call) { call.Receive(std::nullopt); });
  }
  void Cancel() override {
    way_->link.loop->Post(
        [self = shared_from_this()] { self->EndHere(absl::CancelledError("cancelled")); });
  }
  void Pause() override {
    absl::MutexLock lock(&mu_);
    paused_ = true;
  }
  void Resume() override {
    absl::MutexLock lock(&mu_);
    if (!std::exchange(paused_, false)) return;
    way_->link.loop->Post([self = shared_from_this()] { self->Deliver(); });
  }

  void Begin(const std::weak_ptr<ServerCore>& server, const CallOptions& options);

  // --- On the client's loop ---
  void Arrive(std::string message) {
    messages_.push_back(std::move(message));
    Deliver();
  }
  void Accepted(const Metadata& fields) {
    if (handler_ != nullptr && !std::exchange(accepted_, true)) handler_->OnAccepted(fields);
  }
  void End(const absl::Status& status) {
    if (!end_.has_value()) end_ = status;
    Deliver();
  }
  // At once, whatever has not been read; the server is told.
  void EndHere(const absl::Status& status) {
    if (handler_ == nullptr) return;
    ToServer([](LocalServerCall& call) { call.Abandon(); });
    Done(status);
  }
  [[nodiscard]] bool over() const { return handler_ == nullptr; }
  void SetOver(std::function<void()> over) { when_over_ = std::move(over); }

 private:
  void ToServer(std::function<void(LocalServerCall&)> task) {
    way_->ToServer([self = shared_from_this(), task = std::move(task)] {
      const std::shared_ptr<LocalServerCall> call = self->server_call();
      if (call != nullptr) call->Post([call, task] { task(*call); });
    });
  }
  std::shared_ptr<LocalServerCall> server_call() {
    absl::MutexLock lock(&mu_);
    return server_.lock();
  }
  [[nodiscard]] bool paused() {
    absl::MutexLock lock(&mu_);
    return paused_;
  }
  void Deliver();
  void Done(const absl::Status& status) {
    const auto keep = shared_from_this();
    const std::shared_ptr<ResponseHandler> handler = std::move(handler_);
    handler_ = nullptr;
    messages_.clear();
    if (when_over_) std::exchange(when_over_, nullptr)();
    handler->OnDone(status);
  }

  const std::shared_ptr<const Way> way_;
  // Of the loop.
  std::shared_ptr<ResponseHandler> handler_;  // null after the end
  std::deque<std::string> messages_;
  std::optional<absl::Status> end_;
  bool accepted_ = false;
  std::function<void()> when_over_;
  absl::Mutex mu_;
  std::weak_ptr<LocalServerCall> server_ ABSL_GUARDED_BY(mu_);
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
};

// --- The server's end ---

void LocalServerCall::Begin(const Method* method) {
  method_ = method;
  if (method_ == nullptr) {
    Finish(absl::UnimplementedError("unknown service or method"));
    return;
  }
  if (method_->on_start) method_->on_start();
  handler_ = method_->start(shared_from_this());
}

void LocalServerCall::Receive(std::optional<std::string> message) {
  {
    absl::MutexLock lock(&mu_);
    if (ended_) return;
    if (message.has_value()) core_->received_bytes += message->size();
    received_.push_back(std::move(message));
  }
  Drain();
}

void LocalServerCall::Drain() {
  while (handler_ != nullptr) {
    std::optional<std::string> next;
    {
      absl::MutexLock lock(&mu_);
      if (paused_ || ended_ || received_.empty()) return;
      next = std::move(received_.front());
      received_.pop_front();
    }
    const std::shared_ptr<CallHandler> handler = handler_;
    next.has_value() ? handler->OnMessage(*next) : handler->OnHalfClose();
  }
}

void LocalServerCall::Resume() {
  absl::MutexLock lock(&mu_);
  if (std::exchange(paused_, false)) Post([self = shared_from_this()] { self->Drain(); });
}

void LocalServerCall::Post(Executor::Task task) { (void)core_->Post(std::move(task)); }

void LocalServerCall::Accept(rpc::Metadata fields) {
  way_->ToClient([client = client_, fields = std::move(fields)] {
    if (const auto call = client.lock()) call->Accepted(fields);
  });
}

bool LocalServerCall::Send(std::string message) {
  {
    absl::MutexLock lock(&mu_);
    if (ended_) return true;
    core_->sent_bytes += message.size();
    undelivered_bytes_ += message.size() + 1;
    wants_room_ = undelivered_bytes_ >= internal::kCrowded;
    // Within the lock, so that messages keep the order in which they were sent.
    way_->ToClient([client = client_, message = std::move(message)]() mutable {
      if (const auto call = client.lock()) call->Arrive(std::move(message));
    });
    return !wants_room_;
  }
}

void LocalServerCall::Delivered(size_t bytes) {
  absl::MutexLock lock(&mu_);
  undelivered_bytes_ -= bytes + 1;
  if (undelivered_bytes_ > internal::kRoomy || !std::exchange(wants_room_, false)) return;
  Post([self = shared_from_this()] {
    if (self->handler_ != nullptr) self->handler_->OnRoom();
  });
}

bool LocalServerCall::End(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  if (std::exchange(ended_, true)) return false;
  end_ = status;
  received_.clear();
  Post([self = shared_from_this()] { self->Conclude(); });
  return true;
}

void LocalServerCall::Finish(const absl::Status& status) {
  if (!End(status)) return;
  way_->ToClient([client = client_, status] {
    if (const auto call = client.lock()) call->End(status);
  });
}

void LocalServerCall::Conclude() {
  const auto keep = shared_from_this();
  if (const std::shared_ptr<CallHandler> handler = std::exchange(handler_, nullptr)) {
    handler->OnDone();
    absl::Status end;
    {
      absl::MutexLock lock(&mu_);
      end = end_;
    }
    if (method_->on_end) method_->on_end(end);
  }
  core_->Forget(keep);
}

// --- The client's end ---

void LocalClientCall::Begin(const std::weak_ptr<ServerCore>& server, const CallOptions& options) {
  if (options.timeout != absl::InfiniteDuration()) {
    way_->link.loop->PostAfter(
        options.timeout, [weak = weak_from_this(), timeout = options.timeout] {
          const auto self = weak.lock();
          if (self == nullptr) return;
          self->EndHere(absl::DeadlineExceededError(absl::StrCat(
              "'", self->way_->link.name, "': no answer within ", absl::FormatDuration(timeout))));
        });
  }
  way_->ToServer([self = shared_from_this(), server, options] {
    if (const std::shared_ptr<ServerCore> core = server.lock()) {
      const auto call = std::make_shared<LocalServerCall>(core, self->way_, self, options.metadata);
      {
        absl::MutexLock lock(&self->mu_);
        self->server_ = call;
      }
      if (core->Post([core, call, path = options.path] { core->Begin(call, path); })) return;
    }
    self->way_->ToClient([self] {
      self->End(internal::NeverSent(absl::UnavailableError(
          absl::StrCat("'", self->way_->link.name, "': connect: Connection refused"))));
    });
  });
}

void LocalClientCall::Deliver() {
  const auto keep = shared_from_this();
  while (handler_ != nullptr && !messages_.empty() && !paused()) {
    Accepted({});
    const std::string message = std::move(messages_.front());
    messages_.pop_front();
    handler_->OnMessage(message);
    if (const auto call = server_call()) call->Delivered(message.size());
  }
  if (handler_ != nullptr && messages_.empty() && end_.has_value()) Done(*end_);
}

class LocalChannelImpl final : public LocalChannel {
 public:
  LocalChannelImpl(std::weak_ptr<ServerCore> server, LocalLink link)
      : server_(std::move(server)),
        way_(std::make_shared<const Way>(Way{.link = std::move(link)})) {}
  ~LocalChannelImpl() override { Close(); }

  std::shared_ptr<ClientCall> Start(CallOptions options,
                                    std::shared_ptr<ResponseHandler> handler) override {
    auto call = std::make_shared<LocalClientCall>(way_, std::move(handler));
    {
      absl::MutexLock lock(&calls_->mu);
      calls_->live.insert(call);
    }
    call->SetOver([calls = calls_, raw = call.get()] {
      absl::MutexLock lock(&calls->mu);
      std::erase_if(calls->live, [raw](const auto& each) { return each.get() == raw; });
    });
    call->Begin(server_, options);
    return call;
  }

  void Break(const absl::Status& status) override {
    way_->link.run_on_loop([this, &status] {
      std::set<std::shared_ptr<LocalClientCall>> calls;
      {
        absl::MutexLock lock(&calls_->mu);
        calls.swap(calls_->live);
      }
      for (const auto& call : calls) call->EndHere(status);
    });
  }
  void Close() override {
    if (closed_.exchange(true)) return;
    Break(absl::CancelledError("the channel was closed"));
    way_->CloseToClient();
  }

 private:
  struct Calls {
    absl::Mutex mu;
    std::set<std::shared_ptr<LocalClientCall>> live ABSL_GUARDED_BY(mu);
  };
  const std::weak_ptr<ServerCore> server_;
  const std::shared_ptr<const Way> way_;
  const std::shared_ptr<Calls> calls_ = std::make_shared<Calls>();
  std::atomic<bool> closed_{false};
};

class LocalServerImpl final : public LocalServer {
 public:
  explicit LocalServerImpl(LocalServerOptions options)
      : core_(std::make_shared<ServerCore>(std::move(options))) {}
  ~LocalServerImpl() override { Stop(absl::ZeroDuration()); }

  void Register(Method method) override {
    const std::string path = method.path;
    core_->methods.emplace(path, std::move(method));
  }
  void Start() override {}
  void Adopt(UniqueFd /*fd*/, bool /*tls*/) override {}
  void Stop(absl::Duration /*grace*/) override {
    if (!core_->stopped()) core_->RunOnLoop([this] { core_->Stop(); });
  }
  [[nodiscard]] ServerStats Stats() const override {
    ServerStats stats;
    stats.calls_total = core_->calls_total;
    stats.sent_bytes_total = core_->sent_bytes;
    stats.received_bytes_total = core_->received_bytes;
    return stats;
  }
  std::unique_ptr<LocalChannel> Connect(LocalLink link) override {
    return std::make_unique<LocalChannelImpl>(core_, std::move(link));
  }

 private:
  const std::shared_ptr<ServerCore> core_;
};

}  // namespace

std::unique_ptr<LocalServer> LocalServer::Create(LocalServerOptions options) {
  return std::make_unique<LocalServerImpl>(std::move(options));
}

}  // namespace keelson::rpc
