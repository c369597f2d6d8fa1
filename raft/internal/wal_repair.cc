#include "raft/internal/wal_repair.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/status.h"
#include "raft/internal/wal_directory.h"
#include "raft/internal/wal_writer.h"

namespace keelson::raft::wal {
namespace {

// A log that starts over: its entries stand in the first segment, too, whose name makes all of it
// valid at once.
class WholeLog final : public HeadSource {
 public:
  explicit WholeLog(const Restart& restart)
      : restart_(restart), start_(EncodeSnapshotMetadata(restart.start)) {}

  [[nodiscard]] Index NextIndex() const override { return restart_.start.index + 1; }
  [[nodiscard]] uint64_t HeadBytes() const override {
    uint64_t bytes = RecordBytes(start_.size()) + RecordBytes(HardStateBytes(restart_.hard_state));
    for (const Entry& entry : restart_.entries) {
      bytes += RecordBytes(kEntryMetaBytes + entry.data.size());
    }
    return bytes;
  }
  void EncodeHead(BatchEncoder& encoder) const override {
    encoder.AddSnapshot(RecordType::kStart, start_);
    encoder.AddHardState(restart_.hard_state);
    for (const Entry& entry : restart_.entries) encoder.AddEntry(entry);
  }

 private:
  const Restart& restart_;
  const std::string start_;
};

}  // namespace

absl::StatusOr<Salvage> ReadDamaged(FileSystem& fs, const std::string& dir,
                                    const Identity& identity) {
  KEELSON_ASSIGN_OR_RETURN(SalvagedLog salvaged, SalvageLog(fs, dir, identity));
  Salvage result;
  result.damage = salvaged.damage;
  result.highest_entry = salvaged.highest_entry;
  const LogReplay& replay = salvaged.log.replay;
  // What lies behind a gap hangs in the air.
  if (replay.started() && !replay.has_gap()) result.rest = ToRecovered(std::move(salvaged.log));
  return result;
}

void BeginLife(Restart& restart, const SnapshotMetadata& applied, uint64_t incarnation) {
  HardState& state = restart.hard_state;
  const Index last = restart.start.index + restart.entries.size();
  Term term = std::max({state.term, restart.start.term, applied.term});
  if (!restart.entries.empty()) term = std::max(term, restart.entries.back().term);
  if (term != state.term) state.vote = kNoNode;
  state.term = term;
  state.commit = std::min(std::max({state.commit, restart.start.index, applied.index}), last);
  state.incarnation = std::max(state.incarnation + 1, incarnation);
  state.recovering = true;
}

absl::Status StartOver(FileSystem& fs, const std::string& dir, const Identity& identity,
                       const Restart& restart, const Wal::Options& options) {
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(dir));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<FileLock> lock, fs.Lock(JoinPath(dir, kLockName)));
  const auto old = ListSegments(fs, dir);
  if (!old.ok() && !absl::IsNotFound(old.status())) return old.status();
  return SegmentWriter::Create(fs, dir, identity, options, WholeLog(restart),
                               old.ok() ? old->back() + 1 : 1);
}

}  // namespace keelson::raft::wal
