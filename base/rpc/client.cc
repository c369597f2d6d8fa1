#include "base/rpc/client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/net/address.h"
#include "base/random.h"
#include "base/rpc/internal/client_connection.h"
#include "base/rpc/internal/client_stream.h"
#include "base/unique_fd.h"

namespace keelson::rpc {
namespace {

using internal::ClientConnection;
using internal::ClientContext;
using internal::ClientStream;
using internal::Mailbox;

// The name that a certificate for `address` must carry.
std::string HostOf(const std::string& address) {
  const auto parsed = net::ParseHostPort(address);
  if (!parsed.ok() || parsed->host.empty()) return "localhost";
  return parsed->host;
}

// All of it runs on the loop, unless it says otherwise. Owned by shared_ptr: a task or an answer of
// the resolver may still be on its way after Close.
class Core final : public std::enable_shared_from_this<Core> {
 public:
  Core(EventLoop& loop, ChannelOptions options)
      : loop_(loop),
        random_(Random::SeedFromSystem()),
        timer_(loop, [this] { OnTimer(); }),
        backoff_(options.backoff_initial) {
    if (options.server_name.empty()) options.server_name = HostOf(options.address);
    context_.options = std::move(options);
    context_.mailbox = std::make_shared<Mailbox<ClientStream>>(
        &loop_, [this](Mailbox<ClientStream>::Streams streams) {
          context_.now = loop_.now();
          for (const std::shared_ptr<ClientStream>& stream : streams) OnStream(stream);
          SetTimer();
        });
  }

  // Any thread.
  std::shared_ptr<ClientCall> Start(CallOptions call, std::shared_ptr<ResponseHandler> handler) {
    auto stream = std::make_shared<ClientStream>(
        context_.mailbox, std::move(call), std::move(handler), context_.options.max_response_bytes);
    stream->Begin();
    return stream;
  }

  // Any thread.
  void Close() {
    loop_.Await([this] {
      if (std::exchange(closed_, true)) return;
      context_.mailbox->Close();
      timer_.Clear();
      attempt_.reset();
      touched_.clear();
      const absl::Status status = absl::CancelledError("the channel was closed");
      for (const auto& link : links_) link->connection.EndAll(status);
      for (const auto& stream : std::exchange(pending_, {})) context_.End(*stream, status);
      links_.clear();
    });
  }

 private:
  // A connection and its place in the event loop.
  struct Link final : EventLoop::Source {
    Link(Core* owner, std::unique_ptr<internal::Socket> socket, absl::Duration give_up_at)
        : core(owner), connection(&core->context_, std::move(socket), give_up_at) {
      core->loop_.Watch(connection.fd(), EPOLLIN, this);
    }
    ~Link() override { core->loop_.Unwatch(connection.fd(), this); }
    void OnReady(uint32_t events) override {
      core->context_.now = core->loop_.now();
      if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) connection.OnReadable();
      core->Touch(this);
    }

    Core* const core;
    uint32_t watched_events = EPOLLIN;
    bool dirty = false;  // Flush is due.
    ClientConnection connection;
  };

  // Tries the addresses, one after the other.
  struct Attempt final : EventLoop::Source {
    explicit Attempt(Core* owner) : core(owner) {}
    ~Attempt() override { Forget(); }
    void Forget() {
      if (fd.ok()) core->loop_.Unwatch(fd.get(), this);
      fd.Reset();
    }
    void OnReady(uint32_t) override { core->OnConnected(); }

    Core* const core;
    absl::Duration give_up_at;
    std::vector<net::SocketAddress> addresses;
    size_t next = 0;
    UniqueFd fd;  // Connecting; watched.
    std::string error;
  };

  void OnStream(const std::shared_ptr<ClientStream>& stream);
  void BeginCall(const std::shared_ptr<ClientStream>& stream);
  [[nodiscard]] Link* Current() const;
  void Connect();
  void TryNext();
  void OnConnected();
  void AttemptFailed(const std::string& why);
  void Backoff(const absl::Status& error);
  void Touch(Link* link);
  void FlushTouched();
  void Remove(Link* link);
  void OnTimer();
  void SetTimer();

  EventLoop& loop_;
  Random random_;
  ClientContext context_;
  EventLoop::Timer timer_;
  std::vector<std::shared_ptr<ClientStream>> pending_;  // Wait for a connection.
  std::vector<std::unique_ptr<Link>> links_;            // At most one does not drain.
  std::vector<Link*> touched_;
  std::unique_ptr<Attempt> attempt_;
  absl::Duration next_check_ = absl::InfiniteDuration();  // Of greetings and keep-alives.
  absl::Duration backoff_;
  absl::Duration retry_at_ = -absl::InfiniteDuration();
  absl::Status last_error_;
  bool closed_ = false;
};

void Core::OnStream(const std::shared_ptr<ClientStream>& stream) {
  if (stream->handler == nullptr) return;
  ClientStream::Outgoing outgoing = stream->TakeOutgoing();
  if (!std::exchange(stream->begun, true)) {
    if (stream->options.timeout != absl::InfiniteDuration()) {
      stream->deadline =
          context_.deadlines.emplace(context_.now + stream->options.timeout, stream.get());
    }
    BeginCall(stream);
  }
  if (stream->handler == nullptr) return;
  if (stream->connection != nullptr) {
    ClientConnection* const connection = stream->connection;
    connection->OnStream(stream, std::move(outgoing));
    for (const auto& link : links_) {
      if (&link->connection == connection) Touch(link.get());
    }
    return;
  }
  if (outgoing.cancelled) {
    std::erase(pending_, stream);
    context_.End(*stream, absl::CancelledError("cancelled"));
    return;
  }
  stream->bytes.Add(std::move(outgoing.pieces));
  stream->half_closed |= outgoing.half_closed;
}

void Core::BeginCall(const std::shared_ptr<ClientStream>& stream) {
  if (Link* const link = Current()) {
    link->connection.Begin(stream);
    Touch(link);
    return;
  }
  if (attempt_ == nullptr && context_.now < retry_at_) {
    context_.End(*stream, internal::NeverSent(last_error_));
    return;
  }
  pending_.push_back(stream);
  if (attempt_ == nullptr) Connect();
}

Core::Link* Core::Current() const {
  for (const auto& link : links_) {
    if (!link->connection.draining()) return link.get();
  }
  return nullptr;
}

// --- Connecting ---

void Core::Connect() {
  attempt_ = std::make_unique<Attempt>(this);
  attempt_->give_up_at = context_.now + context_.options.connect_timeout;
  const std::string& address = context_.options.address;
  absl::StatusOr<net::SocketAddress> parsed = net::ParseSocketAddress(address);
  if (parsed.ok()) {
    attempt_->addresses = {*parsed};
    return TryNext();
  }
  if (!absl::IsNotFound(parsed.status()) || context_.options.resolver == nullptr) {
    return AttemptFailed(std::string(parsed.status().message()));
  }
  // The attempt that asked may be over when the answer comes; then this one is as good.
  context_.options.resolver->Resolve(
      address, [self = shared_from_this()](absl::StatusOr<std::vector<net::SocketAddress>> found) {
        self->loop_.Post([self, found = std::move(found)] {
          if (self->closed_ || self->attempt_ == nullptr || !self->attempt_->addresses.empty()) {
            return;
          }
          self->context_.now = self->loop_.now();
          if (!found.ok()) return self->AttemptFailed(std::string(found.status().message()));
          self->attempt_->addresses = *found;
          self->TryNext();
        });
      });
}

void Core::TryNext() {
  Attempt& attempt = *attempt_;
  while (attempt.next < attempt.addresses.size()) {
    const net::SocketAddress& address = attempt.addresses[attempt.next++];
    UniqueFd fd(::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on,
                       sizeof(on));  // Not on unix sockets.
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address.bytes);
    const bool started =
        fd.ok() && (::connect(fd.get(), generic, address.size) == 0 || errno == EINPROGRESS);
    if (!started) {
      attempt.error = std::generic_category().message(errno);
      continue;
    }
    attempt.fd = std::move(fd);
    loop_.Watch(attempt.fd.get(), EPOLLOUT, &attempt);
    SetTimer();
    return;
  }
  AttemptFailed(absl::StrCat("connect: ", attempt.error));
}

void Core::OnConnected() {
  context_.now = loop_.now();
  int error = 0;
  socklen_t size = sizeof(error);
  (void)::getsockopt(attempt_->fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    attempt_->error = std::generic_category().message(error);
    attempt_->Forget();
    return TryNext();
  }
  loop_.Unwatch(attempt_->fd.get(), attempt_.get());
  UniqueFd fd = std::move(attempt_->fd);
  const ChannelOptions& options = context_.options;
  auto socket = options.tls == nullptr ? internal::MakePlainSocket(std::move(fd))
                                       : internal::MakeTlsClientSocket(std::move(fd), *options.tls,
                                                                       options.server_name);
  if (socket == nullptr) return AttemptFailed("no memory for TLS");
  links_.push_back(std::make_unique<Link>(this, std::move(socket), attempt_->give_up_at));
  attempt_.reset();
  Link* const link = links_.back().get();
  for (const auto& stream : std::exchange(pending_, {})) {
    if (link->connection.draining()) {
      BeginCall(stream);
    } else {
      link->connection.Begin(stream);
    }
  }
  Touch(link);
  SetTimer();
}

void Core::AttemptFailed(const std::string& why) {
  attempt_.reset();
  const absl::Status error = internal::NeverSent(
      absl::UnavailableError(absl::StrCat("'", context_.options.address, "': ", why)));
  Backoff(error);
  for (const auto& stream : std::exchange(pending_, {})) context_.End(*stream, error);
}

void Core::Backoff(const absl::Status& error) {
  last_error_ = error;
  retry_at_ = context_.now + backoff_ * (0.8 + 0.4 * random_.Unit());
  backoff_ = std::min(2 * backoff_, context_.options.backoff_max);
}

// --- Connections ---

void Core::Touch(Link* link) {
  if (std::exchange(link->dirty, true)) return;
  if (touched_.empty()) loop_.Defer([self = shared_from_this()] { self->FlushTouched(); });
  touched_.push_back(link);
}

void Core::FlushTouched() {
  for (Link* const link : std::exchange(touched_, {})) {
    link->dirty = false;
    const bool lives = link->connection.Flush();
    if (link->connection.greeted()) backoff_ = context_.options.backoff_initial;
    if (!lives) {
      Remove(link);
      continue;
    }
    const uint32_t events = link->connection.WantedEvents();
    if (std::exchange(link->watched_events, events) != events) {
      loop_.Rewatch(link->connection.fd(), events, link);
    }
  }
  if (!closed_) SetTimer();
}

void Core::Remove(Link* link) {
  std::erase(touched_, link);
  const auto found = std::find_if(links_.begin(), links_.end(),
                                  [link](const auto& each) { return each.get() == link; });
  // A connection that never came about counts as an attempt that failed.
  if (!link->connection.greeted()) Backoff(link->connection.Failure());
  const std::unique_ptr<Link> last = std::move(*found);
  links_.erase(found);
}

// --- Time ---

void Core::OnTimer() {
  context_.now = loop_.now();
  while (!context_.deadlines.empty() && context_.deadlines.begin()->first <= context_.now) {
    const auto stream = context_.deadlines.begin()->second->shared_from_this();
    std::erase(pending_, stream);
    const bool never_sent = stream->connection == nullptr;
    if (ClientConnection* const connection = stream->connection) {
      connection->Abandon(*stream);
      for (const auto& link : links_) {
        if (&link->connection == connection) Touch(link.get());
      }
    }
    const absl::Status status = absl::DeadlineExceededError(
        absl::StrCat("'", context_.options.address, "': no answer within ",
                     absl::FormatDuration(stream->options.timeout)));
    context_.End(*stream, never_sent ? internal::NeverSent(status) : status);
  }
  if (attempt_ != nullptr && attempt_->give_up_at <= context_.now) {
    AttemptFailed(absl::StrCat("no connection within ",
                               absl::FormatDuration(context_.options.connect_timeout)));
  }
  if (next_check_ <= context_.now) {
    next_check_ = absl::InfiniteDuration();
    for (const auto& link : links_) {
      link->connection.OnTimer(context_.now);
      Touch(link.get());
    }
  }
  SetTimer();
}

void Core::SetTimer() {
  if (!links_.empty() && next_check_ == absl::InfiniteDuration()) {
    const ChannelOptions& options = context_.options;
    absl::Duration shortest = options.connect_timeout;
    if (options.keepalive_interval > absl::ZeroDuration()) {
      shortest = std::min({shortest, options.keepalive_interval, options.keepalive_timeout});
    }
    next_check_ = context_.now + std::clamp(shortest / 4, absl::Milliseconds(5), absl::Seconds(1));
  }
  absl::Duration next = next_check_;
  if (!context_.deadlines.empty()) next = std::min(next, context_.deadlines.begin()->first);
  if (attempt_ != nullptr) next = std::min(next, attempt_->give_up_at);
  // One that goes off too early finds nothing to do.
  if (next < timer_.at()) timer_.Set(next);
}

class ChannelImpl final : public Channel {
 public:
  ChannelImpl(EventLoop& loop, ChannelOptions options)
      : core_(std::make_shared<Core>(loop, std::move(options))) {}
  ~ChannelImpl() override { Close(); }

  std::shared_ptr<ClientCall> Start(CallOptions call,
                                    std::shared_ptr<ResponseHandler> handler) override {
    return core_->Start(std::move(call), std::move(handler));
  }
  void Close() override {
    // The loop may be gone when it is called again.
    if (!closed_.exchange(true)) core_->Close();
  }

 private:
  const std::shared_ptr<Core> core_;
  std::atomic<bool> closed_{false};
};

}  // namespace

std::unique_ptr<Channel> Channel::Create(EventLoop& loop, ChannelOptions options) {
  return std::make_unique<ChannelImpl>(loop, std::move(options));
}

}  // namespace keelson::rpc
