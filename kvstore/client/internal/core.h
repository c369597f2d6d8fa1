// How calls are made: pick an endpoint, call, and decide whether to try again.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_CORE_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_CORE_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/internal/endpoint_pool.h"
#include "kvstore/client/internal/runtime.h"

namespace keelson::kvstore::client_internal {

enum class Repeat {
  kAlways,     // reads, and what does no harm twice
  kIfNotDone,  // writes: only when it certainly was not done
};

// A call of one message each way.
struct UnaryRequest {
  std::string path;  // "/etcdserverpb.KV/Range"
  std::string bytes;
  Repeat repeat = Repeat::kIfNotDone;
  // Only a member that has a leader may answer.
  bool wants_leader = true;
  bool wants_token = true;
  // The method is a stream; its first answer is all that is wanted.
  bool is_stream = false;
  absl::Duration timeout;
};
using UnaryDone = std::function<void(absl::StatusOr<std::string>)>;

struct CoreOptions {
  absl::Duration dial_timeout;
  absl::Duration command_timeout;
  absl::Duration sync_interval;  // zero: never
  std::string user;              // empty: no authentication
  std::string password;
};

// etcd's errors that say: not done, and another member may do it.
bool IsRefusedByMember(const absl::Status& status);
// The token is not good (any more): get another.
bool IsBadToken(const absl::Status& status);

class UnaryCall;

// Shared by a client with its watches and leases. Unless it says otherwise, everything is for the
// loop alone.
class ClientCore {
 public:
  // Any thread. Errors as EndpointPool::Set.
  static absl::StatusOr<std::shared_ptr<ClientCore>> Make(std::unique_ptr<Runtime> runtime,
                                                          const std::vector<std::string>& endpoints,
                                                          const CoreOptions& options);
  // Any thread but those of the runtime. Ends what still runs.
  ~ClientCore();
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  // Blocks the thread, which may be any but the loop.
  absl::StatusOr<std::string> Call(UnaryRequest request);
  // `done` runs once, on the loop.
  void Start(UnaryRequest request, UnaryDone done);

  // Calls `ready` at once or later with a token, or with "" when none is needed.
  void WithToken(std::function<void(absl::StatusOr<std::string>)> ready);
  // `token` was refused. Does nothing if there is a newer one.
  void DropToken(std::string_view token);

  // Makes the client URLs of the members the endpoints.
  void Sync(std::function<void(absl::Status)> done);

  [[nodiscard]] Runtime& runtime() { return *runtime_; }                 // any thread
  [[nodiscard]] const CoreOptions& options() const { return options_; }  // any thread
  [[nodiscard]] EndpointPool& pool() { return pool_; }

 private:
  friend class UnaryCall;
  ClientCore(std::unique_ptr<Runtime> runtime, const CoreOptions& options)
      : runtime_(std::move(runtime)), options_(options), pool_(runtime_.get()) {}

  void OnToken(absl::StatusOr<std::string> answer);
  void SyncLater(std::weak_ptr<ClientCore> weak);

  const std::unique_ptr<Runtime> runtime_;
  const CoreOptions options_;
  EndpointPool pool_;
  bool closed_ = false;
  std::set<std::shared_ptr<UnaryCall>> calls_;
  std::string token_;
  bool needs_no_token_ = false;
  std::vector<std::function<void(absl::StatusOr<std::string>)>> wait_for_token_;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_CORE_H_
