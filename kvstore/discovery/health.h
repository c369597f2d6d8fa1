// Whether an instance is fit to be found: checks, and what is made of their outcome.
#ifndef KEELSON_KVSTORE_DISCOVERY_HEALTH_H_
#define KEELSON_KVSTORE_DISCOVERY_HEALTH_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keelson::kvstore::discovery {

struct HealthCheck {
  enum class Kind {
    kNone,  // The process lives: that is all.
    kTtl,   // The service says by itself that it is well (Registration::Pass), at least each `ttl`.
    kTcp,   // A connection comes about.
    kHttp,  // GET answers with 2xx.
    kGrpc,  // grpc.health.v1.Health/Check answers SERVING.
  };
  Kind kind = Kind::kNone;
  std::string target = {};   // kTcp, kGrpc: "host:port"; kHttp: the URL
  std::string service = {};  // kGrpc: which one; empty: the server as a whole
  absl::Duration ttl = absl::Seconds(15);
  // Of the kinds that ask.
  absl::Duration interval = absl::Seconds(5);
  absl::Duration timeout = absl::Seconds(2);
  int rise = 1;  // So many successes in a row make it healthy,
  int fall = 3;  // so many failures in a row unhealthy.

  [[nodiscard]] bool asks() const { return kind >= Kind::kTcp; }
};

// INVALID_ARGUMENT, naming the field.
absl::Status ValidateHealthCheck(const HealthCheck& check);

// Asks once. Thread-safe.
class Prober {
 public:
  virtual ~Prober() = default;
  // `done` runs once, on any thread, within the check's timeout or shortly after. The status says why
  // it is not well.
  virtual void Probe(const HealthCheck& check, std::function<void(absl::Status)> done) = 0;
};

// Over the network, on a thread of its own; one probe after the other. Its destructor waits for the
// one that runs.
std::unique_ptr<Prober> MakeNetworkProber();

// Makes health of outcomes. An instance is unhealthy until it has been seen to be well. Not
// thread-safe; times are monotonic.
class HealthJudge {
 public:
  explicit HealthJudge(HealthCheck check);

  void OnProbe(const absl::Status& outcome);
  void OnPass(absl::Duration now);
  void OnFail(std::string why);

  // OK when healthy; otherwise UNAVAILABLE with the reason.
  [[nodiscard]] absl::Status Judge(absl::Duration now) const;

 private:
  const HealthCheck check_;
  bool healthy_ = false;
  int in_a_row_ = 0;  // successes of one that is unhealthy, failures of one that is healthy
  absl::Status last_ = absl::UnavailableError("not checked yet");
  absl::Duration passed_at_;
};

}  // namespace keelson::kvstore::discovery

#endif  // KEELSON_KVSTORE_DISCOVERY_HEALTH_H_
