#include "base/testing/sim_file_system_state.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson {
namespace sim_fs_internal {

std::string Quoted(std::string_view call, const std::string& path) {
  return absl::StrCat(absl::string_view(call.data(), call.size()), " '", path, "'");
}

absl::StatusOr<std::vector<std::string>> Split(const std::string& path) {
  std::vector<std::string> names;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string name = path.substr(at, end - at);
    if (name == "..") {
      return absl::InvalidArgumentError(absl::StrCat("path '", path, "': '..' is not supported"));
    }
    if (!name.empty() && name != ".") names.push_back(name);
    at = end + 1;
  }
  return names;
}

}  // namespace sim_fs_internal

using sim_fs_internal::NameChange;
using sim_fs_internal::Node;
using sim_fs_internal::NodePtr;
using sim_fs_internal::OneShot;
using sim_fs_internal::Quoted;
using sim_fs_internal::Split;

void SimFileSystem::State::Spend(SimOperation operation) {
  absl::Duration spent;
  {
    absl::MutexLock lock(&mu);
    const absl::Duration mean =
        operation == SimOperation::kSync || operation == SimOperation::kSyncDirectory
            ? faults.sync_latency
            : faults.operation_latency;
    if (mean > absl::ZeroDuration()) {
      spent += absl::Nanoseconds(static_cast<int64_t>(
          latency_random.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
    }
    if (faults.slow_operation > 0 && latency_random.Bernoulli(faults.slow_operation)) {
      ++counters.slow_operations;
      spent += absl::Nanoseconds(static_cast<int64_t>(latency_random.Exponential(
          static_cast<double>(absl::ToInt64Nanoseconds(faults.slow_latency)))));
    }
    if (!on_latency) latency += spent;
  }
  if (on_latency && spent > absl::ZeroDuration()) on_latency(spent);
}

double SimFileSystem::State::ErrorRate(SimOperation operation) const {
  switch (operation) {
    case SimOperation::kRead:
      return faults.read_error;
    case SimOperation::kWrite:
      return faults.write_error;
    case SimOperation::kSync:
      return faults.sync_error;
    case SimOperation::kName:
      return 0;
    case SimOperation::kSyncDirectory:
      return faults.sync_directory_error;
  }
  return 0;
}

absl::Status SimFileSystem::State::BeginQuery(std::string_view what) {
  if (power_cut) {
    return Annotate(absl::UnavailableError("the simulated power is off"), what);
  }
  ++counters.operations;
  return absl::OkStatus();
}

absl::Status SimFileSystem::State::Begin(SimOperation operation, const std::string& path,
                                         std::string_view what) {
  KEELSON_RETURN_IF_ERROR(BeginQuery(what));
  if (cut_armed && operation != SimOperation::kRead && cut_after-- == 0) {
    cut_armed = false;
    power_cut = true;
    return Annotate(absl::UnavailableError("the simulated power was cut"), what);
  }
  const auto shot = std::find_if(one_shots.begin(), one_shots.end(), [&](const OneShot& one) {
    return one.operation == operation && path.find(one.path_part) != std::string::npos;
  });
  absl::Status error;
  if (shot != one_shots.end()) {
    error = shot->error;
    one_shots.erase(shot);
  } else if (const double rate = ErrorRate(operation); rate > 0 && error_random.Bernoulli(rate)) {
    error = ErrnoError(EIO, "injected");
  }
  if (error.ok()) return error;
  ++counters.injected_errors[static_cast<size_t>(operation)];
  return Annotate(error, what);
}

absl::StatusOr<SimFileSystem::State::Place> SimFileSystem::State::Find(const std::string& path,
                                                                       std::string_view call) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> parts, Split(path));
  Place place{.folder = nullptr, .name = "", .node = root};
  for (const std::string& part : parts) {
    if (place.node == nullptr) return ErrnoError(ENOENT, Quoted(call, path));
    if (!place.node->folder) return ErrnoError(ENOTDIR, Quoted(call, path));
    place.folder = place.node;
    place.name = part;
    const auto found = place.folder->live.find(part);
    place.node = found == place.folder->live.end() ? nullptr : found->second;
  }
  return place;
}

NodePtr SimFileSystem::State::Create(const Place& place, bool folder) {
  auto node = std::make_shared<Node>(next_id++, folder);
  Record({.entries = {{place.folder, place.name, node}}, .node_id = node->id});
  return node;
}

void SimFileSystem::State::Record(NameChange change) {
  for (const NameChange::Entry& entry : change.entries) {
    if (entry.value == nullptr) {
      entry.folder->live.erase(entry.name);
    } else {
      entry.folder->live[entry.name] = entry.value;
    }
  }
  names.push_back(std::move(change));
}

// A change that touches `folder` becomes durable, and with it every earlier one of the same
// node or the same entry, which it builds on.
void SimFileSystem::State::SyncNames(const NodePtr& folder) {
  std::set<uint64_t> nodes;
  std::set<std::pair<uint64_t, std::string>> entries;
  std::vector<bool> chosen(names.size(), false);
  for (size_t i = names.size(); i-- > 0;) {
    const NameChange& change = names[i];
    bool take = nodes.count(change.node_id) > 0;
    for (const NameChange::Entry& entry : change.entries) {
      take = take || entry.folder == folder || entries.count({entry.folder->id, entry.name}) > 0;
    }
    if (!take) continue;
    chosen[i] = true;
    nodes.insert(change.node_id);
    for (const NameChange::Entry& entry : change.entries) {
      entries.insert({entry.folder->id, entry.name});
    }
  }
  std::vector<NameChange> rest;
  for (size_t i = 0; i < names.size(); ++i) {
    if (chosen[i]) {
      names[i].ApplyToDurable();
    } else {
      rest.push_back(std::move(names[i]));
    }
  }
  names = std::move(rest);
}

void SimFileSystem::State::SettleNames() {
  const uint64_t mode = crash_random.Below(4);  // 0: all lost, 1: all kept, else each on its own
  std::set<uint64_t> lost;  // nodes; a later change of such a node has nothing to build on
  for (const NameChange& change : names) {
    const bool keep = mode == 1 || (mode > 1 && crash_random.Bernoulli(0.5));
    if (keep && lost.count(change.node_id) == 0) {
      change.ApplyToDurable();
      ++counters.names_kept;
    } else {
      lost.insert(change.node_id);
      ++counters.names_lost;
    }
  }
  names.clear();
}

void SimFileSystem::State::SettleBelow(Node& folder) {
  folder.live = folder.durable;
  for (const auto& [name, node] : folder.durable) {
    if (node->folder) {
      SettleBelow(*node);
    } else {
      Count(node->file.Settle(crash_random));
      node->file.DropCache();
    }
  }
}

void SimFileSystem::State::Count(const SimFileImage::Fates& fates) {
  counters.writes_lost += fates.lost;
  counters.writes_kept += fates.kept;
  counters.writes_torn += fates.torn;
}

uint64_t SimFileSystem::State::UsedBelow(const Node& folder) {
  uint64_t used = 0;
  EachFile(folder, "", &Node::live,
           [&used](const std::string&, const Node& node) { used += node.file.live().size(); });
  return used;
}

uint64_t SimFileSystem::State::Room() const {
  if (capacity == 0) return std::numeric_limits<uint64_t>::max();
  const uint64_t used = Used();
  return capacity > used ? capacity - used : 0;
}

}  // namespace keelson
