// A FAT file system as a power cut leaves it: names and contents reach the disk in any order until
// they are synced, a rename is an entry that is made and one that is removed, and names know no
// case.
//
//   FatFileSystem fs;
//   fs.on_step = [&] { for (const FatFileSystem::Tree& tree : fs.CrashStates()) Check(tree); };
//   UseDisk(fs);
//
// What is modelled (Linux fs/fat/namei_vfat.c): a rename adds the new directory entry and removes
// the old one, in sectors that may be written in either order; a rename over a file points its
// entry at the other clusters; removing a name frees its clusters, also if another name shares them
// after a cut, whose contents are lost then. A file whose data were not synced is empty, cut, or
// whole. Folders survive from their creation, since the product syncs their parents
// (FileSystem::CreateDirectories).
#ifndef KEELSON_PARTITION_BOOT_TESTING_FAT_FILE_SYSTEM_H_
#define KEELSON_PARTITION_BOOT_TESTING_FAT_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file_system.h"

namespace keelson::partition::testing {

class FatFileSystem final : public FileSystem {
 public:
  struct Name {
    std::string path;  // with the case that it was made with
    int inode = 0;
  };
  // What a disk holds: names by their path in lower case, contents by inode, folders.
  struct Tree {
    std::map<std::string, Name> names;
    std::map<int, std::string> contents;
    std::set<std::string> folders;
  };

  FatFileSystem() = default;
  // Starts after a crash.
  explicit FatFileSystem(Tree tree);

  // Called after each change that a power cut could follow.
  std::function<void()> on_step;

  // Every disk that a power cut at this moment may leave.
  [[nodiscard]] std::vector<Tree> CrashStates() const;

  uint64_t capacity_bytes = uint64_t{1} << 30;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             const OpenOptions& options) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<SpaceInfo> Space(const std::string& path) override;

 private:
  class Handle;
  // One directory entry that changes. An inode of 0 removes it.
  struct NameChange {
    std::string folder;
    Name name;
  };

  static void Apply(const NameChange& change, Tree& tree);
  void Change(const std::string& path, int inode);
  void Free(int inode);
  void Step() const;

  Tree now_;   // as calls see it
  Tree disk_;  // what is certainly on the disk
  std::vector<NameChange> pending_;
  int last_inode_ = 0;
};

}  // namespace keelson::partition::testing

#endif  // KEELSON_PARTITION_BOOT_TESTING_FAT_FILE_SYSTEM_H_
