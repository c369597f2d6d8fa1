// The members that a client knows, and which of them to use.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_POOL_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_POOL_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kvstore/client/internal/runtime.h"

namespace keelson::kvstore::client_internal {

// One member. Calls hold it while they run, also when it has left the pool.
struct Endpoint {
  std::string name;  // as the user or the member list wrote it
  std::shared_ptr<rpc::Channel> channel;
  absl::Duration bad_until = -absl::InfiniteDuration();  // monotonic
  int failures = 0;                                      // in a row
};

// Stays with one endpoint while it works. One that does not is avoided for a while, longer each
// time, and tried again when all others are no better. Of the loop alone.
class EndpointPool {
 public:
  explicit EndpointPool(Runtime* runtime) : runtime_(runtime) {}

  // Makes `names` the endpoints, keeping the channels of those that stay. INVALID_ARGUMENT, with
  // nothing changed, for none or a malformed one.
  absl::Status Set(const std::vector<std::string>& names);

  // The one to use now. Precondition: Set has succeeded.
  std::shared_ptr<Endpoint> Pick(absl::Duration now);

  void NoteGood(Endpoint& endpoint);
  // It did not answer, or cannot serve.
  void NoteBad(Endpoint& endpoint, absl::Duration now);

  [[nodiscard]] size_t size() const { return endpoints_.size(); }
  // At least one endpoint is not being avoided.
  [[nodiscard]] bool AnyGood(absl::Duration now) const;
  [[nodiscard]] std::vector<std::string> Names() const;

  // Ends all calls, and lets go of the channels.
  void Close();

 private:
  Runtime* const runtime_;
  std::vector<std::shared_ptr<Endpoint>> endpoints_;
  // Have left, and stay until a later Set finds them without calls.
  const std::shared_ptr<std::vector<std::shared_ptr<Endpoint>>> retired_ =
      std::make_shared<std::vector<std::shared_ptr<Endpoint>>>();
  size_t current_ = 0;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_ENDPOINT_POOL_H_
