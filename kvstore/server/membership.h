// Decisions about membership, as functions: whether a change is safe now, and which change brings
// Raft's membership nearer to the one that was decided.
//
// A change of members is first a command like any other: all members apply it, with etcd's checks,
// to the table that Store::Members shows. The leader then sees that Raft's membership differs from
// the table, and proposes what is missing, until it does not. So a change that has been decided is
// never lost with a leader, and never half done.
#ifndef KEELSON_KVSTORE_SERVER_MEMBERSHIP_H_
#define KEELSON_KVSTORE_SERVER_MEMBERSHIP_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kvstore/store.h"
#include "raft/types.h"

namespace keelson::kvstore {

using MemberTable = std::vector<Store::MemberAttributes>;  // as of Store::Members

// The next change that Raft's membership `in_force` needs to become `decided`; nothing when they
// agree or a change is under way. Members that the table does not know are left alone.
std::optional<raft::ConfChange> NextChange(const MemberTable& decided,
                                           const raft::ConfState& in_force);

// A member that is there, or null.
const Store::MemberAttributes* FindMember(const MemberTable& members, uint64_t id);
bool IsRemoved(const MemberTable& members, uint64_t id);
bool Contains(const raft::ConfState& state, uint64_t id);

// Since when this member has been connected to which others. Single-threaded.
class PeerContacts {
 public:
  // `connected`: those to which there is a connection now.
  void Update(absl::Duration now, const std::vector<raft::NodeId>& connected);
  [[nodiscard]] bool IsConnected(raft::NodeId id) const { return since_.contains(id); }
  // For at least kHealthInterval.
  [[nodiscard]] bool IsHealthy(absl::Duration now, raft::NodeId id) const;

  static constexpr absl::Duration kHealthInterval = absl::Seconds(5);

 private:
  std::map<raft::NodeId, absl::Duration> since_;
};

// What --strict-reconfig-check refuses (kvstore.md 9.3), as seen by `self` at `now`. A change that
// is refused would leave, or soon leave, no quorum of members that work.
struct StrictChecks {
  const MemberTable& members;
  uint64_t self = 0;
  const PeerContacts& contacts;
  absl::Duration now;

  [[nodiscard]] absl::Status Add(bool is_learner) const;
  [[nodiscard]] absl::Status Remove(uint64_t id) const;
  [[nodiscard]] absl::Status Promote(uint64_t id) const;

 private:
  [[nodiscard]] bool Healthy(uint64_t id) const;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_MEMBERSHIP_H_
