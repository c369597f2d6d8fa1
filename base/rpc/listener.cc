#include "base/rpc/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/net/address.h"
#include "base/status.h"

namespace keelson::rpc {
namespace {

// Without descriptors or memory, connections stay in the system's queue for so long.
constexpr absl::Duration kPause = absl::Milliseconds(100);
constexpr int kAcceptsAtOnce = 64;

class ListenerImpl final : public Listener, public EventLoop::Source {
 public:
  ListenerImpl(EventLoop& loop, Server& server, net::Listener socket, bool tls)
      : loop_(loop), server_(server), socket_(std::move(socket)), tls_(tls), timer_(loop, [this] {
          Watch();
        }) {
    loop_.Await([this] { Watch(); });
  }
  ~ListenerImpl() override {
    loop_.Await([this] {
      timer_.Clear();
      if (watched_) loop_.Unwatch(socket_.fd.get(), this);
    });
  }

  uint16_t port() const override { return socket_.port; }

  void OnReady(uint32_t) override {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
      UniqueFd fd(::accept4(socket_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd.ok()) {
        if (errno == EAGAIN) return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
          return Pause();
        }
        continue;  // That connection has gone again.
      }
      const int on = 1;
      (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on,
                         sizeof(on));  // Not on unix sockets.
      server_.Adopt(std::move(fd), tls_);
    }
  }

 private:
  void Watch() {
    loop_.Watch(socket_.fd.get(), EPOLLIN, this);
    watched_ = true;
  }
  void Pause() {
    loop_.Unwatch(socket_.fd.get(), this);
    watched_ = false;
    timer_.Set(loop_.now() + kPause);
  }

  EventLoop& loop_;
  Server& server_;
  const net::Listener socket_;
  const bool tls_;
  EventLoop::Timer timer_;
  bool watched_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(EventLoop& loop, Server& server,
                                                         std::string_view address, bool tls) {
  KEELSON_ASSIGN_OR_RETURN(net::Listener socket, net::Listen(address));
  return std::make_unique<ListenerImpl>(loop, server, std::move(socket), tls);
}

}  // namespace keelson::rpc
