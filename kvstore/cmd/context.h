// What every verb gets: the global flags, the streams, a client and a printer.
#ifndef KEELSON_KVSTORE_CMD_CONTEXT_H_
#define KEELSON_KVSTORE_CMD_CONTEXT_H_

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"
#include "kvstore/cmd/outcome.h"
#include "kvstore/cmd/printer.h"

namespace keelson::kvctl {

// Text of the global flags, as given.
struct GlobalFlags {
  std::string endpoints = "127.0.0.1:2379";
  std::string discovery_srv;
  std::string discovery_srv_name;
  bool insecure_discovery = true;
  std::string dial_timeout = "2s";
  std::string command_timeout = "5s";
  std::string keepalive_time = "10s";
  std::string keepalive_timeout = "6s";
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  bool insecure_transport = true;
  bool insecure_skip_tls_verify = false;
  std::string user;  // or user:password
  std::string password;
  std::string write_out = "simple";
  bool hex = false;
};

// What a verb talks with: to the user, and to the cluster.
struct Session {
  std::unique_ptr<Printer> printer;
  std::unique_ptr<kvstore::Client> client;
};

class Context {
 public:
  Context(std::istream& in_stream, std::ostream& out_stream, std::ostream& err_stream)
      : in(in_stream), out(out_stream), err(err_stream) {}

  // With --discovery-srv: sets --endpoints to what the domain's records say.
  Outcome DiscoverEndpoints();
  // Checks the global flags and makes a client of all endpoints, or of `endpoint` alone.
  // A failure is an Outcome: the flags have exit codes of their own.
  Outcome Connect(std::unique_ptr<kvstore::Client>* client);
  Outcome ConnectTo(const std::vector<std::string>& endpoints,
                    std::unique_ptr<kvstore::Client>* client);
  // What ConnectTo hands to the library.
  Outcome MakeConnectOptions(const std::vector<std::string>& endpoints,
                             kvstore::ConnectOptions* options);
  // --command-timeout; ConnectTo has refused a bad one.
  [[nodiscard]] absl::Duration CommandTimeout() const;
  // The endpoints of --endpoints.
  [[nodiscard]] std::vector<std::string> Endpoints() const;
  // The endpoints given, or with `cluster` those that all members publish.
  Outcome FindEndpoints(bool cluster, std::vector<std::string>* endpoints);
  // The printer of --write-out and --hex.
  Outcome MakePrinter(bool value_only, std::unique_ptr<Printer>* printer);
  // MakePrinter for keys and values, and Connect.
  Outcome Open(Session* session);

  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  GlobalFlags flags;
  // Words behind a "--" of `watch` and `lock`: a command to run.
  std::vector<std::string> command;
  // Set by the verb that was chosen; main runs it.
  std::function<Outcome()> run;
  // The flags that stood on the command line or in the environment, as "--name".
  std::set<std::string> given;

 private:
  // The password of --user, asked for once.
  Outcome ReadUser(kvstore::ConnectOptions* options);

  std::optional<std::string> asked_password_;
};

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_CONTEXT_H_
