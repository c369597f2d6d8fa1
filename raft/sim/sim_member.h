// A member of one group, as clients see it: a machine of its own, or one of many on a host.
#ifndef KEELSON_RAFT_SIM_SIM_MEMBER_H_
#define KEELSON_RAFT_SIM_SIM_MEMBER_H_

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "raft/node.h"
#include "raft/sim/kv_machine.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class SimMember {
 public:
  virtual ~SimMember() = default;
  [[nodiscard]] virtual NodeId id() const = 0;
  // Null unless it runs.
  [[nodiscard]] virtual Node* node() const = 0;
  // Of its machine, while it runs.
  [[nodiscard]] virtual const KvState& state() const = 0;

  // Proposes. `done` with the revision when the command has taken effect here; `refused` when
  // it certainly never will. Neither is called after a crash, or when nothing is known.
  virtual void Write(const KvCommand& command, std::function<void(Index)> done,
                     std::function<void()> refused) = 0;
  // A linearizable read: `done` with the value (null: no such key) and the revision seen.
  virtual void Read(const std::string& key, absl::Duration timeout,
                    std::function<void(const KvValue*, Index)> done) = 0;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_SIM_MEMBER_H_
