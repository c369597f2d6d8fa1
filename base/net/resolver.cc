#include "base/net/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <sys/un.h>

#include <cstring>
#include <deque>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/net/address.h"
#include "base/status.h"

namespace keelson::net {
namespace {

absl::StatusOr<std::vector<SocketAddress>> LookUp(const std::string& text, int flags) {
  KEELSON_ASSIGN_OR_RETURN(const HostPort parsed, ParseHostPort(text));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  // An empty host is this machine.
  const int error = ::getaddrinfo(parsed.host.empty() ? nullptr : parsed.host.c_str(),
                                  std::to_string(parsed.port).c_str(), &hints, &found);
  if (error == EAI_NONAME && flags != 0) return absl::NotFoundError("a host name");
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("look up '", parsed.host, "': ", ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.bytes, each->ai_addr, each->ai_addrlen);
    address.size = each->ai_addrlen;
  }
  return addresses;
}

}  // namespace

absl::StatusOr<SocketAddress> ParseSocketAddress(std::string_view text) {
  if (text.starts_with("unix:")) {
    const std::string_view path = text.substr(5);
    SocketAddress address{};
    auto* un = reinterpret_cast<sockaddr_un*>(&address.bytes);
    if (path.empty() || path.size() >= sizeof(un->sun_path)) {
      return absl::InvalidArgumentError("a socket path has 1 to 107 bytes");
    }
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, path.data(), path.size());
    address.size = sizeof(sockaddr_un);
    return address;
  }
  KEELSON_ASSIGN_OR_RETURN(const auto addresses, LookUp(std::string(text), AI_NUMERICHOST));
  return addresses.front();
}

struct Resolver::State {
  void Run();

  absl::Mutex mu;
  std::deque<std::pair<std::string, Done>> waiting ABSL_GUARDED_BY(mu);
  bool running ABSL_GUARDED_BY(mu) = false;
  bool closed ABSL_GUARDED_BY(mu) = false;
};

void Resolver::State::Run() {
  while (true) {
    std::pair<std::string, Done> next;
    {
      absl::MutexLock lock(&mu);
      if (waiting.empty() || closed) {
        running = false;
        return;
      }
      next = std::move(waiting.front());
      waiting.pop_front();
    }
    auto addresses = LookUp(next.first, 0);
    absl::MutexLock lock(&mu);
    // Under the lock: when the resolver is gone, so is who asked.
    if (!closed) next.second(std::move(addresses));
  }
}

Resolver::Resolver() : state_(std::make_shared<State>()) {}

Resolver::~Resolver() {
  absl::MutexLock lock(&state_->mu);
  state_->closed = true;
  state_->waiting.clear();
}

void Resolver::Resolve(const std::string& address, Done done) {
  absl::MutexLock lock(&state_->mu);
  state_->waiting.emplace_back(address, std::move(done));
  if (std::exchange(state_->running, true)) return;
  // Not joined: nothing can interrupt getaddrinfo, which may take half a minute.
  std::thread thread([state = state_] { state->Run(); });
  (void)::pthread_setname_np(thread.native_handle(), "resolver");  // Cosmetic.
  thread.detach();
}

}  // namespace keelson::net
