#include "raft/sim/sim_damage.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/file_system.h"
#include "base/status.h"
#include "raft/internal/wal_format.h"
#include "raft/internal/wal_segment.h"

namespace keelson::raft::sim {
namespace {

constexpr uint64_t kMaxBytes = 64 << 20;

// Bytes [first, last) of a file.
struct Range {
  uint64_t first = 0;
  uint64_t last = 0;
};

std::vector<std::string> FilesIn(SimFileSystem& disk, const std::string& dir,
                                 const std::string& suffix) {
  std::vector<std::string> paths;
  absl::StatusOr<std::vector<std::string>> names = disk.List(dir);
  if (!names.ok()) return paths;  // It was never made.
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names) {
    if (name.ends_with(suffix)) paths.push_back(JoinPath(dir, name));
  }
  return paths;
}

std::string Contents(SimFileSystem& disk, const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadFile(disk, path, kMaxBytes);
  KEELSON_CHECK(bytes.ok()) << bytes.status().ToString();
  return *std::move(bytes);
}

void Flip(SimFileSystem& disk, const std::string& path, uint64_t offset, int bit) {
  const absl::Status flipped = disk.FlipBit(path, offset, bit);
  KEELSON_CHECK(flipped.ok()) << flipped.ToString();
}

// Draws in an order of its own: that of the draws in a call's arguments is each compiler's.
void FlipAny(SimFileSystem& disk, const std::string& path, const Range& range, Random& random) {
  const int bit = static_cast<int>(random.Below(8));
  Flip(disk, path, range.first + random.Below(range.last - range.first), bit);
}

void ZeroSector(SimFileSystem& disk, const std::string& path, uint64_t sector) {
  const std::string bytes = Contents(disk, path);
  const uint64_t end = std::min<uint64_t>(bytes.size(), (sector + 1) * kSimSectorBytes);
  for (uint64_t at = sector * kSimSectorBytes; at < end; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      if ((static_cast<unsigned char>(bytes[at]) >> bit & 1) != 0) Flip(disk, path, at, bit);
    }
  }
}

// Where a segment holds records: up to `proven` a later record shows that they were durable;
// behind it, those in `single` lie in one sector each, which is there or not.
struct Anatomy {
  uint64_t proven = 0;
  uint64_t end = 0;
  std::vector<Range> single;
};

std::optional<Anatomy> Dissect(const std::string& bytes) {
  absl::StatusOr<wal::SegmentReader> reader = wal::SegmentReader::Open("segment", bytes);
  if (!reader.ok()) return std::nullopt;
  Anatomy anatomy;
  std::vector<Range> records;
  while (const std::optional<wal::Record> record = reader->Next()) {
    anatomy.proven =
        std::max<uint64_t>(anatomy.proven, record->header.synced_units * uint64_t{wal::kAlignment});
    records.push_back({.first = record->offset, .last = reader->offset()});
  }
  anatomy.end = reader->offset();
  for (const Range& record : records) {
    if (record.first < anatomy.proven) continue;
    if (record.first / kSimSectorBytes == (record.last - 1) / kSimSectorBytes) {
      anatomy.single.push_back(record);
    }
  }
  return anatomy;
}

bool DamageLog(SimFileSystem& disk, const std::string& dir, Random& random, FaultCounts& counts) {
  const std::vector<std::string> segments = FilesIn(disk, dir, ".wal");
  if (segments.empty()) return false;
  const size_t chosen = random.Below(segments.size());
  const std::string& path = segments[chosen];
  const bool is_last = chosen + 1 == segments.size();
  const std::optional<Anatomy> anatomy = Dissect(Contents(disk, path));
  if (!anatomy.has_value()) return false;
  // All of a segment that another follows was durable, and so was the head of any.
  const uint64_t proven =
      is_last ? std::max<uint64_t>(anatomy->proven, wal::RecordBytes(wal::kSegmentHeadBytes))
              : anatomy->end;
  if (!is_last && random.Bernoulli(0.2)) {
    const absl::Status removed = disk.Remove(path);
    KEELSON_CHECK(removed.ok() && disk.SyncDirectory(dir).ok()) << removed.ToString();
    counts.Add(Fault::kLostFile);
    return true;
  }
  if (random.Bernoulli(0.25) && proven >= kSimSectorBytes) {
    ZeroSector(disk, path, random.Below(proven / kSimSectorBytes));
    counts.Add(Fault::kZeroedSector);
    return true;
  }
  Range range = {.first = 0, .last = proven};
  if (is_last && !anatomy->single.empty() && random.Bernoulli(0.5)) {
    range = anatomy->single[random.Below(anatomy->single.size())];
  }
  FlipAny(disk, path, range, random);
  return true;
}

bool DamageSnapshot(SimFileSystem& disk, const std::string& dir, Random& random,
                    FaultCounts& counts) {
  const std::vector<std::string> snapshots = FilesIn(disk, dir, ".snap");
  if (snapshots.empty()) return false;
  const std::string& path = snapshots[random.Below(snapshots.size())];
  const uint64_t size = Contents(disk, path).size();
  if (random.Bernoulli(0.3)) {
    ZeroSector(disk, path, random.Below((size + kSimSectorBytes - 1) / kSimSectorBytes));
    counts.Add(Fault::kZeroedSector);
  } else {
    FlipAny(disk, path, {.first = 0, .last = size}, random);
  }
  return true;
}

void WipeFolder(SimFileSystem& disk, const std::string& dir) {
  const auto must = [](const absl::Status& status) {
    KEELSON_CHECK(status.ok()) << status.ToString();
  };
  const absl::StatusOr<std::vector<std::string>> names = disk.List(dir);
  must(names.status());
  for (const std::string& name : *names) {
    const std::string path = dir.empty() ? name : JoinPath(dir, name);
    if (disk.List(path).ok()) {
      WipeFolder(disk, path);
    } else {
      must(disk.Remove(path));
    }
  }
  must(disk.SyncDirectory(dir));
}

}  // namespace

bool DamageDisk(SimFileSystem& disk, const std::string& wal_dir, const std::string& snapshot_dir,
                Random& random, FaultCounts& counts) {
  const bool snapshot = random.Bernoulli(0.3);
  if (snapshot && DamageSnapshot(disk, snapshot_dir, random, counts)) return true;
  return DamageLog(disk, wal_dir, random, counts);
}

void WipeDisk(SimFileSystem& disk) { WipeFolder(disk, ""); }

}  // namespace keelson::raft::sim
