#include "kvstore/migrate/etcd_wal.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/file_system.h"
#include "base/status.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/migrate/mapped_file.h"

namespace keelson::kvstore {
namespace {

enum RecordType : int64_t { kEntry = 2, kState = 3, kCrc = 4 };

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kRecordBytesMax = uint64_t{1} << 30;

// The records' frame: seven bytes of length, and in the eighth the mark and number of padding
// bytes.
struct Frame {
  uint64_t bytes = 0;
  uint64_t padding = 0;
};

Frame DecodeFrame(uint64_t word) {
  const uint64_t top = word >> 56;
  return {.bytes = word & ((uint64_t{1} << 56) - 1), .padding = (top & 0x80) != 0 ? top & 7 : 0};
}

bool OnlyZeros(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

// A write that a crash cut: some sector of the record was never written.
bool IsTorn(std::string_view segment, size_t begin, size_t end) {
  constexpr size_t kSector = 512;
  for (size_t at = begin; at < end;) {
    const size_t next = std::min(end, (at / kSector + 1) * kSector);
    if (OnlyZeros(segment.substr(at, next - at))) return true;
    at = next;
  }
  return false;
}

}  // namespace

absl::Status EtcdWalReader::Read(const std::string& name, std::string_view segment, bool last) {
  size_t at = 0;
  EtcdLogRecord record;
  const auto damaged = [&](const char* what) {
    return absl::DataLossError(absl::StrCat("'", name, "' at byte ", at, ": ", what));
  };
  while (segment.size() - at >= kLengthBytes) {
    const Frame frame = DecodeFrame(bbolt::LoadLittle(segment, at, kLengthBytes));
    if (frame.bytes == 0) return absl::OkStatus();  // The rest was set aside, and not used.
    const size_t begin = at + kLengthBytes;
    if (frame.bytes > kRecordBytesMax || frame.bytes > segment.size() - begin) {
      return last ? absl::OkStatus() : damaged("a record ends behind the file");
    }
    const std::string_view bytes = segment.substr(begin, frame.bytes);
    const bool parsed = record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    const bool chain = parsed && record.type() == kCrc;
    const uint32_t crc = chain ? record.crc() : ExtendCrc32c(crc_, record.data());
    if (!parsed || (chain && crc_ != 0 && crc_ != record.crc()) || crc != record.crc()) {
      if (last && IsTorn(segment, at, begin + frame.bytes)) return absl::OkStatus();
      return damaged("a record is damaged");
    }
    crc_ = crc;
    if (!Take(record).ok()) return damaged("a record cannot be read");
    if (frame.padding > segment.size() - begin - frame.bytes) return absl::OkStatus();
    at = begin + frame.bytes + frame.padding;
  }
  return absl::OkStatus();
}

absl::Status EtcdWalReader::Take(const EtcdLogRecord& record) {
  if (record.type() == kEntry) return TakeEntry(record.data());
  if (record.type() != kState) return absl::OkStatus();
  EtcdHardState state;
  if (!state.ParseFromString(record.data())) return absl::DataLossError("");
  commit_ = std::max(commit_, state.commit());
  return absl::OkStatus();
}

// A newer leader's entry replaces the one of its index and all behind it.
absl::Status EtcdWalReader::TakeEntry(const std::string& data) {
  EtcdEntry entry;
  if (!entry.ParseFromString(data)) return absl::DataLossError("");
  const auto from =
      std::partition_point(entries_.begin(), entries_.end(),
                           [&](const EtcdEntry& known) { return known.index() < entry.index(); });
  entries_.erase(from, entries_.end());
  if (entry.index() > after_) entries_.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<EtcdEntry>> EtcdWalReader::Committed() const {
  std::vector<EtcdEntry> committed;
  for (const EtcdEntry& entry : entries_) {
    if (entry.index() > commit_) break;
    committed.push_back(entry);
  }
  const uint64_t last = after_ + committed.size();
  if (!committed.empty() &&
      (committed.front().index() != after_ + 1 || committed.back().index() != last)) {
    return absl::DataLossError(absl::StrCat("the log does not continue the database at entry ",
                                            after_ + 1, "; take a snapshot of the running member"));
  }
  if (last < commit_) {
    return absl::DataLossError(
        absl::StrCat("entries up to ", commit_, " were committed, but the log ends at ", last));
  }
  return committed;
}

uint64_t EtcdWalReader::Uncertain() const {
  return static_cast<uint64_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [this](const EtcdEntry& entry) { return entry.index() > commit_; }));
}

absl::StatusOr<std::vector<EtcdEntry>> ReadEtcdWal(const std::string& folder, uint64_t after,
                                                   uint64_t* uncertain) {
  KEELSON_ASSIGN_OR_RETURN(std::vector<std::string> names, RealFileSystem().List(folder));
  std::erase_if(names, [](const std::string& name) { return !absl::EndsWith(name, ".wal"); });
  EtcdWalReader reader(after);
  for (const std::string& name : names) {  // Sorted: their numbers have leading zeros.
    const std::string path = JoinPath(folder, name);
    KEELSON_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
    KEELSON_RETURN_IF_ERROR(reader.Read(path, file.bytes(), &name == &names.back()));
  }
  *uncertain = reader.Uncertain();
  return reader.Committed();
}

}  // namespace keelson::kvstore
