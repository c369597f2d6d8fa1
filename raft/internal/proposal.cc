// What clients ask to be put into the log.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "raft/internal/raft.h"

namespace keelson::raft::internal {
namespace {

std::string_view ReasonText(trace::ProposalRefusal why) {
  switch (why) {
    case trace::ProposalRefusal::kNoLeader:
      return "no leader is known";
    case trace::ProposalRefusal::kNotForwarding:
      return "this node is not the leader and does not forward";
    case trace::ProposalRefusal::kNotMember:
      return "the leader has left the membership";
    case trace::ProposalRefusal::kTransferring:
      return "leadership is being transferred";
    case trace::ProposalRefusal::kQuota:
      return "too many uncommitted bytes";
    case trace::ProposalRefusal::kLeaderOnly:
      return "this node is not the leader, which alone takes membership changes";
  }
  return "";
}

}  // namespace

absl::Status Raft::Propose(std::span<const Payload> payloads) {
  if (payloads.empty()) return absl::InvalidArgumentError("nothing to propose");
  Message message;
  message.type = MessageType::kProp;
  message.from = options_.id;
  message.entries.resize(payloads.size());
  for (size_t i = 0; i < payloads.size(); ++i) message.entries[i].data = payloads[i];
  return Step(message);
}

absl::Status Raft::ProposeConfChange(const ConfChange& change) {
  Message message;
  message.type = MessageType::kProp;
  message.from = options_.id;
  Entry& entry = message.entries.emplace_back();
  entry.type = EntryType::kConfChangeV2;
  entry.data = Payload(EncodeConfChange(change));
  return Step(message);
}

absl::Status Raft::RefuseProposal(trace::ProposalRefusal why, NodeId peer) {
  const std::string_view reason = ReasonText(why);
  Emit(trace::ProposalRefused{reason, why, term_, peer});
  const absl::string_view text(reason.data(), reason.size());
  if (why == trace::ProposalRefusal::kQuota) return absl::ResourceExhaustedError(text);
  if (why == trace::ProposalRefusal::kLeaderOnly) return absl::FailedPreconditionError(text);
  return absl::UnavailableError(text);
}

bool Raft::WantsLeader(const Message& message) const {
  if (options_.forward_conf_changes || role_ == Role::kLeader) return false;
  return std::any_of(message.entries.begin(), message.entries.end(),
                     [](const Entry& entry) { return entry.type != EntryType::kNormal; });
}

absl::Status Raft::HandleProposal(Message& message) {
  if (!IsSelfMember()) return RefuseProposal(trace::ProposalRefusal::kNotMember, kNoNode);
  if (lead_transferee_ != kNoNode) {
    return RefuseProposal(trace::ProposalRefusal::kTransferring, lead_transferee_);
  }
  CheckConfChanges(message.entries);
  if (!AppendEntries(message.entries)) {
    return RefuseProposal(trace::ProposalRefusal::kQuota, kNoNode);
  }
  BroadcastAppend();
  return absl::OkStatus();
}

void Raft::CheckConfChanges(std::span<Entry> entries) {
  for (size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = entries[i];
    if (entry.type == EntryType::kNormal) continue;
    std::string_view reason;
    Index pending = 0;
    ConfChange change;
    const bool joint = tracker_.IsJoint();
    if (absl::StatusOr<ConfChange> decoded = DecodeConfChange(entry); decoded.ok()) {
      change = *std::move(decoded);
      const bool leaves = change.changes.empty();
      if (pending_conf_index_ > log_.applied() && !Mutated(Mutation::kChangeWhilePending) &&
          !(leaves && Mutated(Mutation::kAutoLeaveTwice))) {
        reason = "possible unapplied conf change";
        pending = pending_conf_index_;
      } else if (joint && !leaves) {
        reason = "must transition out of joint config first";
      } else if (!joint && leaves) {
        reason = "not in joint state; refusing empty conf change";
      }
      if (!options_.validate_conf_changes) reason = {};
    } else {
      reason = "malformed";  // Came from a peer; nobody could apply it.
    }
    if (reason.empty()) {
      pending_conf_index_ = log_.LastIndex() + i + 1;
      continue;
    }
    Emit(event::ConfChangeRefused{reason, change, entry.type, tracker_.config(), pending,
                                  log_.applied()});
    // An empty entry takes its place, so that the indexes of the others stay.
    entry = Entry();
  }
}

bool Raft::ReserveUncommitted(std::span<const Entry> entries) {
  uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += PayloadBytes(entry);
  if (Mutated(Mutation::kEmptyEntriesUseQuota) && bytes == 0) bytes = 64;
  // One proposal of any size passes when nothing is uncommitted, and empty ones always do:
  // a leader must be able to put its first entry, and to leave a joint configuration.
  const bool limited = options_.max_uncommitted_bytes != 0 && uncommitted_bytes_ > 0 && bytes > 0;
  if (limited && uncommitted_bytes_ + bytes > options_.max_uncommitted_bytes) return false;
  uncommitted_bytes_ += bytes;
  return true;
}

void Raft::ReleaseUncommitted(uint64_t payload_bytes) {
  // Entries of earlier leaders were never counted: stop at 0.
  uncommitted_bytes_ -= std::min(uncommitted_bytes_, payload_bytes);
}

}  // namespace keelson::raft::internal
