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
#include <cstdio>
#include <string>
#include <utility>

#include "base/exit_code.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/installer/installer.h"
#include "partition/installer/memory_source.h"
#include "partition/installer/partition_window.h"
#include "partition/layout.h"
#include "partition/slots/slot_disk.h"

using namespace keelson;             // NOLINT: a small program
using namespace keelson::partition;  // NOLINT

namespace {

constexpr const char kLayout[] = R"({"partitions": [
    {"number": 1, "label": "", "type": "linux", "size": "17MiB"},
    {"number": 2, "label": "", "type": "linux", "size": "17MiB"}]})";
constexpr uint64_t kDataBytes = 16 << 20;

absl::Status Create(const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const Layout layout, ParseLayout(kLayout));
  KEELSON_ASSIGN_OR_RETURN(
      const auto file,
      RealFileSystem().Open(path, {.write = true, .create = true, .exclusive = true}));
  KEELSON_RETURN_IF_ERROR(file->Truncate(36 << 20));
  KEELSON_ASSIGN_OR_RETURN(const auto disk, OpenBlockDevice(path, {.write = true}));
  KEELSON_ASSIGN_OR_RETURN(const GptTable table, MakeTable(layout, disk->geometry(), RandomGuid));
  KEELSON_ASSIGN_OR_RETURN(const auto writes,
                           PlanCreate(disk->geometry(), std::string(512, '\0'), table));
  return Apply(*disk, writes);
}

// The slots in the file. The one that was last used is the one that is bootable in turn.
absl::StatusOr<SlotDisk> OpenSlots(BlockDevice& disk) {
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(disk));
  const Guid type = reading.table.entries[0].type;
  return SlotDisk::Open(disk, {.type = type, .running = NextSlot(SlotsOf(reading.table, type))});
}

absl::Status Update(BlockDevice& disk, const std::string& version, const std::string& file) {
  KEELSON_ASSIGN_OR_RETURN(std::string data, ReadFile(RealFileSystem(), file, kDataBytes));
  data.resize(kDataBytes, '\0');
  // Whoever updates from afar has a signed root hash with the data, and trusts that one.
  KEELSON_ASSIGN_OR_RETURN(const auto source, MemorySource::Make(version, std::move(data)));
  KEELSON_ASSIGN_OR_RETURN(const SlotDisk slots, OpenSlots(disk));
  const InstallTarget target = {
      .disk = disk, .slot_type = slots.view().type, .running = slots.view().running};
  KEELSON_ASSIGN_OR_RETURN(
      const InstallResult result,
      Install(target, *source, {.trusted_root_hash = source->root_hash(), .rename_guids = false}));
  std::printf("slot %d has '%s': %d blocks were new\n", result.slot, version.c_str(),
              static_cast<int>(result.fetched_blocks));
  return absl::OkStatus();
}

absl::Status Use(SlotDisk& slots, int slot, const std::string& out) {
  KEELSON_RETURN_IF_ERROR(slots.Take(TakeTry{.slot = slot}));  // Durable before the data is used.
  const GptTable& table = slots.view().table;
  KEELSON_ASSIGN_OR_RETURN(const auto window, PartitionWindow::Open(slots.disk(), table, slot));
  std::string data(kDataBytes, '\0');
  KEELSON_RETURN_IF_ERROR(window.Read(0, {data.data(), data.size()}));
  std::printf("slot %d: '%s'\n", slot, NameOf(table.entries[slot - 1]).c_str());
  return WriteFileAtomically(RealFileSystem(), out, data);
}

absl::Status Run(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "", verb = argc > 2 ? argv[2] : "";
  if (verb == "create" && argc == 3) return Create(path);
  KEELSON_ASSIGN_OR_RETURN(const auto disk, OpenBlockDevice(path, {.write = true}));
  if (verb == "update" && argc == 5) return Update(*disk, argv[3], argv[4]);
  KEELSON_ASSIGN_OR_RETURN(SlotDisk slots, OpenSlots(*disk));
  if (!slots.view().running.has_value()) return absl::NotFoundError("there is no data yet");
  if (verb == "use" && argc == 4) return Use(slots, *slots.view().running, argv[3]);
  if (verb == "good" && argc == 3) return slots.Take(MarkGood{.slot = *slots.view().running});
  return absl::InvalidArgumentError("want FILE create | update VERSION DATA | use OUT | good");
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run(argc, argv);
  if (!status.ok()) std::fprintf(stderr, "ab_updater: %s\n", status.ToString().c_str());
  return static_cast<int>(ExitCodeFor(status));
}
