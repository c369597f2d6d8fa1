#include "partition/boot/loader_entries.h"

#include <fnmatch.h>

#include <algorithm>
#include <compare>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/boot/uki.h"
#include "partition/boot/version_order.h"
#include "partition/trust/pe_image.h"

namespace keelson::partition {
namespace {

constexpr uint64_t kConfBytesMax = uint64_t{1} << 20;
constexpr uint64_t kHeaderBytes = uint64_t{64} << 10;  // more than any image has
constexpr uint32_t kOsReleaseBytesMax = uint32_t{64} << 10;
constexpr char kArchitecture[] = "x64";

// Up to `size` bytes at `offset`.
absl::StatusOr<std::string> ReadRange(const File& file, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  KEELSON_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(offset, {bytes.data(), bytes.size()}));
  bytes.resize(got);
  return bytes;
}

// Only the headers and .osrel are read: images are large.
absl::Status ReadType2(FileSystem& fs, const std::string& path, LoaderEntry& entry) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  KEELSON_ASSIGN_OR_RETURN(entry.bytes, file->Size());
  KEELSON_ASSIGN_OR_RETURN(const std::string start, ReadRange(*file, 0, kHeaderBytes));
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePeHeaders(start, entry.bytes));
  const PeSection* section = image.Find(".osrel");
  if (section == nullptr || image.Find(".linux") == nullptr) {
    return absl::InvalidArgumentError("it is no unified kernel image with an os-release");
  }
  KEELSON_ASSIGN_OR_RETURN(
      const std::string os_release,
      ReadRange(*file, section->file_offset,
                std::min({section->virtual_bytes, section->file_bytes, kOsReleaseBytesMax})));
  const UkiIdentity identity = IdentityOf(ParseOsRelease(os_release));
  entry.title = identity.title;
  entry.version = identity.version;
  entry.sort_key = identity.sort_key;
  return absl::OkStatus();
}

std::string FromRoot(const std::string& root, const std::string& path) {
  const size_t start = std::min(path.find_first_not_of("/\\"), path.size());
  std::string relative = path.substr(start);
  std::replace(relative.begin(), relative.end(), '\\', '/');
  return JoinPath(root, relative);
}

absl::Status ReadType1(FileSystem& fs, const std::string& root, const std::string& path,
                       LoaderEntry& entry) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadFile(fs, path, kConfBytesMax));
  KEELSON_ASSIGN_OR_RETURN(BlsEntry parsed, ParseBlsEntry(text));
  if (!parsed.architecture.empty() && parsed.architecture != kArchitecture) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is for architecture '", parsed.architecture, "'"));
  }
  const std::string& program = parsed.linux.empty() ? parsed.efi : parsed.linux;
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs.Exists(FromRoot(root, program)));
  if (!exists) return absl::NotFoundError(absl::StrCat("'", program, "' is missing"));
  entry.bytes = text.size();
  entry.title = parsed.title;
  entry.version = parsed.version;
  entry.sort_key = parsed.sort_key;
  entry.machine_id = parsed.machine_id;
  entry.type1 = std::move(parsed);
  return absl::OkStatus();
}

absl::Status ReadFolder(FileSystem& fs, const std::string& root, const std::string& folder,
                        std::vector<LoaderEntry>& entries, std::vector<std::string>* left_out) {
  const std::string path = JoinPath(root, folder);
  const absl::StatusOr<std::vector<std::string>> names = fs.List(path);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(names);
  const bool type1 = folder == kType1Folder;
  for (const std::string& file_name : *names) {
    const std::optional<EntryName> name = ParseEntryName(file_name);
    if (!name.has_value() || absl::EndsWithIgnoreCase(name->suffix, ".conf") != type1) continue;
    LoaderEntry entry = {.folder = folder, .file_name = file_name, .name = *name};
    const std::string file = JoinPath(path, file_name);
    const absl::Status status =
        type1 ? ReadType1(fs, root, file, entry) : ReadType2(fs, file, entry);
    if (status.ok()) {
      entries.push_back(std::move(entry));
    } else if (left_out != nullptr) {
      left_out->push_back(absl::StrCat("'", file, "': ", status.message()));
    }
  }
  return absl::OkStatus();
}

// The loader's own name of an entry: with the counter, in lower case.
std::string LoaderId(const LoaderEntry& entry) { return absl::AsciiStrToLower(entry.file_name); }

}  // namespace

bool ComesBefore(const LoaderEntry& a, const LoaderEntry& b) {
  const bool a_bad = a.name.state() == BootState::kBad;
  const bool b_bad = b.name.state() == BootState::kBad;
  if (a_bad != b_bad) return b_bad;
  if (a.sort_key.empty() != b.sort_key.empty()) return b.sort_key.empty();
  if (!a.sort_key.empty()) {
    if (a.sort_key != b.sort_key) return a.sort_key < b.sort_key;
    if (a.machine_id != b.machine_id) return a.machine_id < b.machine_id;
    const auto order = CompareVersions(a.version, b.version);
    if (std::is_neq(order)) return std::is_gt(order);
  }
  const auto order = CompareVersions(LoaderId(a), LoaderId(b));
  if (std::is_neq(order)) return std::is_gt(order);
  if (!a.name.counter.has_value() || !b.name.counter.has_value()) return false;
  if (a.name.counter->left != b.name.counter->left) {
    return a.name.counter->left > b.name.counter->left;
  }
  return a.name.counter->done < b.name.counter->done;
}

absl::StatusOr<std::vector<LoaderEntry>> ReadLoaderEntries(FileSystem& fs, const std::string& root,
                                                           std::vector<std::string>* left_out) {
  std::vector<LoaderEntry> entries;
  KEELSON_RETURN_IF_ERROR(ReadFolder(fs, root, kType1Folder, entries, left_out));
  KEELSON_RETURN_IF_ERROR(ReadFolder(fs, root, kType2Folder, entries, left_out));
  std::stable_sort(entries.begin(), entries.end(), ComesBefore);
  return entries;
}

const LoaderEntry* ChooseEntry(std::span<const LoaderEntry> entries, const LoaderChoice& choice) {
  for (const std::string* pattern :
       {&choice.one_shot, &choice.default_variable, &choice.default_conf}) {
    if (pattern->empty()) continue;
    const std::string folded = absl::AsciiStrToLower(*pattern);
    for (const LoaderEntry& entry : entries) {
      if (::fnmatch(folded.c_str(), LoaderId(entry).c_str(), 0) == 0) return &entry;
    }
  }
  return entries.empty() ? nullptr : &entries[0];
}

}  // namespace keelson::partition
