#include "kvstore/testing/machine_driver.h"

#include <cstdlib>

#include "base/check.h"
#include "kvstore/engine_rocksdb.h"
#include "kvstore/internal/machine.h"

namespace keelson::kvstore::testing {

using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;

RangeRequest MakeRange(std::string_view key, std::string_view range_end) {
  RangeRequest request;
  request.set_key(std::string(key));
  request.set_range_end(std::string(range_end));
  return request;
}

PutRequest MakePut(std::string_view key, std::string_view value, int64_t lease) {
  PutRequest request;
  request.set_key(std::string(key));
  request.set_value(std::string(value));
  request.set_lease(lease);
  return request;
}

DeleteRangeRequest MakeDelete(std::string_view key, std::string_view range_end) {
  DeleteRangeRequest request;
  request.set_key(std::string(key));
  request.set_range_end(std::string(range_end));
  return request;
}

Command ToCommand(PutRequest request) {
  Command command;
  *command.mutable_put() = std::move(request);
  return command;
}

Command ToCommand(DeleteRangeRequest request) {
  Command command;
  *command.mutable_delete_range() = std::move(request);
  return command;
}

Command ToCommand(TxnRequest request) {
  Command command;
  *command.mutable_txn() = std::move(request);
  return command;
}

Command CompactCommand(int64_t revision, bool physical) {
  Command command;
  command.mutable_compaction()->set_revision(revision);
  command.mutable_compaction()->set_physical(physical);
  return command;
}

Command GrantCommand(int64_t id, int64_t ttl) {
  Command command;
  command.mutable_lease_grant()->set_id(id);
  command.mutable_lease_grant()->set_ttl(ttl);
  return command;
}

Command RevokeCommand(int64_t id) {
  Command command;
  command.mutable_lease_revoke()->set_id(id);
  return command;
}

absl::StatusOr<std::vector<CommandResult>> MachineDriver::Apply(std::vector<Command> commands) {
  std::vector<raft::Entry> entries;
  const uint64_t first_id = next_request_id_;
  raft::SnapshotMetadata after = last_;
  for (Command& command : commands) {
    command.set_request_id(next_request_id_++);
    entries.push_back({.term = after.term,
                       .index = ++after.index,
                       .type = raft::EntryType::kNormal,
                       .data = raft::Payload(command.SerializeAsString())});
  }
  const absl::Status status = machine_.Apply(entries, after);
  if (!status.ok()) return status;
  last_ = after;
  std::vector<CommandResult> results;
  for (uint64_t id = first_id; id < next_request_id_; ++id) {
    const auto it = listener_.results.find(id);
    if (it == listener_.results.end()) continue;
    results.push_back(std::move(it->second));
    listener_.results.erase(it);
  }
  return results;
}

CommandResult MachineDriver::Apply(Command command) {
  std::vector<Command> commands;
  commands.push_back(std::move(command));
  absl::StatusOr<std::vector<CommandResult>> results = Apply(std::move(commands));
  CheckOk(results.status());
  return results->empty() ? CommandResult{} : std::move(results->front());
}

int64_t MachineDriver::Put(std::string_view key, std::string_view value, int64_t lease) {
  return Do<PutResponse>(ToCommand(MakePut(key, value, lease))).header().revision();
}

int64_t MachineDriver::Delete(std::string_view key, std::string_view range_end) {
  return Do<DeleteRangeResponse>(ToCommand(MakeDelete(key, range_end))).deleted();
}

RangeResponse MachineDriver::Range(const RangeRequest& request) const {
  RangeResponse response;
  CheckOk(store().Range(request, &response));
  return response;
}

absl::Status MachineDriver::RangeError(const RangeRequest& request) const {
  RangeResponse response;
  return store().Range(request, &response);
}

std::string MachineDriver::Dump(int64_t revision) const {
  RangeRequest request = MakeRange(kAll, kAll);
  request.set_revision(revision);
  const RangeResponse response = Range(request);
  std::string out;
  for (const mvccpb::KeyValue& pair : response.kvs()) {
    if (!out.empty()) out += ' ';
    out += pair.key() + "=" + pair.value();
  }
  return out;
}

void MachineDriver::CheckOk(const absl::Status& status) { KEELSON_CHECK_OK(status); }

World::World(EngineKind kind)
    : kind_(kind), directory_(kind == EngineKind::kRocksDb ? NewTestDirectory() : "") {
  Open();
}

World::~World() = default;

void World::Open() {
  if (kind_ == EngineKind::kMemory) {
    if (machine == nullptr) machine = StateMachine::OpenInMemory({}, &listener);
  } else {
    RocksDbOptions options;
    options.directory = directory_;
    options.write_buffer_bytes = 4 << 20;
    options.lose_unflushed_on_close = true;
    absl::StatusOr<std::unique_ptr<EngineHome>> home = OpenRocksDbHome(options);
    KEELSON_CHECK_OK(home.status());
    internal::MachineParts parts;
    parts.home = *std::move(home);
    parts.background_sweep = true;
    absl::StatusOr<std::unique_ptr<internal::Machine>> opened =
        internal::Machine::Open({}, &listener, std::move(parts));
    KEELSON_CHECK_OK(opened.status());
    machine = *std::move(opened);
  }
  kv.emplace(*machine, listener);
  if (raft::SnapshotMetadata applied = machine->Applied(); applied.index > 0) {
    kv->set_last(std::move(applied));
  }
}

void World::Crash() {
  kv.reset();
  if (kind_ == EngineKind::kMemory) {
    machine->Crash();
  } else {
    machine.reset();
  }
  Open();
}

std::string NewTestDirectory() {
  const char* root = std::getenv("TEST_TMPDIR");
  std::string path = std::string(root == nullptr ? "/tmp" : root) + "/kvstore-XXXXXX";
  KEELSON_CHECK(::mkdtemp(path.data()) != nullptr) << path;
  return path;
}

}  // namespace keelson::kvstore::testing
