// install, delta: new systems for slots.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/boot/efi_variables.h"
#include "partition/boot/systemd_boot.h"
#include "partition/boot/uki.h"
#include "partition/cmd/announcing_file_system.h"
#include "partition/cmd/progress.h"
#include "partition/cmd/slot_options.h"
#include "partition/cmd/verbs.h"
#include "partition/cmd/verity_options.h"
#include "partition/installer/block_delta.h"
#include "partition/installer/device_source.h"
#include "partition/installer/installer.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kImageBytesMax = uint64_t{1} << 31;

struct InstallOptions : SlotOptions {
  VerityOptions area;  // data, hash, hash_offset, root_hash, root_hash_file
  std::string version;
  std::string delta;     // in place of data and hash
  std::string old_data;  // of `delta`
  std::string out;
  std::optional<int> slot;
  int hash_partition = 0;
  int tries = 3;
  bool force = false;
  std::string boot_image;  // a unified kernel image that boots the slot
  std::string esp = "/efi";
};

const char* PhaseName(InstallPhase phase) {
  switch (phase) {
    case InstallPhase::kSurvey:
      return "looking at the slot";
    case InstallPhase::kCopy:
      return "looking at other slots";
    case InstallPhase::kFetch:
      return "writing";
    case InstallPhase::kReadBack:
      return "reading back";
  }
  return "";
}

// A source, and the devices that it reads.
struct OpenSource {
  OpenVerity area;
  std::unique_ptr<ImageSource> source;
};

absl::StatusOr<OpenSource> OpenImage(const Context& context, const InstallOptions& options,
                                     const std::string& root_hash) {
  OpenSource open;
  if (!options.delta.empty()) {
    KEELSON_ASSIGN_OR_RETURN(auto file, RealFileSystem().Open(options.delta, {}));
    KEELSON_ASSIGN_OR_RETURN(open.source, BlockDeltaSource::Open(std::move(file)));
    return open;
  }
  if (options.area.data.empty() || options.area.hash.empty()) {
    return absl::InvalidArgumentError("give --image and --hash-file, or --delta");
  }
  KEELSON_ASSIGN_OR_RETURN(open.area, OpenVerityArea(context, options.area, VerityAccess::kRead));
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(open.area.format, open.area.devices));
  KEELSON_RETURN_IF_ERROR(CheckPlace(areas.place));
  const ImageDescription description = {.version = options.version,
                                        .params = open.area.format.params,
                                        .uuid = open.area.format.uuid,
                                        .root_hash = root_hash};
  open.source = std::make_unique<DeviceSource>(description, areas.place);
  return open;
}

absl::StatusOr<ExitCode> DryRun(const Context& context, const InstallOptions& options,
                                const InstallTarget& target, ImageSource& source,
                                const InstallRequest& request) {
  KEELSON_ASSIGN_OR_RETURN(const auto ranges, BlocksToFetch(target, source, request));
  uint64_t blocks = 0;
  for (const BlockRange& range : ranges) blocks += range.count;
  const VerityParams& params = source.description().params;
  if (context.json()) {
    const Json answer = {{"disk", options.disk},
                         {"dry_run", true},
                         {"version", source.description().version},
                         {"blocks", params.data_blocks},
                         {"fetched_blocks", blocks}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else {
    absl::FPrintF(stderr, "'%s': would install '%s': %d of %d blocks from the image\n",
                  options.disk, source.description().version, blocks, params.data_blocks);
  }
  return ExitCode::kDone;
}

// The image that boots the new system, for systemd-boot: refused before the slot is touched, put on
// the boot partition when the slot is whole.
class BootImageInstall {
 public:
  BootImageInstall(const Context& context, const InstallOptions& options)
      : options_(options),
        fs_(RealFileSystem(), context),
        systemd_boot_(fs_, {.root = options.esp, .efi_variables = kEfiVariablesFolder}) {}

  absl::Status Check() {
    if (options_.boot_image.empty()) return absl::OkStatus();
    KEELSON_ASSIGN_OR_RETURN(image_,
                             ReadFile(RealFileSystem(), options_.boot_image, kImageBytesMax));
    KEELSON_RETURN_IF_ERROR(
        Annotate(ParseUki(image_).status(), absl::StrCat("'", options_.boot_image, "'")));
    KEELSON_ASSIGN_OR_RETURN(const std::vector<BootCandidate> candidates,
                             systemd_boot_.Candidates());
    for (const BootCandidate& candidate : candidates) {
      if (candidate.id == Id()) return absl::OkStatus();  // An earlier call came that far.
    }
    return systemd_boot_.CheckRoom(image_.size());
  }

  absl::Status Commit() {
    if (options_.boot_image.empty()) return absl::OkStatus();
    return systemd_boot_.Commit({.id = Id(), .contents = image_}, options_.tries);
  }

 private:
  [[nodiscard]] std::string Id() const {
    return options_.boot_image.substr(options_.boot_image.rfind('/') + 1);
  }

  const InstallOptions& options_;
  AnnouncingFileSystem fs_;
  SystemdBoot systemd_boot_;
  std::string image_;
};

absl::StatusOr<ExitCode> DoInstall(const Context& context, const InstallOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, RootHashOf(options.area));
  KEELSON_ASSIGN_OR_RETURN(const OpenSource open, OpenImage(context, options, root_hash));
  // Which slots there are; then the disk is the installer's.
  KEELSON_ASSIGN_OR_RETURN(const OpenSlots slots, OpenSlotsOf(context, options, true));
  const InstallTarget target = {.disk = *slots.device,
                                .slot_type = slots.view().type,
                                .running = slots.view().running,
                                .failed_versions = slots.view().failed_versions};
  const InstallRequest request = {.trusted_root_hash = root_hash,
                                  .slot = options.slot,
                                  .hash_partition = options.hash_partition,
                                  .tries = options.tries,
                                  .force = options.force};
  BootImageInstall boot_image(context, options);
  KEELSON_RETURN_IF_ERROR(boot_image.Check());
  if (context.dry_run) {
    KEELSON_RETURN_IF_ERROR(boot_image.Commit());  // Says what it would write.
    return DryRun(context, options, target, *open.source, request);
  }
  const int slot = options.slot.value_or(PassiveSlot(slots.view()).value_or(0));
  UniqueFd held_slot;
  UniqueFd held_tree;
  // Without one, the installer says why.
  if (slot != 0) {
    KEELSON_ASSIGN_OR_RETURN(held_slot, HoldPartition(options.disk, slot));
  }
  if (options.hash_partition != 0) {
    KEELSON_ASSIGN_OR_RETURN(held_tree, HoldPartition(options.disk, options.hash_partition));
  }
  ProgressOfPhases progress;
  const InstallObserver observer = {
      .progress = [&](InstallPhase phase, uint64_t done,
                      uint64_t total) { progress.Update(PhaseName(phase), done, total); },
      .table_write =
          [&](const DiskWrite& write) {
            progress.End();
            if (context.json()) return;
            absl::FPrintF(stderr, "writing '%s': %s, %d bytes at byte %d\n", options.disk,
                          write.what, write.data.size(), write.offset);
          }};
  KEELSON_ASSIGN_OR_RETURN(const InstallResult result,
                           Install(target, *open.source, request, observer));
  progress.End();
  KEELSON_RETURN_IF_ERROR(boot_image.Commit());
  if (context.json()) {
    const Json answer = {{"disk", options.disk},
                         {"dry_run", false},
                         {"version", open.source->description().version},
                         {"slot", result.slot},
                         {"kept_blocks", result.kept_blocks},
                         {"copied_blocks", result.copied_blocks},
                         {"fetched_blocks", result.fetched_blocks}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else {
    absl::PrintF("slot %d has '%s' and boots next: %d blocks kept, %d copied, %d from the image\n",
                 result.slot, open.source->description().version, result.kept_blocks,
                 result.copied_blocks, result.fetched_blocks);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> DoDelta(const Context& context, const InstallOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, RootHashOf(options.area));
  KEELSON_ASSIGN_OR_RETURN(const OpenSource open, OpenImage(context, options, root_hash));
  KEELSON_ASSIGN_OR_RETURN(const auto old_image,
                           OpenBlockDevice(options.old_data, {.sector_bytes = 512}));
  if (context.dry_run) {
    if (context.json()) {
      std::printf("%s\n", Json{{"delta", options.out}, {"dry_run", true}}.dump(2).c_str());
    } else {
      absl::FPrintF(stderr, "would write '%s'\n", options.out);
    }
    return ExitCode::kDone;
  }
  const std::string temporary = options.out + ".tmp";
  FileSystem& fs = RealFileSystem();
  KEELSON_ASSIGN_OR_RETURN(const auto out,
                           fs.Open(temporary, {.write = true, .create = true, .truncate = true}));
  ProgressOfPhases progress;
  const DeltaProgress tell = [&](DeltaPhase phase, uint64_t done, uint64_t total) {
    progress.Update(phase == DeltaPhase::kOldImage ? "looking at the old image" : "writing", done,
                    total);
  };
  KEELSON_ASSIGN_OR_RETURN(const DeltaSize size,
                           WriteBlockDelta(*old_image, *open.source, *out, tell));
  progress.End();
  KEELSON_RETURN_IF_ERROR(out->SyncData());
  KEELSON_RETURN_IF_ERROR(fs.Rename(temporary, options.out));
  if (context.json()) {
    const Json answer = {{"delta", options.out},
                         {"blocks", size.image_blocks},
                         {"changed_blocks", size.changed_blocks},
                         {"bytes", size.bytes}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else {
    absl::PrintF("'%s': %d of %d blocks, %d bytes\n", options.out, size.changed_blocks,
                 size.image_blocks, size.bytes);
  }
  return ExitCode::kDone;
}

void AddRootHashOptions(CLI::App& verb, InstallOptions& options) {
  verb.add_option("--root-hash", options.area.root_hash, "That of the new system: trusted.");
  verb.add_option("--root-hash-file", options.area.root_hash_file, "Read.");
  verb.add_option("--hash-offset", options.area.hash_offset, "Start of the hash area, in bytes.");
  verb.add_option("--image-version", options.version, "Becomes the name of the partition.");
}

}  // namespace

void AddInstallVerbs(CLI::App& app, Context& context) {
  // Live as long as the program.
  auto i = std::make_shared<InstallOptions>();
  CLI::App* install = app.add_subcommand(
      "install",
      "Write a new system into the passive slot. Killed at any moment, it goes on where it stopped "
      "when called again.");
  AddSlotOptions(*install, *i);
  AddRootHashOptions(*install, *i);
  install->add_option("--image", i->area.data, "The new system.");
  install->add_option("--hash-file", i->area.hash, "Its hash area; may be the same file.");
  install->add_option("--delta", i->delta, "A delta, in place of both.");
  install->add_option("--slot", i->slot, "Default: the one that is needed least.");
  install->add_option("--hash-partition", i->hash_partition,
                      "For the hash tree. Default: behind the data.");
  install->add_option("--tries", i->tries, "Boots to prove itself, 1 to 15. Default: 3.");
  install->add_option("--boot-image", i->boot_image,
                      "A unified kernel image for systemd-boot: its room is asked for before the "
                      "slot is touched.");
  install->add_option("--esp", i->esp, "Where the boot partition is mounted. Default: /efi.");
  install->add_flag("--force", i->force,
                    "Though the version failed here, or no other slot is marked good.");
  install->callback(
      [&context, i] { context.run = [&context, i] { return DoInstall(context, *i); }; });

  auto d = std::make_shared<InstallOptions>();
  CLI::App* delta = app.add_subcommand("delta", "Make a delta of two images.");
  delta->add_option("OLD_IMAGE", d->old_data, "What the machines have.")->required();
  delta->add_option("NEW_IMAGE", d->area.data, "What they are to get.")->required();
  delta->add_option("HASH_FILE", d->area.hash, "Hash area of the new image.")->required();
  delta->add_option("DELTA", d->out, "Written.")->required();
  AddRootHashOptions(*delta, *d);
  delta->callback([&context, d] { context.run = [&context, d] { return DoDelta(context, *d); }; });
}

}  // namespace keelson::partition
