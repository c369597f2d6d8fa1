// An A/B updater for the data of an application: two slots in a plain file, of which one is in use
// while the other is written. No root, no loop device, no boot loader.
//
//   ab_updater maps.img create            16 MiB a slot
//   ab_updater maps.img update 2024.1 new_maps.bin
//   ab_updater maps.img use out.bin       takes a try, writes the data of the slot that is in turn
//   ab_updater maps.img good              what was last used works: it stays in use
//
// An update that is never called good is used three times and then given up: `use` gives the old
// data again. Killed at any moment, `update` goes on where it stopped when it is called again.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/exit_code.h"
#include "base/file_system.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "partition/block_device.h"
#include "partition/gpt_disk.h"
#include "partition/installer/device_source.h"
#include "partition/installer/installer.h"
#include "partition/installer/partition_window.h"
#include "partition/layout.h"
#include "partition/partition_types.h"
#include "partition/slots/slot_disk.h"
#include "partition/verity/format.h"

using namespace keelson;             // NOLINT: a small program
using namespace keelson::partition;  // NOLINT

namespace {

constexpr const char kLayout[] = R"({"partitions": [
    {"number": 1, "label": "", "type": "linux", "size": "17MiB"},
    {"number": 2, "label": "", "type": "linux", "size": "17MiB"}]})";
constexpr uint64_t kFileBytes = 36 << 20;
constexpr uint64_t kDataBytes = 16 << 20;
constexpr const char kType[] = "linux";

absl::Status Create(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.ok() || ::ftruncate(fd.get(), kFileBytes) != 0) {
    return ErrnoError(errno, absl::StrCat("create '", path, "'"));
  }
  KEELSON_ASSIGN_OR_RETURN(const auto disk, OpenBlockDevice(path, {.write = true}));
  KEELSON_ASSIGN_OR_RETURN(const Layout layout, ParseLayout(kLayout));
  KEELSON_ASSIGN_OR_RETURN(const GptTable table, MakeTable(layout, disk->geometry(), RandomGuid));
  KEELSON_ASSIGN_OR_RETURN(const auto writes,
                           PlanCreate(disk->geometry(), std::string(512, '\0'), table));
  return Apply(*disk, writes);
}

// The slots in the file. The one that was last used is the one that is bootable in turn.
absl::StatusOr<SlotDisk> OpenSlots(BlockDevice& disk) {
  KEELSON_ASSIGN_OR_RETURN(const Guid type, ParsePartitionType(kType));
  KEELSON_ASSIGN_OR_RETURN(const SlotDisk slots, SlotDisk::Open(disk, {.type = type}));
  return SlotDisk::Open(disk,
                        {.type = type, .running = NextSlot(SlotsOf(slots.view().table, type))});
}

absl::Status Update(BlockDevice& disk, const std::string& version, const std::string& file) {
  // A real updater gets the tree and a signed root hash with the data. Here they are made from it.
  KEELSON_ASSIGN_OR_RETURN(std::string data, ReadFile(RealFileSystem(), file, kDataBytes));
  data.resize(kDataBytes, '\0');
  const std::string padded = absl::StrCat(file, ".padded"), tree = absl::StrCat(file, ".tree");
  KEELSON_RETURN_IF_ERROR(WriteFileAtomically(RealFileSystem(), padded, data));
  KEELSON_RETURN_IF_ERROR(WriteFileAtomically(RealFileSystem(), tree, std::string(1 << 20, '\0')));
  KEELSON_ASSIGN_OR_RETURN(const auto image, OpenBlockDevice(padded, {}));
  KEELSON_ASSIGN_OR_RETURN(const auto hash, OpenBlockDevice(tree, {.write = true}));
  const VerityFormat format = {.params = {.data_blocks = kDataBytes / 4096}};
  const VerityDevices devices = {.data = image.get(), .hash = hash.get()};
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(format, devices));
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, FormatVerity(format, devices, {}));

  KEELSON_ASSIGN_OR_RETURN(const SlotDisk slots, OpenSlots(disk));
  DeviceSource source({.version = version, .params = format.params, .root_hash = root_hash},
                      areas.place);
  KEELSON_ASSIGN_OR_RETURN(
      const InstallResult result,
      Install({.disk = disk, .slot_type = slots.view().type, .running = slots.view().running},
              source, {.trusted_root_hash = root_hash, .rename_guids = false}));
  std::printf("slot %d has '%s': %d blocks were new\n", result.slot, version.c_str(),
              static_cast<int>(result.fetched_blocks));
  return absl::OkStatus();
}

absl::Status Use(BlockDevice& disk, const std::string& out) {
  KEELSON_ASSIGN_OR_RETURN(SlotDisk slots, OpenSlots(disk));
  const std::optional<int> slot = slots.view().running;
  if (!slot.has_value()) return absl::NotFoundError("there is no data yet");
  KEELSON_RETURN_IF_ERROR(slots.Take(TakeTry{.slot = *slot}));  // Durable before the data is used.
  const GptTable& table = slots.view().table;
  KEELSON_ASSIGN_OR_RETURN(const auto window, PartitionWindow::Open(disk, table, *slot));
  std::string data(kDataBytes, '\0');
  KEELSON_RETURN_IF_ERROR(window.Read(0, {data.data(), data.size()}));
  std::printf("slot %d: '%s'\n", *slot, NameOf(table.entries[*slot - 1]).c_str());
  return WriteFileAtomically(RealFileSystem(), out, data);
}

absl::Status Good(BlockDevice& disk) {
  KEELSON_ASSIGN_OR_RETURN(SlotDisk slots, OpenSlots(disk));
  if (!slots.view().running.has_value()) return absl::NotFoundError("there is no data yet");
  return slots.Take(MarkGood{.slot = *slots.view().running});
}

absl::Status Run(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "", verb = argc > 2 ? argv[2] : "";
  if (verb == "create" && argc == 3) return Create(path);
  KEELSON_ASSIGN_OR_RETURN(const auto disk, OpenBlockDevice(path, {.write = true}));
  if (verb == "update" && argc == 5) return Update(*disk, argv[3], argv[4]);
  if (verb == "use" && argc == 4) return Use(*disk, argv[3]);
  if (verb == "good" && argc == 3) return Good(*disk);
  return absl::InvalidArgumentError("want FILE create | update VERSION DATA | use OUT | good");
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc, argv);
  if (!status.ok()) std::fprintf(stderr, "ab_updater: %s\n", status.ToString().c_str());
  return static_cast<int>(ExitCodeFor(status));
}
