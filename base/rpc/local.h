// Calls within one process, without sockets: the methods of a LocalServer serve what its channels
// start, with the same handlers as over the network. For stores that are part of a program, and for
// simulated networks.
//
//   auto server = rpc::LocalServer::Create({.loop = &loop, .run_on_loop = ...});
//   server->Register(...);
//   server->Start();
//   auto channel = server->Connect({.name = "embedded", .loop = &client_loop});
//   auto call = channel->Start({.path = "/echo.Echo/Say"}, handler);
#ifndef KEELSON_BASE_RPC_LOCAL_H_
#define KEELSON_BASE_RPC_LOCAL_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/executor.h"
#include "base/rpc/client.h"
#include "base/rpc/server.h"

namespace keelson::rpc {

struct LocalServerOptions {
  // Where the handlers run; outlives the server. One thread at a time.
  Executor* loop = nullptr;
  // Runs a task there and returns when it has run, as EventLoop::Await does.
  std::function<void(const Executor::Task&)> run_on_loop = {};
};

// One direction of the way between a client and a server: runs each task once, in order, later or
// at once; or, when the way is lost for good, never.
using LocalPipe = std::function<void(Executor::Task)>;

struct LocalLink {
  std::string name = {};     // of the server, for texts of errors; of the client, for handlers
  Executor* loop = nullptr;  // Where the client's handlers run; outlives the channel's Close.
  // As LocalServerOptions has it.
  std::function<void(const Executor::Task&)> run_on_loop = {};
  LocalPipe to_server = {};  // empty: at once
  LocalPipe to_client = {};  // the same
};

class LocalChannel : public Channel {
 public:
  // The connection breaks: all calls end with `status`. New ones make another.
  virtual void Break(const absl::Status& status) = 0;
};

// Of Server's functions Adopt closes what it is given, and Stop has no grace.
class LocalServer : public Server {
 public:
  static std::unique_ptr<LocalServer> Create(LocalServerOptions options);

  // A channel may outlive its server: calls that reach nobody any more end with UNAVAILABLE, and
  // WasNeverSent.
  virtual std::unique_ptr<LocalChannel> Connect(LocalLink link) = 0;
};

}  // namespace keelson::rpc

#endif  // KEELSON_BASE_RPC_LOCAL_H_
