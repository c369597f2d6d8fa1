// Brings connections of a shared port to an rpc::Server.
#ifndef KEELSON_BASE_NET_RPC_SINK_H_
#define KEELSON_BASE_NET_RPC_SINK_H_

#include <string>
#include <utility>

#include "base/check.h"
#include "base/net/shared_port.h"
#include "base/rpc/server.h"

namespace keelson::net {

class RpcSink final : public ConnectionSink {
 public:
  // `server` outlives this. `tls`: as of the port; the server must then have TLS.
  RpcSink(rpc::Server& server, bool tls) : server_(server), tls_(tls) {}

  void Take(UniqueFd fd, std::string already_read) override {
    KEELSON_CHECK(already_read.empty()) << "a shared port only looks at bytes";
    server_.Adopt(std::move(fd), tls_);
  }

 private:
  rpc::Server& server_;
  const bool tls_;
};

}  // namespace keelson::net

#endif  // KEELSON_BASE_NET_RPC_SINK_H_
