#include "raft/node.h"

#include <utility>

#include "base/status.h"
#include "raft/internal/node_impl.h"
#include "raft/internal/recovery.h"

namespace keelson::raft {

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const Options& options, Env env,
                                                  Wal::Recovered recovered) {
  KEELSON_ASSIGN_OR_RETURN(const Recovery recovery,
                           Recover(std::move(recovered), *env.machine, *env.snapshots));
  KEELSON_ASSIGN_OR_RETURN(SyncToken token, env.wal->Sync());
  auto node = std::make_unique<NodeImpl>(options, env, recovery, NodeSharing(), std::move(token));
  KEELSON_RETURN_IF_ERROR(node->Init());
  return node;
}

}  // namespace keelson::raft
