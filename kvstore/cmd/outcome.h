// How a verb of kvctl ends.
#ifndef KEELSON_KVSTORE_CMD_OUTCOME_H_
#define KEELSON_KVSTORE_CMD_OUTCOME_H_

#include <string>

#include "absl/status/status.h"

namespace keelson::kvctl {

// etcdctl's exit codes, which scripts know.
enum class Exit : int {
  kOk = 0,
  kError = 1,  // the server said no, or could not be reached
  kBadConnection =
      2,  // no endpoint given; a wrong password; a lease that is unknown to keep-alive --once
  kInvalidInput = 3,  // lines read by txn and watch -i
  kBadFeature = 4,    // an option's value that is not supported
  kInterrupted = 5,   // the server ended a watch
  kIo = 6,
  kBadArguments = 128,
};

struct Outcome {
  Exit exit = Exit::kOk;
  std::string error;  // Printed as "Error: <error>" unless empty.
};

inline Outcome Done() { return {}; }
inline Outcome Fail(Exit exit, std::string error) { return {exit, std::move(error)}; }

// The server's text, and etcdctl's for an answer that did not come in time.
inline std::string TextOf(const absl::Status& status) {
  if (absl::IsDeadlineExceeded(status)) return "context deadline exceeded";
  return std::string(status.message().data(), status.message().size());
}
inline Outcome Fail(const absl::Status& status) {
  // etcdctl hears of a wrong password while it connects, before any verb.
  const bool refused =
      status.message() == "etcdserver: authentication failed, invalid user ID or password";
  return {refused ? Exit::kBadConnection : Exit::kError, TextOf(status)};
}

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_OUTCOME_H_
