// A port for an rpc::Server alone: accepts connections on an EventLoop and gives them to it. For a port
// that HTTP/1.1 shares there is base/net/shared_port.h.
#ifndef KEELSON_BASE_RPC_LISTENER_H_
#define KEELSON_BASE_RPC_LISTENER_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/rpc/server.h"

namespace keelson::rpc {

class Listener {
 public:
  // Binds `address` (forms as in base/net/address.h), listens and accepts. `loop` and `server` outlive
  // the listener; `tls`: the server must then have TLS. Errors as of net::Listen.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(EventLoop& loop, Server& server,
                                                        std::string_view address, bool tls);
  // Closes the port. Not within a task of another loop that this loop waits for.
  virtual ~Listener() = default;

  [[nodiscard]] virtual uint16_t port() const = 0;
};

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_LISTENER_H_
