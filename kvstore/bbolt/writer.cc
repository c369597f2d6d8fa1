#include "kvstore/bbolt/writer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/bbolt/format.h"

namespace keelson::kvstore::bbolt {
namespace {

constexpr uint64_t kFreelistPage = 2;
constexpr uint64_t kFirstPage = 3;
// bbolt keeps a bucket inside its parent's page while it is small.
constexpr size_t kInlineBytesMax = kPageBytes / 4;

void AppendHeader(const PageHeader& header, std::string* out) {
  AppendLittle(header.id, 8, out);
  AppendLittle(header.flags, 2, out);
  AppendLittle(header.count, 2, out);
  AppendLittle(header.overflow, 4, out);
}

void AppendMetaPage(uint64_t number, const Layout& layout, std::string* out) {
  const size_t begin = out->size();
  AppendHeader({.id = number, .flags = kMetaPage}, out);
  const size_t meta = out->size();
  AppendLittle(kMagic, 4, out);
  AppendLittle(kVersion, 4, out);
  AppendLittle(kPageBytes, 4, out);
  AppendLittle(0, 4, out);
  AppendLittle(layout.root, 8, out);
  AppendLittle(0, 8, out);
  AppendLittle(kFreelistPage, 8, out);
  AppendLittle(layout.pages, 8, out);
  AppendLittle(number, 8, out);  // as in a new database: 0 and 1
  AppendLittle(Fnv1a64(std::string_view(*out).substr(meta)), 8, out);
  out->resize(begin + kPageBytes, '\0');
}

// Appends a branch or leaf page without the bytes that fill it up.
template <typename Elements>
void AppendPage(PageHeader header, bool leaf, const Elements& elements, std::string_view data,
                std::string* out) {
  header.count = static_cast<uint16_t>(elements.size());
  AppendHeader(header, out);
  size_t offset = elements.size() * kElementBytes;  // from the element to its key
  for (const auto& element : elements) {
    if (leaf) {
      AppendLittle(element.flags_or_child, 4, out);
      AppendLittle(offset, 4, out);
      AppendLittle(element.key_bytes, 4, out);
      AppendLittle(element.value_bytes, 4, out);
    } else {
      AppendLittle(offset, 4, out);
      AppendLittle(element.key_bytes, 4, out);
      AppendLittle(element.flags_or_child, 8, out);
    }
    offset += element.key_bytes + element.value_bytes - kElementBytes;
  }
  out->append(data);
}

}  // namespace

size_t Writer::Page::size() const {
  return kHeaderBytes + elements.size() * kElementBytes + data.size();
}

void Writer::Page::Add(uint64_t flags_or_child, std::string_view key, std::string_view value) {
  if (elements.empty()) first_key = key;
  elements.push_back({.flags_or_child = flags_or_child,
                      .key_bytes = static_cast<uint32_t>(key.size()),
                      .value_bytes = static_cast<uint32_t>(value.size())});
  data.append(key);
  data.append(value);
}

absl::Status Writer::BeginBucket(std::string_view name) {
  if (name.empty() || name.size() > kKeyBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a bucket's name of ", name.size(), " bytes"));
  }
  open_.back().has_buckets = true;
  open_.emplace_back().name = name;
  return absl::OkStatus();
}

absl::Status Writer::EndBucket() {
  if (open_.size() < 2) return absl::FailedPreconditionError("no bucket is open");
  Tree tree = std::move(open_.back());
  open_.pop_back();
  std::string value;
  const Page& leaf = tree.levels.front();
  if (tree.levels.size() == 1 && !tree.has_buckets && leaf.size() <= kInlineBytesMax) {
    value.assign(kBucketBytes, '\0');
    AppendPage({.flags = kLeaf}, /*leaf=*/true, leaf.elements, leaf.data, &value);
  } else {
    uint64_t root = 0;
    KEELSON_RETURN_IF_ERROR(Finish(tree, &root));
    AppendLittle(root, 8, &value);
    AppendLittle(0, 8, &value);
  }
  return Insert(kBucketElement, tree.name, value);
}

absl::Status Writer::Add(std::string_view key, std::string_view value) {
  if (open_.size() < 2) return absl::FailedPreconditionError("no bucket is open");
  if (key.empty() || key.size() > kKeyBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a key of ", key.size(), " bytes"));
  }
  if (value.size() > kValueBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a value of ", value.size(), " bytes"));
  }
  return Insert(0, key, value);
}

absl::Status Writer::Insert(uint32_t flags, std::string_view key, std::string_view value) {
  Tree& tree = open_.back();
  if (!tree.last_key.empty() && key <= tree.last_key) {
    return absl::InvalidArgumentError("keys do not come in ascending order");
  }
  tree.last_key = key;
  return AddTo(tree, 0, flags, key, value);
}

absl::Status Writer::AddTo(Tree& tree, size_t level, uint64_t flags_or_child, std::string_view key,
                           std::string_view value) {
  if (level == tree.levels.size()) tree.levels.emplace_back();
  const Page& page = tree.levels[level];
  const size_t grown = page.size() + kElementBytes + key.size() + value.size();
  if (!page.elements.empty() && grown > kPageBytes) {
    KEELSON_RETURN_IF_ERROR(Flush(tree, level));
  }
  tree.levels[level].Add(flags_or_child, key, value);
  return absl::OkStatus();
}

absl::Status Writer::Flush(Tree& tree, size_t level) {
  Page page = std::exchange(tree.levels[level], {});
  uint64_t id = 0;
  KEELSON_RETURN_IF_ERROR(Emit(page, level == 0, &id));
  return AddTo(tree, level + 1, id, page.first_key, "");
}

absl::Status Writer::Finish(Tree& tree, uint64_t* root) {
  for (size_t level = 0; level + 1 < tree.levels.size(); ++level) {
    KEELSON_RETURN_IF_ERROR(Flush(tree, level));
  }
  return Emit(tree.levels.back(), tree.levels.size() == 1, root);
}

absl::Status Writer::Emit(const Page& page, bool leaf, uint64_t* id) {
  const uint64_t pages = (page.size() + kPageBytes - 1) / kPageBytes;
  *id = next_page_;
  next_page_ += pages;
  if (!sink_) return absl::OkStatus();
  buffer_.clear();
  AppendPage({.id = *id,
              .flags = static_cast<uint16_t>(leaf ? kLeaf : kBranch),
              .overflow = static_cast<uint32_t>(pages - 1)},
             leaf, page.elements, page.data, &buffer_);
  buffer_.resize(pages * kPageBytes, '\0');
  return sink_(buffer_);
}

absl::Status Writer::Begin(const Layout& layout) {
  next_page_ = kFirstPage;
  if (!sink_) return absl::OkStatus();
  std::string bytes;
  AppendMetaPage(0, layout, &bytes);
  AppendMetaPage(1, layout, &bytes);
  AppendHeader({.id = kFreelistPage, .flags = kFreelist}, &bytes);  // nothing is free
  bytes.resize(kFirstPage * kPageBytes, '\0');
  return sink_(bytes);
}

absl::StatusOr<Layout> Run(Sink sink, const Layout& layout,
                           absl::FunctionRef<absl::Status(Writer&)> fill) {
  Writer writer(std::move(sink));
  KEELSON_RETURN_IF_ERROR(writer.Begin(layout));
  KEELSON_RETURN_IF_ERROR(fill(writer));
  if (writer.open_.size() != 1) return absl::FailedPreconditionError("a bucket was left open");
  Layout made;
  KEELSON_RETURN_IF_ERROR(writer.Finish(writer.open_.front(), &made.root));
  made.pages = writer.next_page_;
  return made;
}

absl::StatusOr<Layout> Measure(absl::FunctionRef<absl::Status(Writer&)> fill) {
  return Run(nullptr, {}, fill);
}

absl::Status Write(const Layout& layout, absl::FunctionRef<absl::Status(Writer&)> fill, Sink sink) {
  KEELSON_ASSIGN_OR_RETURN(const Layout made, Run(std::move(sink), layout, fill));
  if (made != layout) return absl::InternalError("the rows changed while they were written");
  return absl::OkStatus();
}

}  // namespace keelson::kvstore::bbolt
