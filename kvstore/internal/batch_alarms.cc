// The alarm part of BatchApplier.
#include "kvstore/errors.h"
#include "kvstore/internal/batch_applier.h"

namespace keelson::kvstore::internal {
namespace {

using etcdserverpb::AlarmRequest;
using etcdserverpb::AlarmResponse;

}  // namespace

void BatchApplier::ChangeAlarm(const AlarmRequest& request, CommandResult* result) {
  const Alarm alarm{.member_id = request.memberid(), .type = request.alarm()};
  const bool raised = alarms_.contains(alarm);
  bool tell = raised;  // also of one that had been raised before
  if (request.action() == AlarmRequest::ACTIVATE && alarm.type != etcdserverpb::NONE) {
    tell = true;
    if (!raised) {
      alarms_.insert(alarm);
      alarm_changes_[alarm] = true;
      batch_->Put(Family::kMeta, AlarmRow(alarm), {});
    }
  } else if (request.action() == AlarmRequest::DEACTIVATE && raised) {
    alarms_.erase(alarm);
    alarm_changes_[alarm] = false;
    batch_->Delete(Family::kMeta, AlarmRow(alarm));
  }
  if (result == nullptr) return;
  auto& response = result->response.emplace<AlarmResponse>();
  response.mutable_header()->set_revision(revision_);
  if (!tell) return;
  etcdserverpb::AlarmMember* const member = response.add_alarms();
  member->set_memberid(request.memberid());
  member->set_alarm(request.alarm());
}

absl::Status BatchApplier::CheckAlarms(const Command& command) const {
  bool corrupt = false;
  bool no_space = false;
  for (const Alarm& alarm : alarms_) {
    corrupt = corrupt || alarm.type == etcdserverpb::CORRUPT;
    no_space = no_space || alarm.type == etcdserverpb::NOSPACE;
  }
  switch (command.operation_case()) {
    case Command::kPut:
    case Command::kLeaseGrant:
      if (corrupt) return errors::Corrupt();
      return no_space ? errors::NoSpace() : absl::OkStatus();
    case Command::kTxn:
      if (corrupt) return errors::Corrupt();
      return no_space && HasPut(command.txn()) ? errors::NoSpace() : absl::OkStatus();
    case Command::kDeleteRange:
    case Command::kCompaction:
    case Command::kLeaseRevoke:
      return corrupt ? errors::Corrupt() : absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

}  // namespace keelson::kvstore::internal
