// The insides of a SimFileSystem: the tree of names, what is pending, and which call fails.
#ifndef KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_STATE_H_
#define KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_STATE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/file_system.h"
#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/sim_file_system_image.h"

namespace keelson {
namespace sim_fs_internal {

// A file or a folder. Folders own their entries, in both views.
struct Node {
  explicit Node(uint64_t node_id, bool is_folder) : id(node_id), folder(is_folder) {}

  const uint64_t id;
  const bool folder;
  SimFileImage file;
  std::map<std::string, std::shared_ptr<Node>> live;
  std::map<std::string, std::shared_ptr<Node>> durable;
};
using NodePtr = std::shared_ptr<Node>;

// One change of names, atomic on disk. A null value removes the entry.
struct NameChange {
  struct Entry {
    NodePtr folder;
    std::string name;
    NodePtr value;
  };
  std::vector<Entry> entries;
  uint64_t node_id = 0;  // the node that appears, moves or goes

  void ApplyToDurable() const {
    for (const Entry& entry : entries) {
      if (entry.value == nullptr) {
        entry.folder->durable.erase(entry.name);
      } else {
        entry.folder->durable[entry.name] = entry.value;
      }
    }
  }
};

struct OneShot {
  SimOperation operation;
  std::string path_part;
  absl::Status error;
};

// "call 'path'", as errors begin.
std::string Quoted(std::string_view call, const std::string& path);

// The names of a path. INVALID_ARGUMENT if one is "..".
absl::StatusOr<std::vector<std::string>> Split(const std::string& path);

}  // namespace sim_fs_internal

struct SimFileSystem::State {
  using Node = sim_fs_internal::Node;
  using NodePtr = sim_fs_internal::NodePtr;
  using NameChange = sim_fs_internal::NameChange;
  using OneShot = sim_fs_internal::OneShot;

  // Where a path leads: its folder, its last name, and the node there, if any.
  struct Place {
    NodePtr folder;
    std::string name;
    NodePtr node;
  };

  State(const Random& random, Options given)
      : on_latency(std::move(given.on_latency)),
        error_random(random.Stream("errors")),
        crash_random(random.Stream("crash")),
        latency_random(random.Stream("latency")),
        faults(given.faults),
        capacity(given.capacity_bytes) {}

  const std::function<void(absl::Duration)> on_latency;

  absl::Mutex mu;
  Random error_random ABSL_GUARDED_BY(mu);
  Random crash_random ABSL_GUARDED_BY(mu);
  Random latency_random ABSL_GUARDED_BY(mu);
  Faults faults ABSL_GUARDED_BY(mu);
  uint64_t capacity ABSL_GUARDED_BY(mu);
  Counters counters ABSL_GUARDED_BY(mu);
  absl::Duration latency ABSL_GUARDED_BY(mu);
  uint64_t next_id ABSL_GUARDED_BY(mu) = 2;
  const NodePtr root = std::make_shared<Node>(1, true);
  std::vector<NameChange> names ABSL_GUARDED_BY(mu);  // pending, oldest first
  std::vector<OneShot> one_shots ABSL_GUARDED_BY(mu);
  std::set<uint64_t> locked ABSL_GUARDED_BY(mu);  // node ids
  uint64_t incarnation ABSL_GUARDED_BY(mu) = 0;   // of the process
  bool cut_armed ABSL_GUARDED_BY(mu) = false;
  uint64_t cut_after ABSL_GUARDED_BY(mu) = 0;
  std::atomic<bool> power_cut = false;  // written under mu

  // Starts a call: counts it and decides whether it fails. `what` leads the error.
  absl::Status Begin(SimOperation operation, const std::string& path, std::string_view what)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  // A call that looks and can only fail when the power is off.
  absl::Status BeginQuery(std::string_view what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  double ErrorRate(SimOperation operation) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  absl::StatusOr<Place> Find(const std::string& path, std::string_view call)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  NodePtr Create(const Place& place, bool folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void Record(NameChange change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void SyncNames(const NodePtr& folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void SettleNames() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void SettleBelow(Node& folder) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void Count(const SimFileImage::Fates& fates) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  uint64_t Used() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { return UsedBelow(*root); }
  static uint64_t UsedBelow(const Node& folder);
  // Bytes that a file may still grow by.
  uint64_t Room() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void NewProcess() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    ++incarnation;
    locked.clear();
  }
  void Spend(SimOperation operation) ABSL_LOCKS_EXCLUDED(mu);

  // Calls `visit(path, node)` for each file in the given view, in order of names.
  template <typename Visit>
  static void EachFile(const Node& folder, const std::string& prefix,
                       std::map<std::string, NodePtr> Node::*view, const Visit& visit) {
    for (const auto& [name, node] : folder.*view) {
      const std::string path = JoinPath(prefix, name);
      if (node->folder) {
        EachFile(*node, path, view, visit);
      } else {
        visit(path, *node);
      }
    }
  }
};

}  // namespace keelson

#endif  // KEELSON_BASE_TESTING_SIM_FILE_SYSTEM_STATE_H_
