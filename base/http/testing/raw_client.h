// A TCP client that sends and receives bytes as they are, for what a proper client never sends.
// Each call fails the test after 30 seconds without an event.
#ifndef KEELSON_BASE_HTTP_TESTING_RAW_CLIENT_H_
#define KEELSON_BASE_HTTP_TESTING_RAW_CLIENT_H_

#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.h"

namespace keelson::testing {

class RawClient {
 public:
  // Connects to 127.0.0.1.
  explicit RawClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  explicit RawClient(UniqueFd fd) : fd_(std::move(fd)) {}

  // False when the other side no longer takes bytes.
  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  void ShutdownSend() { REQUIRE(::shutdown(fd_.get(), SHUT_WR) == 0); }
  void Close() { fd_.Reset(); }

  // Everything until the other side closes or resets.
  std::string ReadAll() {
    while (ReadSome()) {
    }
    return std::exchange(received_, {});
  }
  // Everything up to and with `mark`; what follows stays for the next call.
  std::string ReadUntil(const std::string& mark) {
    size_t at = 0;
    while ((at = received_.find(mark)) == std::string::npos) {
      INFO("received so far: " << received_);
      REQUIRE(ReadSome());
    }
    std::string text = received_.substr(0, at + mark.size());
    received_.erase(0, text.size());
    return text;
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  bool ReadSome() {
    pollfd poll = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
    REQUIRE(::poll(&poll, 1, 30'000) == 1);
    char buffer[65536];
    const ssize_t size = ::recv(fd_.get(), buffer, sizeof(buffer), 0);
    if (size > 0) received_.append(buffer, static_cast<size_t>(size));
    return size > 0;
  }

  UniqueFd fd_;
  std::string received_;
};

}  // namespace keelson::testing

#endif  // KEELSON_BASE_HTTP_TESTING_RAW_CLIENT_H_
