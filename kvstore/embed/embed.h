// A member of a store inside a program: the same store as kvstored, used through the same Client
// interface, without a process and a port of its own.
//
//   KEELSON_ASSIGN_OR_RETURN(auto store, EmbeddedStore::Start({.directory = "/var/lib/app/store"}));
//   KEELSON_ASSIGN_OR_RETURN(auto client, store->NewClient());
//   KEELSON_RETURN_IF_ERROR(client->Put(PutOf("name", "value")).status());
//   client.reset();
//   store->Stop();
//
// By default it is a cluster of its own and listens nowhere. It can listen for other clients
// (etcdctl, say), and with kvstored's flags for clusters it can be one member of many.
#ifndef KEELSON_KVSTORE_EMBED_EMBED_H_
#define KEELSON_KVSTORE_EMBED_EMBED_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {

struct EmbedOptions {
  // Where the data is; made if missing. Empty: in memory (a folder of /dev/shm), gone with the store.
  std::string directory = {};
  // Serve clients over the network too: "http://127.0.0.1:0" finds a free port.
  std::vector<std::string> listen_client_urls = {};
  // Any of kvstored's flags, as on its command line: "--auto-compaction-retention=1h". With
  // --listen-peer-urls it listens for other members too.
  std::vector<std::string> flags = {};
  // How long Start waits for the member to serve.
  absl::Duration start_timeout = absl::Seconds(30);
  // The store cannot go on, as after a failed disk: nothing is acknowledged any more. The program must
  // leave without destroying the store. Empty: the program is aborted, with the reason on its log.
  std::function<void(const absl::Status&)> on_fatal = {};
};

struct EmbedClientOptions {
  absl::Duration command_timeout = absl::Seconds(5);
  std::string user = {};  // with authentication
  std::string password = {};
};

// Thread-safe.
class EmbeddedStore {
 public:
  // Recovers what is in the directory, and returns when the store serves. What happens goes to the
  // program's log (base/logging.h).
  //
  // Errors:
  //   INVALID_ARGUMENT     a flag or URL.
  //   ALREADY_EXISTS       a port is in use.
  //   FAILED_PRECONDITION  the directory is another member's, or in use.
  //   DATA_LOSS            what is in it is damaged.
  //   DEADLINE_EXCEEDED    it does not serve in time: the other members are missing, say.
  static absl::StatusOr<std::unique_ptr<EmbeddedStore>> Start(EmbedOptions options);

  // Stops.
  virtual ~EmbeddedStore() = default;

  // As many as wanted. A client may outlive the store; its calls then fail with UNAVAILABLE.
  virtual absl::StatusOr<std::unique_ptr<Client>> NewClient(EmbedClientOptions options = {}) = 0;

  // Ends running calls and closes the data. Everything acknowledged is durable before and after.
  // Idempotent. Takes a few seconds at most.
  virtual void Stop() = 0;

  // Where it serves clients of the network: "host:port" with the real ports.
  [[nodiscard]] virtual std::vector<std::string> client_addresses() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_EMBED_EMBED_H_
