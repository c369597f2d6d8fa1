// The sending end of SendSnapshot.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_SNAPSHOT_SENDER_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_SNAPSHOT_SENDER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "raft/transport/internal/hub.h"
#include "raft/types.h"

namespace keelson::raft::transport {

// One transfer. Thread-safe.
class SnapshotSender {
 public:
  virtual ~SnapshotSender() = default;

  // Sends the snapshot that `message` names from the store to `address`; if that breaks, goes on
  // behind what has arrived. `resume`: a part of it may be there already. `done` runs once, on
  // any thread, with a pass of the hub alive. Nullptr, and `done` not kept, when the hub is closed.
  static std::shared_ptr<SnapshotSender> Start(Hub& hub, const std::string& address,
                                               Message message, bool resume,
                                               std::function<void(absl::Status)> done);

  // `done` comes soon.
  virtual void Cancel() = 0;
};

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_SNAPSHOT_SENDER_H_
