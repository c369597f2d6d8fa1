#include "kvstore/migrate/member_folder.h"

#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file_system.h"
#include "base/status.h"
#include "kvstore/config/data_dir.h"
#include "kvstore/daemon/member_identity.h"
#include "kvstore/engine_rocksdb.h"
#include "raft/wal.h"

namespace keelson::kvstore {
namespace {

// A tool makes do with little memory.
constexpr uint64_t kCacheBytes = 8 << 20;
constexpr uint64_t kWriteBufferBytes = 16 << 20;
constexpr raft::Term kFirstTerm = 1;

// Hears what nobody waits for.
class DeafListener final : public ApplyListener {
 public:
  bool IsWaiting(uint64_t) override { return false; }
  void OnChanges(std::vector<Store::Change>) override {}
  void OnLeases(std::vector<LeaseChange>) override {}
  void OnResults(std::vector<CommandResult>) override {}
  void OnRestored() override {}
};

StateMachine::Options MachineOptions(const DataDir& paths, const Options& options) {
  StateMachine::Options machine;
  machine.directory = paths.database;
  machine.cache_bytes = kCacheBytes;
  machine.write_buffer_bytes = kWriteBufferBytes;
  machine.initial_members = FoundersOf(options);
  for (const FoundingMember& member : options.initial_cluster) {
    machine.initial_conf_state.voters.push_back(member.id);
  }
  return machine;
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (!error) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("remove '", path, "': ", error.message()));
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// Without the slashes at its end, so that a suffix makes a sibling of it.
std::string Trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// A folder that becomes `path` once it is whole.
class Part {
 public:
  static absl::StatusOr<Part> Make(const std::string& path, const char* what) {
    FileSystem& fs = RealFileSystem();
    const std::string final_path = Trimmed(path);
    KEELSON_ASSIGN_OR_RETURN(const bool exists, fs.Exists(final_path));
    if (exists) {
      return absl::AlreadyExistsError(absl::StrCat(what, " \"", final_path, "\" exists"));
    }
    Part part(final_path);
    KEELSON_RETURN_IF_ERROR(RemoveTree(part.path_));
    return part;
  }

  [[nodiscard]] const std::string& path() const { return path_; }

  absl::Status Complete() const {
    FileSystem& fs = RealFileSystem();
    KEELSON_RETURN_IF_ERROR(fs.SyncDirectory(path_));
    KEELSON_RETURN_IF_ERROR(fs.Rename(path_, final_path_));
    return fs.SyncDirectory(ParentOf(final_path_));
  }

 private:
  explicit Part(const std::string& final_path)
      : final_path_(final_path), path_(final_path + ".part") {}

  std::string final_path_;
  std::string path_;
};

absl::StatusOr<raft::SnapshotMetadata> MakeDatabase(const DataDir& paths, const Options& options,
                                                    const MemberFolderContents& contents) {
  raft::SnapshotMetadata start;
  start.term = kFirstTerm;
  for (const FoundingMember& member : options.initial_cluster) {
    start.conf_state.voters.push_back(member.id);
  }
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<EngineHome> home,
                           OpenRocksDbHome({.directory = paths.database,
                                            .cache_bytes = kCacheBytes,
                                            .write_buffer_bytes = kWriteBufferBytes}));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, home->Open());
  KEELSON_ASSIGN_OR_RETURN(start.index, contents.fill(*engine));
  KEELSON_RETURN_IF_ERROR(contents.finish(start, *engine));
  return start;
}

// A log that begins where the database ends.
absl::Status MakeLog(const std::string& folder, const Options& options,
                     const raft::SnapshotMetadata& start) {
  FileSystem& fs = RealFileSystem();
  const raft::Identity identity{.cluster_id = options.cluster_id, .node_id = options.member_id};
  KEELSON_RETURN_IF_ERROR(raft::Wal::Create(fs, folder, identity, start, {}));
  raft::Wal::Recovered recovered;
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<raft::Wal> wal,
                           raft::Wal::Open(fs, folder, identity, {}, &recovered));
  raft::HardState state = recovered.hard_state;
  state.term = start.term;
  state.commit = start.index;
  KEELSON_RETURN_IF_ERROR(wal->Append({.hard_state = state}));
  return wal->Sync().status();
}

absl::Status Replay(const DataDir& paths, const Options& options,
                    const std::function<absl::Status(StateMachine&)>& replay) {
  DeafListener listener;
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<StateMachine> machine,
                           StateMachine::Open(MachineOptions(paths, options), &listener));
  KEELSON_RETURN_IF_ERROR(replay(*machine));
  return machine->Flush();
}

class StoppedMemberImpl final : public StoppedMember {
 public:
  absl::Status Init(const std::string& data_dir, const std::string& wal_dir) {
    FileSystem& fs = RealFileSystem();
    KEELSON_RETURN_IF_ERROR(CheckDataDir(fs, data_dir));
    const DataDir paths = DataDirAt(data_dir, wal_dir);
    KEELSON_ASSIGN_OR_RETURN(const bool known, fs.Exists(paths.identity));
    if (!known) {
      return absl::FailedPreconditionError(
          absl::StrCat("'", data_dir, "' is no data directory of kvstored"));
    }
    Options options;
    options.data_dir = data_dir;
    options.wal_dir = wal_dir;
    KEELSON_RETURN_IF_ERROR(ResolveIdentity(fs, {}, options));
    KEELSON_ASSIGN_OR_RETURN(
        wal_, raft::Wal::Open(fs, paths.wal,
                              {.cluster_id = options.cluster_id, .node_id = options.member_id}, {},
                              &recovered_));
    KEELSON_ASSIGN_OR_RETURN(machine_,
                             StateMachine::Open(MachineOptions(paths, options), &listener_));
    return CatchUp(options);
  }

  Store& store() override { return machine_->store(); }
  [[nodiscard]] uint64_t uncertain_entries() const override { return uncertain_; }

 private:
  absl::Status CatchUp(const Options& options) {
    raft::SnapshotMetadata applied = machine_->Applied();
    const std::span<const raft::Entry> entries = recovered_.entries;
    if (applied.index < recovered_.start.index) {
      return absl::FailedPreconditionError(
          "the member has received a snapshot that is not in its database yet; start it once");
    }
    // Whoever is alone has committed all that it has made durable.
    const bool alone = applied.conf_state.voters == std::vector{options.member_id} &&
                       applied.conf_state.voters_outgoing.empty();
    for (const raft::Entry& entry : entries) {
      if (entry.index <= applied.index) continue;
      if (!alone && entry.index > recovered_.hard_state.commit) {
        uncertain_ = entries.back().index - entry.index + 1;
        break;
      }
      if (entry.type != raft::EntryType::kNormal) {
        return absl::FailedPreconditionError(
            absl::StrCat("entry ", entry.index,
                         " changes the membership and is not applied yet; start the member once"));
      }
      applied.index = entry.index;
      applied.term = entry.term;
      KEELSON_RETURN_IF_ERROR(machine_->Apply({&entry, 1}, applied));
    }
    return machine_->Flush();
  }

  DeafListener listener_;
  raft::Wal::Recovered recovered_;
  std::unique_ptr<raft::Wal> wal_;  // for its lock
  std::unique_ptr<StateMachine> machine_;
  uint64_t uncertain_ = 0;
};

}  // namespace

absl::Status MakeMemberFolder(const Options& options, const MemberFolderContents& contents) {
  FileSystem& fs = RealFileSystem();
  KEELSON_ASSIGN_OR_RETURN(const Part folder, Part::Make(options.data_dir, "data-dir"));
  Options building = options;
  building.data_dir = folder.path();
  building.wal_dir.clear();
  std::unique_ptr<Part> log;
  if (!options.wal_dir.empty()) {
    KEELSON_ASSIGN_OR_RETURN(Part made, Part::Make(options.wal_dir, "wal-dir"));
    log = std::make_unique<Part>(std::move(made));
    building.wal_dir = log->path();
  }
  const DataDir paths = DataDirAt(building.data_dir, building.wal_dir);
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(paths.member));
  KEELSON_ASSIGN_OR_RETURN(const raft::SnapshotMetadata start,
                           MakeDatabase(paths, building, contents));
  if (contents.replay) KEELSON_RETURN_IF_ERROR(Replay(paths, building, contents.replay));
  KEELSON_RETURN_IF_ERROR(MakeLog(paths.wal, building, start));
  KEELSON_RETURN_IF_ERROR(RememberIdentity(fs, building));
  KEELSON_RETURN_IF_ERROR(fs.SyncDirectory(paths.member));
  if (log != nullptr) KEELSON_RETURN_IF_ERROR(log->Complete());
  return folder.Complete();
}

absl::StatusOr<std::unique_ptr<StoppedMember>> StoppedMember::Open(const std::string& data_dir,
                                                                   const std::string& wal_dir) {
  auto member = std::make_unique<StoppedMemberImpl>();
  KEELSON_RETURN_IF_ERROR(member->Init(data_dir, wal_dir));
  return member;
}

}  // namespace keelson::kvstore
