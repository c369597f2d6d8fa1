#include "raft/snapshot_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/crc32c.h"
#include "base/little_endian.h"
#include "base/status.h"
#include "raft/internal/mutation.h"
#include "raft/internal/wal_format.h"

namespace keelson::raft {
namespace {

constexpr std::string_view kMagic = "KEELSNP\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderFixedBytes = 16;  // magic, version, metadata_bytes
constexpr size_t kMaxMetadataBytes = 1 << 20;
constexpr size_t kChunkHeaderBytes = 8;  // bytes, crc
constexpr size_t kMaxChunkBytes = 1 << 20;
constexpr size_t kTrailerBytes = 8 + 8 + 8 + 4;  // zero, crc, chunks, total_bytes, file_crc
// A large snapshot is synced in between, so that neither Commit nor the log's own syncs on
// the same disk have to wait for gigabytes at once.
constexpr uint64_t kSyncEveryBytes = 64 << 20;
constexpr std::string_view kSuffix = ".snap";
constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr std::string_view kDamagedSuffix = ".damaged";

std::string SnapshotName(Index index, Term term) {
  return absl::StrFormat("%016x-%016x.snap", term, index);
}

bool IsSnapshotName(std::string_view name) {
  return name.size() == 33 + kSuffix.size() && name.ends_with(kSuffix);
}

std::string EncodeFileHeader(const SnapshotMetadata& metadata) {
  const std::string encoded = wal::EncodeSnapshotMetadata(metadata);
  std::string out(kHeaderFixedBytes, '\0');
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  StoreLe32(out.data() + 8, kVersion);
  StoreLe32(out.data() + 12, static_cast<uint32_t>(encoded.size()));
  out += encoded;
  const uint32_t crc = Crc32c(out);
  out.resize(out.size() + 4);
  StoreLe32(out.data() + out.size() - 4, crc);
  return out;
}

// Length and checksum of a chunk; the checksum covers both.
uint32_t EncodeChunkHeader(std::string_view data, char* out) {
  StoreLe32(out, static_cast<uint32_t>(data.size()));
  const uint32_t crc = ExtendCrc32c(Crc32c({out, 4}), data);
  StoreLe32(out + 4, crc);
  return crc;
}

// The running checksum of the chunk checksums.
uint32_t ExtendFileCrc(uint32_t file_crc, uint32_t chunk_crc) {
  std::array<char, 4> bytes{};
  StoreLe32(bytes.data(), chunk_crc);
  return ExtendCrc32c(file_crc, {bytes.data(), bytes.size()});
}

class WriterImpl final : public SnapshotWriter {
 public:
  WriterImpl(FileSystem& fs, std::string dir, std::string name, std::string temporary,
             std::unique_ptr<File> file)
      : fs_(fs),
        dir_(std::move(dir)),
        name_(std::move(name)),
        temporary_(std::move(temporary)),
        file_(std::move(file)) {}

  ~WriterImpl() override {
    if (done_) return;
    file_.reset();
    (void)fs_.Remove(temporary_);  // Best effort: the next Open of the store removes it, too.
  }

  absl::Status WriteHeader(const SnapshotMetadata& metadata) {
    return Write(EncodeFileHeader(metadata), {});
  }

  absl::Status Append(std::string_view bytes) override {
    KEELSON_RETURN_IF_ERROR(status_);
    while (!bytes.empty()) {
      if (buffer_.empty() && bytes.size() >= kMaxChunkBytes) {  // Nothing to join: do not copy.
        KEELSON_RETURN_IF_ERROR(WriteChunk(bytes.substr(0, kMaxChunkBytes)));
        bytes.remove_prefix(kMaxChunkBytes);
        continue;
      }
      const size_t n = std::min(bytes.size(), kMaxChunkBytes - buffer_.size());
      buffer_.append(bytes.substr(0, n));
      bytes.remove_prefix(n);
      if (buffer_.size() == kMaxChunkBytes) KEELSON_RETURN_IF_ERROR(FlushBuffer());
    }
    return absl::OkStatus();
  }

  absl::Status Commit() override {
    KEELSON_RETURN_IF_ERROR(status_);
    if (!buffer_.empty()) KEELSON_RETURN_IF_ERROR(FlushBuffer());
    std::array<char, kTrailerBytes> trailer{};
    StoreLe64(trailer.data() + 8, chunks_);
    StoreLe64(trailer.data() + 16, total_bytes_);
    StoreLe32(trailer.data() + 24, file_crc_);
    const uint32_t crc =
        ExtendCrc32c(Crc32c({trailer.data(), 4}), {trailer.data() + 8, kTrailerBytes - 8});
    StoreLe32(trailer.data() + 4, crc);
    KEELSON_RETURN_IF_ERROR(Write({trailer.data(), trailer.size()}, {}));
    if (!Mutated(Mutation::kSnapshotNotSynced)) KEELSON_RETURN_IF_ERROR(Keep(file_->SyncData()));
    KEELSON_RETURN_IF_ERROR(Keep(fs_.Rename(temporary_, JoinPath(dir_, name_))));
    done_ = true;
    status_ =
        absl::FailedPreconditionError(absl::StrCat("snapshot '", name_, "' has been committed"));
    return fs_.SyncDirectory(dir_);
  }

 private:
  // Remembers the first error: what follows a failed write has no place in the file.
  absl::Status Keep(absl::Status status) {
    if (!status.ok()) status_ = status;
    return status;
  }

  absl::Status Write(std::string_view first, std::string_view second) {
    const std::array<std::string_view, 2> pieces = {first, second};
    KEELSON_RETURN_IF_ERROR(Keep(file_->WriteAt(offset_, pieces)));
    offset_ += first.size() + second.size();
    if (offset_ - synced_ < kSyncEveryBytes) return absl::OkStatus();
    synced_ = offset_;
    return Keep(file_->SyncData());
  }

  absl::Status WriteChunk(std::string_view data) {
    std::array<char, kChunkHeaderBytes> header{};
    file_crc_ = ExtendFileCrc(file_crc_, EncodeChunkHeader(data, header.data()));
    ++chunks_;
    total_bytes_ += data.size();
    return Write({header.data(), header.size()}, data);
  }

  absl::Status FlushBuffer() {
    KEELSON_RETURN_IF_ERROR(WriteChunk(buffer_));
    buffer_.clear();
    return absl::OkStatus();
  }

  FileSystem& fs_;
  const std::string dir_;
  const std::string name_;
  const std::string temporary_;
  std::unique_ptr<File> file_;
  absl::Status status_;
  bool done_ = false;
  std::string buffer_;
  uint64_t offset_ = 0;
  uint64_t synced_ = 0;
  uint64_t chunks_ = 0;
  uint64_t total_bytes_ = 0;
  uint32_t file_crc_ = 0;
};

class ReaderImpl final : public SnapshotReader {
 public:
  ReaderImpl(FileSystem& fs, std::string path, std::unique_ptr<File> file)
      : fs_(fs), path_(std::move(path)), file_(std::move(file)) {}

  // `name`: the file's own.
  absl::Status ReadHeader(const std::string& name);

  [[nodiscard]] const SnapshotMetadata& metadata() const override { return metadata_; }
  absl::StatusOr<std::string> Next() override;

 private:
  // Also moves the file out of the way, so that it is offered to nobody any more.
  [[nodiscard]] absl::Status Damaged(uint64_t offset, std::string_view what) const {
    // Best effort: the next reader tries again.
    (void)fs_.Rename(path_, absl::StrCat(path_, absl::string_view(kDamagedSuffix.data(),
                                                                  kDamagedSuffix.size())));
    return absl::DataLossError(absl::StrCat("'", path_, "' at ", offset, ": ",
                                            absl::string_view(what.data(), what.size())));
  }
  [[nodiscard]] absl::Status NewerVersion(uint32_t version) const {
    return absl::UnimplementedError(absl::StrCat("'", path_, "' has snapshot format version ",
                                                 version, "; this program reads version ",
                                                 kVersion));
  }
  // Exactly `size` bytes at offset_.
  absl::StatusOr<std::string> Read(size_t size) const;
  absl::Status CheckTrailer();

  FileSystem& fs_;
  const std::string path_;
  std::unique_ptr<File> file_;
  SnapshotMetadata metadata_;
  uint64_t offset_ = 0;
  uint64_t chunks_ = 0;
  uint64_t total_bytes_ = 0;
  uint32_t file_crc_ = 0;
  bool finished_ = false;
};

absl::StatusOr<std::string> ReaderImpl::Read(size_t size) const {
  std::string bytes(size, '\0');
  KEELSON_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(offset_, std::span(bytes)));
  if (got < size) return Damaged(offset_ + got, "the snapshot ends early");
  return bytes;
}

absl::Status ReaderImpl::ReadHeader(const std::string& name) {
  KEELSON_ASSIGN_OR_RETURN(std::string header, Read(kHeaderFixedBytes));
  if (!std::string_view(header).starts_with(kMagic)) return Damaged(0, "not a snapshot");
  const uint32_t version = LoadLe32(header.data() + 8);
  const uint32_t metadata_bytes = LoadLe32(header.data() + 12);
  if (metadata_bytes > kMaxMetadataBytes) {
    return version > kVersion ? NewerVersion(version) : Damaged(0, "the header is damaged");
  }
  const size_t size = kHeaderFixedBytes + metadata_bytes + 4;
  KEELSON_ASSIGN_OR_RETURN(header, Read(size));
  const std::string_view covered = std::string_view(header).substr(0, size - 4);
  if (version > kVersion) {
    StoreLe32(header.data() + 8, kVersion);
    const bool only_version_damaged = Crc32c(covered) == LoadLe32(header.data() + size - 4);
    return only_version_damaged ? Damaged(0, "the header is damaged") : NewerVersion(version);
  }
  if (Crc32c(covered) != LoadLe32(header.data() + size - 4) ||
      LoadLe32(header.data() + 8) != kVersion) {
    return Damaged(0, "the header is damaged");
  }
  auto metadata = wal::DecodeSnapshotMetadata(covered.substr(kHeaderFixedBytes));
  if (!metadata.ok()) return Damaged(0, metadata.status().ToString());
  metadata_ = *std::move(metadata);
  if (const std::string own = SnapshotName(metadata_.index, metadata_.term); own != name) {
    return Damaged(0, absl::StrCat("holds snapshot '", own, "' under another name"));
  }
  offset_ = size;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReaderImpl::Next() {
  if (finished_) return std::string();
  KEELSON_ASSIGN_OR_RETURN(const std::string header, Read(kChunkHeaderBytes));
  const uint32_t size = LoadLe32(header.data());
  if (size == 0) {
    KEELSON_RETURN_IF_ERROR(CheckTrailer());
    finished_ = true;
    return std::string();
  }
  if (size > kMaxChunkBytes) return Damaged(offset_, "a chunk is damaged");
  const uint64_t chunk_offset = offset_;
  offset_ += kChunkHeaderBytes;
  auto data = Read(size);
  if (!data.ok()) {
    offset_ = chunk_offset;
    return data;
  }
  const uint32_t crc = ExtendCrc32c(Crc32c({header.data(), 4}), *data);
  if (crc != LoadLe32(header.data() + 4)) {
    offset_ = chunk_offset;  // A second call says the same.
    return Damaged(chunk_offset, "a chunk is damaged");
  }
  offset_ += size;
  file_crc_ = ExtendFileCrc(file_crc_, crc);
  ++chunks_;
  total_bytes_ += size;
  return data;
}

absl::Status ReaderImpl::CheckTrailer() {
  KEELSON_ASSIGN_OR_RETURN(const std::string trailer, Read(kTrailerBytes));
  const char* in = trailer.data();
  const uint32_t crc = ExtendCrc32c(Crc32c({in, 4}), std::string_view(trailer).substr(8));
  if (crc != LoadLe32(in + 4)) return Damaged(offset_, "the trailer is damaged");
  if (LoadLe64(in + 8) != chunks_ || LoadLe64(in + 16) != total_bytes_ ||
      LoadLe32(in + 24) != file_crc_) {
    return Damaged(offset_, "chunks are missing or out of order");
  }
  KEELSON_ASSIGN_OR_RETURN(const uint64_t size, file_->Size());
  if (size != offset_ + kTrailerBytes) return Damaged(offset_ + kTrailerBytes, "excess bytes");
  return absl::OkStatus();
}

class StoreImpl final : public SnapshotStore {
 public:
  StoreImpl(FileSystem& fs, std::string dir) : fs_(fs), dir_(std::move(dir)) {}

  absl::StatusOr<std::unique_ptr<SnapshotWriter>> Create(
      const SnapshotMetadata& metadata) override {
    const std::string name = SnapshotName(metadata.index, metadata.term);
    // Two writers of the same snapshot (one received, one our own) must not share a file.
    const std::string temporary = JoinPath(
        dir_, absl::StrCat(name, ".", writers_.fetch_add(1, std::memory_order_relaxed),
                           absl::string_view(kTemporarySuffix.data(), kTemporarySuffix.size())));
    KEELSON_ASSIGN_OR_RETURN(
        auto file, fs_.Open(temporary, {.write = true, .create = true, .truncate = true}));
    auto writer = std::make_unique<WriterImpl>(fs_, dir_, name, temporary, std::move(file));
    KEELSON_RETURN_IF_ERROR(writer->WriteHeader(metadata));
    return std::unique_ptr<SnapshotWriter>(std::move(writer));
  }

  absl::StatusOr<std::unique_ptr<SnapshotReader>> OpenSnapshot(Index index, Term term) override {
    KEELSON_ASSIGN_OR_RETURN(auto reader, OpenFile(SnapshotName(index, term)));
    return std::unique_ptr<SnapshotReader>(std::move(reader));
  }

  absl::StatusOr<std::vector<SnapshotMetadata>> List() override {
    KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(dir_));
    std::vector<SnapshotMetadata> found;
    for (const std::string& name : names) {
      if (!IsSnapshotName(name)) continue;
      auto reader = OpenFile(name);
      // RemoveOld may run beside this; a damaged one has been moved aside.
      if (absl::IsNotFound(reader.status()) || absl::IsDataLoss(reader.status())) continue;
      if (!reader.ok()) return reader.status();
      found.push_back((*reader)->metadata());
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
      return std::pair(a.index, a.term) > std::pair(b.index, b.term);
    });
    return found;
  }

  absl::Status RemoveOld(size_t keep) override {
    KEELSON_ASSIGN_OR_RETURN(const std::vector<SnapshotMetadata> snapshots, List());
    if (snapshots.size() <= keep) return absl::OkStatus();
    for (size_t i = keep; i < snapshots.size(); ++i) {
      absl::Status removed =
          fs_.Remove(JoinPath(dir_, SnapshotName(snapshots[i].index, snapshots[i].term)));
      if (!removed.ok() && removed.code() != absl::StatusCode::kNotFound) return removed;
    }
    return fs_.SyncDirectory(dir_);
  }

 private:
  absl::StatusOr<std::unique_ptr<ReaderImpl>> OpenFile(const std::string& name) {
    const std::string path = JoinPath(dir_, name);
    KEELSON_ASSIGN_OR_RETURN(auto file, fs_.Open(path, {}));
    auto reader = std::make_unique<ReaderImpl>(fs_, path, std::move(file));
    KEELSON_RETURN_IF_ERROR(reader->ReadHeader(name));
    return reader;
  }

  FileSystem& fs_;
  const std::string dir_;
  std::atomic<uint64_t> writers_{0};
};

}  // namespace

absl::Status VerifySnapshot(SnapshotStore& store, Index index, Term term) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotReader> reader,
                           store.OpenSnapshot(index, term));
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const std::string chunk, reader->Next());
    if (chunk.empty()) return absl::OkStatus();
  }
}

absl::StatusOr<std::unique_ptr<SnapshotStore>> SnapshotStore::Open(FileSystem& fs,
                                                                   const std::string& dir) {
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(dir));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  for (const std::string& name : names) {
    if (std::string_view(name).ends_with(kTemporarySuffix)) {
      KEELSON_RETURN_IF_ERROR(fs.Remove(JoinPath(dir, name)));
    }
  }
  // A snapshot may be visible whose name an earlier Commit failed to make durable.
  KEELSON_RETURN_IF_ERROR(fs.SyncDirectory(dir));
  return std::unique_ptr<SnapshotStore>(std::make_unique<StoreImpl>(fs, dir));
}

}  // namespace keelson::raft
