#include "partition/boot/testing/fat_file_system.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::partition::testing {
namespace {

// More pending changes than this would take too long to combine.
constexpr size_t kPendingMax = 12;

std::string Key(const std::string& path) { return absl::AsciiStrToLower(path); }

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : Key(path.substr(0, slash));
}

absl::Status NoFile(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("'", path, "': no such file"));
}

}  // namespace

class FatFileSystem::Handle final : public File {
 public:
  Handle(FatFileSystem& fs, int inode) : fs_(fs), inode_(inode) {}

  absl::Status WriteAt(uint64_t offset, std::string_view data) override {
    std::string& contents = fs_.now_.contents[inode_];
    contents.resize(std::max<size_t>(contents.size(), offset + data.size()));
    contents.replace(offset, data.size(), data);
    fs_.Step();
    return absl::OkStatus();
  }
  absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
    std::string all;
    for (const std::string_view piece : pieces) all += piece;
    return WriteAt(offset, all);
  }
  absl::StatusOr<size_t> ReadAt(uint64_t offset, std::span<char> buffer) const override {
    const std::string& contents = fs_.now_.contents[inode_];
    if (offset >= contents.size()) return size_t{0};
    const size_t size = std::min<size_t>(buffer.size(), contents.size() - offset);
    std::copy_n(contents.begin() + static_cast<ptrdiff_t>(offset), size, buffer.begin());
    return size;
  }
  absl::StatusOr<uint64_t> Size() const override { return fs_.now_.contents[inode_].size(); }
  absl::Status SyncData() override {
    fs_.disk_.contents[inode_] = fs_.now_.contents[inode_];
    fs_.Step();
    return absl::OkStatus();
  }
  absl::Status Truncate(uint64_t size) override {
    fs_.now_.contents[inode_].resize(size);
    fs_.Step();
    return absl::OkStatus();
  }
  absl::Status Allocate(uint64_t /*offset*/, uint64_t /*length*/) override {
    return absl::OkStatus();
  }

 private:
  FatFileSystem& fs_;
  const int inode_;
};

FatFileSystem::FatFileSystem(Tree tree) : now_(tree), disk_(std::move(tree)) {
  for (const auto& [inode, contents] : now_.contents) last_inode_ = std::max(last_inode_, inode);
}

void FatFileSystem::Step() const {
  if (on_step) on_step();
}

void FatFileSystem::Apply(const NameChange& change, Tree& tree) {
  const std::string key = Key(change.name.path);
  if (change.name.inode == 0) {
    tree.names.erase(key);
  } else {
    tree.names[key] = change.name;
  }
}

void FatFileSystem::Change(const std::string& path, int inode) {
  const NameChange change = {FolderOf(path), {path, inode}};
  Apply(change, now_);
  pending_.push_back(change);
  KEELSON_CHECK(pending_.size() <= kPendingMax) << "too much is not synced";
  Step();
}

void FatFileSystem::Free(int inode) {
  for (const auto& [key, name] : now_.names) {
    // Somebody else's clusters are free now and will hold something else.
    if (name.inode == inode) now_.contents[inode] = disk_.contents[inode] = "freed";
  }
}

std::vector<FatFileSystem::Tree> FatFileSystem::CrashStates() const {
  std::vector<int> unsynced;
  for (const auto& [inode, contents] : now_.contents) {
    const auto on_disk = disk_.contents.find(inode);
    if (on_disk == disk_.contents.end() || on_disk->second != contents) unsynced.push_back(inode);
  }
  std::vector<Tree> states;
  for (uint32_t kept = 0; kept < uint32_t{1} << pending_.size(); ++kept) {
    Tree tree = disk_;
    for (size_t i = 0; i < pending_.size(); ++i) {
      if ((kept >> i & 1) != 0) Apply(pending_[i], tree);
    }
    for (const int tenths : {0, 5, 10}) {  // how much of what is not synced is there
      for (const int inode : unsynced) {
        const std::string& whole = now_.contents.at(inode);
        tree.contents[inode] = whole.substr(0, whole.size() * static_cast<size_t>(tenths) / 10);
      }
      states.push_back(tree);
      if (unsynced.empty()) break;
    }
  }
  return states;
}

absl::StatusOr<std::unique_ptr<File>> FatFileSystem::Open(const std::string& path,
                                                          const OpenOptions& options) {
  const auto found = now_.names.find(Key(path));
  if (found != now_.names.end()) {
    if (options.exclusive) return absl::AlreadyExistsError(absl::StrCat("'", path, "' exists"));
    if (options.truncate) now_.contents[found->second.inode].clear();
    return std::make_unique<Handle>(*this, found->second.inode);
  }
  if (!options.create) return NoFile(path);
  now_.contents[++last_inode_] = "";
  Change(path, last_inode_);
  return std::make_unique<Handle>(*this, last_inode_);
}

absl::Status FatFileSystem::Rename(const std::string& from, const std::string& to) {
  const auto found = now_.names.find(Key(from));
  if (found == now_.names.end()) return NoFile(from);
  const int inode = found->second.inode;
  const auto replaced = now_.names.find(Key(to));
  const int old = replaced == now_.names.end() ? 0 : replaced->second.inode;
  Change(to, inode);
  Change(from, 0);
  if (old != 0 && old != inode) Free(old);
  return absl::OkStatus();
}

absl::Status FatFileSystem::Remove(const std::string& path) {
  const auto found = now_.names.find(Key(path));
  if (found == now_.names.end()) return NoFile(path);
  const int inode = found->second.inode;
  Change(path, 0);
  Free(inode);
  return absl::OkStatus();
}

absl::Status FatFileSystem::CreateDirectories(const std::string& path) {
  for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    now_.folders.insert(Key(path.substr(0, at)));
  }
  now_.folders.insert(Key(path));
  disk_.folders = now_.folders;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FatFileSystem::List(const std::string& path) {
  if (!now_.folders.contains(Key(path))) return NoFile(path);
  std::vector<std::string> names;
  for (const auto& [key, name] : now_.names) {
    if (FolderOf(key) == Key(path)) names.push_back(name.path.substr(name.path.rfind('/') + 1));
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<bool> FatFileSystem::Exists(const std::string& path) {
  return now_.names.contains(Key(path)) || now_.folders.contains(Key(path));
}

absl::Status FatFileSystem::SyncDirectory(const std::string& path) {
  std::vector<NameChange> left;
  for (const NameChange& change : pending_) {
    if (change.folder == Key(path)) {
      Apply(change, disk_);
    } else {
      left.push_back(change);
    }
  }
  pending_ = std::move(left);
  Step();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> FatFileSystem::Lock(const std::string& /*path*/) {
  return std::make_unique<FileLock>();
}

absl::StatusOr<SpaceInfo> FatFileSystem::Space(const std::string& /*path*/) {
  uint64_t used = 0;
  for (const auto& [key, name] : now_.names) used += now_.contents.at(name.inode).size();
  return SpaceInfo{.capacity_bytes = capacity_bytes,
                   .free_bytes = capacity_bytes > used ? capacity_bytes - used : 0};
}

}  // namespace keelson::partition::testing
