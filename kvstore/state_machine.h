// The replicated state machine of kvstored: applies Commands to the Store.
#ifndef KEELSON_KVSTORE_STATE_MACHINE_H_
#define KEELSON_KVSTORE_STATE_MACHINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/store.h"
#include "kvstore/v2/tree.h"
#include "raft/state_machine.h"

namespace keelson::kvstore {

using CommandResponse =
    std::variant<std::monostate, etcdserverpb::PutResponse, etcdserverpb::DeleteRangeResponse,
                 etcdserverpb::TxnResponse, etcdserverpb::CompactionResponse,
                 etcdserverpb::LeaseGrantResponse, etcdserverpb::LeaseRevokeResponse,
                 etcdserverpb::AlarmResponse, v2::Outcome>;

struct CommandResult {
  uint64_t request_id = 0;
  uint64_t index = 0;        // of the log entry
  absl::Status status;       // etcd's code and text
  CommandResponse response;  // header.revision set, the other header fields not
};

// Hears what applying did. Called on the apply executor after the whole batch is visible
// to readers, in this order: OnChanges, OnLeases, OnAuth, OnResults. Must not block.
class ApplyListener {
 public:
  virtual ~ApplyListener() = default;

  // True if this member waits for the result of `request_id`: only then are ranges and previous
  // values computed. Called before the command is applied.
  virtual bool IsWaiting(uint64_t request_id) = 0;

  // By ascending revision. PUT events carry the whole pair, DELETE events key and revision.
  // `prev_kvs` stay with the Store (GetAt).
  virtual void OnChanges(std::vector<Store::Change> changes) = 0;

  struct LeaseChange {
    enum class Kind { kGranted, kRevoked, kCheckpointed } kind = Kind::kGranted;
    int64_t id = 0;
    int64_t ttl_seconds = 0;  // granted, or remaining for a checkpoint
  };
  virtual void OnLeases(std::vector<LeaseChange> changes) = 0;

  struct AuthChange {
    enum class Kind { kToken, kUserChanged, kDisabled } kind = Kind::kToken;
    std::string user = {};
    std::string token = {};  // kToken: from now on it stands for the user
  };
  // Before OnResults: who asked for a token may use it at once.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): who overrides it keeps them.
  virtual void OnAuth(std::vector<AuthChange> /*changes*/) {}

  // Raft's membership, or the one that was decided (Store::Members), may have changed. Before
  // OnResults.
  virtual void OnMembership(const raft::ConfState& /*in_force*/) {}

  virtual void OnResults(std::vector<CommandResult> results) = 0;

  // The whole state was replaced by a snapshot: watchers must catch up from the Store and
  // leases be re-read. OnMembership comes next.
  virtual void OnRestored() = 0;
};

class StateMachine : public raft::StateMachine {
 public:
  struct Options {
    std::string directory;  // of the database; made if missing
    uint64_t cache_bytes = 64 << 20;
    uint64_t write_buffer_bytes = 64 << 20;
    size_t max_txn_ops = 128;
    // The membership of a new cluster; what Applied() reports before anything is applied.
    raft::ConfState initial_conf_state;
    // The members of initial_conf_state with their names and peer URLs. They are the first rows of
    // Store::Members, also in a database that has none yet.
    std::vector<Store::MemberAttributes> initial_members;
    // Hears RESOURCE_EXHAUSTED when the disk is full and Apply, Flush or Restore begins to
    // wait for space, and OK when none waits any more. On the apply or the flush executor, one call at
    // a time. May be empty.
    std::function<void(const absl::Status&)> on_stall;
  };

  // Opens the database on disk (RocksDB) or makes it. `listener` is borrowed and outlives the
  // machine. Errors name the directory: FAILED_PRECONDITION when another process has it open or
  // it is not a kvstore database, DATA_LOSS when it is damaged.
  static absl::StatusOr<std::unique_ptr<StateMachine>> Open(const Options& options,
                                                            ApplyListener* listener);

  // The same machine on an in-memory engine whose durable image is what the last Flush left
  // (for simulations): Crash() reverts to it.
  static std::unique_ptr<StateMachine> OpenInMemory(const Options& options,
                                                    ApplyListener* listener);
  virtual void Crash() = 0;  // in-memory engine only

  // With a full disk, Apply, Flush and Restore wait for space and lose nothing; reads go on.
  // Interrupt makes a wait, and every later one, end with UNAVAILABLE: call it before stopping
  // the apply and the flush executor. Thread-safe.
  virtual void Interrupt() = 0;

  [[nodiscard]] virtual Store& store() = 0;
};

// Validation before a command is proposed (kvstore.md 3.5, 3.14, 3.16, 4.1, 4.2).
absl::Status ValidateRange(const etcdserverpb::RangeRequest& request);
// Can the range be answered in pieces, beside that?
absl::Status ValidateStreamedRange(const etcdserverpb::RangeRequest& request);
absl::Status ValidatePut(const etcdserverpb::PutRequest& request);
absl::Status ValidateDeleteRange(const etcdserverpb::DeleteRangeRequest& request);
absl::Status ValidateTxn(const etcdserverpb::TxnRequest& request, size_t max_txn_ops);

// Only ranges and comparisons, no nested transaction (kvstore.md 4.8): needs no consensus.
bool IsReadOnly(const etcdserverpb::TxnRequest& request);
// Every range in both branches is serializable.
bool IsSerializable(const etcdserverpb::TxnRequest& request);
// Some branch puts a key (the kind that NOSPACE refuses).
bool HasPut(const etcdserverpb::TxnRequest& request);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_STATE_MACHINE_H_
