#include "kvstore/migrate/etcd_source.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file_system.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/bbolt/reader.h"
#include "kvstore/migrate/digest.h"
#include "kvstore/migrate/etcd_replay.h"
#include "kvstore/migrate/etcd_wal.h"
#include "kvstore/migrate/mapped_file.h"
#include "kvstore/migrate/member_folder.h"
#include "kvstore/migrate/snapshot_file.h"

namespace keelson::kvstore {
namespace {

struct NumberedCommand {
  uint64_t index = 0;
  Command command;
};

// The database is locked by etcd while it runs.
absl::StatusOr<UniqueFd> LockShared(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return ErrnoError(errno, absl::StrCat("lock '", path, "'"));
  return absl::FailedPreconditionError(
      absl::StrCat("a server has '", path, "' open; stop it, or take a snapshot of it"));
}

class EtcdSourceImpl final : public EtcdSource {
 public:
  EtcdSourceImpl(MappedFile file, UniqueFd lock) : file_(std::move(file)), lock_(std::move(lock)) {}

  absl::Status UseFile(bool skip_digest_check) {
    const bool has_digest = EndsInDigest(file_.bytes().size());
    if (!skip_digest_check) {
      if (!has_digest) {
        return absl::InvalidArgumentError("snapshot missing hash but --skip-hash-check=false");
      }
      KEELSON_RETURN_IF_ERROR(VerifyDigest(file_.bytes(), [this](uint64_t) { file_.Forget(); }));
    }
    return OpenDatabase();
  }

  absl::Status UseFolder(const std::string& wal) {
    KEELSON_RETURN_IF_ERROR(OpenDatabase());
    KEELSON_ASSIGN_OR_RETURN(const uint64_t index, ConsistentIndexOf(*database_));
    KEELSON_ASSIGN_OR_RETURN(const std::vector<EtcdEntry> entries,
                             ReadEtcdWal(wal, index, &uncertain_));
    for (const EtcdEntry& entry : entries) {
      KEELSON_ASSIGN_OR_RETURN(std::optional<Command> command, ToCommand(entry));
      last_index_ = entry.index();
      if (command.has_value()) commands_.push_back({entry.index(), *std::move(command)});
    }
    return absl::OkStatus();
  }

  absl::StatusOr<ImportSummary> Examine(const ImportOptions& import,
                                        ImportProgress progress) const override {
    KEELSON_RETURN_IF_ERROR(CheckReplay(import));
    return ExamineEtcdDatabase(*database_, import, [&](uint64_t versions) {
      file_.Forget();
      progress(versions);
    });
  }

  absl::StatusOr<ImportSummary> Restore(const Options& member, const ImportOptions& import,
                                        ImportProgress progress) const override {
    KEELSON_RETURN_IF_ERROR(CheckReplay(import));
    ImportSummary summary;
    MemberFolderContents contents;
    contents.fill = [&](Engine& engine) -> absl::StatusOr<uint64_t> {
      KEELSON_ASSIGN_OR_RETURN(summary,
                               ImportEtcdDatabase(*database_, import, engine, [&](uint64_t n) {
                                 file_.Forget();
                                 progress(n);
                               }));
      return std::max({summary.consistent_index, last_index_, uint64_t{1}});
    };
    contents.finish = [&](const raft::SnapshotMetadata& applied, Engine& engine) {
      return FinishImport(summary, applied, engine);
    };
    if (!commands_.empty()) {
      contents.replay = [&](StateMachine& machine) { return Replay(machine, summary); };
    }
    KEELSON_RETURN_IF_ERROR(MakeMemberFolder(member, contents));
    return summary;
  }

  [[nodiscard]] uint64_t replayed_entries() const override { return commands_.size(); }
  [[nodiscard]] uint64_t uncertain_entries() const override { return uncertain_; }

 private:
  absl::Status OpenDatabase() {
    KEELSON_ASSIGN_OR_RETURN(bbolt::Reader reader, bbolt::Reader::Open(file_.bytes()));
    database_ = std::make_unique<bbolt::Reader>(std::move(reader));
    return absl::OkStatus();
  }

  absl::Status CheckReplay(const ImportOptions& import) const {
    if (commands_.empty() || (import.bump_revision == 0 && !import.mark_compacted)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        "the log holds changes that are not in the database yet, whose revisions cannot be raised; "
        "take a snapshot");
  }

  // All of them at the position that the database has already: the new log begins behind it.
  absl::Status Replay(StateMachine& machine, ImportSummary& summary) const {
    const raft::SnapshotMetadata at = machine.Applied();
    for (const NumberedCommand& numbered : commands_) {
      const raft::Entry entry{.term = at.term,
                              .index = at.index,
                              .data = raft::Payload(numbered.command.SerializeAsString())};
      KEELSON_RETURN_IF_ERROR(machine.Apply({&entry, 1}, at));
    }
    summary.revision = machine.store().Revision();
    summary.compacted = machine.store().CompactedRevision();
    return absl::OkStatus();
  }

  const MappedFile file_;
  const UniqueFd lock_;
  std::unique_ptr<bbolt::Reader> database_;
  std::vector<NumberedCommand> commands_;
  uint64_t last_index_ = 0;
  uint64_t uncertain_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EtcdSource>> EtcdSource::Open(const Where& where) {
  const bool folder = std::filesystem::is_directory(where.path);
  const std::string member = JoinPath(where.path, "member");
  const std::string path = folder ? JoinPath(member, "snap/db") : where.path;
  UniqueFd lock;
  if (folder) {
    KEELSON_ASSIGN_OR_RETURN(lock, LockShared(path));
  }
  KEELSON_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto source = std::make_unique<EtcdSourceImpl>(std::move(file), std::move(lock));
  KEELSON_RETURN_IF_ERROR(
      folder ? source->UseFolder(where.wal_dir.empty() ? JoinPath(member, "wal") : where.wal_dir)
             : source->UseFile(where.skip_digest_check));
  return source;
}

}  // namespace keelson::kvstore
