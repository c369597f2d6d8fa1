// grpc_server_started_total and grpc_server_handled_total of one method.
#ifndef KEELSON_KVSTORE_SERVER_METHOD_METRICS_H_
#define KEELSON_KVSTORE_SERVER_METHOD_METRICS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <string>

#include "absl/status/status.h"
#include "base/metrics.h"

namespace keelson::kvstore {

// Thread-safe.
class MethodMetrics {
 public:
  // `type`: "unary" or "bidi_stream". `registry` is borrowed and outlives this.
  MethodMetrics(MetricRegistry* registry, const std::string& type, const std::string& service,
                const std::string& method)
      : registry_(registry),
        labels_{{"grpc_type", type}, {"grpc_service", service}, {"grpc_method", method}},
        started_(registry->GetCounter("grpc_server_started_total", "RPCs started on the server.",
                                      labels_)) {
    (void)HandledCounter(absl::StatusCode::kOk);
  }

  void Started() { started_.Increment(); }
  void Handled(absl::StatusCode code) { HandledCounter(code).Increment(); }

 private:
  Counter& HandledCounter(absl::StatusCode code) {
    static constexpr std::array<const char*, 17> kNames = {
        "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
        "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
        "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
        "DataLoss", "Unauthenticated"};
    const size_t index = std::min<size_t>(static_cast<size_t>(code), kNames.size() - 1);
    Counter* counter = handled_[index].load(std::memory_order_acquire);
    if (counter == nullptr) {
      MetricLabels labels = labels_;
      labels.emplace_back("grpc_code", kNames[index]);
      counter = &registry_->GetCounter("grpc_server_handled_total", "RPCs completed on the server.",
                                       labels);
      handled_[index].store(counter, std::memory_order_release);
    }
    return *counter;
  }

  MetricRegistry* const registry_;
  const MetricLabels labels_;
  Counter& started_;
  std::array<std::atomic<Counter*>, 17> handled_{};
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_METHOD_METRICS_H_
