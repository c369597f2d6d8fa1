#include "partition/verity/copy_on_write.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {

absl::Status CopyOnWriteDevice::Read(uint64_t offset, std::span<char> buffer) const {
  KEELSON_RETURN_IF_ERROR(under_.Read(offset, buffer));
  const uint64_t end = offset + buffer.size();
  auto piece = written_.upper_bound(offset);
  if (piece != written_.begin()) --piece;
  for (; piece != written_.end() && piece->first < end; ++piece) {
    const uint64_t first = std::max(offset, piece->first);
    const uint64_t last = std::min<uint64_t>(end, piece->first + piece->second.size());
    if (first >= last) continue;
    piece->second.copy(buffer.data() + (first - offset), last - first, first - piece->first);
  }
  return absl::OkStatus();
}

absl::Status CopyOnWriteDevice::Write(uint64_t offset, std::string_view data) {
  const uint64_t end = geometry().bytes();
  if (offset > end || data.size() > end - offset) {
    return absl::OutOfRangeError(
        absl::StrCat("write '", name(), "' at ", offset, ": passes the end at ", end));
  }
  written_[offset] = std::string(data);
  return absl::OkStatus();
}

}  // namespace keelson::partition
