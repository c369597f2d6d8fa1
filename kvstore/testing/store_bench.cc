// Measures the CPU cost of applying and reading, without raft and without gRPC.
//
//   bazel run //kvstore/testing:store_bench -- [puts] [keys] [value bytes] [batch]
#include <ctime>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore {
namespace {

class Listener final : public ApplyListener {
 public:
  bool IsWaiting(uint64_t /*request_id*/) override { return true; }
  void OnChanges(std::vector<Store::Change> /*changes*/) override {}
  void OnLeases(std::vector<LeaseChange> /*changes*/) override {}
  void OnResults(std::vector<CommandResult> /*results*/) override {}
  void OnRestored() override {}
};

double CpuMicros(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

void Measure(const char* name, size_t operations, const std::function<void()>& run) {
  const double process = CpuMicros(CLOCK_PROCESS_CPUTIME_ID);
  const double thread = CpuMicros(CLOCK_THREAD_CPUTIME_ID);
  const auto wall = std::chrono::steady_clock::now();
  run();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - wall;
  const auto n = static_cast<double>(operations);
  std::printf("%-42s %8.2f us wall  %8.2f us CPU of the thread  %8.2f us CPU of all\n", name,
              took.count() / n, (CpuMicros(CLOCK_THREAD_CPUTIME_ID) - thread) / n,
              (CpuMicros(CLOCK_PROCESS_CPUTIME_ID) - process) / n);
}

std::string Key(uint64_t n) {
  char key[40];
  std::snprintf(key, sizeof key, "/registry/pods/%08llu", static_cast<unsigned long long>(n));
  return key;
}

class Bench {
 public:
  Bench(StateMachine& machine, size_t keys, size_t value_bytes, size_t batch)
      : machine_(machine), keys_(keys), value_(value_bytes, 'v'), batch_(batch) {}

  void Puts(size_t count, const std::function<uint64_t(size_t)>& pick) {
    std::vector<std::vector<raft::Entry>> batches;
    raft::SnapshotMetadata after = after_;
    for (size_t n = 0; n < count;) {
      std::vector<raft::Entry>& entries = batches.emplace_back();
      for (size_t i = 0; i < batch_ && n < count; ++i, ++n) {
        Command command;
        command.set_request_id(n + 1);
        command.mutable_put()->set_key(Key(pick(n)));
        command.mutable_put()->set_value(value_);
        raft::Entry entry;
        entry.term = 1;
        entry.index = ++after.index;
        entry.data = raft::Payload(command.SerializeAsString());
        entries.push_back(std::move(entry));
      }
    }
    Measure("put", count, [&] {
      for (const std::vector<raft::Entry>& entries : batches) {
        after_.index = entries.back().index;
        KEELSON_CHECK_OK(machine_.Apply(entries, after_));
      }
    });
  }

  void Gets(size_t count) {
    std::mt19937_64 random(2);
    Measure("get of one key", count, [&] {
      etcdserverpb::RangeRequest request;
      etcdserverpb::RangeResponse response;
      for (size_t n = 0; n < count; ++n) {
        request.set_key(Key(random() % keys_));
        KEELSON_CHECK_OK(machine_.store().Range(request, &response));
        KEELSON_CHECK(response.kvs_size() == 1);
      }
    });
  }

  void Ranges() {
    etcdserverpb::RangeRequest request;
    request.set_key("/registry/pods/");
    request.set_range_end("/registry/pods0");
    etcdserverpb::RangeResponse response;
    Measure("range of everything, per key", keys_,
            [&] { KEELSON_CHECK_OK(machine_.store().Range(request, &response)); });
    request.set_count_only(true);
    Measure("count of everything, per key", keys_,
            [&] { KEELSON_CHECK_OK(machine_.store().Range(request, &response)); });
    std::printf("count %lld\n", static_cast<long long>(response.count()));
    request.set_count_only(false);
    request.set_limit(500);
    Measure("range with limit 500, whole request", 1,
            [&] { KEELSON_CHECK_OK(machine_.store().Range(request, &response)); });
  }

 private:
  StateMachine& machine_;
  const size_t keys_;
  const std::string value_;
  const size_t batch_;
  raft::SnapshotMetadata after_{.index = 0, .term = 1, .conf_state = {}};
};

void Run(StateMachine& machine, size_t puts, size_t keys, size_t value_bytes, size_t batch) {
  Bench bench(machine, keys, value_bytes, batch);
  bench.Puts(keys, [](size_t n) { return n; });
  std::mt19937_64 random(1);
  bench.Puts(puts, [&](size_t) { return random() % keys; });
  bench.Gets(200'000);
  bench.Ranges();
  Measure("flush", 1, [&] { KEELSON_CHECK_OK(machine.Flush()); });
  bench.Gets(200'000);
  bench.Ranges();
  bench.Puts(puts, [&](size_t) { return random() % keys; });
}

}  // namespace
}  // namespace keelson::kvstore

int main(int argc, char** argv) {
  const auto argument = [&](int n, size_t otherwise) {
    return argc > n ? static_cast<size_t>(std::atoll(argv[n])) : otherwise;
  };
  const size_t puts = argument(1, 200'000);
  const size_t keys = argument(2, 100'000);
  const size_t value_bytes = argument(3, 256);
  const size_t batch = argument(4, 100);
  namespace kv = keelson::kvstore;

  char directory[] = "/tmp/store-bench-XXXXXX";
  KEELSON_CHECK(mkdtemp(directory) != nullptr);
  {
    kv::Listener listener;
    kv::StateMachine::Options options;
    options.directory = directory;
    auto machine = kv::StateMachine::Open(options, &listener);
    KEELSON_CHECK_OK(machine.status());
    std::printf("%zu puts over %zu keys of %zu bytes, %zu a batch\n", puts, keys, value_bytes,
                batch);
    kv::Run(**machine, puts, keys, value_bytes, batch);
  }
  std::filesystem::remove_all(directory);
  return 0;
}
