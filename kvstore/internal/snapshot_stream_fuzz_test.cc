// Any bytes as the state that another member sends: reading them ends, and so does loading what was
// read.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "kvstore/engine_memory.h"
#include "kvstore/internal/generation.h"
#include "kvstore/internal/snapshot_stream.h"

namespace keelson::kvstore::internal {
namespace {

class Pieces final : public raft::SnapshotReader {
 public:
  explicit Pieces(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] const raft::SnapshotMetadata& metadata() const override { return metadata_; }
  absl::StatusOr<std::string> Next() override {
    constexpr size_t kPiece = 7;  // so that rows are cut
    std::string piece(bytes_.substr(0, kPiece));
    bytes_.remove_prefix(piece.size());
    return piece;
  }

 private:
  std::string_view bytes_;
  const raft::SnapshotMetadata metadata_;
};

void Read(std::string_view input) {
  const std::unique_ptr<EngineHome> home = NewMemoryEngineHome();
  absl::StatusOr<std::unique_ptr<Engine>> engine = home->Open();
  KEELSON_CHECK(engine.ok()) << engine.status().ToString();
  const std::unique_ptr<WriteBatch> batch = (*engine)->NewBatch();
  Pieces pieces(input);
  const absl::Status status = ReadSnapshot(pieces, *batch, [&] {
    const absl::Status written = (*engine)->Write(*batch);
    batch->Clear();
    return written;
  });
  if (status.ok()) (void)Generation::Load(*std::move(engine), 16);
}

}  // namespace
}  // namespace keelson::kvstore::internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keelson::kvstore::internal::Read({reinterpret_cast<const char*>(data), size});
  return 0;
}
