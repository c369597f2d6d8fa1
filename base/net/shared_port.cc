#include "base/net/shared_port.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <list>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/net/address.h"
#include "base/net/sniff.h"
#include "base/status.h"

namespace keelson::net {
namespace {

constexpr int kAcceptsAtOnce = 64;  // Then those that wait have their turn.
constexpr absl::Duration kAcceptBackOff = absl::Milliseconds(100);

int DefaultFdMax() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 896;
  const auto soft = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1'000'000));
  return soft - soft / 8;
}

class SharedPortImpl final : public SharedPort {
 public:
  explicit SharedPortImpl(const SharedPortOptions& options)
      : options_(options), fd_max_(options.fd_max > 0 ? options.fd_max : DefaultFdMax()) {}
  ~SharedPortImpl() override { Stop(); }

  absl::Status Open();
  void StartBoth(Sinks plain, Sinks tls) override;
  void Stop() override;
  const std::vector<std::string>& addresses() const override { return addresses_; }
  uint16_t port() const override { return port_; }
  SharedPortStats Stats() const override;

 private:
  // A connection that has not said yet what it is.
  struct Waiting {
    UniqueFd fd;
    absl::Duration deadline;
  };

  void Run();
  // Milliseconds until the next deadline or the end of the back-off; -1 for neither.
  int Timeout() const;
  void Expire();
  void AcceptAll(int listener);
  void Admit(UniqueFd fd);
  // Looks at what a connection has sent, and closes or hands it over once that is enough.
  // `ended`: the client sends no more.
  void Look(std::list<Waiting>::iterator waiting, bool ended);
  void WatchListeners(bool watch);

  const SharedPortOptions options_;
  const int fd_max_;
  std::vector<std::string> addresses_;  // Constant after Open.
  uint16_t port_ = 0;                   // Constant after Open.
  UniqueFd epoll_;
  UniqueFd stop_;
  Sinks plain_{};  // Not owned; constant after Start.
  Sinks tls_{};    // Likewise.
  std::thread thread_;

  // Touched by the thread only, once it runs.
  std::vector<UniqueFd> listeners_;
  std::list<Waiting> waiting_;  // In the order accepted, which is that of their deadlines.
  std::map<int, std::list<Waiting>::iterator> by_fd_;
  std::optional<absl::Duration> back_off_until_;
  std::string peek_buffer_;

  std::atomic<uint64_t> http_total_{0};
  std::atomic<uint64_t> grpc_total_{0};
  std::atomic<uint64_t> refused_total_{0};
  std::atomic<uint64_t> timeouts_total_{0};
  std::atomic<uint64_t> unknown_total_{0};
  std::atomic<uint64_t> accept_errors_total_{0};
  std::atomic<uint64_t> sniffing_{0};
};

absl::Status SharedPortImpl::Open() {
  if (options_.listen.empty()) return absl::InvalidArgumentError("no address to listen on");
  if (options_.sniff_timeout <= absl::ZeroDuration() || options_.sniffing_max == 0) {
    return absl::InvalidArgumentError("a limit of the shared port is not positive");
  }
  epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
  stop_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.ok() || !stop_.ok()) return ErrnoError(errno, "epoll for the shared port");
  epoll_event event{.events = EPOLLIN, .data = {.fd = stop_.get()}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &event) != 0) {
    return ErrnoError(errno, "epoll for the shared port");
  }
  for (const std::string& address : options_.listen) {
    KEELSON_ASSIGN_OR_RETURN(Listener listener, Listen(address));
    if (addresses_.empty()) port_ = listener.port;
    addresses_.push_back(listener.address);
    listeners_.push_back(std::move(listener.fd));
  }
  return absl::OkStatus();
}

void SharedPortImpl::StartBoth(Sinks plain, Sinks tls) {
  KEELSON_CHECK(plain_.http == nullptr) << "started twice";
  plain_ = plain;
  tls_ = tls;
  peek_buffer_.resize(kSniffBytesMax);
  WatchListeners(true);
  thread_ = std::thread([this] { Run(); });
  (void)::pthread_setname_np(thread_.native_handle(), "shared-port");  // Cosmetic.
}

void SharedPortImpl::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    KEELSON_CHECK(::write(stop_.get(), &one, sizeof(one)) == sizeof(one)) << errno;
    thread_.join();
  }
  listeners_.clear();
  by_fd_.clear();
  waiting_.clear();
  sniffing_ = 0;
}

void SharedPortImpl::WatchListeners(bool watch) {
  for (const UniqueFd& listener : listeners_) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = listener.get()}};
    KEELSON_CHECK(::epoll_ctl(epoll_.get(), watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener.get(),
                              &event) == 0)
        << errno;
  }
}

void SharedPortImpl::Run() {
  while (true) {
    epoll_event events[64];
    const int count = ::epoll_wait(epoll_.get(), events, 64, Timeout());
    KEELSON_CHECK(count >= 0 || errno == EINTR) << errno;
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == stop_.get()) return;
      const auto it = by_fd_.find(fd);
      if (it != by_fd_.end()) {
        Look(it->second, (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
      } else if (std::any_of(listeners_.begin(), listeners_.end(),
                             [fd](const UniqueFd& each) { return each.get() == fd; })) {
        AcceptAll(fd);
      }
    }
    Expire();
  }
}

int SharedPortImpl::Timeout() const {
  absl::Duration next = absl::InfiniteDuration();
  if (!waiting_.empty()) next = waiting_.front().deadline;
  if (back_off_until_) next = std::min(next, *back_off_until_);
  if (next == absl::InfiniteDuration()) return -1;
  const absl::Duration left = std::max(next - RealClock().Monotonic(), absl::ZeroDuration());
  // Rounded up, so that it does not wake just before and spin.
  return static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
}

void SharedPortImpl::Expire() {
  const absl::Duration now = RealClock().Monotonic();
  while (!waiting_.empty() && waiting_.front().deadline <= now) {
    --sniffing_;
    ++timeouts_total_;  // Before the client can see that it was closed.
    by_fd_.erase(waiting_.front().fd.get());
    waiting_.pop_front();
  }
  if (back_off_until_ && *back_off_until_ <= now) {
    back_off_until_.reset();
    WatchListeners(true);
  }
}

void SharedPortImpl::AcceptAll(int listener) {
  if (back_off_until_) return;
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.ok()) {
      Admit(std::move(fd));
      continue;
    }
    if (errno == EAGAIN) return;
    ++accept_errors_total_;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;
    // Out of descriptors or memory: the connection stays in the queue and would wake us at
    // once; wait until something may have been closed.
    back_off_until_ = RealClock().Monotonic() + kAcceptBackOff;
    WatchListeners(false);
    return;
  }
}

void SharedPortImpl::Admit(UniqueFd fd) {
  if (fd.get() >= fd_max_ || waiting_.size() >= options_.sniffing_max) {
    ++refused_total_;
    return;
  }
  const int on = 1;
  (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // Not on unix sockets.
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  waiting_.push_back({std::move(fd), RealClock().Monotonic() + options_.sniff_timeout});
  const auto added = std::prev(waiting_.end());
  ++sniffing_;
  by_fd_[added->fd.get()] = added;
  // Edge-triggered: bytes that are only looked at stay readable, and would wake us for ever.
  epoll_event event{.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data = {.fd = added->fd.get()}};
  KEELSON_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, added->fd.get(), &event) == 0) << errno;
}

void SharedPortImpl::Look(std::list<Waiting>::iterator waiting, bool ended) {
  const int raw = waiting->fd.get();
  const ssize_t size = ::recv(raw, peek_buffer_.data(), peek_buffer_.size(), MSG_PEEK);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  Sniffed sniffed = Sniffed::kNeither;  // An error, or an end before the first byte.
  bool tls = options_.tls;
  if (size > 0) {
    const auto bytes = std::string_view(peek_buffer_).substr(0, static_cast<size_t>(size));
    if (options_.plain_too && !StartsTls(bytes)) tls = false;
    sniffed = Sniff(bytes, tls);
  }
  if (sniffed == Sniffed::kNeedMore) {
    if (!ended) return;  // The next bytes wake us again.
    sniffed = Sniffed::kNeither;
  }

  UniqueFd fd = std::move(waiting->fd);
  by_fd_.erase(raw);
  waiting_.erase(waiting);
  --sniffing_;
  epoll_event none{};
  KEELSON_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, raw, &none) == 0) << errno;
  if (sniffed == Sniffed::kHttp) {
    ++http_total_;
    (tls ? tls_ : plain_).http->Take(std::move(fd), "");
  } else if (sniffed == Sniffed::kGrpc) {
    ++grpc_total_;
    (tls ? tls_ : plain_).grpc->Take(std::move(fd), "");
  } else {
    ++unknown_total_;
  }
}

SharedPortStats SharedPortImpl::Stats() const {
  return {.http_total = http_total_,
          .grpc_total = grpc_total_,
          .refused_total = refused_total_,
          .timeouts_total = timeouts_total_,
          .unknown_total = unknown_total_,
          .accept_errors_total = accept_errors_total_,
          .sniffing = sniffing_};
}

}  // namespace

absl::StatusOr<std::unique_ptr<SharedPort>> SharedPort::Bind(const SharedPortOptions& options) {
  auto port = std::make_unique<SharedPortImpl>(options);
  KEELSON_RETURN_IF_ERROR(port->Open());
  return std::unique_ptr<SharedPort>(std::move(port));
}

}  // namespace keelson::net
