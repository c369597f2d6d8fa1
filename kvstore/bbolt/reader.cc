#include "kvstore/bbolt/reader.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::kvstore::bbolt {
namespace {

// bbolt's trees are at most a few levels high.
constexpr int kDepthMax = 64;

absl::Status Damaged(uint64_t page, const char* what) {
  return absl::DataLossError(absl::StrCat("bbolt page ", page, ": ", what));
}

std::optional<Meta> DecodeMeta(std::string_view page) {
  if (page.size() < kHeaderBytes + kMetaBytes) return std::nullopt;
  const std::string_view bytes = page.substr(kHeaderBytes, kMetaBytes);
  if (LoadLittle(bytes, 0, 4) != kMagic || LoadLittle(bytes, 4, 4) != kVersion ||
      LoadLittle(bytes, 56, 8) != Fnv1a64(bytes.substr(0, 56))) {
    return std::nullopt;
  }
  Meta meta;
  meta.page_bytes = static_cast<uint32_t>(LoadLittle(bytes, 8, 4));
  meta.root = LoadLittle(bytes, 16, 8);
  meta.freelist = LoadLittle(bytes, 32, 8);
  meta.pages = LoadLittle(bytes, 40, 8);
  meta.transaction = LoadLittle(bytes, 48, 8);
  return meta;
}

bool IsPageSize(uint64_t bytes) {
  return bytes >= kPageBytesMin && bytes <= kPageBytesMax && (bytes & (bytes - 1)) == 0;
}

PageHeader DecodeHeader(std::string_view page) {
  return {.id = LoadLittle(page, 0, 8),
          .flags = static_cast<uint16_t>(LoadLittle(page, 8, 2)),
          .count = static_cast<uint16_t>(LoadLittle(page, 10, 2)),
          .overflow = static_cast<uint32_t>(LoadLittle(page, 12, 4))};
}

// The bytes [element + pos, + size) of a page, if they lie in it behind the elements.
std::optional<std::string_view> Slice(std::string_view page, const PageHeader& header,
                                      size_t element, uint64_t pos, uint64_t size) {
  const uint64_t begin = element + pos;  // both below 2^33
  const uint64_t data = kHeaderBytes + uint64_t{header.count} * kElementBytes;
  if (begin < data || begin > page.size() || size > page.size() - begin) return std::nullopt;
  return page.substr(begin, size);
}

// Calls `visit(entry)` for each element of a leaf page.
template <typename Visit>
absl::Status VisitLeaf(std::string_view page, const PageHeader& header, uint64_t number,
                       Visit visit) {
  for (size_t i = 0; i < header.count; ++i) {
    const size_t at = kHeaderBytes + i * kElementBytes;
    const uint64_t pos = LoadLittle(page, at + 4, 4);
    const uint64_t key_bytes = LoadLittle(page, at + 8, 4);
    const uint64_t value_bytes = LoadLittle(page, at + 12, 4);
    const auto both = Slice(page, header, at, pos, key_bytes + value_bytes);
    if (!both.has_value()) return Damaged(number, "an element points outside of the page");
    KEELSON_RETURN_IF_ERROR(
        visit(Reader::Entry{.key = both->substr(0, key_bytes),
                            .value = both->substr(key_bytes),
                            .bucket = (LoadLittle(page, at, 4) & kBucketElement) != 0}));
  }
  return absl::OkStatus();
}

}  // namespace

// What a walk through one tree has seen.
struct Reader::Walk {
  uint64_t pages_left = 0;  // a page that comes twice would be a loop
  std::optional<std::string_view> last_key;

  absl::Status Ascend(uint64_t page, std::string_view key) {
    if (last_key.has_value() && key <= *last_key) return Damaged(page, "keys do not ascend");
    last_key = key;
    return absl::OkStatus();
  }
};

absl::StatusOr<Reader> Reader::Open(std::string_view file) {
  std::optional<Meta> newest;
  const auto consider = [&](size_t offset, uint64_t page_bytes) {
    if (offset > file.size()) return;
    const std::optional<Meta> meta = DecodeMeta(file.substr(offset));
    if (!meta.has_value() || !IsPageSize(meta->page_bytes)) return;
    if (page_bytes != 0 && meta->page_bytes != page_bytes) return;
    if (newest.has_value() && newest->transaction >= meta->transaction) return;
    newest = meta;
  };
  consider(0, 0);
  // The second meta is one page behind the first; if that is damaged, the page's size shows there.
  for (size_t size = kPageBytesMin; size <= kPageBytesMax; size *= 2) {
    if (!newest.has_value() || newest->page_bytes == size) consider(size, size);
  }
  if (!newest.has_value()) return absl::DataLossError("not a bbolt database: no valid meta page");
  if (newest->pages < 4 || newest->pages > file.size() / newest->page_bytes) {
    return absl::DataLossError(absl::StrCat("bbolt database of ", newest->pages, " pages of ",
                                            newest->page_bytes, " bytes in a file of ", file.size(),
                                            " bytes: it has been cut"));
  }
  return Reader(file, *newest);
}

absl::StatusOr<std::string_view> Reader::PageAt(uint64_t id) const {
  if (id < 2 || id >= meta_.pages) return Damaged(id, "there is no such page");
  const std::string_view begin = file_.substr(id * meta_.page_bytes);
  const PageHeader header = DecodeHeader(begin);
  if (header.id != id) return Damaged(id, "it carries another number");
  if (header.overflow >= meta_.pages - id) return Damaged(id, "it ends behind the file");
  const std::string_view page = begin.substr(0, (uint64_t{header.overflow} + 1) * meta_.page_bytes);
  if (kHeaderBytes + uint64_t{header.count} * kElementBytes > page.size()) {
    return Damaged(id, "it has more elements than room");
  }
  return page;
}

absl::Status Reader::VisitPage(uint64_t id, int depth, Walk& walk, Visit visit) const {
  if (depth > kDepthMax) return Damaged(id, "the tree is too high");
  if (walk.pages_left-- == 0) return Damaged(id, "the tree has a loop");
  KEELSON_ASSIGN_OR_RETURN(const std::string_view page, PageAt(id));
  const PageHeader header = DecodeHeader(page);
  if (header.flags == kLeaf) {
    return VisitLeaf(page, header, id, [&](const Entry& entry) -> absl::Status {
      KEELSON_RETURN_IF_ERROR(walk.Ascend(id, entry.key));
      return visit(entry);
    });
  }
  if (header.flags != kBranch) return Damaged(id, "it is neither a leaf nor a branch");
  if (header.count == 0) return Damaged(id, "a branch without children");
  for (size_t i = 0; i < header.count; ++i) {
    const size_t at = kHeaderBytes + i * kElementBytes;
    KEELSON_RETURN_IF_ERROR(VisitPage(LoadLittle(page, at + 8, 8), depth + 1, walk, visit));
  }
  return absl::OkStatus();
}

absl::Status Reader::VisitTree(uint64_t root, Visit visit) const {
  Walk walk;
  walk.pages_left = meta_.pages;
  return VisitPage(root, 0, walk, visit);
}

absl::Status Reader::VisitBuckets(Visit visit) const { return VisitTree(meta_.root, visit); }

absl::Status Reader::VisitBucket(std::string_view name, Visit visit) const {
  std::optional<Entry> found;
  KEELSON_RETURN_IF_ERROR(VisitBuckets([&](const Entry& entry) {
    if (entry.bucket && entry.key == name) found = entry;
    return absl::OkStatus();
  }));
  if (!found.has_value()) {
    return absl::NotFoundError(
        absl::StrCat("no bucket '", absl::string_view(name.data(), name.size()), "'"));
  }
  return VisitNested(*found, visit);
}

absl::Status Reader::VisitNested(const Entry& bucket, Visit visit) const {
  if (!bucket.bucket || bucket.value.size() < kBucketBytes) {
    return absl::DataLossError("bbolt: a bucket without its header");
  }
  const uint64_t root = LoadLittle(bucket.value, 0, 8);
  if (root != 0) return VisitTree(root, visit);
  const std::string_view page = bucket.value.substr(kBucketBytes);
  if (page.size() < kHeaderBytes) return Damaged(0, "an inline bucket without a page");
  const PageHeader header = DecodeHeader(page);
  if (header.flags != kLeaf) return Damaged(0, "an inline bucket that is no leaf");
  if (kHeaderBytes + uint64_t{header.count} * kElementBytes > page.size()) {
    return Damaged(0, "an inline bucket has more elements than room");
  }
  Walk walk;
  return VisitLeaf(page, header, 0, [&](const Entry& entry) -> absl::Status {
    KEELSON_RETURN_IF_ERROR(walk.Ascend(0, entry.key));
    return visit(entry);
  });
}

}  // namespace keelson::kvstore::bbolt
