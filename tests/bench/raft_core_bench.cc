// Three raft cores in one thread, without disk and network: how many entries commit in a second,
// and how many times the heap is asked per entry. Prints one line of JSON.
//
//   raft_core_bench --batch=64 --bytes=64 --seconds=2
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "raft/core.h"
#include "raft/log_storage.h"
#include "raft/testing/test_sync.h"

namespace {
uint64_t heap_calls = 0;  // Of one thread: no need for an atomic.
}  // namespace

void* operator new(size_t size) {
  ++heap_calls;
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

using keelson::Random;
using keelson::raft::Core;
using keelson::raft::MemoryLog;
using keelson::raft::Message;
using keelson::raft::NodeId;
using keelson::raft::Payload;
using keelson::raft::Ready;
using keelson::raft::SnapshotMetadata;
using keelson::raft::TestSync;
using SteadyClock = std::chrono::steady_clock;

constexpr NodeId kNodes = 3;
// As a driver that compacts: so much stays for those that lag.
constexpr uint64_t kKeepEntries = 10'000;

struct Options {
  int batch = 64;
  size_t bytes = 64;
  double seconds = 2;
};

class Group {
 public:
  Group() {
    SnapshotMetadata start;
    for (NodeId id = 1; id <= kNodes; ++id) start.conf_state.voters.push_back(id);
    for (NodeId id = 1; id <= kNodes; ++id) {
      Node& node = nodes_[id];
      node.log = MemoryLog(start);
      keelson::raft::Options options;
      options.id = id;
      auto core = Core::Create(options, node.log, Random(id), nullptr);
      KEELSON_CHECK(core.ok()) << core.status().ToString();
      node.core = *std::move(core);
    }
    nodes_[1].core->Campaign();
    Settle();
    KEELSON_CHECK(nodes_[1].core->soft_state().role == keelson::raft::Role::kLeader);
  }

  void Propose(const std::vector<Payload>& payloads) {
    KEELSON_CHECK(nodes_[1].core->Propose(payloads).ok());
    Settle();
  }
  [[nodiscard]] uint64_t committed() const { return nodes_.at(1).applied; }

 private:
  struct Node {
    MemoryLog log;
    std::unique_ptr<Core> core;
    uint64_t applied = 0;
  };

  void Settle() {
    for (bool busy = true; busy;) {
      busy = false;
      for (auto& [id, node] : nodes_) {
        while (node.core->HasReady()) {
          busy = true;
          Handle(node, id);
        }
      }
      while (!network_.empty()) {
        busy = true;
        Message message = std::move(network_.front());
        network_.pop_front();
        (void)nodes_.at(message.to).core->Step(std::move(message));
      }
    }
  }

  void Handle(Node& node, NodeId id) {
    Ready ready = node.core->TakeReady();
    for (Message& message : ready.messages) network_.push_back(std::move(message));
    if (ready.append.has_value()) {
      node.log.Append(ready.append->entries);
      if (ready.append->hard_state.has_value()) node.log.SetHardState(*ready.append->hard_state);
      for (Message& message : std::move(ready.append->responses).Release(TestSync::Token())) {
        if (message.to == id) {
          (void)node.core->Step(std::move(message));
        } else {
          network_.push_back(std::move(message));
        }
      }
    }
    if (ready.apply.has_value()) {
      node.applied = ready.apply->entries.back().index;
      for (Message& message : ready.apply->responses) (void)node.core->Step(std::move(message));
      if (node.applied > node.log.FirstIndex() + 2 * kKeepEntries) {
        node.log.Compact(node.applied - kKeepEntries);
      }
    }
  }

  std::map<NodeId, Node> nodes_;
  std::deque<Message> network_;
};

void Run(const Options& options) {
  Group group;
  // What the application hands over; made once, so that only the library's work is counted.
  const std::vector<Payload> payloads(static_cast<size_t>(options.batch),
                                      Payload(std::string(options.bytes, 'x')));
  for (int i = 0; i < 1000; ++i) group.Propose(payloads);  // Warms up.

  const uint64_t first = group.committed();
  const uint64_t heap_before = heap_calls;
  const auto start = SteadyClock::now();
  double elapsed = 0;
  while (elapsed < options.seconds) {
    for (int i = 0; i < 100; ++i) group.Propose(payloads);
    elapsed = std::chrono::duration<double>(SteadyClock::now() - start).count();
  }
  const auto entries = static_cast<double>(group.committed() - first);
  std::printf(
      "{\"batch\":%d,\"bytes\":%zu,\"entries\":%.0f,\"entries_per_second\":%.0f,"
      "\"heap_calls_per_entry\":%.3f,\"heap_calls_per_batch\":%.1f}\n",
      options.batch, options.bytes, entries, entries / elapsed,
      static_cast<double>(heap_calls - heap_before) / entries,
      static_cast<double>(heap_calls - heap_before) / entries * options.batch);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Commits entries through three cores in one thread.");
  app.add_option("--batch", options.batch, "entries proposed at once")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--bytes", options.bytes, "size of each entry")->capture_default_str();
  app.add_option("--seconds", options.seconds, "how long")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  Run(options);
  return 0;
}
