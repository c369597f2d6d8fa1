// The store against its naive twin: random commands, every answer compared, through
// compactions, crashes and snapshots. A failure prints the seed; KVSTORE_TWIN_SEED replays it.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "kvstore/testing/machine_driver.h"
#include "kvstore/testing/twin_model.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;
using testing::EngineKind;
using testing::TwinModel;
using testing::World;

uint64_t Seed() {
  const char* given = std::getenv("KVSTORE_TWIN_SEED");
  return given == nullptr ? 20240817 : std::strtoull(given, nullptr, 10);
}

// Makes requests that collide often: few keys, some a prefix of others, with zero and 0xff bytes.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  size_t Below(size_t n) { return random_() % n; }
  bool OneIn(size_t n) { return Below(n) == 0; }

  std::string Key() {
    static const std::vector<std::string> kKeys = {
        "a",    "aa",       "ab",  "abc", std::string("a\0", 2),      std::string("a\0b", 3),
        "b",    "ba",       "c",   "d",   std::string("\0", 1),       std::string("\0\0", 2),
        "\xff", "\xff\xff", "k/1", "k/2", std::string("\x00\xff", 2), std::string("a\x00\x01", 3),
        "k/",   "z"};
    return kKeys[Below(kKeys.size())];
  }
  std::string RangeEnd() {
    switch (Below(4)) {
      case 0:
        return std::string("\0", 1);
      case 1:
        return Key();
      default:
        return "";
    }
  }
  int64_t LeaseId() {
    static const std::vector<int64_t> kIds = {1, 2, -5, std::numeric_limits<int64_t>::min(),
                                              std::numeric_limits<int64_t>::max()};
    return kIds[Below(kIds.size())];
  }
  std::string Value() { return OneIn(8) ? "" : std::string(1 + Below(12), 'a' + Below(4)); }
  // Mostly what can be read, sometimes not.
  int64_t ReadRevision(const TwinModel& model) {
    if (OneIn(2)) return 0;
    if (OneIn(10)) return model.revision() + 1;
    const int64_t first = std::max<int64_t>(model.compacted() - 2, 1);
    return first + static_cast<int64_t>(Below(model.revision() - first + 1));
  }

  RangeRequest Range(const TwinModel& model) {
    RangeRequest request;
    request.set_key(Key());
    request.set_range_end(RangeEnd());
    request.set_revision(ReadRevision(model));
    if (OneIn(3)) request.set_limit(static_cast<int64_t>(Below(5)));
    if (OneIn(3)) {
      request.set_sort_order(static_cast<RangeRequest::SortOrder>(Below(3)));
      request.set_sort_target(static_cast<RangeRequest::SortTarget>(Below(5)));
    }
    request.set_keys_only(OneIn(5));
    request.set_count_only(OneIn(8));
    const auto revision = [&] { return static_cast<int64_t>(Below(model.revision() + 2)); };
    if (OneIn(8)) request.set_min_mod_revision(revision());
    if (OneIn(8)) request.set_max_mod_revision(revision());
    if (OneIn(8)) request.set_min_create_revision(revision());
    if (OneIn(8)) request.set_max_create_revision(revision());
    return request;
  }

  etcdserverpb::PutRequest Put() {
    etcdserverpb::PutRequest request;
    request.set_key(Key());
    request.set_ignore_value(OneIn(10));
    if (!request.ignore_value()) request.set_value(Value());
    request.set_ignore_lease(OneIn(10));
    if (!request.ignore_lease() && OneIn(3)) request.set_lease(LeaseId());
    request.set_prev_kv(OneIn(3));
    return request;
  }

  etcdserverpb::DeleteRangeRequest Delete() {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(Key());
    if (OneIn(2)) request.set_range_end(RangeEnd());
    request.set_prev_kv(OneIn(3));
    return request;
  }

  TxnRequest Txn(const TwinModel& model, int depth, bool read_only = false) {
    TxnRequest txn;
    for (size_t n = Below(3); n > 0; --n) {
      Compare& compare = *txn.add_compare();
      compare.set_key(Key());
      if (OneIn(3)) compare.set_range_end(RangeEnd());
      compare.set_result(static_cast<Compare::CompareResult>(Below(4)));
      compare.set_target(static_cast<Compare::CompareTarget>(Below(5)));
      switch (Below(6)) {
        case 0:
          compare.set_version(static_cast<int64_t>(Below(4)));
          break;
        case 1:
          compare.set_create_revision(static_cast<int64_t>(Below(model.revision() + 1)));
          break;
        case 2:
          compare.set_mod_revision(static_cast<int64_t>(Below(model.revision() + 1)));
          break;
        case 3:
          compare.set_value(Value());
          break;
        case 4:
          compare.set_lease(LeaseId());
          break;
        default:
          break;  // no member set: compares with 0 or ""
      }
    }
    for (auto* branch : {txn.mutable_success(), txn.mutable_failure()}) {
      for (size_t n = Below(4); n > 0; --n) {
        RequestOp& op = *branch->Add();
        const size_t kind = read_only ? 0 : Below(depth > 0 ? 8 : 7);
        if (kind == 7) {
          *op.mutable_request_txn() = Txn(model, depth - 1);
        } else if (kind < 2) {
          *op.mutable_request_range() = Range(model);
        } else if (kind < 6) {
          *op.mutable_request_put() = Put();
        } else {
          *op.mutable_request_delete_range() = Delete();
        }
      }
    }
    return txn;
  }

  Command Any(const TwinModel& model) {
    Command command;
    const size_t kind = Below(100);
    if (kind < 35) {
      *command.mutable_put() = Put();
    } else if (kind < 47) {
      *command.mutable_delete_range() = Delete();
    } else if (kind < 85) {
      *command.mutable_txn() = Txn(model, 3);
    } else if (kind < 92) {
      command.mutable_lease_grant()->set_id(LeaseId());
      command.mutable_lease_grant()->set_ttl(1 + static_cast<int64_t>(Below(100)));
    } else if (kind < 96) {
      command.mutable_lease_revoke()->set_id(LeaseId());
    } else if (kind < 97) {
      auto& checkpoint = *command.mutable_lease_checkpoint()->add_checkpoints();
      checkpoint.set_id(LeaseId());
      checkpoint.set_remaining_ttl(static_cast<int64_t>(Below(50)));
    } else if (OneIn(4)) {
      command.mutable_compaction()->set_revision(
          model.compacted() +
          static_cast<int64_t>(Below(model.revision() - model.compacted() + 2)));
      command.mutable_compaction()->set_physical(OneIn(2));
    } else {
      *command.mutable_put() = Put();
    }
    return command;
  }

 private:
  std::mt19937_64 random_;
};

struct Describe {
  std::string operator()(std::monostate /*nothing*/) const { return "nothing"; }
  std::string operator()(const v2::Outcome& outcome) const {
    if (const auto* error = std::get_if<v2::Error>(&outcome)) return v2::ErrorJson(*error);
    return v2::EventJson(std::get<v2::Event>(outcome), /*action_only=*/false);
  }
  template <typename T>
  std::string operator()(const T& message) const {
    return message.GetTypeName() + " " + message.ShortDebugString();
  }
};

std::string ToString(const CommandResult& result) {
  return result.status.ToString() + " " + std::visit(Describe(), result.response);
}

std::string ToString(const std::vector<Store::Change>& changes) {
  std::string out;
  for (const Store::Change& change : changes) {
    out += "@" + std::to_string(change.revision);
    for (const mvccpb::Event& event : change.events) out += " {" + event.ShortDebugString() + "}";
    out += "\n";
  }
  return out;
}

// A world and its twin.
class Pairing {
 public:
  Pairing(EngineKind kind, uint64_t seed) : kind_(kind), random_(seed), world_(kind) {}

  void Step() {
    if (random_.OneIn(700)) Crash();
    if (random_.OneIn(300)) Flush();
    if (random_.OneIn(2000)) CheckSnapshot();
    ApplyBatch();
    for (int n = 0; n < 3; ++n) CheckRange();
    CheckReadTxn();
    if (random_.OneIn(10)) CheckHistory(world_.machine->store());
    if (random_.OneIn(10)) CheckRest(world_.machine->store());
  }

  size_t commands() const { return commands_; }
  size_t succeeded() const { return succeeded_; }

 private:
  void ApplyBatch() {
    std::vector<Command> commands;
    std::vector<CommandResult> wanted;
    for (size_t n = 1 + random_.Below(12); n > 0; --n) {
      commands.push_back(random_.Any(twin_));
      wanted.push_back(twin_.Apply(commands.back()));
      since_flush_.push_back(commands.back());
    }
    commands_ += commands.size();
    KEELSON_ASSIGN_OR_FAIL(const std::vector<CommandResult> results, world_.kv->Apply(commands));
    REQUIRE(results.size() == wanted.size());
    for (size_t n = 0; n < results.size(); ++n) {
      INFO(commands[n].ShortDebugString());
      REQUIRE(ToString(results[n]) == ToString(wanted[n]));
      if (wanted[n].status.ok()) ++succeeded_;
    }
    CheckHeard();
  }

  // The listener heard exactly the twin's events.
  void CheckHeard() {
    std::vector<Store::Change> wanted;
    for (auto it = twin_.events().upper_bound(heard_); it != twin_.events().end(); ++it) {
      wanted.push_back({.revision = it->first, .events = it->second});
    }
    REQUIRE(ToString(world_.listener.changes) == ToString(wanted));
    world_.listener.changes.clear();
    heard_ = twin_.revision();
  }

  void CheckRange() {
    const RangeRequest request = random_.Range(twin_);
    INFO(request.ShortDebugString());
    RangeResponse got;
    RangeResponse wanted;
    const absl::Status wanted_status = twin_.Range(request, &wanted);
    const auto encode = [&] {
      RangeResponse rest;
      std::string bytes;
      REQUIRE(world_.machine->store().EncodeRange(request, &rest, &bytes) == wanted_status);
      REQUIRE(rest.AppendToString(&bytes));
      RangeResponse encoded;
      REQUIRE(encoded.ParseFromString(bytes));
      if (!wanted_status.ok()) return;
      REQUIRE(encoded.ShortDebugString() == wanted.ShortDebugString());
      REQUIRE(encoded.ByteSizeLong() == bytes.size());
    };
    const bool encode_first = random_.OneIn(2);  // The second of two knows the count.
    if (encode_first) encode();
    REQUIRE(world_.machine->store().Range(request, &got) == wanted_status);
    if (wanted_status.ok()) REQUIRE(got.ShortDebugString() == wanted.ShortDebugString());
    if (!encode_first) encode();
  }

  void CheckReadTxn() {
    const TxnRequest request = random_.Txn(twin_, 0, /*read_only=*/true);
    REQUIRE(IsReadOnly(request));
    INFO(request.ShortDebugString());
    etcdserverpb::TxnResponse got;
    etcdserverpb::TxnResponse wanted;
    const absl::Status status = world_.machine->store().ReadTxn(request, &got);
    REQUIRE(status == twin_.ReadTxn(request, &wanted));
    if (status.ok()) REQUIRE(got.ShortDebugString() == wanted.ShortDebugString());
  }

  void CheckHistory(const Store& store) {
    const KeyRange range{random_.Key(), random_.RangeEnd()};
    const int64_t first =
        std::max<int64_t>(twin_.compacted() - 1, std::max<int64_t>(0, twin_.revision() - 300));
    const int64_t from = first + static_cast<int64_t>(random_.Below(twin_.revision() - first + 2));
    const bool prev_kv = random_.OneIn(2);
    const size_t at_most = 1 + random_.Below(20);
    std::vector<Store::Change> wanted;
    const absl::Status status = twin_.History(range, from, prev_kv, &wanted);
    INFO("from " << from << " compacted " << twin_.compacted());
    if (!status.ok()) {
      REQUIRE(store.ReadHistory(range, from, prev_kv, at_most, 1 << 20).status() == status);
      return;
    }
    std::vector<Store::Change> got;
    for (int64_t next = from; next <= store.Revision();) {
      KEELSON_ASSIGN_OR_FAIL(Store::History part,
                             store.ReadHistory(range, next, prev_kv, at_most, 1 << 20));
      REQUIRE(part.next_revision > next);
      REQUIRE(part.changes.size() <= at_most);
      for (Store::Change& change : part.changes) got.push_back(std::move(change));
      next = part.next_revision;
    }
    REQUIRE(ToString(got) == ToString(wanted));
  }

  void CheckRest(const Store& store) {
    REQUIRE(store.Revision() == twin_.revision());
    REQUIRE(store.CompactedRevision() == twin_.compacted());
    const std::string key = random_.Key();
    const int64_t at = std::max<int64_t>(twin_.compacted(),
                                         1 + static_cast<int64_t>(random_.Below(twin_.revision())));
    const mvccpb::KeyValue* const pair = twin_.Live(key, at);
    const absl::StatusOr<mvccpb::KeyValue> got = store.GetAt(key, at);
    REQUIRE(got.ok() == (pair != nullptr));
    if (pair != nullptr) REQUIRE(got->ShortDebugString() == pair->ShortDebugString());

    std::string leases;
    for (const Store::LeaseInfo& lease : store.Leases()) {
      leases += std::to_string(lease.id) + ":" + std::to_string(lease.granted_ttl_seconds) + ":" +
                std::to_string(lease.remaining_ttl_seconds) + " ";
      REQUIRE(store.LeaseTtl(lease.id) == lease.granted_ttl_seconds);
      REQUIRE(store.LeaseKeys(lease.id) == twin_.LeaseKeys(lease.id));
    }
    std::string wanted;
    for (const auto& [id, lease] : twin_.leases()) {
      wanted += std::to_string(id) + ":" + std::to_string(lease.granted_ttl_seconds) + ":" +
                std::to_string(lease.remaining_ttl_seconds) + " ";
    }
    REQUIRE(leases == wanted);
    REQUIRE(store.GetSizes().keys == static_cast<int64_t>(twin_.LiveKeys()));
    if (kind_ == EngineKind::kMemory) {  // whose count is exact and whose sweeps are done
      REQUIRE(store.GetSizes().rows == static_cast<int64_t>(twin_.KeptVersions()));
    }
  }

  void Flush() {
    KEELSON_REQUIRE_OK(world_.machine->Flush());
    since_flush_.clear();
    flushed_ = world_.kv->last();
  }

  // What was not flushed is gone, and replaying the log brings it back.
  void Crash() {
    world_.Crash();
    REQUIRE(world_.machine->Applied().index == flushed_.index);
    if (flushed_.index > 0) REQUIRE(world_.machine->Applied() == flushed_);
    world_.kv->set_last(flushed_.index > 0 ? flushed_ : world_.kv->last());
    for (size_t n = 0; n < since_flush_.size();) {
      std::vector<Command> batch;
      for (size_t size = 1 + random_.Below(30); size > 0 && n < since_flush_.size(); --size) {
        batch.push_back(since_flush_[n++]);
      }
      KEELSON_REQUIRE_OK(world_.kv->Apply(batch));
    }
    world_.listener.changes.clear();
    CheckRest(world_.machine->store());
  }

  void CheckSnapshot() {
    KEELSON_ASSIGN_OR_FAIL(const auto capture, world_.machine->Capture());
    testing::MemorySnapshotWriter writer;
    KEELSON_REQUIRE_OK(capture->WriteTo(writer));
    World other(kind_);
    other.kv->Put("leftover", "must go");
    testing::MemorySnapshotReader reader(writer.bytes(), capture->metadata(),
                                         1 + random_.Below(5000));
    KEELSON_REQUIRE_OK(other.machine->Restore(reader, capture->metadata()));
    REQUIRE(other.machine->Applied() == world_.machine->Applied());
    CheckRest(other.machine->store());
    CheckHistory(other.machine->store());
    other.Crash();
    REQUIRE(other.machine->Applied() == world_.machine->Applied());
    CheckRest(other.machine->store());
  }

  const EngineKind kind_;
  Generator random_;
  World world_;
  TwinModel twin_;
  std::vector<Command> since_flush_;
  raft::SnapshotMetadata flushed_;
  int64_t heard_ = 0;
  size_t commands_ = 0;
  size_t succeeded_ = 0;
};

TEST_CASE("The store answers like its naive twin", "[kvstore][mvcc]") {
  const EngineKind kind = GENERATE(EngineKind::kMemory, EngineKind::kRocksDb);
#ifdef KEELSON_SANITIZED
  constexpr size_t kCommands = 15'000;
#else
  constexpr size_t kCommands = 110'000;
#endif
  INFO("KVSTORE_TWIN_SEED=" << Seed());
  Pairing pairing(kind, Seed());
  while (pairing.commands() < kCommands) pairing.Step();
  // Else it would compare little but refusals.
  CHECK(pairing.succeeded() > pairing.commands() / 2);
}

}  // namespace
}  // namespace keelson::kvstore
