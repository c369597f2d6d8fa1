// One call of a client, with all its attempts.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_UNARY_CALL_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_UNARY_CALL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kvstore/client/internal/core.h"

namespace keelson::kvstore::client_internal {

// Of the loop alone. Kept by the core until it is over.
class UnaryCall : public std::enable_shared_from_this<UnaryCall> {
 public:
  UnaryCall(ClientCore* core, UnaryRequest request, UnaryDone done)
      : core_(core), request_(std::move(request)), done_(std::move(done)) {}

  void Start();
  // Ends it here, unless it is over.
  void Finish(absl::StatusOr<std::string> result);

 private:
  class Attempt;

  void Try();
  void Send(const std::string& token);
  void OnMessage(uint64_t attempt, std::string_view message);
  void OnDone(uint64_t attempt, const absl::Status& status);
  // Tries again after a moment; ends with `error` when there is no time for that.
  void Again(const absl::Status& error);
  // What the user is told of an attempt that failed with `status`.
  [[nodiscard]] absl::Status Describe(const absl::Status& status) const;
  [[nodiscard]] absl::Duration AttemptTimeout(absl::Duration now) const;

  ClientCore* const core_;
  const UnaryRequest request_;
  UnaryDone done_;                         // null when it is over
  std::shared_ptr<Endpoint> endpoint_;     // of the attempt that runs
  std::shared_ptr<rpc::ClientCall> call_;  // the same
  uint64_t attempt_ = 0;
  std::optional<std::string> answer_;
  std::string token_;
  bool retried_token_ = false;
  absl::Duration deadline_;
  absl::Duration connect_by_;  // moves on when a member answers
  absl::Duration backoff_;
};

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_UNARY_CALL_H_
