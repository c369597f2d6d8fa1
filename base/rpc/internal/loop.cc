#include "base/rpc/internal/loop.h"

#include <pthread.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/burst.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/rpc/internal/socket.h"

namespace keelson::rpc::internal {
namespace {

constexpr absl::Duration kTimerInterval = absl::Seconds(1);  // Of handshakes and keep-alives.

void Watch(int epoll, int operation, int fd, uint32_t events, void* data) {
  epoll_event event{.events = events, .data = {.ptr = data}};
  KEELSON_CHECK(::epoll_ctl(epoll, operation, fd, &event) == 0) << errno;
}

}  // namespace

Loop::Loop(const ServerOptions* options, const Methods* methods, Counters* counters)
    : context_{.options = options,
               .methods = methods,
               .counters = counters,
               .mailbox = std::make_shared<Mailbox>(),
               .deadlines = {},
               .now = RealClock().Monotonic(),
               .input = {},
               .output = {}},
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      next_timer_(context_.now) {
  KEELSON_CHECK(epoll_.ok()) << "epoll: " << errno;
  Watch(epoll_.get(), EPOLL_CTL_ADD, context_.mailbox->fd(), EPOLLIN, nullptr);
  // A signal must not come to this thread; SIGPIPE of OpenSSL's writes least of all.
  sigset_t all;
  sigset_t before;
  (void)::sigfillset(&all);
  KEELSON_CHECK(::pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
  thread_ = std::thread([this] { Run(); });
  KEELSON_CHECK(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
  (void)::pthread_setname_np(thread_.native_handle(), "rpc");  // Cosmetic.
}

Loop::~Loop() { Stop(); }

void Loop::Adopt(UniqueFd fd, bool tls) {
  // A task must be copyable.
  const auto shared = std::make_shared<UniqueFd>(std::move(fd));
  (void)context_.mailbox->Post([this, shared, tls] { Open(std::move(*shared), tls); });
}

void Loop::Drain() {
  const bool posted = context_.mailbox->Post([this] {
    draining_ = true;
    for (const auto& [connection, owned] : connections_) {
      connection->Drain();
      Touch(connection);
    }
    if (connections_.empty() && !drained_.HasBeenNotified()) drained_.Notify();
  });
  if (!posted && !drained_.HasBeenNotified()) drained_.Notify();
}

void Loop::Stop() {
  if (!thread_.joinable()) return;
  (void)context_.mailbox->Post([this] { stopping_ = true; });
  thread_.join();
}

void Loop::Open(UniqueFd fd, bool tls) {
  if (draining_) return;
  std::unique_ptr<Socket> socket =
      tls ? MakeTlsSocket(std::move(fd), *context_.options->tls) : MakePlainSocket(std::move(fd));
  if (socket == nullptr) return;
  auto connection = std::make_unique<Connection>(&context_, std::move(socket));
  Connection* const raw = connection.get();
  raw->watched_events = EPOLLIN;
  Watch(epoll_.get(), EPOLL_CTL_ADD, raw->fd(), EPOLLIN, raw);
  connections_.emplace(raw, std::move(connection));
}

void Loop::Touch(Connection* connection) {
  if (!std::exchange(connection->dirty, true)) touched_.push_back(connection);
}

void Loop::FlushTouched() {
  for (Connection* const connection : std::exchange(touched_, {})) {
    connection->dirty = false;
    if (!connection->Flush()) {
      connections_.erase(connection);
      continue;
    }
    const uint32_t events = connection->WantedEvents();
    if (events == connection->watched_events) continue;
    connection->watched_events = events;
    Watch(epoll_.get(), EPOLL_CTL_MOD, connection->fd(), events, connection);
  }
  if (draining_ && connections_.empty() && !drained_.HasBeenNotified()) drained_.Notify();
}

void Loop::OnTimers() {
  while (!context_.deadlines.empty() && context_.deadlines.begin()->first <= context_.now) {
    Stream* const stream = context_.deadlines.begin()->second;
    context_.deadlines.erase(context_.deadlines.begin());
    stream->deadline.reset();
    stream->Finish(absl::DeadlineExceededError("context deadline exceeded"));
  }
  if (context_.now < next_timer_) return;
  next_timer_ = context_.now + kTimerInterval;
  for (const auto& [connection, owned] : connections_) {
    connection->OnTimer(context_.now);
    Touch(connection);
  }
}

int Loop::Timeout() const {
  absl::Duration next = absl::InfiniteDuration();
  if (!connections_.empty()) next = next_timer_;
  if (!context_.deadlines.empty()) next = std::min(next, context_.deadlines.begin()->first);
  if (next == absl::InfiniteDuration()) return -1;
  const absl::Duration left = std::max(next - RealClock().Monotonic(), absl::ZeroDuration());
  return static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
}

void Loop::Run() {
  while (!stopping_) {
    Mailbox::Items items = context_.mailbox->Take();
    const bool idle = items.empty();
    for (const std::function<void()>& task : items.tasks) task();
    for (const std::shared_ptr<Stream>& stream : items.streams) {
      if (stream->connection == nullptr) continue;
      stream->connection->OnStream(stream);
      Touch(stream->connection);
    }
    items = {};
    FlushTouched();

    epoll_event events[128];
    const int count = ::epoll_wait(epoll_.get(), events, 128, idle ? Timeout() : 0);
    KEELSON_CHECK(count >= 0 || errno == EINTR) << errno;
    const auto called = [](const epoll_event& event) { return event.data.ptr == nullptr; };
    context_.mailbox->Awake(std::any_of(events, events + std::max(count, 0), called));
    context_.now = RealClock().Monotonic();
    Burst burst;  // What the requests wake is woken once.
    for (int i = 0; i < count; ++i) {
      if (called(events[i])) continue;
      auto* const connection = static_cast<Connection*>(events[i].data.ptr);
      if ((events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) connection->OnReadable();
      Touch(connection);
    }
    FlushTouched();
    OnTimers();
  }
  context_.mailbox->Close();
  touched_.clear();
  connections_.clear();
}

}  // namespace keelson::rpc::internal
