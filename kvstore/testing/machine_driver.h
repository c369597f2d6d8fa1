// Drives a StateMachine the way the raft driver does, for tests: commands in, results out.
#ifndef KEELSON_KVSTORE_TESTING_MACHINE_DRIVER_H_
#define KEELSON_KVSTORE_TESTING_MACHINE_DRIVER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/state_machine.h"
#include "raft/snapshot_store.h"
#include "raft/types.h"

namespace keelson::kvstore::testing {

// Keeps everything it hears.
class RecordingListener final : public ApplyListener {
 public:
  bool IsWaiting(uint64_t /*request_id*/) override { return waiting; }
  void OnChanges(std::vector<Store::Change> heard) override {
    calls += 'C';
    for (Store::Change& change : heard) changes.push_back(std::move(change));
  }
  void OnLeases(std::vector<LeaseChange> heard) override {
    calls += 'L';
    leases.insert(leases.end(), heard.begin(), heard.end());
  }
  void OnAuth(std::vector<AuthChange> heard) override {
    auth.insert(auth.end(), heard.begin(), heard.end());
  }
  void OnResults(std::vector<CommandResult> heard) override {
    calls += 'R';
    for (CommandResult& result : heard) results[result.request_id] = std::move(result);
  }
  void OnRestored() override { calls += 'S'; }

  bool waiting = true;
  std::string calls;  // one letter a call, in order
  std::vector<Store::Change> changes;
  std::vector<LeaseChange> leases;
  std::vector<AuthChange> auth;
  std::map<uint64_t, CommandResult> results;
};

// ---- Requests ----

etcdserverpb::RangeRequest MakeRange(std::string_view key, std::string_view range_end = "");
etcdserverpb::PutRequest MakePut(std::string_view key, std::string_view value, int64_t lease = 0);
etcdserverpb::DeleteRangeRequest MakeDelete(std::string_view key, std::string_view range_end = "");
inline constexpr std::string_view kAll("\0", 1);  // as key and as range_end: everything

Command ToCommand(etcdserverpb::PutRequest request);
Command ToCommand(etcdserverpb::DeleteRangeRequest request);
Command ToCommand(etcdserverpb::TxnRequest request);
Command CompactCommand(int64_t revision, bool physical = false);
Command GrantCommand(int64_t id, int64_t ttl);
Command RevokeCommand(int64_t id);

// Applies commands to a machine, as entries with rising indices.
class MachineDriver {
 public:
  // Both are borrowed.
  MachineDriver(StateMachine& machine, RecordingListener& listener)
      : machine_(machine), listener_(listener) {}

  // Applies all of `commands` in one batch; results by position.
  absl::StatusOr<std::vector<CommandResult>> Apply(std::vector<Command> commands);
  // One command in a batch of its own. Aborts when applying itself fails.
  CommandResult Apply(Command command);
  // The same, for the response of a command that succeeds; aborts otherwise.
  template <typename Response>
  Response Do(Command command) {
    CommandResult result = Apply(std::move(command));
    CheckOk(result.status);
    return std::get<Response>(std::move(result.response));
  }

  int64_t Put(std::string_view key, std::string_view value, int64_t lease = 0);  // its revision
  int64_t Delete(std::string_view key, std::string_view range_end = "");         // keys deleted
  etcdserverpb::RangeResponse Range(const etcdserverpb::RangeRequest& request) const;
  absl::Status RangeError(const etcdserverpb::RangeRequest& request) const;
  // "key=value" of all pairs of the range as of `revision` (0: now), space separated.
  std::string Dump(int64_t revision = 0) const;

  StateMachine& machine() { return machine_; }
  const Store& store() const { return machine_.store(); }
  RecordingListener& listener() { return listener_; }
  raft::SnapshotMetadata last() const { return last_; }
  void set_last(raft::SnapshotMetadata last) { last_ = std::move(last); }

 private:
  static void CheckOk(const absl::Status& status);

  StateMachine& machine_;
  RecordingListener& listener_;
  raft::SnapshotMetadata last_{.index = 0, .term = 1, .conf_state = {{1, 2, 3}, {}, {}, {}, false}};
  uint64_t next_request_id_ = 1;
};

// A snapshot in memory.
class MemorySnapshotWriter final : public raft::SnapshotWriter {
 public:
  absl::Status Append(std::string_view bytes) override {
    bytes_.append(bytes);
    return absl::OkStatus();
  }
  absl::Status Commit() override { return absl::OkStatus(); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class MemorySnapshotReader final : public raft::SnapshotReader {
 public:
  // Gives `bytes` in chunks of `chunk` bytes.
  MemorySnapshotReader(std::string bytes, raft::SnapshotMetadata metadata, size_t chunk = 1000)
      : bytes_(std::move(bytes)), metadata_(std::move(metadata)), chunk_(chunk) {}
  const raft::SnapshotMetadata& metadata() const override { return metadata_; }
  absl::StatusOr<std::string> Next() override {
    std::string out = bytes_.substr(at_, chunk_);
    at_ += out.size();
    return out;
  }

 private:
  const std::string bytes_;
  const raft::SnapshotMetadata metadata_;
  const size_t chunk_;
  size_t at_ = 0;
};

enum class EngineKind { kMemory, kRocksDb };

// A machine on either engine that can be closed, crashed and opened again.
class World {
 public:
  explicit World(EngineKind kind);
  ~World();

  // Drops the machine, losing what was not flushed, and opens it again. Indices go on from
  // what survived.
  void Crash();

  // The folder of the database; RocksDB only.
  const std::string& directory() const { return directory_; }

  RecordingListener listener;
  std::unique_ptr<StateMachine> machine;
  std::optional<MachineDriver> kv;

 private:
  void Open();

  const EngineKind kind_;
  const std::string directory_;
};

// A new empty folder for this test, under $TEST_TMPDIR.
std::string NewTestDirectory();

}  // namespace keelson::kvstore::testing

#endif  // KEELSON_KVSTORE_TESTING_MACHINE_DRIVER_H_
