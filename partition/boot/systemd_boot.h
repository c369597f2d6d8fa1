// Boot control by systemd-boot: the state of each candidate is in the name of its file on the boot
// partition, and the loader counts down there before it starts anything.
//
//   SystemdBoot control(RealFileSystem(), {.root = "/efi"});
//   KEELSON_RETURN_IF_ERROR(control.Commit({.id = "keelson_2.efi", .contents = image}, 3));
//
// FAT has no journal, so the order of writes is all there is (docs/boot.md says what is assumed of
// it): new contents go into a file whose name the loader passes over, are made durable, and get
// their name by a rename. A rename that a power cut interrupts leaves the old name, the new one,
// both or, at worst, neither. So a file that is the only one known to boot is never renamed: it is
// copied, and the old name goes when the copy is durable.
//
// Threading: not thread-safe.
#ifndef KEELSON_PARTITION_BOOT_SYSTEMD_BOOT_H_
#define KEELSON_PARTITION_BOOT_SYSTEMD_BOOT_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "partition/boot/boot_control.h"
#include "partition/boot/efi_variables.h"
#include "partition/boot/loader_entries.h"

namespace keelson::partition {

struct SystemdBootOptions {
  std::string root;  // where the EFI system partition (or XBOOTLDR) is mounted
  std::string efi_variables = kEfiVariablesFolder;
};

class SystemdBoot final : public BootControl {
 public:
  // `fs` must outlive it.
  SystemdBoot(FileSystem& fs, SystemdBootOptions options);

  absl::StatusOr<std::vector<BootCandidate>> Candidates() override;
  absl::StatusOr<std::string> Running() override;
  absl::Status CheckRoom(uint64_t bytes) override;
  // The id decides the kind: NAME.efi is a unified kernel image, NAME.conf an entry of type 1 whose
  // kernel and initrd are in `image.files`.
  absl::Status Commit(const BootImage& image, std::optional<int> tries) override;
  absl::Status Mark(const std::string& id, BootVerdict verdict, const std::string& reason) override;
  absl::Status CountTry(const std::string& id) override;
  absl::Status Remove(const std::string& id) override;

  // Removes what interrupted calls left behind; answers with one line for each file, also for those
  // that must stay: one that equals an entry may share its clusters since a rename was cut, and its
  // removal would free them under that entry. fsck.fat tells them apart.
  absl::StatusOr<std::vector<std::string>> Tidy();

  // Replaces one key of loader/loader.conf, durably.
  absl::Status SetLoaderConf(const std::string& key, const std::string& value);

 private:
  absl::StatusOr<std::vector<LoaderEntry>> Entries();
  // The entry of that id: of several, the one that has no counter.
  absl::StatusOr<LoaderEntry> Find(const std::string& id);
  // Whether a good entry is there beside those of `id`.
  absl::StatusOr<bool> AnotherGood(const std::string& id);
  absl::StatusOr<LoaderChoice> Choice();
  absl::Status CheckCommit(const BootImage& image, std::optional<int> tries);
  absl::Status WriteFiles(const std::vector<BootFile>& files);
  // Writes `contents` under a temporary name, makes them durable, and renames.
  absl::Status WriteNew(const std::string& folder, const std::string& file_name,
                        std::string_view contents);
  absl::Status Rename(const LoaderEntry& entry, const EntryName& to);
  // As Rename, by a copy: at every moment one of the two names is durable and whole.
  absl::Status CopyAndRemove(const LoaderEntry& entry, const EntryName& to);
  // Removes kernel and initrds of an entry that is gone, unless another entry has them.
  absl::Status RemoveFilesOf(const BlsEntry& entry);
  absl::Status MarkGood(const LoaderEntry& entry);
  absl::Status MarkBad(const LoaderEntry& entry);
  absl::Status Restore(const LoaderEntry& entry);
  absl::StatusOr<std::string> UnusedTemporary(const std::string& path);
  absl::StatusOr<std::string> TwinOf(const std::string& path, const std::string& name,
                                     const std::vector<std::string>& names);
  absl::Status TidyFolder(const std::string& folder, std::vector<std::string>& done);

  FileSystem& fs_;
  const SystemdBootOptions options_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_SYSTEMD_BOOT_H_
