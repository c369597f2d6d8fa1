#include "kvstore/internal/snapshot_stream.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/internal/codec.h"

namespace keelson::kvstore::internal {
namespace {

// magic, format version; then rows: family + 1, key size, value size, key, value; then 0 and
// the number of rows.
constexpr std::string_view kHeader("keelson-kv\x00\x01", 12);
constexpr uint64_t kEnd = 0;
constexpr size_t kPieceBytes = 256 << 10;
constexpr uint64_t kRowBytesMax = 1 << 30;  // no request is this large

// Takes the stream apart, whatever the sizes of the reader's chunks.
class Input {
 public:
  explicit Input(raft::SnapshotReader& reader) : reader_(reader) {}

  absl::StatusOr<uint64_t> Varint() {
    uint64_t value = 0;
    std::string_view rest = Rest();
    while (!TakeVarint(&rest, &value)) {
      if (Rest().size() >= 10) return Damaged("a number is malformed");
      KEELSON_RETURN_IF_ERROR(Fill(Rest().size() + 1));
      rest = Rest();
    }
    Drop(Rest().size() - rest.size());
    return value;
  }

  // The next `size` bytes, good until the next call.
  absl::StatusOr<std::string_view> Bytes(size_t size) {
    KEELSON_RETURN_IF_ERROR(Fill(size));
    const std::string_view bytes = Rest().substr(0, size);
    Drop(size);
    return bytes;
  }

  absl::Status ExpectEnd() {
    KEELSON_ASSIGN_OR_RETURN(const std::string more, reader_.Next());
    return Rest().empty() && more.empty() ? absl::OkStatus() : Damaged("bytes follow the end mark");
  }

  [[nodiscard]] absl::Status Damaged(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("snapshot at byte ", offset_, ": ",
                                            absl::string_view(what.data(), what.size())));
  }

 private:
  [[nodiscard]] std::string_view Rest() const { return std::string_view(buffer_).substr(used_); }
  void Drop(size_t size) {
    used_ += size;
    offset_ += size;
  }
  absl::Status Fill(size_t size) {
    while (Rest().size() < size) {
      KEELSON_ASSIGN_OR_RETURN(const std::string chunk, reader_.Next());
      if (chunk.empty()) return Damaged("it ends too early");
      buffer_.erase(0, used_);
      used_ = 0;
      buffer_ += chunk;
    }
    return absl::OkStatus();
  }

  raft::SnapshotReader& reader_;
  std::string buffer_;
  size_t used_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace

absl::Status WriteSnapshot(const Engine& engine, const EngineSnapshot& snapshot,
                           raft::SnapshotWriter& writer) {
  std::string piece(kHeader);
  uint64_t rows = 0;
  for (size_t family = 0; family < kFamilyCount; ++family) {
    Engine::IterateOptions options;
    options.snapshot = &snapshot;
    const auto iterator = engine.NewIterator(static_cast<Family>(family), options);
    for (iterator->Seek(""); iterator->Valid(); iterator->Next(), ++rows) {
      AppendVarint(family + 1, &piece);
      AppendVarint(iterator->key().size(), &piece);
      AppendVarint(iterator->value().size(), &piece);
      piece.append(iterator->key());
      piece.append(iterator->value());
      if (piece.size() < kPieceBytes) continue;
      KEELSON_RETURN_IF_ERROR(writer.Append(piece));
      piece.clear();
    }
    KEELSON_RETURN_IF_ERROR(iterator->status());
  }
  AppendVarint(kEnd, &piece);
  AppendVarint(rows, &piece);
  return writer.Append(piece);
}

absl::Status ReadSnapshot(raft::SnapshotReader& reader, WriteBatch& batch,
                          absl::FunctionRef<absl::Status()> write) {
  Input input(reader);
  KEELSON_ASSIGN_OR_RETURN(const std::string_view header, input.Bytes(kHeader.size()));
  if (header != kHeader) return input.Damaged("not a key-value snapshot of a known format");
  size_t batched_bytes = 0;
  for (uint64_t rows = 0;; ++rows) {
    KEELSON_ASSIGN_OR_RETURN(const uint64_t family, input.Varint());
    if (family == kEnd) {
      KEELSON_ASSIGN_OR_RETURN(const uint64_t count, input.Varint());
      if (count != rows) return input.Damaged("rows are missing");
      break;
    }
    if (family > kFamilyCount) return input.Damaged("a row belongs to no known family");
    KEELSON_ASSIGN_OR_RETURN(const uint64_t key_bytes, input.Varint());
    KEELSON_ASSIGN_OR_RETURN(const uint64_t value_bytes, input.Varint());
    if (key_bytes > kRowBytesMax || value_bytes > kRowBytesMax) {
      return input.Damaged("a row is too large");
    }
    KEELSON_ASSIGN_OR_RETURN(const std::string_view row, input.Bytes(key_bytes + value_bytes));
    batch.Put(static_cast<Family>(family - 1), row.substr(0, key_bytes), {row.substr(key_bytes)});
    batched_bytes += row.size();
    if (batched_bytes < kPieceBytes) continue;
    KEELSON_RETURN_IF_ERROR(write());
    batched_bytes = 0;
  }
  KEELSON_RETURN_IF_ERROR(input.ExpectEnd());
  return write();
}

}  // namespace keelson::kvstore::internal
