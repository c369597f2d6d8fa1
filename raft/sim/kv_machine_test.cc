#include "raft/sim/kv_machine.h"

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/snapshot_store.h"

namespace keelson::raft::sim {
namespace {

using Code = absl::StatusCode;

Entry MakeEntry(Index index, const KvCommand& command) {
  return {.term = 1,
          .index = index,
          .type = EntryType::kNormal,
          .data = Payload(EncodeKvCommand(command))};
}

KvCommand Put(uint64_t client, uint64_t sequence, const std::string& key,
              const std::string& value) {
  return {.client = client, .sequence = sequence, .key = key, .value = value};
}

class Fixture {
 public:
  Fixture() : fs(Random(1), {}) { Reopen({}); }

  void Reopen(const KvMachine::Options& options) {
    ConfState members;
    members.voters = {1, 2, 3};
    machine.reset();
    auto opened = KvMachine::Open(
        fs, "state", members, Random(2), options,
        {.applied = [this](const Entry& entry, const KvState&,
                           bool last) { applied.emplace_back(entry.index, last); },
         .restored = nullptr,
         .done = [this](const KvCommand& command,
                        Index revision) { done.emplace_back(command.sequence, revision); }});
    KEELSON_REQUIRE_OK(opened.status());
    machine = std::move(opened).value();
  }

  void Apply(const std::vector<Entry>& entries) {
    SnapshotMetadata after = machine->Applied();
    after.index = entries.back().index;
    after.term = entries.back().term;
    KEELSON_REQUIRE_OK(machine->Apply(entries, after));
  }

  SimFileSystem fs;
  std::unique_ptr<KvMachine> machine;
  std::vector<std::pair<Index, bool>> applied;
  std::vector<std::pair<uint64_t, Index>> done;
};

TEST_CASE("A command is read back as written, and anything else is refused", "[raft][sim][kv]") {
  const KvCommand command = Put(7, 9, "key", std::string(100, 'v'));
  const std::string bytes = EncodeKvCommand(command);
  CHECK(DecodeKvCommand(bytes).value() == command);

  for (size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE_FALSE(DecodeKvCommand(bytes.substr(0, size)).ok());
  }
  KEELSON_CHECK_ERROR(DecodeKvCommand(bytes + "x"), Code::kDataLoss, "");
}

TEST_CASE("A state is read back as written; any flipped bit is noticed", "[raft][sim][kv]") {
  KvState state;
  state.applied = {.index = 12, .term = 3, .conf_state = {}};
  state.applied.conf_state.voters = {1, 2};
  state.applied.conf_state.learners = {4};
  state.applied.conf_state.auto_leave = true;
  state.stream_hash = 5;
  state.state_hash = 6;
  state.keys["a"] = {.value = "b", .revision = 4};
  state.sessions[8] = {.sequence = 2, .revision = 4};
  std::string bytes = SerializeKvState(state);
  CHECK(ParseKvState(bytes).value() == state);

  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    REQUIRE_FALSE(ParseKvState(bytes).ok());
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE_FALSE(ParseKvState(bytes.substr(0, size)).ok());
  }
}

TEST_CASE("Commands take effect in order, with the index as revision", "[raft][sim][kv]") {
  Fixture fixture;
  fixture.Apply({MakeEntry(1, Put(1, 1, "a", "x")), MakeEntry(2, Put(2, 1, "a", "y"))});

  CHECK(fixture.machine->state().keys.at("a") == KvValue{.value = "y", .revision = 2});
  CHECK(fixture.machine->Applied().index == 2);
  CHECK(fixture.applied == std::vector<std::pair<Index, bool>>{{1, false}, {2, true}});
  CHECK(fixture.done == std::vector<std::pair<uint64_t, Index>>{{1, 1}, {1, 2}});
}

TEST_CASE("A repeated command takes effect once and reports its first revision",
          "[raft][sim][kv]") {
  Fixture fixture;
  fixture.Apply({MakeEntry(1, Put(1, 1, "a", "x")), MakeEntry(2, Put(2, 1, "a", "y")),
                 MakeEntry(3, Put(1, 1, "a", "x"))});

  CHECK(fixture.machine->state().keys.at("a").value == "y");
  CHECK(fixture.done.back() == std::pair<uint64_t, Index>(1, 1));
}

TEST_CASE("A command older than its client's last is ignored", "[raft][sim][kv]") {
  Fixture fixture;
  fixture.Apply({MakeEntry(1, Put(1, 2, "a", "new")), MakeEntry(2, Put(1, 1, "a", "old"))});

  CHECK(fixture.machine->state().keys.at("a").value == "new");
  CHECK(fixture.done.size() == 1);
}

TEST_CASE("An entry that is no command is an error", "[raft][sim][kv]") {
  Fixture fixture;
  const Entry bad{.term = 1, .index = 1, .type = EntryType::kNormal, .data = Payload("junk")};
  KEELSON_CHECK_ERROR(
      fixture.machine->Apply(std::span(&bad, 1), {.index = 1, .term = 1, .conf_state = {}}),
      Code::kDataLoss, "");
}

TEST_CASE("After a restart the state is that of the last flush", "[raft][sim][kv]") {
  Fixture fixture;
  fixture.Apply({MakeEntry(1, Put(1, 1, "a", "x"))});
  KEELSON_REQUIRE_OK(fixture.machine->Flush());
  const KvState flushed = fixture.machine->state();
  fixture.Apply({MakeEntry(2, Put(1, 2, "a", "y"))});

  fixture.fs.PowerLoss();
  fixture.Reopen({});

  CHECK(fixture.machine->state() == flushed);
  fixture.fs.FlipRandomBit("state");
  ConfState members;
  KEELSON_CHECK_ERROR(KvMachine::Open(fixture.fs, "state", members, Random(2), {}, {}),
                      Code::kDataLoss, "checksum");
}

TEST_CASE("Equal streams give equal hashes, others do not", "[raft][sim][kv]") {
  Fixture a;
  Fixture b;
  Fixture c;
  a.Apply({MakeEntry(1, Put(1, 1, "a", "x")), MakeEntry(2, Put(1, 2, "b", "y"))});
  b.Apply({MakeEntry(1, Put(1, 1, "a", "x"))});
  b.Apply({MakeEntry(2, Put(1, 2, "b", "y"))});
  c.Apply({MakeEntry(1, Put(1, 1, "a", "x")), MakeEntry(2, Put(1, 2, "b", "z"))});

  CHECK(a.machine->state() == b.machine->state());
  CHECK(a.machine->state().stream_hash != c.machine->state().stream_hash);
  CHECK(a.machine->state().state_hash != c.machine->state().state_hash);
}

TEST_CASE("A snapshot carries the whole state, durably", "[raft][sim][kv]") {
  Fixture from;
  from.Apply(
      {MakeEntry(1, Put(1, 1, "a", std::string(1000, 'x'))), MakeEntry(2, Put(2, 5, "b", "y"))});
  SimFileSystem disk(Random(3), {});
  KEELSON_ASSIGN_OR_FAIL(const auto store, SnapshotStore::Open(disk, "snap"));
  KEELSON_ASSIGN_OR_FAIL(const auto capture, from.machine->Capture());
  from.Apply({MakeEntry(3, Put(1, 2, "a", "later"))});
  KEELSON_ASSIGN_OR_FAIL(const auto writer, store->Create(capture->metadata()));
  KEELSON_REQUIRE_OK(capture->WriteTo(*writer));
  KEELSON_REQUIRE_OK(writer->Commit());

  Fixture to;
  to.Apply({MakeEntry(1, Put(9, 9, "gone", "z"))});
  KEELSON_ASSIGN_OR_FAIL(const auto reader, store->OpenSnapshot(2, 1));
  KEELSON_REQUIRE_OK(to.machine->Restore(*reader, capture->metadata()));
  to.fs.PowerLoss();
  to.Reopen({});

  CHECK(to.machine->Applied().index == 2);
  CHECK(to.machine->state().keys.size() == 2);
  CHECK(to.machine->state().keys.at("a").value == std::string(1000, 'x'));
  CHECK(to.machine->state().sessions.at(2).sequence == 5);

  KEELSON_ASSIGN_OR_FAIL(const auto again, store->OpenSnapshot(2, 1));
  SnapshotMetadata other = capture->metadata();
  other.index = 7;
  KEELSON_CHECK_ERROR(to.machine->Restore(*again, other), Code::kDataLoss, "holds the state of 2");
}

}  // namespace
}  // namespace keelson::raft::sim
