#include "partition/installer/block_delta.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "partition/installer/block_index.h"
#include "partition/verity/superblock.h"
#include "partition/verity/verify.h"

namespace keelson::partition {
namespace {

constexpr std::string_view kMagic = "KEELSDL1";
constexpr size_t kRootHashBytesMax = 64;
constexpr size_t kVersionBytesMax = 1024;
constexpr size_t kRangeBytes = 16;
constexpr uint64_t kPieceBytes = 1 << 20;

void Put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("delta: ", std::string(what)));
}

// Reads one field after the other.
class Reader {
 public:
  explicit Reader(const File& file) : file_(file) {}

  absl::StatusOr<std::string> Bytes(size_t size) {
    std::string bytes(size, '\0');
    KEELSON_ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(at_, {bytes.data(), bytes.size()}));
    if (got != size) return Malformed(absl::StrCat("it ends at byte ", at_ + got));
    at_ += size;
    return bytes;
  }

  absl::StatusOr<uint64_t> Number(int bytes) {
    KEELSON_ASSIGN_OR_RETURN(const std::string field, Bytes(static_cast<size_t>(bytes)));
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(field[i]);
    return value;
  }

  [[nodiscard]] uint64_t at() const { return at_; }

 private:
  const File& file_;
  uint64_t at_ = 0;
};

std::string Header(const ImageDescription& image, const std::vector<BlockRange>& ranges) {
  std::string out(kMagic);
  out += EncodeSuperblock({.uuid = image.uuid, .params = image.params});
  Put(out, image.superblock ? 1 : 0, 1);
  Put(out, image.root_hash.size(), 1);
  std::string root_hash = image.root_hash;
  root_hash.resize(kRootHashBytesMax, '\0');
  out += root_hash;
  Put(out, image.version.size(), 2);
  out += image.version;
  Put(out, ranges.size(), 8);
  for (const BlockRange& range : ranges) {
    Put(out, range.first, 8);
    Put(out, range.count, 8);
  }
  return out;
}

absl::StatusOr<ImageDescription> ReadDescription(Reader& reader) {
  KEELSON_ASSIGN_OR_RETURN(const std::string magic, reader.Bytes(kMagic.size()));
  if (magic != kMagic) return Malformed("its first bytes are not those of one");
  KEELSON_ASSIGN_OR_RETURN(const std::string block, reader.Bytes(kVeritySuperblockBytes));
  KEELSON_ASSIGN_OR_RETURN(VeritySuperblock superblock, DecodeSuperblock(block));
  ImageDescription image = {.params = std::move(superblock.params), .uuid = superblock.uuid};
  KEELSON_ASSIGN_OR_RETURN(const uint64_t has_superblock, reader.Number(1));
  image.superblock = has_superblock != 0;
  KEELSON_ASSIGN_OR_RETURN(const uint64_t root_bytes, reader.Number(1));
  KEELSON_ASSIGN_OR_RETURN(image.root_hash, reader.Bytes(kRootHashBytesMax));
  if (root_bytes != DigestBytes(image.params.algorithm)) return Malformed("size of the root hash");
  image.root_hash.resize(root_bytes);
  KEELSON_ASSIGN_OR_RETURN(const uint64_t version_bytes, reader.Number(2));
  if (version_bytes > kVersionBytesMax) return Malformed("its version is too long");
  KEELSON_ASSIGN_OR_RETURN(image.version, reader.Bytes(version_bytes));
  return image;
}

absl::StatusOr<std::vector<BlockRange>> ReadRanges(Reader& reader, uint64_t blocks,
                                                   uint64_t file_bytes) {
  KEELSON_ASSIGN_OR_RETURN(const uint64_t count, reader.Number(8));
  if (count > file_bytes / kRangeBytes) return Malformed("more ranges than it has room for");
  std::vector<BlockRange> ranges;
  uint64_t end = 0;
  for (uint64_t i = 0; i < count; ++i) {
    BlockRange range;
    KEELSON_ASSIGN_OR_RETURN(range.first, reader.Number(8));
    KEELSON_ASSIGN_OR_RETURN(range.count, reader.Number(8));
    if (range.first < end || range.count == 0 || range.first > blocks ||
        range.count > blocks - range.first) {
      return Malformed(absl::StrCat("range ", i, " is out of order or of the image"));
    }
    end = range.first + range.count;
    ranges.push_back(range);
  }
  return ranges;
}

uint64_t BlocksOf(const std::vector<BlockRange>& ranges) {
  uint64_t blocks = 0;
  for (const BlockRange& range : ranges) blocks += range.count;
  return blocks;
}

}  // namespace

absl::StatusOr<DeltaSize> WriteBlockDelta(const BlockDevice& old_image, ImageSource& source,
                                          File& out, const DeltaProgress& progress) {
  const ImageDescription& image = source.description();
  const VerityParams& params = image.params;
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(params));
  if (image.version.size() > kVersionBytesMax) return Malformed("the version is too long");
  std::string tree(shape.blocks * params.hash_block_bytes, '\0');
  KEELSON_RETURN_IF_ERROR(source.ReadTree({tree.data(), tree.size()}));
  KEELSON_RETURN_IF_ERROR(CheckTree(tree, params, image.root_hash));
  std::vector<bool> changed(params.data_blocks, true);
  const uint64_t old_blocks = old_image.geometry().bytes() / params.data_block_bytes;
  if (old_blocks > 0) {
    WorkOptions work;
    if (progress) {
      work.progress = [&](uint64_t done, uint64_t all) {
        progress(DeltaPhase::kOldImage, done, all);
      };
    }
    KEELSON_ASSIGN_OR_RETURN(std::string digests, DigestsOf(old_image, params, old_blocks, work));
    const BlockIndex index(std::move(digests), shape.digest_bytes);
    for (uint64_t i = 0; i < params.data_blocks; ++i) {
      changed[i] =
          index.Find(LeafDigest(tree, params, shape, i, image.root_hash)) == BlockIndex::kNone;
    }
  }
  const std::vector<BlockRange> ranges = RangesOf(changed);
  const std::string header = Header(image, ranges);
  KEELSON_RETURN_IF_ERROR(out.WriteAt(0, header));
  KEELSON_RETURN_IF_ERROR(out.WriteAt(header.size(), tree));
  uint64_t at = header.size() + tree.size();
  // Sources may give more than was asked for, and in another order: each block has its place.
  std::vector<uint64_t> places(params.data_blocks, UINT64_MAX);
  for (uint64_t i = 0; i < params.data_blocks; ++i) {
    if (!changed[i]) continue;
    places[i] = at;
    at += params.data_block_bytes;
  }
  const uint64_t total = BlocksOf(ranges) * params.data_block_bytes;
  uint64_t written = 0;
  const auto sink = [&](uint64_t first, std::string_view bytes) {
    for (; bytes.size() >= params.data_block_bytes && first < places.size(); ++first) {
      if (places[first] != UINT64_MAX) {
        KEELSON_RETURN_IF_ERROR(
            out.WriteAt(places[first], bytes.substr(0, params.data_block_bytes)));
        written += params.data_block_bytes;
      }
      bytes.remove_prefix(params.data_block_bytes);
    }
    if (progress) progress(DeltaPhase::kWrite, written, total);
    return absl::OkStatus();
  };
  KEELSON_RETURN_IF_ERROR(source.Fetch(ranges, sink));
  return DeltaSize{
      .image_blocks = params.data_blocks, .changed_blocks = BlocksOf(ranges), .bytes = at};
}

absl::StatusOr<std::unique_ptr<BlockDeltaSource>> BlockDeltaSource::Open(
    std::unique_ptr<File> file) {
  KEELSON_ASSIGN_OR_RETURN(const uint64_t file_bytes, file->Size());
  Reader reader(*file);
  auto source = std::unique_ptr<BlockDeltaSource>(new BlockDeltaSource());
  KEELSON_ASSIGN_OR_RETURN(source->description_, ReadDescription(reader));
  const VerityParams& params = source->description_.params;
  KEELSON_ASSIGN_OR_RETURN(source->ranges_, ReadRanges(reader, params.data_blocks, file_bytes));
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(params));
  source->tree_at_ = reader.at();
  source->tree_bytes_ = shape.blocks * params.hash_block_bytes;
  const uint64_t end =
      source->tree_at_ + source->tree_bytes_ + BlocksOf(source->ranges_) * params.data_block_bytes;
  // Before anybody makes room for what it says: sizes up to 2^63 are sound parameters.
  if (source->tree_bytes_ > file_bytes || end != file_bytes) {
    return Malformed(absl::StrCat("expected ", end, " bytes, found ", file_bytes));
  }
  source->file_ = std::move(file);
  return source;
}

absl::Status BlockDeltaSource::ReadTree(std::span<char> tree) {
  KEELSON_CHECK(tree.size() == tree_bytes_) << tree.size();
  KEELSON_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(tree_at_, tree));
  return got == tree.size() ? absl::OkStatus() : Malformed("it became shorter");
}

absl::Status BlockDeltaSource::Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) {
  const uint64_t block_bytes = description_.params.data_block_bytes;
  const uint64_t at_once = std::max<uint64_t>(1, kPieceBytes / block_bytes);
  uint64_t at = tree_at_ + tree_bytes_;
  auto next = wanted.begin();
  std::string piece;
  for (const BlockRange& range : ranges_) {
    const uint64_t end = range.first + range.count;
    while (next != wanted.end() && next->first < range.first) {
      return absl::NotFoundError(absl::StrCat("delta: block ", next->first,
                                              " is not in it: it was made for another image"));
    }
    const bool needed = next != wanted.end() && next->first < end;
    for (uint64_t i = 0; needed && i < range.count; i += at_once) {
      piece.resize(std::min(at_once, range.count - i) * block_bytes);
      KEELSON_ASSIGN_OR_RETURN(const size_t got,
                               file_->ReadAt(at + i * block_bytes, {piece.data(), piece.size()}));
      if (got != piece.size()) return Malformed("it became shorter");
      KEELSON_RETURN_IF_ERROR(sink(range.first + i, piece));
    }
    while (next != wanted.end() && next->first + next->count <= end) ++next;
    at += range.count * block_bytes;
  }
  if (next == wanted.end()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("delta: blocks up to ", next->first + next->count - 1,
                                          " are not in it: it was made for another image"));
}

}  // namespace keelson::partition
