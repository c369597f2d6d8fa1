#include "kvstore/migrate/snapshot_writer.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/bbolt/writer.h"
#include "kvstore/migrate/etcd_database.h"

namespace keelson::kvstore {
namespace {

std::string PartOf(const std::string& path) { return path + ".part"; }

}  // namespace

absl::StatusOr<std::unique_ptr<SnapshotWriter>> SnapshotWriter::Create(FileSystem& fs,
                                                                       const std::string& path) {
  std::unique_ptr<SnapshotWriter> writer(new SnapshotWriter(fs, path));
  KEELSON_ASSIGN_OR_RETURN(
      writer->file_, fs.Open(PartOf(path), {.write = true, .create = true, .truncate = true}));
  return writer;
}

SnapshotWriter::~SnapshotWriter() {
  if (file_ != nullptr) (void)fs_.Remove(PartOf(path_));
}

absl::Status SnapshotWriter::Append(std::string_view piece) {
  KEELSON_RETURN_IF_ERROR(file_->WriteAt(bytes_, piece));
  bytes_ += piece.size();
  tail_.append(piece);
  if (tail_.size() > kSha256Bytes) {
    digest_.Add(std::string_view(tail_).substr(0, tail_.size() - kSha256Bytes));
    tail_.erase(0, tail_.size() - kSha256Bytes);
  }
  return absl::OkStatus();
}

absl::Status SnapshotWriter::Complete() {
  if (!EndsInDigest(bytes_)) {
    return absl::DataLossError(absl::StrCat("sha256 checksum not found [bytes: ", bytes_, "]"));
  }
  if (digest_.Take() != tail_) {
    return absl::DataLossError("the snapshot has arrived damaged: its sha256 checksum is wrong");
  }
  KEELSON_RETURN_IF_ERROR(file_->SyncData());
  KEELSON_RETURN_IF_ERROR(fs_.Rename(PartOf(path_), path_));
  file_.reset();
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  return fs_.SyncDirectory(folder.empty() ? "." : folder);
}

absl::Status WriteSnapshotFile(FileSystem& fs, const StoreImage& image, const std::string& path,
                               absl::FunctionRef<void(uint64_t, uint64_t)> progress) {
  constexpr size_t kPieceBytes = size_t{1} << 20;
  const auto fill = [&](bbolt::Writer& writer) { return FillEtcdDatabase(image, writer); };
  KEELSON_ASSIGN_OR_RETURN(const bbolt::Layout layout, bbolt::Measure(fill));
  const uint64_t total = layout.pages * bbolt::kPageBytes;
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotWriter> writer,
                           SnapshotWriter::Create(fs, path));
  Sha256 digest;
  std::string piece;
  const auto flush = [&]() -> absl::Status {
    digest.Add(piece);
    KEELSON_RETURN_IF_ERROR(writer->Append(piece));
    piece.clear();
    progress(writer->bytes(), total);
    return absl::OkStatus();
  };
  KEELSON_RETURN_IF_ERROR(bbolt::Write(layout, fill, [&](std::string_view bytes) {
    piece.append(bytes);
    return piece.size() < kPieceBytes ? absl::OkStatus() : flush();
  }));
  KEELSON_RETURN_IF_ERROR(flush());
  KEELSON_RETURN_IF_ERROR(writer->Append(digest.Take()));
  return writer->Complete();
}

}  // namespace keelson::kvstore
