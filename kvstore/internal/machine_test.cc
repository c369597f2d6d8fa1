// The machine when its disk is full or broken, and under readers on other threads.
#include <catch2/catch.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/testing/status_matchers.h"
#include "kvstore/engine_memory.h"
#include "kvstore/engine_rocksdb.h"
#include "kvstore/errors.h"
#include "kvstore/internal/machine.h"
#include "kvstore/testing/faulty_engine.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore::internal {
namespace {

using testing::CompactCommand;
using testing::MachineDriver;
using testing::MakePut;
using testing::MakeRange;
using testing::ToCommand;

// A machine on a disk that the test can fill.
struct Setup {
  // `wait_for_space` as in MachineParts.
  explicit Setup(std::function<bool(absl::Duration)> wait_for_space) {
    StateMachine::Options options;
    options.on_stall = [this](const absl::Status& status) { stalls.push_back(status.code()); };
    MachineParts parts;
    parts.home = std::make_unique<testing::FaultyEngineHome>(NewMemoryEngineHome(), faults);
    parts.wait_for_space = std::move(wait_for_space);
    auto opened = Machine::Open(options, &listener, std::move(parts));
    KEELSON_REQUIRE_OK(opened);
    machine = *std::move(opened);
    kv.emplace(*machine, listener);
  }

  testing::Faults faults;
  testing::RecordingListener listener;
  std::vector<absl::StatusCode> stalls;
  std::unique_ptr<Machine> machine;
  std::optional<MachineDriver> kv;
};

TEST_CASE("With a full disk Apply waits, reads go on, and nothing is lost", "[kvstore][space]") {
  Setup* setup = nullptr;
  int waits = 0;
  Setup built([&](absl::Duration) {
    // Here the apply executor waits. Nothing is visible before it is stored.
    CHECK(setup->kv->Dump() == "a=1");
    CHECK(setup->stalls.size() == 1);
    if (++waits == 3) setup->faults.disk_full = false;
    return true;
  });
  setup = &built;
  built.kv->Put("a", "1");

  built.faults.disk_full = true;
  CHECK(built.kv->Put("a", "2") == 3);

  CHECK(waits == 3);
  CHECK(built.kv->Dump() == "a=2");
  CHECK(built.stalls ==
        std::vector<absl::StatusCode>{absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk});
  waits = 0;
  built.stalls.clear();
  built.faults.disk_full = true;
  setup->faults.disk_full = false;
  KEELSON_REQUIRE_OK(built.machine->Flush());
  CHECK(built.stalls.empty());
}

TEST_CASE("Apply and a flush beside it that both wait for space are one stall",
          "[kvstore][space]") {
  Setup* setup = nullptr;
  std::function<absl::Status()> flush;
  absl::Status flushed = absl::UnknownError("not flushed");
  int waits = 0;
  Setup built([&](absl::Duration) {
    if (++waits == 1) {  // Apply waits, and so does the flush inside of this call.
      flushed = flush();
      CHECK(setup->stalls.size() == 1);
    } else {
      setup->faults.disk_full = false;
    }
    return true;
  });
  setup = &built;
  built.kv->Put("a", "1");
  flush = built.machine->BeginFlush();
  built.faults.disk_full = true;
  CHECK(built.kv->Put("a", "2") == 3);

  KEELSON_REQUIRE_OK(flushed);
  CHECK(waits == 2);
  CHECK(built.stalls ==
        std::vector<absl::StatusCode>{absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk});
  built.machine->Crash();
  CHECK(built.kv->Dump() == "a=1");  // The put came after the flush, inside of which it waited.
}

TEST_CASE("A wait for space can be given up", "[kvstore][space]") {
  Setup setup([](absl::Duration) { return false; });
  setup.faults.disk_full = true;
  KEELSON_CHECK_ERROR(setup.kv->Apply(std::vector<Command>{ToCommand(MakePut("a", "1"))}),
                      absl::StatusCode::kUnavailable, "disk space");
  KEELSON_CHECK_ERROR(setup.machine->Flush(), absl::StatusCode::kUnavailable, "disk space");
  CHECK(setup.kv->store().Revision() == 1);
  CHECK(setup.listener.calls.empty());
  setup.faults.disk_full = false;
  CHECK(setup.kv->Put("a", "1") == 2);
}

TEST_CASE("Interrupt ends a wait for space from another thread", "[kvstore][space]") {
  Setup setup({});
  setup.faults.disk_full = true;
  std::thread stopper([&] {
    while (setup.faults.writes_refused == 0) std::this_thread::yield();
    setup.machine->Interrupt();
  });
  const absl::Status status =
      setup.kv->Apply(std::vector<Command>{ToCommand(MakePut("a", "1"))}).status();
  stopper.join();
  KEELSON_CHECK_ERROR(status, absl::StatusCode::kUnavailable, "disk space");
}

TEST_CASE("A broken disk stops the machine and shows nothing new", "[kvstore][space]") {
  Setup setup([](absl::Duration) { return true; });
  setup.kv->Put("a", "1");
  setup.faults.disk_broken = true;
  KEELSON_CHECK_ERROR(setup.kv->Apply(std::vector<Command>{ToCommand(MakePut("a", "2"))}),
                      absl::StatusCode::kUnknown, "broken");
  CHECK(setup.kv->Dump() == "a=1");
  CHECK(setup.kv->store().Revision() == 2);
}

// Each reader sees every revision whole: both keys of a pair carry the same value, and a
// historic read is either right or refused.
void ReadWhile(const Store& store, const std::atomic<bool>& done, std::atomic<int>& wrong) {
  etcdserverpb::RangeResponse response;
  etcdserverpb::RangeRequest request = MakeRange("pair/", "pair0");
  while (!done) {
    request.set_revision(0);
    if (!store.Range(request, &response).ok()) ++wrong;
    if (response.kvs_size() != 2 || response.kvs(0).value() != response.kvs(1).value()) ++wrong;
    const int64_t at = response.header().revision() - 3;
    const absl::StatusOr<mvccpb::KeyValue> one = store.GetAt("pair/1", at);
    const absl::StatusOr<mvccpb::KeyValue> two = store.GetAt("pair/2", at);
    if (!one.ok() && one.status() != errors::Compacted()) ++wrong;
    if (one.ok() && two.ok() && one->value() != two->value()) ++wrong;
    const auto history = store.ReadHistory({"pair/1", ""}, at, true, 100, 1 << 20);
    if (!history.ok() && history.status() != errors::Compacted()) ++wrong;
    if (!history.ok()) continue;
    for (size_t n = 1; n < history->changes.size(); ++n) {
      if (history->changes[n].revision != history->changes[n - 1].revision + 1) ++wrong;
    }
  }
}

TEST_CASE("Readers see whole revisions while a writer writes, compacts and restores",
          "[kvstore][threads]") {
  testing::RecordingListener listener;
  RocksDbOptions options;
  options.directory = testing::NewTestDirectory();
  options.write_buffer_bytes = 1 << 20;
  MachineParts parts;
  KEELSON_ASSIGN_OR_FAIL(parts.home, OpenRocksDbHome(options));
  parts.background_sweep = true;
  KEELSON_ASSIGN_OR_FAIL(const auto machine, Machine::Open({}, &listener, std::move(parts)));
  MachineDriver kv(*machine, listener);
  const auto write = [&](int n) {
    Command command;
    for (const char* key : {"pair/1", "pair/2"}) {
      *command.mutable_txn()->add_success()->mutable_request_put() =
          MakePut(key, std::to_string(n));
    }
    KEELSON_REQUIRE_OK(kv.Apply(std::vector<Command>{command}));
  };
  for (int n = 0; n < 5; ++n) write(n);

  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> readers;
  for (int n = 0; n < 2; ++n) {
    readers.emplace_back([&] { ReadWhile(machine->store(), done, wrong); });
  }
#ifdef KEELSON_SANITIZED
  constexpr int kWrites = 400;
#else
  constexpr int kWrites = 4000;
#endif
  for (int n = 5; n < kWrites; ++n) {
    write(n);
    if (n % 10 == 0) {
      KEELSON_REQUIRE_OK(kv.Apply(
          std::vector<Command>{CompactCommand(machine->store().Revision() - 2, n % 100 == 0)}));
    }
    if (n % 150 == 0) KEELSON_REQUIRE_OK(machine->Flush());
    if (n % 390 == 0) {
      KEELSON_ASSIGN_OR_FAIL(const auto capture, machine->Capture());
      testing::MemorySnapshotWriter writer;
      KEELSON_REQUIRE_OK(capture->WriteTo(writer));
      testing::MemorySnapshotReader reader(writer.bytes(), capture->metadata());
      KEELSON_REQUIRE_OK(machine->Restore(reader, capture->metadata()));
    }
    listener.changes.clear();
    listener.results.clear();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace keelson::kvstore::internal
