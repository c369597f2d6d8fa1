// Brings connections of a shared port to an HTTP server.
#ifndef KEELSON_BASE_NET_HTTP_SINK_H_
#define KEELSON_BASE_NET_HTTP_SINK_H_

#include <string>
#include <utility>

#include "base/http/server.h"
#include "base/net/shared_port.h"

namespace keelson::net {

class HttpSink final : public ConnectionSink {
 public:
  // `server` outlives this. `tls`: as of the port; the server must then have TLS.
  HttpSink(http::Server& server, bool tls) : server_(server), tls_(tls) {}

  void Take(UniqueFd fd, std::string already_read) override {
    server_.AdoptConnection(std::move(fd), {.already_read = std::move(already_read), .tls = tls_});
  }

 private:
  http::Server& server_;
  const bool tls_;
};

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_HTTP_SINK_H_
