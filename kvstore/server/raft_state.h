// What etcd calls the roles of raft where it shows them.
#ifndef KEELSON_KVSTORE_SERVER_RAFT_STATE_H_
#define KEELSON_KVSTORE_SERVER_RAFT_STATE_H_

#include <string_view>

#include "raft/types.h"

namespace keelson::kvstore {

inline std::string_view RaftStateName(raft::Role role) {
  if (role == raft::Role::kLeader) return "StateLeader";
  return role == raft::Role::kFollower ? "StateFollower" : "StateCandidate";
}

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_RAFT_STATE_H_
