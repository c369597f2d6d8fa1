#include "base/rpc/internal/loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/rpc/internal/socket.h"

namespace keelson::rpc::internal {
namespace {

constexpr absl::Duration kCheckInterval = absl::Seconds(1);

}  // namespace

class Loop::Watched final : public EventLoop::Source {
 public:
  Watched(Loop* loop, std::unique_ptr<Socket> socket)
      : loop_(loop), connection(&loop->context_, std::move(socket)) {
    loop_->thread_->Watch(connection.fd(), EPOLLIN, this);
  }
  ~Watched() override { loop_->thread_->Unwatch(connection.fd(), this); }

  void OnReady(uint32_t events) override {
    loop_->context_.now = loop_->thread_->now();
    if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) connection.OnReadable();
    loop_->Touch(this);
  }
  // False when the connection is over.
  [[nodiscard]] bool Flush() {
    dirty = false;
    if (!connection.Flush()) return false;
    const uint32_t events = connection.WantedEvents();
    if (std::exchange(watched_events_, events) != events) {
      loop_->thread_->Rewatch(connection.fd(), events, this);
    }
    return true;
  }

 private:
  Loop* const loop_;
  uint32_t watched_events_ = EPOLLIN;

 public:
  Connection connection;
  bool dirty = false;  // Flush is due.
};

Loop::Loop(EventLoop* thread, const ServerOptions* options, const Methods* methods,
           Counters* counters)
    : thread_(thread),
      context_{.options = options,
               .methods = methods,
               .counters = counters,
               .mailbox = nullptr,
               .deadlines = {},
               .now = RealClock().Monotonic(),
               .input = {},
               .output = {}},
      timer_(*thread, [this] { OnTimer(); }) {
  context_.mailbox =
      std::make_shared<Mailbox<Stream>>(thread_, [this](Mailbox<Stream>::Streams streams) {
        context_.now = thread_->now();
        for (const std::shared_ptr<Stream>& stream : streams) {
          if (stream->connection == nullptr) continue;
          stream->connection->OnStream(stream);
          Touch(connections_.find(stream->connection)->second.get());
        }
        SetTimer();
      });
}

Loop::~Loop() = default;

void Loop::Adopt(UniqueFd fd, bool tls) {
  // A task must be copyable.
  const auto shared = std::make_shared<UniqueFd>(std::move(fd));
  thread_->Post([self = shared_from_this(), shared, tls] { self->Open(std::move(*shared), tls); });
}

void Loop::Drain() {
  thread_->Await([this] {
    draining_ = true;
    for (const auto& [connection, watched] : connections_) {
      connection->Drain();
      Touch(watched.get());
    }
    if (connections_.empty() && !drained_.HasBeenNotified()) drained_.Notify();
  });
}

void Loop::Stop() {
  thread_->Await([this] {
    stopped_ = true;
    context_.mailbox->Close();
    timer_.Clear();
    touched_.clear();
    connections_.clear();
  });
}

void Loop::Open(UniqueFd fd, bool tls) {
  if (draining_ || stopped_) return;
  std::unique_ptr<Socket> socket =
      tls ? MakeTlsSocket(std::move(fd), *context_.options->tls) : MakePlainSocket(std::move(fd));
  if (socket == nullptr) return;
  context_.now = thread_->now();
  auto watched = std::make_unique<Watched>(this, std::move(socket));
  Connection* const connection = &watched->connection;
  connections_.emplace(connection, std::move(watched));
  SetTimer();
}

void Loop::Touch(Watched* watched) {
  if (std::exchange(watched->dirty, true)) return;
  if (touched_.empty()) thread_->Defer([self = shared_from_this()] { self->FlushTouched(); });
  touched_.push_back(watched);
}

void Loop::FlushTouched() {
  for (Watched* const watched : std::exchange(touched_, {})) {
    if (!watched->Flush()) connections_.erase(&watched->connection);
  }
  if (draining_ && connections_.empty() && !drained_.HasBeenNotified()) drained_.Notify();
  SetTimer();
}

void Loop::OnTimer() {
  context_.now = thread_->now();
  while (!context_.deadlines.empty() && context_.deadlines.begin()->first <= context_.now) {
    Stream* const stream = context_.deadlines.begin()->second;
    context_.deadlines.erase(context_.deadlines.begin());
    stream->deadline.reset();
    stream->Finish(absl::DeadlineExceededError("context deadline exceeded"));
  }
  if (next_check_ <= context_.now) {
    next_check_ = absl::InfiniteDuration();
    for (const auto& [connection, watched] : connections_) {
      connection->OnTimer(context_.now);
      Touch(watched.get());
    }
  }
  SetTimer();
}

void Loop::SetTimer() {
  if (!connections_.empty() && next_check_ == absl::InfiniteDuration()) {
    next_check_ = thread_->now() + kCheckInterval;
  }
  absl::Duration next = next_check_;
  if (!context_.deadlines.empty()) next = std::min(next, context_.deadlines.begin()->first);
  // One that goes off too early finds nothing to do.
  if (!stopped_ && next < timer_.at()) timer_.Set(next);
}

}  // namespace keelson::rpc::internal
