#include "base/testing/sim_file_system.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/status.h"
#include "base/testing/sim_file_system_image.h"
#include "base/testing/sim_file_system_state.h"

namespace keelson {

using sim_fs_internal::Node;
using sim_fs_internal::NodePtr;
using sim_fs_internal::Quoted;
using sim_fs_internal::Split;

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 32;
constexpr uint64_t kUnlimitedBytes = uint64_t{1} << 40;  // what Space reports without a capacity

// Charges the time of a call when it is over and the lock is free again: declare it first.
template <typename State>
class Charge {
 public:
  Charge(State& state, SimOperation operation) : state_(state), operation_(operation) {}
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge() { state_.Spend(operation_); }

 private:
  State& state_;
  const SimOperation operation_;
};

// How much of `size` bytes at `offset` a write has done when it is cut there: the kernel copies page
// by page, so the end lies between two sectors.
size_t CutOff(uint64_t offset, size_t size) {
  const uint64_t end = (offset + size) / kSimSectorBytes * kSimSectorBytes;
  return end > offset ? end - offset : 0;
}

}  // namespace

class SimFileSystem::Handle final : public File {
 public:
  Handle(State& state, NodePtr node, std::string path, bool writable, uint64_t incarnation)
      : state_(state),
        node_(std::move(node)),
        path_(std::move(path)),
        writable_(writable),
        incarnation_(incarnation) {}

  absl::Status WriteAt(uint64_t offset, std::string_view data) override {
    const Charge charge(state_, SimOperation::kWrite);
    absl::MutexLock lock(&state_.mu);
    const std::string what = absl::StrCat("pwrite '", path_, "' at ", offset);
    KEELSON_RETURN_IF_ERROR(CheckUsable(what, true));
    if (offset > kMaxFileBytes || data.size() > kMaxFileBytes - offset) {
      return ErrnoError(EFBIG, what);
    }
    if (absl::Status status = state_.Begin(SimOperation::kWrite, path_, what); !status.ok()) {
      // Half the time some of it arrived.
      if (state_.error_random.Bernoulli(0.5)) {
        Put(offset, data.substr(0, CutOff(offset, state_.error_random.Below(data.size() + 1))));
      }
      return status;
    }
    if (Put(offset, data) == data.size()) return absl::OkStatus();
    ++state_.counters.no_space;
    return ErrnoError(ENOSPC, what);
  }

  absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
    std::string data;
    for (const std::string_view piece : pieces) data.append(piece);
    return WriteAt(offset, data);
  }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, std::span<char> buffer) const override {
    const Charge charge(state_, SimOperation::kRead);
    absl::MutexLock lock(&state_.mu);
    const std::string what = absl::StrCat("pread '", path_, "' at ", offset);
    KEELSON_RETURN_IF_ERROR(CheckUsable(what, false));
    KEELSON_RETURN_IF_ERROR(state_.Begin(SimOperation::kRead, path_, what));
    const std::string& live = node_->file.live();
    if (offset >= live.size()) return size_t{0};
    return live.copy(buffer.data(), buffer.size(), offset);
  }

  absl::StatusOr<uint64_t> Size() const override {
    absl::MutexLock lock(&state_.mu);
    const std::string what = Quoted("fstat", path_);
    KEELSON_RETURN_IF_ERROR(CheckUsable(what, false));
    KEELSON_RETURN_IF_ERROR(state_.BeginQuery(what));
    return uint64_t{node_->file.live().size()};
  }

  absl::Status SyncData() override {
    const Charge charge(state_, SimOperation::kSync);
    absl::MutexLock lock(&state_.mu);
    const std::string what = Quoted("fdatasync", path_);
    KEELSON_RETURN_IF_ERROR(CheckUsable(what, false));
    if (absl::Status status = state_.Begin(SimOperation::kSync, path_, what); !status.ok()) {
      // The kernel reports the failure once and takes the rest for clean.
      if (!state_.power_cut) state_.Count(node_->file.Settle(state_.crash_random));
      return status;
    }
    node_->file.Sync();
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    const Charge charge(state_, SimOperation::kWrite);
    absl::MutexLock lock(&state_.mu);
    return Resize(size, absl::StrCat("ftruncate '", path_, "' at ", size));
  }

  absl::Status Allocate(uint64_t offset, uint64_t length) override {
    const Charge charge(state_, SimOperation::kWrite);
    absl::MutexLock lock(&state_.mu);
    const std::string what = absl::StrCat("fallocate '", path_, "' at ", offset);
    if (offset > kMaxFileBytes || length > kMaxFileBytes - offset) return ErrnoError(EFBIG, what);
    return Resize(std::max<uint64_t>(offset + length, node_->file.live().size()), what);
  }

 private:
  absl::Status CheckUsable(const std::string& what, bool writing) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mu) {
    if (incarnation_ != state_.incarnation) {
      return Annotate(absl::UnavailableError("the file was open in a process that crashed"), what);
    }
    return writing && !writable_ ? ErrnoError(EBADF, what) : absl::OkStatus();
  }

  // Writes as much of `data` as there is space for. Bytes written.
  size_t Put(uint64_t offset, std::string_view data) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mu) {
    const uint64_t size = node_->file.live().size();
    if (offset + data.size() > size) {
      const uint64_t room = state_.Room();
      const uint64_t needed = offset + data.size() - size;
      if (needed > room) data = data.substr(0, data.size() - std::min(needed - room, data.size()));
    }
    node_->file.Write(offset, data);
    return data.size();
  }

  absl::Status Resize(uint64_t size, const std::string& what)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mu) {
    KEELSON_RETURN_IF_ERROR(CheckUsable(what, true));
    if (size > kMaxFileBytes) return ErrnoError(EFBIG, what);
    KEELSON_RETURN_IF_ERROR(state_.Begin(SimOperation::kWrite, path_, what));
    const uint64_t old_size = node_->file.live().size();
    if (size > old_size && size - old_size > state_.Room()) {
      ++state_.counters.no_space;
      return ErrnoError(ENOSPC, what);
    }
    node_->file.Resize(size);
    return absl::OkStatus();
  }

  State& state_;
  const NodePtr node_;
  const std::string path_;
  const bool writable_;
  const uint64_t incarnation_;
};

class SimFileSystem::LockHandle final : public FileLock {
 public:
  LockHandle(State& state, uint64_t node_id, uint64_t incarnation)
      : state_(state), node_id_(node_id), incarnation_(incarnation) {}
  ~LockHandle() override {
    absl::MutexLock lock(&state_.mu);
    if (incarnation_ == state_.incarnation) state_.locked.erase(node_id_);
  }

 private:
  State& state_;
  const uint64_t node_id_;
  const uint64_t incarnation_;
};

SimFileSystem::SimFileSystem(Random random, Options options)
    : state_(std::make_unique<State>(random, std::move(options))) {}

SimFileSystem::~SimFileSystem() = default;

absl::StatusOr<std::unique_ptr<File>> SimFileSystem::Open(const std::string& path,
                                                          const OpenOptions& options) {
  const Charge charge(*state_, SimOperation::kName);
  absl::MutexLock lock(&state_->mu);
  const std::string what = Quoted("open", path);
  KEELSON_RETURN_IF_ERROR(state_->BeginQuery(what));
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "open"));
  NodePtr node = place.node;
  if (node == nullptr) {
    if (!options.create || !options.write) return ErrnoError(ENOENT, what);
    KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kName, path, what));
    node = state_->Create(place, false);
  } else {
    if (options.create && options.write && options.exclusive) return ErrnoError(EEXIST, what);
    if (node->folder) return ErrnoError(EISDIR, what);
  }
  if (options.write && options.truncate && !node->file.live().empty()) {
    KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kWrite, path, what));
    node->file.Resize(0);
  }
  return std::make_unique<Handle>(*state_, std::move(node), path, options.write,
                                  state_->incarnation);
}

absl::Status SimFileSystem::Rename(const std::string& from, const std::string& to) {
  const Charge charge(*state_, SimOperation::kName);
  absl::MutexLock lock(&state_->mu);
  const std::string what = absl::StrCat("rename '", from, "' to '", to, "'");
  KEELSON_ASSIGN_OR_RETURN(const State::Place source, state_->Find(from, "rename"));
  KEELSON_ASSIGN_OR_RETURN(const State::Place target, state_->Find(to, "rename"));
  if (source.node == nullptr) return ErrnoError(ENOENT, what);
  if (source.folder == nullptr || target.folder == nullptr) return ErrnoError(EBUSY, what);
  if (source.node == target.node) return absl::OkStatus();
  if (target.node != nullptr) {
    if (target.node->folder && !source.node->folder) return ErrnoError(EISDIR, what);
    if (!target.node->folder && source.node->folder) return ErrnoError(ENOTDIR, what);
    if (!target.node->live.empty()) return ErrnoError(ENOTEMPTY, what);
  }
  const std::string inside = JoinPath(from, "");
  if (source.node->folder && to.compare(0, inside.size(), inside) == 0) {
    return ErrnoError(EINVAL, what);
  }
  KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kName, to, what));
  state_->Record({.entries = {{source.folder, source.name, nullptr},
                              {target.folder, target.name, source.node}},
                  .node_id = source.node->id});
  return absl::OkStatus();
}

absl::Status SimFileSystem::Remove(const std::string& path) {
  const Charge charge(*state_, SimOperation::kName);
  absl::MutexLock lock(&state_->mu);
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "unlink"));
  if (place.node == nullptr) return ErrnoError(ENOENT, Quoted("unlink", path));
  if (place.folder == nullptr) return ErrnoError(EBUSY, Quoted("rmdir", path));
  if (!place.node->live.empty()) return ErrnoError(ENOTEMPTY, Quoted("rmdir", path));
  KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kName, path, Quoted("unlink", path)));
  state_->Record({.entries = {{place.folder, place.name, nullptr}}, .node_id = place.node->id});
  return absl::OkStatus();
}

absl::Status SimFileSystem::CreateDirectories(const std::string& path) {
  const Charge charge(*state_, SimOperation::kName);
  absl::MutexLock lock(&state_->mu);
  const std::string what = Quoted("mkdir", path);
  KEELSON_RETURN_IF_ERROR(state_->BeginQuery(what));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> parts, Split(path));
  State::Place place{.folder = nullptr, .name = "", .node = state_->root};
  for (const std::string& part : parts) {
    const auto found = place.node->live.find(part);
    place = {.folder = place.node,
             .name = part,
             .node = found == place.node->live.end() ? nullptr : found->second};
    if (place.node == nullptr) {
      KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kName, path, what));
      place.node = state_->Create(place, true);
      absl::Status synced = state_->Begin(SimOperation::kSyncDirectory, path, what);
      if (!synced.ok()) {
        state_->Record(
            {.entries = {{place.folder, place.name, nullptr}}, .node_id = place.node->id});
        return synced;
      }
      state_->SyncNames(place.folder);
    } else if (!place.node->folder) {
      return ErrnoError(ENOTDIR, what);
    } else if (&part == &parts.back()) {
      KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kSyncDirectory, path, what));
      state_->SyncNames(place.folder);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SimFileSystem::List(const std::string& path) {
  const Charge charge(*state_, SimOperation::kRead);
  absl::MutexLock lock(&state_->mu);
  const std::string what = Quoted("opendir", path);
  KEELSON_RETURN_IF_ERROR(state_->BeginQuery(what));
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "opendir"));
  if (place.node == nullptr) return ErrnoError(ENOENT, what);
  if (!place.node->folder) return ErrnoError(ENOTDIR, what);
  std::vector<std::string> names;
  for (const auto& [name, node] : place.node->live) names.push_back(name);
  return names;
}

absl::StatusOr<bool> SimFileSystem::Exists(const std::string& path) {
  const Charge charge(*state_, SimOperation::kRead);
  absl::MutexLock lock(&state_->mu);
  KEELSON_RETURN_IF_ERROR(state_->BeginQuery(Quoted("stat", path)));
  KEELSON_RETURN_IF_ERROR(Split(path));
  const absl::StatusOr<State::Place> place = state_->Find(path, "stat");
  return place.ok() && place->node != nullptr;
}

absl::Status SimFileSystem::SyncDirectory(const std::string& path) {
  const Charge charge(*state_, SimOperation::kSyncDirectory);
  absl::MutexLock lock(&state_->mu);
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "open"));
  if (place.node == nullptr) return ErrnoError(ENOENT, Quoted("open", path));
  if (!place.node->folder) return ErrnoError(ENOTDIR, Quoted("open", path));
  KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kSyncDirectory, path, Quoted("fsync", path)));
  state_->SyncNames(place.node);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> SimFileSystem::Lock(const std::string& path) {
  const Charge charge(*state_, SimOperation::kName);
  absl::MutexLock lock(&state_->mu);
  const std::string what = Quoted("lock", path);
  KEELSON_RETURN_IF_ERROR(state_->BeginQuery(what));
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "open"));
  NodePtr node = place.node;
  if (node == nullptr) {
    KEELSON_RETURN_IF_ERROR(state_->Begin(SimOperation::kName, path, what));
    node = state_->Create(place, false);
  }
  if (node->folder) return ErrnoError(EISDIR, Quoted("open", path));
  if (!state_->locked.insert(node->id).second) {
    return absl::FailedPreconditionError(absl::StrCat(what, ": held by another process"));
  }
  return std::make_unique<LockHandle>(*state_, node->id, state_->incarnation);
}

absl::StatusOr<SpaceInfo> SimFileSystem::Space(const std::string& path) {
  absl::MutexLock lock(&state_->mu);
  const std::string what = Quoted("statvfs", path);
  KEELSON_RETURN_IF_ERROR(state_->BeginQuery(what));
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "statvfs"));
  if (place.node == nullptr) return ErrnoError(ENOENT, what);
  if (state_->capacity == 0) {
    return SpaceInfo{.capacity_bytes = kUnlimitedBytes,
                     .free_bytes = kUnlimitedBytes - state_->Used()};
  }
  return SpaceInfo{.capacity_bytes = state_->capacity, .free_bytes = state_->Room()};
}

void SimFileSystem::PowerLoss() {
  absl::MutexLock lock(&state_->mu);
  ++state_->counters.power_losses;
  state_->SettleNames();
  state_->SettleBelow(*state_->root);
  state_->NewProcess();
  state_->cut_armed = false;
  state_->power_cut = false;
}

void SimFileSystem::ProcessCrash() {
  absl::MutexLock lock(&state_->mu);
  ++state_->counters.process_crashes;
  state_->NewProcess();
  state_->cut_armed = false;
  state_->power_cut = false;
}

void SimFileSystem::CutPowerAfter(uint64_t operations) {
  absl::MutexLock lock(&state_->mu);
  state_->cut_armed = true;
  state_->cut_after = operations;
}

void SimFileSystem::CancelPowerCut() {
  absl::MutexLock lock(&state_->mu);
  state_->cut_armed = false;
}

bool SimFileSystem::power_is_cut() const { return state_->power_cut; }

void SimFileSystem::FailNext(SimOperation operation, const std::string& path_part,
                             absl::Status error) {
  KEELSON_CHECK(!error.ok());
  absl::MutexLock lock(&state_->mu);
  state_->one_shots.push_back({operation, path_part, std::move(error)});
}

void SimFileSystem::CancelFailNext() {
  absl::MutexLock lock(&state_->mu);
  state_->one_shots.clear();
}

void SimFileSystem::SetFaults(const Faults& faults) {
  absl::MutexLock lock(&state_->mu);
  state_->faults = faults;
}

void SimFileSystem::SetCapacity(uint64_t capacity_bytes) {
  absl::MutexLock lock(&state_->mu);
  state_->capacity = capacity_bytes;
}

absl::Status SimFileSystem::FlipBit(const std::string& path, uint64_t offset, int bit) {
  absl::MutexLock lock(&state_->mu);
  KEELSON_ASSIGN_OR_RETURN(const State::Place place, state_->Find(path, "flip"));
  if (place.node == nullptr || place.node->folder) {
    return ErrnoError(ENOENT, Quoted("flip", path));
  }
  SimFileImage& file = place.node->file;
  if (offset >= std::max(file.live().size(), file.durable().size())) {
    return absl::OutOfRangeError(absl::StrCat("flip '", path, "' at ", offset));
  }
  file.FlipBit(offset, bit);
  ++state_->counters.bits_flipped;
  return absl::OkStatus();
}

std::optional<SimFileSystem::Flip> SimFileSystem::FlipRandomBit(const std::string& path_part) {
  Flip flip;
  {
    absl::MutexLock lock(&state_->mu);
    std::vector<std::pair<std::string, uint64_t>> files;
    uint64_t total = 0;
    State::EachFile(*state_->root, "", &Node::durable,
                    [&](const std::string& path, const Node& node) {
                      if (path.find(path_part) == std::string::npos) return;
                      files.emplace_back(path, node.file.durable().size());
                      total += node.file.durable().size();
                    });
    if (total == 0) return std::nullopt;
    uint64_t at = state_->crash_random.Below(total);
    size_t i = 0;
    for (; at >= files[i].second; ++i) at -= files[i].second;
    flip = {.path = files[i].first,
            .offset = at,
            .bit = static_cast<int>(state_->crash_random.Below(8))};
  }
  // The durable name may have been removed in the meantime by an unsynced change.
  if (!FlipBit(flip.path, flip.offset, flip.bit).ok()) return std::nullopt;
  return flip;
}

absl::Duration SimFileSystem::TakeLatency() {
  absl::MutexLock lock(&state_->mu);
  return std::exchange(state_->latency, absl::ZeroDuration());
}

SimFileSystem::Counters SimFileSystem::counters() const {
  absl::MutexLock lock(&state_->mu);
  return state_->counters;
}

uint64_t SimFileSystem::used_bytes() const {
  absl::MutexLock lock(&state_->mu);
  return state_->Used();
}

uint64_t SimFileSystem::StateHash() const {
  absl::MutexLock lock(&state_->mu);
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  const auto mix = [&hash](std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = (hash ^ bytes.size()) * 0x100000001b3u;
  };
  State::EachFile(*state_->root, "", &Node::live, [&](const std::string& path, const Node& node) {
    mix(path);
    mix(node.file.live());
  });
  return hash;
}

}  // namespace keelson
