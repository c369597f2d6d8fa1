// Membership changes as functions from one configuration to the next (raft.md section 8).
#ifndef KEELSON_RAFT_INTERNAL_CONF_CHANGE_H_
#define KEELSON_RAFT_INTERNAL_CONF_CHANGE_H_

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/internal/tracker.h"
#include "raft/types.h"

namespace keelson::raft::internal {

struct Membership {
  ConfState config;
  ProgressMap progress;
};

// Computes the membership that follows `tracker`'s, which it does not touch. `last_index` is
// where new members are probed first. Errors are INVALID_ARGUMENT and change nothing.
class Changer {
 public:
  Changer(const Tracker& tracker, Index last_index) : tracker_(tracker), last_index_(last_index) {}

  // At most one voter comes or goes; not while joint.
  absl::StatusOr<Membership> Simple(std::span<const ConfChangeSingle> changes) const;
  // The present voters become the outgoing half; `changes` go to the incoming one.
  absl::StatusOr<Membership> EnterJoint(bool auto_leave,
                                        std::span<const ConfChangeSingle> changes) const;
  absl::StatusOr<Membership> LeaveJoint() const;
  // Whichever of the three `change` asks for.
  absl::StatusOr<Membership> Apply(const ConfChange& change) const;

  // The membership that `state` describes, all progress new.
  absl::StatusOr<Membership> Restore(const ConfState& state) const;

 private:
  absl::Status ApplyAll(Membership& next, std::span<const ConfChangeSingle> changes) const;
  void MakeVoter(Membership& next, NodeId id) const;
  void MakeLearner(Membership& next, NodeId id) const;
  void Remove(Membership& next, NodeId id) const;
  void AddProgress(Membership& next, NodeId id, bool is_learner) const;

  const Tracker& tracker_;
  Index last_index_;
};

// True when `change` leaves a joint configuration.
bool LeavesJoint(const ConfChange& change);

// OK when `membership` keeps every invariant of section 8.
absl::Status CheckInvariants(const Membership& membership);

}  // namespace keelson::raft::internal

#endif  // KEELSON_RAFT_INTERNAL_CONF_CHANGE_H_
