#include "kvstore/gateway/tcp_proxy.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "base/net/address.h"
#include "base/net/resolver.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::kvstore {
namespace {

constexpr size_t kBufferBytes = 64 << 10;
constexpr absl::Duration kAcceptBackOff = absl::Milliseconds(100);

class Proxy;

// Two sockets whose bytes are passed on to each other; before that, the search for the second.
class Pair {
 public:
  Pair(Proxy& proxy, EventLoop& loop, UniqueFd client);
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  // Tries the next endpoint, or closes.
  void TryNext();
  // What looking a name up came to.
  void OnAddresses(absl::StatusOr<std::vector<net::SocketAddress>> addresses);

 private:
  // One of the two, with what it has sent and the other has not taken yet.
  struct Side final : EventLoop::Source {
    Side(Pair* owner, bool is_client) : pair(owner), client(is_client) {}
    void OnReady(uint32_t events) override { pair->OnReady(*this, events); }

    Pair* const pair;
    const bool client;
    UniqueFd fd;
    uint32_t watched = 0;  // events; 0: not watched
    std::string buffer;
    size_t taken = 0;       // of the buffer, by the other side
    bool ended = false;     // sends no more
    bool told_end = false;  // the other side has been told so
  };

  void TryAddress();
  void OnConnected();
  void Fail(const absl::Status& why);
  void OnReady(Side& side, uint32_t events);
  // False when the connection is broken.
  bool Read(Side& side);
  bool Pass(Side& from, Side& to);
  void Watch(Side& side);
  void Unwatch(Side& side);
  Side& Other(const Side& side) { return side.client ? server_ : client_; }

  Proxy& proxy_;
  EventLoop& loop_;
  Side client_{this, true};
  Side server_{this, false};
  bool connected_ = false;
  std::string endpoint_;
  std::vector<std::string> tried_;
  std::vector<net::SocketAddress> addresses_;  // of endpoint_, that are left to try
  absl::Status last_error_;
  EventLoop::Timer timeout_;
};

class Proxy final : public TcpProxy {
 public:
  Proxy(EventLoop& loop, TcpProxyOptions options)
      : loop_(loop), options_(std::move(options)), back_off_(loop, [this] { WatchListener(); }) {}
  ~Proxy() override {
    loop_.Await([this] {
      if (watching_) loop_.Unwatch(listener_.fd.get(), &acceptor_);
      back_off_.Clear();
      pairs_.clear();
      *alive_ = false;
    });
  }

  absl::Status Open() {
    if (options_.endpoints.empty()) return absl::InvalidArgumentError("no endpoint");
    KEELSON_ASSIGN_OR_RETURN(listener_, net::Listen(options_.listen));
    loop_.Await([this] { WatchListener(); });
    return absl::OkStatus();
  }

  [[nodiscard]] const std::string& address() const override { return listener_.address; }
  [[nodiscard]] Stats GetStats() const override {
    return {.open = open_, .accepted_total = accepted_, .failed_total = failed_};
  }

  // --- For pairs, on the loop ---
  [[nodiscard]] const TcpProxyOptions& options() const { return options_; }
  // The next in turn that is not in `tried`; those that failed lately come last.
  std::optional<std::string> Next(const std::vector<std::string>& tried);
  void Unreachable(const std::string& endpoint, const absl::Status& why);
  void Reachable(const std::string& endpoint) { retry_at_.erase(endpoint); }
  // Calls Pair::OnAddresses later, if the pair is still there.
  void LookUp(Pair* pair, const std::string& endpoint);
  void Close(Pair* pair, bool failed);

 private:
  struct Acceptor final : EventLoop::Source {
    explicit Acceptor(Proxy* owner) : proxy(owner) {}
    void OnReady(uint32_t) override { proxy->Accept(); }
    Proxy* const proxy;
  };

  void WatchListener() {
    watching_ = true;
    loop_.Watch(listener_.fd.get(), EPOLLIN, &acceptor_);
  }
  void Accept();

  EventLoop& loop_;
  const TcpProxyOptions options_;
  net::Listener listener_;
  Acceptor acceptor_{this};
  EventLoop::Timer back_off_;
  net::Resolver resolver_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // the loop's
  bool watching_ = false;
  size_t turn_ = 0;
  std::map<std::string, absl::Duration> retry_at_;
  std::map<Pair*, std::unique_ptr<Pair>> pairs_;
  std::map<Pair*, uint64_t> numbers_;
  uint64_t next_number_ = 1;
  std::atomic<uint64_t> open_{0};
  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> failed_{0};
};

// ---- Pair ----

Pair::Pair(Proxy& proxy, EventLoop& loop, UniqueFd client)
    : proxy_(proxy),
      loop_(loop),
      timeout_(loop, [this] { Fail(absl::DeadlineExceededError("no connection in time")); }) {
  client_.fd = std::move(client);
}

Pair::~Pair() {
  Unwatch(client_);
  Unwatch(server_);
}

void Pair::TryNext() {
  const std::optional<std::string> next = proxy_.Next(tried_);
  if (!next.has_value()) return proxy_.Close(this, /*failed=*/true);
  endpoint_ = *next;
  tried_.push_back(endpoint_);
  timeout_.Set(loop_.now() + proxy_.options().connect_timeout);
  const auto address = net::ParseSocketAddress(endpoint_);
  if (absl::IsNotFound(address.status())) return proxy_.LookUp(this, endpoint_);
  if (!address.ok()) return Fail(address.status());
  OnAddresses(std::vector{*address});
}

void Pair::OnAddresses(absl::StatusOr<std::vector<net::SocketAddress>> addresses) {
  if (!addresses.ok()) return Fail(addresses.status());
  addresses_ = *std::move(addresses);
  std::reverse(addresses_.begin(), addresses_.end());
  last_error_ = absl::UnavailableError("no address");
  TryAddress();
}

void Pair::TryAddress() {
  Unwatch(server_);
  while (!addresses_.empty()) {
    const net::SocketAddress address = addresses_.back();
    addresses_.pop_back();
    const auto* generic = reinterpret_cast<const sockaddr*>(&address.bytes);
    server_.fd.Reset(::socket(generic->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!server_.fd.ok()) {
      last_error_ = ErrnoError(errno, "socket");
      continue;
    }
    if (::connect(server_.fd.get(), generic, address.size) == 0 || errno == EINPROGRESS) {
      server_.watched = EPOLLOUT;
      return loop_.Watch(server_.fd.get(), server_.watched, &server_);
    }
    last_error_ = ErrnoError(errno, "connect");
  }
  Fail(last_error_);
}

void Pair::OnConnected() {
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(server_.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) {
    last_error_ = ErrnoError(error, "connect");
    return TryAddress();
  }
  timeout_.Clear();
  proxy_.Reachable(endpoint_);
  connected_ = true;
  const int on = 1;
  for (const Side* side : {&client_, &server_}) {  // Neither helps nor harms unix sockets.
    (void)::setsockopt(side->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)::setsockopt(side->fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  }
  Watch(client_);
  Watch(server_);
}

void Pair::Fail(const absl::Status& why) {
  Unwatch(server_);
  server_.fd.Reset();
  addresses_.clear();
  timeout_.Clear();
  proxy_.Unreachable(endpoint_, why);
  TryNext();
}

void Pair::OnReady(Side& side, uint32_t events) {
  if (!connected_) return OnConnected();  // Only the server is watched yet.
  Side& other = Other(side);
  bool sound = (events & EPOLLERR) == 0;
  if (sound && (events & EPOLLOUT) != 0) sound = Pass(other, side);
  if (sound && (events & (EPOLLIN | EPOLLHUP)) != 0 && side.buffer.empty() && !side.ended) {
    sound = Read(side) && Pass(side, other);
  }
  if (!sound || (client_.told_end && server_.told_end)) {
    return proxy_.Close(this, /*failed=*/false);
  }
  Watch(side);
  Watch(other);
}

bool Pair::Read(Side& side) {
  side.buffer.resize(kBufferBytes);
  const ssize_t size = ::recv(side.fd.get(), side.buffer.data(), side.buffer.size(), 0);
  side.buffer.resize(size > 0 ? static_cast<size_t>(size) : 0);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) side.ended = true;
  return true;
}

bool Pair::Pass(Side& from, Side& to) {
  while (from.taken < from.buffer.size()) {
    const ssize_t size = ::send(to.fd.get(), from.buffer.data() + from.taken,
                                from.buffer.size() - from.taken, MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    from.taken += static_cast<size_t>(size);
  }
  from.buffer.clear();
  from.taken = 0;
  if (from.ended && !std::exchange(from.told_end, true)) {
    (void)::shutdown(to.fd.get(), SHUT_WR);  // It may have gone already.
  }
  return true;
}

void Pair::Watch(Side& side) {
  const Side& other = Other(side);
  uint32_t wanted = 0;
  if (!side.ended && side.buffer.empty()) wanted |= EPOLLIN;
  if (!other.buffer.empty()) wanted |= EPOLLOUT;
  if (wanted == side.watched) return;
  // Unwatched, since an end of both directions would be told again and again.
  if (wanted == 0) return Unwatch(side);
  if (side.watched == 0) {
    loop_.Watch(side.fd.get(), wanted, &side);
  } else {
    loop_.Rewatch(side.fd.get(), wanted, &side);
  }
  side.watched = wanted;
}

void Pair::Unwatch(Side& side) {
  if (std::exchange(side.watched, 0) != 0) loop_.Unwatch(side.fd.get(), &side);
}

// ---- Proxy ----

std::optional<std::string> Proxy::Next(const std::vector<std::string>& tried) {
  std::optional<std::string> late;
  const size_t count = options_.endpoints.size();
  for (size_t i = 0; i < count; ++i) {
    const std::string& endpoint = options_.endpoints[(turn_ + i) % count];
    if (std::find(tried.begin(), tried.end(), endpoint) != tried.end()) continue;
    const auto retry = retry_at_.find(endpoint);
    if (retry == retry_at_.end() || retry->second <= loop_.now()) {
      turn_ = (turn_ + i + 1) % count;
      return endpoint;
    }
    if (!late.has_value()) late = endpoint;
  }
  return late;
}

void Proxy::Unreachable(const std::string& endpoint, const absl::Status& why) {
  const bool known = retry_at_.contains(endpoint);
  retry_at_[endpoint] = loop_.now() + options_.retry_delay;
  if (!known && options_.on_unreachable) options_.on_unreachable(endpoint, why);
}

void Proxy::LookUp(Pair* pair, const std::string& endpoint) {
  const uint64_t number = numbers_[pair];
  resolver_.Resolve(endpoint, [this, alive = alive_, pair, number](auto addresses) {
    loop_.Post([this, alive, pair, number, addresses = std::move(addresses)] {
      if (!*alive) return;
      // Another pair may have come to be at the same place.
      const auto found = numbers_.find(pair);
      if (found != numbers_.end() && found->second == number) pair->OnAddresses(addresses);
    });
  });
}

void Proxy::Close(Pair* pair, bool failed) {
  if (failed) ++failed_;
  numbers_.erase(pair);
  pairs_.erase(pair);
  open_ = pairs_.size();
}

void Proxy::Accept() {
  while (true) {
    UniqueFd fd(::accept4(listener_.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.ok()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // Until something has been closed, the queue would wake us at once.
        loop_.Unwatch(listener_.fd.get(), &acceptor_);
        watching_ = false;
        back_off_.Set(loop_.now() + kAcceptBackOff);
        return;
      }
      if (errno == EAGAIN) return;
      continue;
    }
    ++accepted_;
    auto pair = std::make_unique<Pair>(*this, loop_, std::move(fd));
    Pair* const raw = pair.get();
    pairs_.emplace(raw, std::move(pair));
    numbers_[raw] = next_number_++;
    open_ = pairs_.size();
    raw->TryNext();
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<TcpProxy>> TcpProxy::Start(EventLoop& loop,
                                                          TcpProxyOptions options) {
  auto proxy = std::make_unique<Proxy>(loop, std::move(options));
  KEELSON_RETURN_IF_ERROR(proxy->Open());
  return std::unique_ptr<TcpProxy>(std::move(proxy));
}

}  // namespace keelson::kvstore
