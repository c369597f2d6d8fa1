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
  // Whether the last Write waits for something to read; TLS does until the handshake is done.
  [[nodiscard]] virtual bool write_wants_read() const { return false; }
  // Whether what is written may reach the other side; TLS holds it back until the handshake is done.
  [[nodiscard]] virtual bool takes_bytes() const { return true; }
  // Why it is closed, for people; "" while it is not.
  [[nodiscard]] virtual std::string Why() const = 0;
  // That of the other side, if it was verified.
  [[nodiscard]] virtual std::shared_ptr<const PeerCertificate> Certificate() const {
    return nullptr;
  }
  [[nodiscard]] virtual int fd() const = 0;
};

std::unique_ptr<Socket> MakePlainSocket(UniqueFd fd);
// The server's end. Null when OpenSSL has no memory.
std::unique_ptr<Socket> MakeTlsSocket(UniqueFd fd, const TlsServerContext& context);
// The client's, which expects a certificate for `server_name`, and HTTP/2. The same.
std::unique_ptr<Socket> MakeTlsClientSocket(UniqueFd fd, const TlsClientContext& context,
                                            const std::string& server_name);

// "127.0.0.1:40312", or "unix" for a socket without a name; "unknown" when it has gone.
std::string PeerAddress(int fd);

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_SOCKET_H_
