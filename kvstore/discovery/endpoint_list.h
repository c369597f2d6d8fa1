// The instances of a service as a client sees them, and which of them to use next.
//
//   KEELSON_ASSIGN_OR_RETURN(auto web, EndpointList::Start(client, "services/web"));
//   while (std::optional<Instance> instance = web->Pick()) {
//     const bool served = Call(instance->address);
//     web->Report(instance->address, served);
//     if (served) break;
//   }
//
// The list follows the registry by a watch and is read from memory. When the store cannot be reached it
// stays as it was.
#ifndef KEELSON_KVSTORE_DISCOVERY_ENDPOINT_LIST_H_
#define KEELSON_KVSTORE_DISCOVERY_ENDPOINT_LIST_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kvstore/client/client.h"
#include "kvstore/discovery/instance.h"

namespace keelson::kvstore::discovery {

// Chooses. Times are monotonic. Not thread-safe.
class EndpointPicker {
 public:
  // Replaces the instances; what is known of those that stay is kept.
  void Set(std::vector<Instance> instances);

  // Of the instances with the smallest priority that are not being avoided, in turn and each as
  // often as its weight says, spread evenly. When all are avoided, as if none were. Nothing without
  // instances.
  std::optional<Instance> Pick(absl::Duration now);

  // How a call to it went. One that fails is avoided for a second, and twice as long for each failure
  // in a row, up to half a minute.
  void Report(const std::string& address, bool ok, absl::Duration now);

  // By priority, then by address.
  [[nodiscard]] std::vector<Instance> All() const;

 private:
  struct Entry {
    Instance instance;
    int64_t credit = 0;  // of the weighted turns
    int failures = 0;
    absl::Duration avoid_until = -absl::InfiniteDuration();
  };
  Entry* PickOf(int priority, absl::Duration now, bool avoid);

  std::map<std::string, Entry> entries_;  // by address
};

// Thread-safe.
class EndpointList {
 public:
  struct Callbacks {
    // The instances, now and after each change. On the client's thread for watches. May be empty.
    std::function<void(const std::vector<Instance>&)> on_change = nullptr;
    // The list follows no more (RangeMirror::Callbacks::on_end). May be empty.
    std::function<void(const absl::Status&)> on_end = nullptr;
  };
  // Reads the list and follows it. `client` is borrowed and outlives it. Errors as Client::Range.
  static absl::StatusOr<std::unique_ptr<EndpointList>> Start(Client& client, std::string service,
                                                             Callbacks callbacks);
  static absl::StatusOr<std::unique_ptr<EndpointList>> Start(Client& client, std::string service) {
    return Start(client, std::move(service), Callbacks());
  }
  // Waits for a callback that runs; not within one.
  virtual ~EndpointList() = default;

  // As EndpointPicker.
  virtual std::optional<Instance> Pick() = 0;
  virtual void Report(const std::string& address, bool ok) = 0;
  [[nodiscard]] virtual std::vector<Instance> All() const = 0;
  // Keys below the service that hold no entry.
  [[nodiscard]] virtual int foreign_keys() const = 0;
};

}  // namespace keelson::kvstore::discovery

#endif  // KEELSON_KVSTORE_DISCOVERY_ENDPOINT_LIST_H_
