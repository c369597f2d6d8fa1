// How a simulator gets between a host and what it works with.
#ifndef KEELSON_RAFT_INTERNAL_HOST_SEAMS_H_
#define KEELSON_RAFT_INTERNAL_HOST_SEAMS_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "raft/host.h"
#include "raft/internal/shared_wal.h"
#include "raft/observer.h"

namespace keelson::raft {

// Each may be null.
struct HostSeams {
  // What the host uses in place of the log that it has just opened.
  std::function<std::unique_ptr<SharedWal>(std::unique_ptr<SharedWal>, const SharedWal::Recovered&)>
      wrap_log;
  // In place of Host::Env::observer, for one group; borrowed, and outlives it.
  std::function<Observer*(GroupId)> observer_of;
};

// As Host::Open.
absl::StatusOr<std::unique_ptr<Host>> OpenHost(const Host::Options& options, const Host::Env& env,
                                               HostSeams seams);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_HOST_SEAMS_H_
