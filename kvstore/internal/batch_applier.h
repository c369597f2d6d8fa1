// Applies commands one after another into one engine batch. Each sees what those before it
// changed; nothing is visible to anyone else until the batch has been written and published.
#ifndef KEELSON_KVSTORE_INTERNAL_BATCH_APPLIER_H_
#define KEELSON_KVSTORE_INTERNAL_BATCH_APPLIER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/internal/codec.h"
#include "kvstore/internal/generation.h"
#include "kvstore/internal/members.h"
#include "kvstore/internal/reads.h"
#include "kvstore/internal/view.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore::internal {

class BatchApplier {
 public:
  // What applying did, for the listener.
  struct Outcome {
    std::vector<Store::Change> changes;
    std::vector<ApplyListener::LeaseChange> leases;
    std::vector<ApplyListener::AuthChange> auth;
    std::vector<CommandResult> results;
    bool membership = false;  // it has changed
    bool compacted = false;
    bool physically = false;  // someone here waits until the old versions are gone
  };

  // Both are borrowed.
  BatchApplier(Generation& generation, ApplyListener& listener);

  // Applies one encoded Command, the entry `index` of the log, proposed in `term`. A command that fails, or that cannot be read, changes
  // nothing and gets an error as its result. An error returned is the engine's.
  absl::Status Add(uint64_t index, uint64_t term, std::string_view command);

  // Adds the rows of `members`, but for those that this batch changes itself.
  void KeepMembers(const MemberMap& members);

  // Ends the batch with the row that says where the log stands, and lets go of the engine's
  // state, so that the batch can be written. No Add after this.
  WriteBatch& Seal(const raft::SnapshotMetadata& after);

  // After the write: makes the changes visible to readers.
  void Publish();

  Outcome& outcome() { return outcome_; }

 private:
  // A live version that a deletion ends.
  struct Ended {
    std::string key;
    Revision modified;
    int64_t lease = 0;
  };

  // Keeps the end of the running command for who waits. Always OK.
  absl::Status Answer(absl::Status status, bool waiting, CommandResult result);
  absl::Status Execute(Command& command, CommandResult* result);
  // What the command's origin may do, as of now.
  absl::Status CheckRights(const Command& command);
  // Whether `who` may write every key of the lease.
  absl::Status CheckLeaseRights(const Origin& who, int64_t lease);
  absl::Status CheckTxnLeases(const Origin& who, const etcdserverpb::TxnRequest& request);
  absl::Status ApplyAuth(const AuthCommand& command, const Origin& who);
  absl::Status Put(etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response);
  absl::Status DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                           etcdserverpb::DeleteRangeResponse* response);
  absl::Status Txn(etcdserverpb::TxnRequest& request, CommandResult* result);
  absl::Status CheckTxn(const etcdserverpb::TxnRequest& request, const TxnPath& path);
  absl::Status RunTxn(etcdserverpb::TxnRequest& request, const TxnPath& path, size_t* next,
                      etcdserverpb::TxnResponse* response);
  absl::Status RunOperation(etcdserverpb::RequestOp& op, const TxnPath& path, size_t* next,
                            etcdserverpb::ResponseOp* response);
  absl::Status Compact(const etcdserverpb::CompactionRequest& request, CommandResult* result);
  absl::Status GrantLease(const etcdserverpb::LeaseGrantRequest& request, CommandResult* result);
  absl::Status RevokeLease(const etcdserverpb::LeaseRevokeRequest& request, CommandResult* result);
  void CheckpointLeases(const LeaseCheckpoints& request);
  void SetAttributes(const MemberAttributes& request);
  absl::Status ChangeMember(const MemberChange& change);
  void SetMember(Store::MemberAttributes member);
  // --- batch_alarms.cc ---
  void ChangeAlarm(const etcdserverpb::AlarmRequest& request, CommandResult* result);
  // What an alarm that is raised forbids (kvstore.md 3.17).
  [[nodiscard]] absl::Status CheckAlarms(const Command& command) const;
  // At once visible, unlike the rest: what is committed stays, and watchers hear of it in order.
  void ApplyV2(const V2Request& request, CommandResult* result);

  // The conditions that a put must meet before anything is changed.
  absl::Status CheckPutLease(const etcdserverpb::PutRequest& request) const;
  absl::Status CheckPutKey(const etcdserverpb::PutRequest& request);

  mvccpb::Event& NewEvent(mvccpb::Event::EventType type);
  void Delete(Ended ended);
  // Moves `key` from one lease to another; 0 is none.
  void MoveAttachment(std::string_view key, int64_t from, int64_t to);
  absl::StatusOr<std::vector<std::string>> AttachedKeys(int64_t lease);
  [[nodiscard]] std::optional<LeaseValue> Lease(int64_t id) const;

  // The revision at which the running command reads, and which its answers carry: its own
  // as soon as it has changed something.
  [[nodiscard]] int64_t Now() const { return revision_ + (sub_ > 0 ? 1 : 0); }

  Generation& generation_;
  ApplyListener& listener_;
  Overlay overlay_;
  std::optional<View> view_;
  std::unique_ptr<WriteBatch> batch_;
  Outcome outcome_;

  int64_t revision_;  // of the last command that changed something
  int64_t compacted_;
  int64_t live_keys_;
  uint64_t index_ = 0;  // of the running command
  uint32_t sub_ = 0;    // changes of the running command
  LeaseChanges leases_;
  MemberChanges members_;
  std::set<Alarm> alarms_;  // as of the running command
  AlarmChanges alarm_changes_;
  std::map<int64_t, absl::btree_map<std::string, bool>> attachments_;  // true: attached

  Command command_;  // kept for its memory
  std::string row_;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_BATCH_APPLIER_H_
