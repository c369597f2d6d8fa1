// What the gRPC adapters share: statuses, the "hasleader" metadata, and counting calls.
#ifndef KEELSON_KVSTORE_SERVER_RPC_SUPPORT_H_
#define KEELSON_KVSTORE_SERVER_RPC_SUPPORT_H_

#include <grpcpp/grpcpp.h>

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/metrics.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

// The codes are numerically equal.
inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// The client refuses to be served by a member without a leader (kvstore.md 1.6).
inline bool RequiresLeader(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("hasleader");
  return found != metadata.end() && found->second == "true";
}

// grpc_server_started_total and grpc_server_handled_total of one method.
class MethodMetrics {
 public:
  MethodMetrics(MetricRegistry* registry, const std::string& type, const std::string& service,
                const std::string& method)
      : registry_(registry),
        labels_{{"grpc_type", type}, {"grpc_service", service}, {"grpc_method", method}},
        started_(registry->GetCounter("grpc_server_started_total", "RPCs started on the server.",
                                      labels_)) {
    (void)HandledCounter(grpc::StatusCode::OK);
  }

  void Started() { started_.Increment(); }
  void Handled(grpc::StatusCode code) { HandledCounter(code).Increment(); }

 private:
  Counter& HandledCounter(grpc::StatusCode code) {
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

// Answers one unary call: `serve(done)` does the work.
template <typename Serve>
grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext* context, const Server& server,
                                     MethodMetrics& metrics, const Serve& serve) {
  metrics.Started();
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto done = [reactor, &metrics](const absl::Status& status) {
    metrics.Handled(static_cast<grpc::StatusCode>(status.code()));
    reactor->Finish(ToGrpc(status));
  };
  if (!server.HasLeader() && RequiresLeader(*context)) {
    done(absl::UnavailableError("etcdserver: no leader"));
  } else {
    serve(done);
  }
  return reactor;
}

// Decides who calls Finish on a stream, and when: once, never while something of ours that
// could still write is under way. Thread-safe.
class StreamEnd {
 public:
  // Work begins that will write. False when the stream has ended: do nothing.
  [[nodiscard]] bool Begin() {
    absl::MutexLock lock(&mu_);
    if (finished_ || wanted_.has_value()) return false;
    ++busy_;
    return true;
  }
  // The work is done. Returns the status to Finish with, if the end was asked for meanwhile.
  [[nodiscard]] std::optional<grpc::Status> Idle() {
    absl::MutexLock lock(&mu_);
    --busy_;
    return TakeIfDue();
  }
  // Asks for the end. Returns the status to Finish with now, if that is allowed.
  [[nodiscard]] std::optional<grpc::Status> End(grpc::Status status) {
    absl::MutexLock lock(&mu_);
    if (!finished_ && !wanted_.has_value()) wanted_ = std::move(status);
    return TakeIfDue();
  }

 private:
  std::optional<grpc::Status> TakeIfDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (busy_ > 0 || finished_ || !wanted_.has_value()) return std::nullopt;
    finished_ = true;
    return std::move(wanted_);
  }

  absl::Mutex mu_;
  int busy_ ABSL_GUARDED_BY(mu_) = 0;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<grpc::Status> wanted_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_RPC_SUPPORT_H_
