// grpc_server_started_total, grpc_server_handled_total and etcd_server_client_requests_total of one
// method. Labels stand in the order of their names, as etcd's.
#ifndef KEELSON_KVSTORE_SERVER_METHOD_METRICS_H_
#define KEELSON_KVSTORE_SERVER_METHOD_METRICS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/metrics.h"

namespace keelson::kvstore {

// Thread-safe.
class MethodMetrics {
 public:
  // `type`: "unary", "bidi_stream" or "server_stream". `registry` is borrowed and outlives this.
  MethodMetrics(MetricRegistry* registry, const std::string& type, const std::string& service,
                const std::string& method)
      : registry_(registry),
        is_stream_(type != "unary"),
        labels_{{"grpc_method", method}, {"grpc_service", service}, {"grpc_type", type}},
        started_(registry->GetCounter("grpc_server_started_total", "RPCs started on the server.",
                                      labels_)) {
    (void)HandledCounter(absl::StatusCode::kOk);
  }

  void Started() { started_.Increment(); }
  // A call of a client that says it speaks `version` of the API, which may be any text.
  void Requested(std::string_view version) ABSL_LOCKS_EXCLUDED(mu_) {
    constexpr size_t kVersions = 8;  // A client that makes others up gets no line for each.
    absl::MutexLock lock(&mu_);
    for (const auto& [known, counter] : requests_) {
      if (known == version) return counter->Increment();
    }
    const bool counted = requests_.size() < kVersions && IsVersion(version);
    if (!counted && version != kUnknown) {
      for (const auto& [known, counter] : requests_) {
        if (known == kUnknown) return counter->Increment();
      }
    }
    const std::string label(counted ? version : kUnknown);
    Counter& counter = registry_->GetCounter(
        "etcd_server_client_requests_total",
        "The total number of client requests per client version.",
        {{"client_api_version", label}, {"type", is_stream_ ? "stream" : "unary"}});
    requests_.emplace_back(label, &counter);
    counter.Increment();
  }

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
      labels.emplace(labels.begin(), "grpc_code", kNames[index]);
      counter = &registry_->GetCounter("grpc_server_handled_total", "RPCs completed on the server.",
                                       labels);
      handled_[index].store(counter, std::memory_order_release);
    }
    return *counter;
  }

  static constexpr std::string_view kUnknown = "unknown";

  static bool IsVersion(std::string_view text) {
    return !text.empty() && text.size() <= 16 &&
           text.find_first_not_of("0123456789.") == std::string_view::npos;
  }

  MetricRegistry* const registry_;
  const bool is_stream_;
  const MetricLabels labels_;
  Counter& started_;
  std::array<std::atomic<Counter*>, 17> handled_{};
  absl::Mutex mu_;
  std::vector<std::pair<std::string, Counter*>> requests_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_METHOD_METRICS_H_
