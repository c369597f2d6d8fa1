// The bytes of a connection, plain or inside TLS.
#ifndef KEELSON_BASE_RPC_INTERNAL_SOCKET_H_
#define KEELSON_BASE_RPC_INTERNAL_SOCKET_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/tls.h"
#include "base/unique_fd.h"

namespace keelson::rpc::internal {

// Non-blocking. Not thread-safe.
class Socket {
 public:
  enum class State {
    kDone,    // `bytes` were moved, at least one.
    kWait,    // None can be now.
    kClosed,  // None can be any more: the other side went, or broke TLS.
  };
  struct Result {
    State state = State::kWait;
    size_t bytes = 0;
    // Read only: there is more, of which the descriptor will not tell.
    bool more = false;
  };

  virtual ~Socket() = default;
  virtual Result Read(char* buffer, size_t size) = 0;
  virtual Result Write(std::string_view bytes) = 0;
  // Whether the last Read waits for room to write; TLS does sometimes.
  [[nodiscard]] virtual bool read_wants_write() const { return false; }
  [[nodiscard]] virtual int fd() const = 0;
  // As Call::ClientCommonName. Once something has been read.
  [[nodiscard]] virtual std::string ClientCommonName() const { return ""; }
};

std::unique_ptr<Socket> MakePlainSocket(UniqueFd fd);
// Null when OpenSSL has no memory.
std::unique_ptr<Socket> MakeTlsSocket(UniqueFd fd, const TlsServerContext& context);

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_SOCKET_H_
