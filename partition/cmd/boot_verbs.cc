// uki, boot and kexec.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/boot/boot_control.h"
#include "partition/boot/efi_variables.h"
#include "partition/boot/fat_volume.h"
#include "partition/boot/gpt_boot_control.h"
#include "partition/boot/kexec.h"
#include "partition/boot/loader_entries.h"
#include "partition/boot/rollback.h"
#include "partition/boot/systemd_boot.h"
#include "partition/boot/uki.h"
#include "partition/cmd/announcing_file_system.h"
#include "partition/cmd/output.h"
#include "partition/cmd/slot_options.h"
#include "partition/cmd/verbs.h"
#include "partition/gpt_disk.h"
#include "partition/hex.h"
#include "partition/installer/partition_window.h"
#include "partition/partition_types.h"
#include "partition/slots/failed_versions.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/pe_image.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kPartBytesMax = uint64_t{1} << 31;
constexpr char kStubFolder[] = "/usr/lib/systemd/boot/efi/";

struct UkiOptions {
  std::string stub = std::string(kStubFolder) + "linuxx64.efi.stub";
  std::string linux;
  std::string initrd;
  std::string cmdline;
  std::string os_release;
  std::string uname;
  std::string splash;
  std::string devicetree;
  std::string to;
  std::string image;
};

absl::StatusOr<std::string> ReadPart(const std::string& path) {
  return ReadFile(RealFileSystem(), path, kPartBytesMax);
}

// The text itself, or @FILE without its line end.
absl::StatusOr<std::string> TextOrFile(const std::string& argument) {
  if (!argument.starts_with('@')) return argument;
  KEELSON_ASSIGN_OR_RETURN(std::string text, ReadPart(argument.substr(1)));
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

absl::StatusOr<ExitCode> MakeUki(const Context& context, const UkiOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string stub, ReadPart(options.stub));
  UkiParts parts;
  KEELSON_ASSIGN_OR_RETURN(parts.cmdline, TextOrFile(options.cmdline));
  KEELSON_ASSIGN_OR_RETURN(parts.uname, TextOrFile(options.uname));
  for (const auto& [path, part] :
       {std::pair{&options.linux, &parts.linux}, std::pair{&options.initrd, &parts.initrd},
        std::pair{&options.os_release, &parts.os_release},
        std::pair{&options.splash, &parts.splash},
        std::pair{&options.devicetree, &parts.devicetree}}) {
    if (path->empty()) continue;
    KEELSON_ASSIGN_OR_RETURN(*part, ReadPart(*path));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string image, AssembleUki(stub, parts));
  return WriteOne(context, options.to, image);
}

absl::StatusOr<ExitCode> ShowUki(const Context& context, const UkiOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string bytes, ReadPart(options.image));
  const absl::StatusOr<PeImage> image = ParsePe(bytes);
  if (!image.ok()) return Annotate(image.status(), absl::StrCat("'", options.image, "'"));
  KEELSON_ASSIGN_OR_RETURN(const UkiParts parts, ParseUki(bytes));
  const UkiIdentity identity = IdentityOf(ParseOsRelease(parts.os_release));
  if (context.json()) {
    Json sections = Json::array();
    for (const PeSection& section : image->sections) {
      sections.push_back({{"name", section.name},
                          {"address", section.virtual_address},
                          {"offset", section.file_offset},
                          {"bytes", section.virtual_bytes},
                          {"sha256", Hex(Sha256(image->Contents(bytes, section)))}});
    }
    const Json answer = {{"image", options.image},
                         {"title", identity.title},
                         {"version", identity.version},
                         {"sort_key", identity.sort_key},
                         {"cmdline", parts.cmdline},
                         {"uname", parts.uname},
                         {"signed", image->certificates_bytes != 0},
                         {"sections", sections}};
    std::printf("%s\n", answer.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return ExitCode::kDone;
  }
  absl::PrintF("'%s': %s, version %s, %s\n", options.image, identity.title, identity.version,
               image->certificates_bytes != 0 ? "signed" : "not signed");
  absl::PrintF("command line: %s\n", parts.cmdline);
  absl::PrintF("%-10s %10s %10s %12s\n", "SECTION", "ADDRESS", "OFFSET", "BYTES");
  for (const PeSection& section : image->sections) {
    absl::PrintF("%-10s %10x %10x %12d\n", section.name, section.virtual_address,
                 section.file_offset, section.virtual_bytes);
  }
  return ExitCode::kDone;
}

void AddUkiVerbs(CLI::App& app, Context& context) {
  CLI::App* uki = app.add_subcommand("uki", "Unified kernel images.");
  uki->require_subcommand(1);
  const auto options = std::make_shared<UkiOptions>();
  CLI::App* verb = uki->add_subcommand("make", "Put a kernel and what belongs to it in one image.");
  verb->add_option("--linux", options->linux, "The kernel, a bzImage with EFI stub.")->required();
  verb->add_option("--initrd", options->initrd, "The initramfs.");
  verb->add_option("--cmdline", options->cmdline, "The command line, or @FILE.");
  verb->add_option("--os-release", options->os_release,
                   "An os-release file: title and version for the loader, which lists no image "
                   "without one.")
      ->required();
  verb->add_option("--uname", options->uname, "Release of the kernel, or @FILE.");
  verb->add_option("--splash", options->splash, "A BMP picture.");
  verb->add_option("--devicetree", options->devicetree, "A device tree blob.");
  verb->add_option("--stub", options->stub, "systemd's stub; default: that of the host.");
  verb->add_option("--to", options->to, "Where to write the image.")->required();
  verb->callback([&context, options] {
    context.run = [&context, options] { return MakeUki(context, *options); };
  });
  verb = uki->add_subcommand("show", "What an image holds.");
  verb->add_option("IMAGE", options->image, "The image.")->required();
  verb->callback([&context, options] {
    context.run = [&context, options] { return ShowUki(context, *options); };
  });
}

struct BootOptions {
  std::string esp = "/efi";
  std::string efi_variables = kEfiVariablesFolder;
  std::string id;
  std::string image;
  std::string verdict;
  std::string reason;
  std::string record = "/var/lib/keelson/cold-boot";
  std::string cmdline = "/proc/cmdline";
  std::string failed_versions;  // the ledger's path; empty: none is kept
  int tries = 3;
  bool good = false;
  bool force = false;
  // Of kexec: into a slot of a disk rather than an entry of the boot partition.
  SlotOptions slots;
  bool now = false;
};

// The boot control of the partition that --esp names, which says what it changes.
struct Control {
  Control(const Context& context, const BootOptions& options)
      : fs(RealFileSystem(), context),
        systemd_boot(fs, {.root = options.esp, .efi_variables = options.efi_variables}) {}

  AnnouncingFileSystem fs;
  SystemdBoot systemd_boot;
};

// The answer of a verb that changes something.
ExitCode AnswerChanges(const Context& context, const Control& control) {
  if (context.json()) {
    const Json answer = {{"dry_run", context.dry_run}, {"changes", control.fs.changes()}};
    std::printf("%s\n", answer.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else if (control.fs.changes().empty()) {
    std::fprintf(stderr, "nothing to change\n");
  }
  return ExitCode::kDone;
}

// The EFI system partition of a disk, or of the image of one, that is not mounted.
struct UnmountedEsp {
  std::unique_ptr<BlockDevice> disk;
  std::unique_ptr<PartitionWindow> window;
  std::unique_ptr<FatVolume> volume;
};

absl::StatusOr<UnmountedEsp> OpenEsp(const Context& context, const std::string& path) {
  UnmountedEsp esp;
  KEELSON_ASSIGN_OR_RETURN(esp.disk, context.OpenForReading(path));
  KEELSON_ASSIGN_OR_RETURN(const GptReading reading, ReadGpt(*esp.disk));
  KEELSON_ASSIGN_OR_RETURN(const Guid type, ParsePartitionType("esp"));
  for (size_t i = 0; i < reading.table.entries.size(); ++i) {
    if (reading.table.entries[i].type != type) continue;
    KEELSON_ASSIGN_OR_RETURN(
        PartitionWindow window,
        PartitionWindow::Open(*esp.disk, reading.table, static_cast<int>(i) + 1));
    esp.window = std::make_unique<PartitionWindow>(std::move(window));
    KEELSON_ASSIGN_OR_RETURN(esp.volume, FatVolume::Open(*esp.window));
    return esp;
  }
  return absl::NotFoundError(absl::StrCat("'", path, "' has no EFI system partition"));
}

absl::StatusOr<ExitCode> ListBoot(const Context& context, const BootOptions& options) {
  UnmountedEsp esp;
  if (!options.slots.disk.empty()) {
    KEELSON_ASSIGN_OR_RETURN(esp, OpenEsp(context, options.slots.disk));
  }
  FileSystem& fs = esp.volume ? *esp.volume : RealFileSystem();
  const std::string root = esp.volume ? "" : options.esp;
  const std::string variables = esp.volume ? "" : options.efi_variables;  // Another machine's.
  SystemdBoot systemd_boot(fs, {.root = root, .efi_variables = variables});
  KEELSON_ASSIGN_OR_RETURN(const std::vector<BootCandidate> candidates, systemd_boot.Candidates());
  std::vector<std::string> left_out;
  KEELSON_RETURN_IF_ERROR(ReadLoaderEntries(fs, root, &left_out));
  if (context.json()) {
    Json list = Json::array();
    for (const BootCandidate& candidate : candidates) {
      list.push_back({{"id", candidate.id},
                      {"title", candidate.title},
                      {"version", candidate.version},
                      {"state", BootStateName(candidate.state)},
                      {"tries_left", candidate.tries_left},
                      {"tries_done", candidate.tries_done},
                      {"next", candidate.next},
                      {"why", candidate.why}});
    }
    const Json answer = {{"esp", options.esp}, {"entries", list}, {"left_out", left_out}};
    std::printf("%s\n", answer.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return ExitCode::kDone;
  }
  absl::PrintF("%-4s  %-32s  %-12s  %-5s  %5s  %s\n", "NEXT", "ENTRY", "VERSION", "STATE", "TRIES",
               "WHY");
  for (const BootCandidate& candidate : candidates) {
    const std::string tries = candidate.state == BootState::kGood
                                  ? "-"
                                  : absl::StrCat(candidate.tries_left, "-", candidate.tries_done);
    absl::PrintF("%-4s  %-32s  %-12s  %-5s  %5s  %s\n", candidate.next ? "->" : "", candidate.id,
                 candidate.version, std::string(BootStateName(candidate.state)), tries,
                 candidate.why);
  }
  for (const std::string& line : left_out) absl::PrintF("not an entry: %s\n", line);
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> CommitBoot(const Context& context, const BootOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string image, ReadPart(options.image));
  const absl::StatusOr<UkiParts> parts = ParseUki(image);
  if (!parts.ok()) return Annotate(parts.status(), absl::StrCat("'", options.image, "'"));
  const std::string id =
      options.id.empty() ? options.image.substr(options.image.rfind('/') + 1) : options.id;
  if (!options.failed_versions.empty() && !options.force) {
    KEELSON_ASSIGN_OR_RETURN(const FailedVersions ledger,
                             ReadFailedVersions(RealFileSystem(), options.failed_versions));
    KEELSON_RETURN_IF_ERROR(ledger.Check(IdentityOf(ParseOsRelease(parts->os_release)).version));
  }
  Control control(context, options);
  const std::optional<int> tries = options.good ? std::nullopt : std::optional(options.tries);
  KEELSON_RETURN_IF_ERROR(control.systemd_boot.Commit({.id = id, .contents = image}, tries));
  return AnswerChanges(context, control);
}

absl::StatusOr<ExitCode> MarkBoot(const Context& context, const BootOptions& options) {
  Control control(context, options);
  std::string id = options.id;
  if (id.empty()) {
    KEELSON_ASSIGN_OR_RETURN(id, control.systemd_boot.Running());
  }
  const BootVerdict verdict = options.verdict == "good"  ? BootVerdict::kGood
                              : options.verdict == "bad" ? BootVerdict::kBad
                                                         : BootVerdict::kIndeterminate;
  KEELSON_RETURN_IF_ERROR(control.systemd_boot.Mark(id, verdict, options.reason));
  return AnswerChanges(context, control);
}

absl::StatusOr<ExitCode> RemoveBoot(const Context& context, const BootOptions& options) {
  Control control(context, options);
  KEELSON_RETURN_IF_ERROR(control.systemd_boot.Remove(options.id));
  return AnswerChanges(context, control);
}

absl::StatusOr<ExitCode> TidyBoot(const Context& context, const BootOptions& options) {
  Control control(context, options);
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> done, control.systemd_boot.Tidy());
  if (!context.json()) {
    for (const std::string& line : done) std::fprintf(stderr, "%s\n", line.c_str());
  }
  return AnswerChanges(context, control);
}

// Loads `image`, the candidate `id` of `control`, and with --now jumps into it.
absl::Status Load(const Context& context, const BootOptions& options, BootControl& control,
                  FileSystem& fs, const std::string& image) {
  if (context.dry_run) {
    KEELSON_RETURN_IF_ERROR(ParseUki(image));
    if (context.json()) return absl::OkStatus();
    std::fprintf(stderr, "would load '%s'%s\n", options.id.c_str(),
                 options.now ? " and start it" : "");
    return absl::OkStatus();
  }
  KexecActivation activation(RealKexecKernel(), control, fs, options.record);
  KEELSON_RETURN_IF_ERROR(activation.Prepare(options.id, image));
  if (!options.now) {
    if (!context.json()) std::fprintf(stderr, "loaded; `systemctl kexec` starts it\n");
    return absl::OkStatus();
  }
  std::fprintf(stderr, "starting '%s'\n", options.id.c_str());
  return RealKexecKernel().Start();
}

// Into a slot of a disk, whose image is a file.
absl::StatusOr<ExitCode> KexecSlot(const Context& context, const BootOptions& options) {
  if (options.image.empty()) {
    return absl::InvalidArgumentError("--image: the unified kernel image of the slot");
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string image, ReadPart(options.image));
  KEELSON_ASSIGN_OR_RETURN(const OpenSlots slots, OpenSlotsOf(context, options.slots, true));
  GptBootControl control(*slots.disk);
  AnnouncingFileSystem fs(RealFileSystem(), context);
  KEELSON_RETURN_IF_ERROR(Load(context, options, control, fs, image));
  if (context.json()) {
    const Json answer = {{"dry_run", context.dry_run}, {"changes", fs.changes()}};
    std::printf("%s\n", answer.dump(2).c_str());
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Kexec(const Context& context, const BootOptions& options) {
  if (!options.slots.disk.empty()) return KexecSlot(context, options);
  Control control(context, options);
  KEELSON_ASSIGN_OR_RETURN(const auto entries, ReadLoaderEntries(control.fs, options.esp));
  const auto entry = std::find_if(entries.begin(), entries.end(), [&](const LoaderEntry& item) {
    return item.name.id() == options.id && !item.type1.has_value();
  });
  if (entry == entries.end()) {
    return absl::NotFoundError(
        absl::StrCat("no image '", options.id, "' in '", options.esp, "/", kType2Folder, "'"));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string image, ReadPart(JoinPath(options.esp, entry->path())));
  KEELSON_RETURN_IF_ERROR(Load(context, options, control.systemd_boot, control.fs, image));
  return AnswerChanges(context, control);
}

// Puts versions of entries whose tries are gone on the ledger.
absl::Status NoteFailures(const BootOptions& options, Control& control) {
  if (options.failed_versions.empty()) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<BootCandidate> candidates,
                           control.systemd_boot.Candidates());
  // Which one runs must be known: it may be the one whose last try this is.
  KEELSON_ASSIGN_OR_RETURN(const std::string running, control.systemd_boot.Running());
  KEELSON_ASSIGN_OR_RETURN(FailedVersions ledger,
                           ReadFailedVersions(control.fs, options.failed_versions));
  const std::vector<std::string> noted =
      NoteRolledBack(candidates, running, absl::ToUnixSeconds(absl::Now()), ledger);
  if (noted.empty()) return absl::OkStatus();
  for (const std::string& version : noted) {
    std::fprintf(stderr, "version '%s' was rolled back\n", version.c_str());
  }
  return WriteFailedVersions(control.fs, options.failed_versions, ledger);
}

absl::StatusOr<ExitCode> NoteStart(const Context& context, const BootOptions& options) {
  Control control(context, options);
  KEELSON_ASSIGN_OR_RETURN(const std::string cmdline, ReadPart(options.cmdline));
  KexecActivation activation(RealKexecKernel(), control.systemd_boot, control.fs, options.record);
  KEELSON_ASSIGN_OR_RETURN(const ColdBoot cold, activation.NoteStart(cmdline));
  KEELSON_RETURN_IF_ERROR(NoteFailures(options, control));
  if (context.json()) {
    const Json answer = {
        {"dry_run", context.dry_run}, {"cold_boot_owed", cold.owed}, {"entry", cold.id}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else if (cold.owed) {
    absl::PrintF("'%s' was started by kexec: a start from cold is owed\n", cold.id);
  } else {
    absl::PrintF("no start from cold is owed\n");
  }
  return ExitCode::kDone;
}

using BootAction = absl::StatusOr<ExitCode> (*)(const Context&, const BootOptions&);

CLI::App* AddBootVerb(CLI::App* under, Context& context,
                      const std::shared_ptr<BootOptions>& options, const char* name,
                      const char* help, BootAction action) {
  CLI::App* verb = under->add_subcommand(name, help);
  verb->add_option("--esp", options->esp, "Where the boot partition is mounted; default: /efi.");
  verb->callback([&context, options, action] {
    context.run = [&context, options, action] { return action(context, *options); };
  });
  return verb;
}

void AddEspVerbs(CLI::App& app, Context& context) {
  CLI::App* boot =
      app.add_subcommand("boot", "What systemd-boot starts next, and with how many tries.");
  boot->require_subcommand(1);
  const auto options = std::make_shared<BootOptions>();
  const auto add = [&](CLI::App* under, const char* name, const char* help, BootAction action) {
    return AddBootVerb(under, context, options, name, help, action);
  };
  boot->add_option("--efi-variables", options->efi_variables, "Default: the kernel's efivarfs.");
  CLI::App* verb = add(
      boot, "list", "All entries in the loader's order, and why each boots next or not.", ListBoot);
  verb->add_option("--disk", options->slots.disk,
                   "A disk or an image, whose boot partition is read without mounting it.");

  verb = add(boot, "commit", "Put a unified kernel image on the boot partition, on trial.",
             CommitBoot);
  verb->add_option("IMAGE", options->image, "The image.")->required();
  verb->add_option("--id", options->id, "Name of the entry, NAME.efi; default: that of the file.");
  verb->add_option("--tries", options->tries, "How often it may be started. Default: 3.");
  verb->add_flag("--good", options->good, "Not on trial: the first image of a new machine.");
  verb->add_option("--failed-versions", options->failed_versions,
                   "File with the versions that failed here: none of them is put there.");
  verb->add_flag("--force", options->force, "Though the version failed here.");

  verb = add(boot, "mark", "Say whether an entry works.", MarkBoot);
  verb->add_option("VERDICT", options->verdict, "good, bad or indeterminate.")
      ->required()
      ->check(CLI::IsMember({"good", "bad", "indeterminate"}));
  verb->add_option("ID", options->id, "The entry; default: the one that is running.");
  verb->add_option("--reason", options->reason, "For whoever keeps a record of failures.");

  verb = add(boot, "remove", "Remove an entry that is neither running nor the last that boots.",
             RemoveBoot);
  verb->add_option("ID", options->id, "The entry.")->required();

  add(boot, "tidy", "Remove what interrupted calls left behind.", TidyBoot);

  verb = add(boot, "started", "To be called at each start: whether a start from cold is owed.",
             NoteStart);
  verb->add_option("--record", options->record, "Default: /var/lib/keelson/cold-boot.");
  verb->add_option("--cmdline", options->cmdline, "Default: /proc/cmdline.");
  verb->add_option("--failed-versions", options->failed_versions,
                   "File on which versions go whose tries were used up.");

  verb = add(&app, "kexec", "Load an image for `systemctl kexec`, and take a try from it.", Kexec);
  verb->add_option("ID", options->id, "An entry, NAME.efi; with --disk a slot, slot-NUMBER.")
      ->required();
  verb->add_option("--record", options->record, "Default: /var/lib/keelson/cold-boot.");
  verb->add_flag("--now", options->now, "Start it at once: nothing is stopped before.");
  verb->add_option("--disk", options->slots.disk, "The disk with the slots.");
  verb->add_option("--type", options->slots.type, "Partitions of --disk that are slots.");
  verb->add_option("--image", options->image, "With --disk: the unified kernel image of the slot.");
}

}  // namespace

void AddBootVerbs(CLI::App& app, Context& context) {
  AddUkiVerbs(app, context);
  AddEspVerbs(app, context);
}

}  // namespace keelson::partition
