// Where a new system image comes from: a payload of any format, full or delta.
//
// The installer knows what each block must be before it asks for it: the hash tree, checked against
// a root hash that the caller trusts, is the index of the image. So a source need not be trusted,
// and may be asked again after a crash, or for a part.
#ifndef KEELSON_PARTITION_INSTALLER_IMAGE_SOURCE_H_
#define KEELSON_PARTITION_INSTALLER_IMAGE_SOURCE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "partition/verity/format.h"

namespace keelson::partition {

struct ImageDescription {
  std::string version;  // becomes the name of the partition: at most 36 UTF-16 units
  VerityParams params;
  // Before the tree, as veritysetup does it; else the tree starts the hash area.
  bool superblock = true;
  VerityUuid uuid{};      // of the superblock
  std::string root_hash;  // bytes

  friend bool operator==(const ImageDescription&, const ImageDescription&) = default;
};

// Data blocks [first, first + count).
struct BlockRange {
  uint64_t first = 0;
  uint64_t count = 0;

  friend bool operator==(const BlockRange&, const BlockRange&) = default;
};

// Takes whole data blocks from `first_block` on. An error ends the fetching.
using BlockSink = std::function<absl::Status(uint64_t first_block, std::string_view bytes)>;

// Single-threaded.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  // Constant.
  [[nodiscard]] virtual const ImageDescription& description() const = 0;

  // Fills `tree`, which has the size of the whole hash tree without a superblock.
  virtual absl::Status ReadTree(std::span<char> tree) = 0;

  // Hands all blocks of `wanted` (ascending, apart) to `sink`, in any order, in pieces of any size.
  // Others may come too; they are ignored. NOT_FOUND: this source does not have a wanted block, as
  // where a delta was made for another image.
  virtual absl::Status Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) = 0;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_IMAGE_SOURCE_H_
