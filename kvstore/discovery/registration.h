// Keeps an instance in the registry while it is healthy.
//
//   KEELSON_ASSIGN_OR_RETURN(auto registration, Registration::Start(client, {
//       .service = "services/web",
//       .instance = {.address = "10.0.0.7:80", .metadata = R"({"zone":"a"})"},
//       .check = {.kind = HealthCheck::Kind::kHttp, .target = "http://10.0.0.7:80/healthz"}}));
//   ... serve; the destructor takes the instance out.
//
// All keys of an instance hang on one lease. They go at once when a check fails or the registration is
// destroyed, and after the TTL when the process dies or cannot reach the store. They come back by
// themselves. A dead process is never in the registry for longer than the TTL.
#ifndef KEELSON_KVSTORE_DISCOVERY_REGISTRATION_H_
#define KEELSON_KVSTORE_DISCOVERY_REGISTRATION_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/executor.h"
#include "kvstore/client/client.h"
#include "kvstore/discovery/health.h"
#include "kvstore/discovery/instance.h"

namespace keelson::kvstore::discovery {

struct RegistrationOptions {
  std::string service;  // the prefix of the keys, without a slash at its end
  Instance instance;
  absl::Duration ttl = absl::Seconds(15);  // of the lease; whole seconds
  HealthCheck check = {};
  std::optional<SkyDnsName> dns = {};  // also for SkyDNS and CoreDNS
  // The instance has been published (OK) or is not (any more), and why. On the registration's
  // executor; may be empty.
  std::function<void(const absl::Status&)> on_change = nullptr;
};

// Thread-safe.
class Registration {
 public:
  // Where it runs. All borrowed; they outlive it.
  struct Env {
    Executor* executor = nullptr;  // its tasks call the client, which blocks
    Prober* prober = nullptr;      // for checks that ask
  };

  // Returns at once: the instance is published when it is found healthy and the store can be reached.
  // `client` is borrowed. INVALID_ARGUMENT when the options cannot work.
  static absl::StatusOr<std::unique_ptr<Registration>> Start(Client& client,
                                                             RegistrationOptions options);
  static absl::StatusOr<std::unique_ptr<Registration>> StartIn(Env env, Client& client,
                                                               RegistrationOptions options);
  // Takes the instance out; if the store cannot be reached its lease will. Waits for on_change.
  virtual ~Registration() = default;

  // For HealthCheck::Kind::kTtl: the service is well, or is not.
  virtual void Pass() = 0;
  virtual void Fail(std::string why) = 0;

  // OK while the instance is published; otherwise why it is not.
  [[nodiscard]] virtual absl::Status status() const = 0;
};

}  // namespace keelson::kvstore::discovery

#endif  // KEELSON_KVSTORE_DISCOVERY_REGISTRATION_H_
