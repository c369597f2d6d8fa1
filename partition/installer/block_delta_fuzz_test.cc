// Any bytes as a delta: what is opened can be read to its end, and blocks come only where they
// belong.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/file_system.h"
#include "partition/installer/block_delta.h"

namespace {

// A file in memory.
class Bytes final : public keelson::File {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  absl::Status WriteAt(uint64_t, std::string_view) override { return absl::OkStatus(); }
  absl::Status WriteAt(uint64_t, std::span<const std::string_view>) override {
    return absl::OkStatus();
  }
  [[nodiscard]] absl::StatusOr<size_t> ReadAt(uint64_t offset,
                                              std::span<char> buffer) const override {
    if (offset >= bytes_.size()) return 0;
    return bytes_.copy(buffer.data(), buffer.size(), offset);
  }
  [[nodiscard]] absl::StatusOr<uint64_t> Size() const override { return bytes_.size(); }
  absl::Status SyncData() override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t) override { return absl::OkStatus(); }
  absl::Status Allocate(uint64_t, uint64_t) override { return absl::OkStatus(); }

 private:
  const std::string_view bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::partition;
  const auto source = BlockDeltaSource::Open(
      std::make_unique<Bytes>(std::string_view(reinterpret_cast<const char*>(data), size)));
  if (!source.ok()) return 0;
  const VerityParams& params = (*source)->description().params;
  const absl::StatusOr<TreeShape> shape = ShapeOf(params);
  KEELSON_CHECK_OK(shape.status());
  std::string tree(shape->blocks * params.hash_block_bytes, '\0');
  KEELSON_CHECK_OK((*source)->ReadTree({tree.data(), tree.size()}));
  const BlockRange all = {.first = 0, .count = params.data_blocks};
  (void)(*source)->Fetch({&all, 1}, [&](uint64_t first, std::string_view bytes) {
    KEELSON_CHECK(bytes.size() % params.data_block_bytes == 0) << bytes.size();
    KEELSON_CHECK(first + bytes.size() / params.data_block_bytes <= params.data_blocks) << first;
    return absl::OkStatus();
  });
  return 0;
}
