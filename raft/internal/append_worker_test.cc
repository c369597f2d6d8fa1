// What of a group's work is written in one round of the append thread, and told afterwards.
#include "raft/internal/append_worker.h"

#include <catch2/catch.hpp>

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/executor.h"
#include "raft/internal/append_loop.h"
#include "raft/testing/test_sync.h"
#include "raft/transport.h"
#include "raft/wal.h"

namespace keelson::raft {
namespace {

// Tasks run when the test says so.
class HandExecutor final : public Executor {
 public:
  void Post(Task task) override { tasks.push_back(std::move(task)); }
  void PostAfter(absl::Duration /*delay*/, Task task) override {
    timers.push_back(std::move(task));
  }
  void Run() {
    while (!tasks.empty()) {
      const Task task = std::move(tasks.front());
      tasks.pop_front();
      task();
    }
  }
  std::deque<Task> tasks;
  std::vector<Task> timers;
};

class HandWal final : public Wal {
 public:
  absl::Status Append(const Batch& batch) override {
    if (full) return absl::ResourceExhaustedError("no space for the next segment");
    for (const Entry& entry : batch.entries) written.push_back(entry.index);
    return absl::OkStatus();
  }
  absl::StatusOr<SyncToken> Sync() override { return MakeSyncToken(); }
  absl::Status Compact(const SnapshotMetadata& /*start*/) override { return absl::OkStatus(); }
  [[nodiscard]] Stats GetStats() const override { return {}; }

  bool full = false;
  std::vector<Index> written;
};

class NoTransport final : public Transport {
 public:
  void Send(std::vector<Message> /*messages*/) override {}
};

struct Fixture {
  static AppendWork Entries(Index index) {
    AppendWork work;
    Entry& entry = work.entries.emplace_back();
    entry.index = index;
    entry.term = 1;
    work.must_sync = true;
    return work;
  }
  static AppendWork Restoring(Index index) {
    AppendWork work;
    work.snapshot.emplace().metadata.index = index;
    work.must_sync = true;
    return work;
  }

  HandExecutor executor;
  HandWal wal;
  NoTransport transport;
  absl::Status fatal;
  std::vector<AppendDone> done;
  std::vector<Index> restored;
  AppendLoop loop{executor, [this] { return wal.Sync(); }, TestSync::Token(),
                  [this](absl::Status status) { fatal = std::move(status); }};
  AppendWorker worker{
      1,
      loop,
      wal,
      transport,
      {.done =
           [this](std::vector<AppendDone> some) {
             for (AppendDone& item : some) done.push_back(std::move(item));
           },
       .restore =
           [this](const Snapshot& snapshot) { restored.push_back(snapshot.metadata.index); }}};
};

TEST_CASE("What follows a snapshot is written when it has been loaded", "[raft][append]") {
  Fixture f;
  f.worker.Enqueue(Fixture::Restoring(10));
  f.worker.Enqueue(Fixture::Entries(11));
  f.executor.Run();
  CHECK(f.restored == std::vector<Index>{10});
  CHECK(f.wal.written.empty());
  CHECK(f.done.empty());
  f.worker.Resume();
  f.executor.Run();
  CHECK(f.wal.written == std::vector<Index>{11});
  CHECK(f.done.size() == 2);
}

// The round that follows a full disk may hold the worker twice: for the retry and for new work.
TEST_CASE("A retry after a full disk does not go past a snapshot", "[raft][append]") {
  Fixture f;
  f.wal.full = true;
  f.worker.Enqueue(Fixture::Entries(1));
  f.executor.Run();
  REQUIRE(f.executor.timers.size() == 1);
  f.wal.full = false;
  f.worker.Enqueue(Fixture::Restoring(10));
  f.worker.Enqueue(Fixture::Entries(11));
  f.executor.timers[0]();
  f.executor.Run();
  CHECK(f.restored == std::vector<Index>{10});
  CHECK(f.wal.written == std::vector<Index>{1});
  REQUIRE(f.done.size() == 1);
  f.worker.Resume();
  f.executor.Run();
  CHECK(f.wal.written == std::vector<Index>{1, 11});
  CHECK(f.done.size() == 3);
  CHECK(f.fatal.ok());
}

}  // namespace
}  // namespace keelson::raft
