// verity open, close, status: devices of the kernel's device mapper.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/cmd/verbs.h"
#include "partition/cmd/verity_options.h"
#include "partition/hex.h"
#include "partition/verity/device_mapper.h"
#include "partition/verity/loop_device.h"
#include "partition/verity/verity_device.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kSignatureBytesMax = 64 * 1024;
constexpr const char kType[] = "verity";

// The device mapper takes block devices: files are attached to loop devices, one for each file.
class BlockPaths {
 public:
  // The path of the block device that stands for `path`.
  absl::StatusOr<std::string> Of(const std::string& path) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) {
      const int error = errno;
      return ErrnoError(error, absl::StrCat("open '", path, "'"));
    }
    if (S_ISBLK(info.st_mode)) return path;
    if (!S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", path, "': neither a block device nor a file"));
    }
    const std::pair file(info.st_dev, info.st_ino);
    auto found = loops_.find(file);
    if (found == loops_.end()) {
      KEELSON_ASSIGN_OR_RETURN(LoopDevice loop, LoopDevice::Attach(path));
      found = loops_.emplace(file, std::move(loop)).first;
    }
    return found->second.path();
  }

 private:
  std::map<std::pair<dev_t, ino_t>, LoopDevice> loops_;
};

absl::StatusOr<OnCorruption> CorruptionOf(const VerityOptions& options) {
  const int chosen = (options.ignore_corruption ? 1 : 0) + (options.restart_on_corruption ? 1 : 0) +
                     (options.panic_on_corruption ? 1 : 0);
  if (chosen > 1) {
    return absl::InvalidArgumentError(
        "--ignore-corruption, --restart-on-corruption, --panic-on-corruption: at most one");
  }
  if (options.ignore_corruption) return OnCorruption::kIgnore;
  if (options.restart_on_corruption) return OnCorruption::kRestart;
  return options.panic_on_corruption ? OnCorruption::kPanic : OnCorruption::kFailRead;
}

absl::StatusOr<VerityActivation> ActivationOf(const VerityOptions& options,
                                              const OpenVerity& area) {
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(area.format, area.devices));
  VerityActivation activation = {.name = options.name, .uuid = area.format.uuid};
  VerityTable& table = activation.table;
  table.params = area.format.params;
  table.data_device = options.data;
  table.hash_device = options.hash;
  table.hash_start_block = areas.place.tree_offset / table.params.hash_block_bytes;
  KEELSON_ASSIGN_OR_RETURN(table.root_hash, RootHashOf(options));
  KEELSON_ASSIGN_OR_RETURN(table.on_corruption, CorruptionOf(options));
  table.ignore_zero_blocks = options.ignore_zero_blocks;
  table.check_at_most_once = options.check_at_most_once;
  table.use_tasklets = options.use_tasklets;
  if (area.format.fec.has_value()) {
    KEELSON_ASSIGN_OR_RETURN(const FecMessage message, FecMessageOf(area.format, area.devices));
    KEELSON_ASSIGN_OR_RETURN(const FecShape shape, FecShapeOf(message, area.format.fec->roots));
    table.fec =
        VerityFecTable{.device = options.fec_device,
                       .start_block = area.format.fec->offset / table.params.data_block_bytes,
                       .blocks = shape.message_blocks,
                       .roots = area.format.fec->roots};
  }
  if (!options.root_hash_signature.empty()) {
    table.signature_key = absl::StrCat("keelson-verity:", options.name);
  }
  return activation;
}

absl::StatusOr<ExitCode> Open(const Context& context, const VerityOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const OpenVerity area,
                           OpenVerityArea(context, options, VerityAccess::kRead));
  KEELSON_ASSIGN_OR_RETURN(VerityActivation activation, ActivationOf(options, area));
  KEELSON_ASSIGN_OR_RETURN(const std::string text, VerityTableText(activation.table));
  if (context.dry_run) {
    if (context.json()) {
      const Json answer = {{"device", absl::StrCat("/dev/mapper/", options.name)},
                           {"dry_run", true},
                           {"sectors", activation.table.sectors()},
                           {"table", text}};
      std::printf("%s\n", answer.dump(2).c_str());
    } else {
      absl::PrintF("0 %d %s %s\n", activation.table.sectors(), kType, text);
    }
    return ExitCode::kDone;
  }
  KEELSON_ASSIGN_OR_RETURN(const auto control, OpenDmControl());
  // Until the end of this function: then the mapping holds them.
  BlockPaths blocks;
  KEELSON_ASSIGN_OR_RETURN(activation.table.data_device, blocks.Of(options.data));
  KEELSON_ASSIGN_OR_RETURN(activation.table.hash_device, blocks.Of(options.hash));
  if (activation.table.fec.has_value()) {
    KEELSON_ASSIGN_OR_RETURN(activation.table.fec->device, blocks.Of(options.fec_device));
  }
  if (!options.root_hash_signature.empty()) {
    KEELSON_ASSIGN_OR_RETURN(
        const std::string signature,
        ReadFile(RealFileSystem(), options.root_hash_signature, kSignatureBytesMax));
    KEELSON_RETURN_IF_ERROR(AddSignatureKey(activation.table.signature_key, signature));
  }
  DeviceMapper mapper(*control);
  const OpenDevice open = [](const std::string& path) { return OpenBlockDevice(path, {}); };
  KEELSON_ASSIGN_OR_RETURN(const DmDevice device, ActivateVerity(mapper, activation, open));
  if (context.json()) {
    const Json answer = {{"device", absl::StrCat("/dev/mapper/", device.name)},
                         {"uuid", device.uuid},
                         {"major", device.major},
                         {"minor", device.minor}};
    std::printf("%s\n", answer.dump(2).c_str());
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Close(const Context& context, const VerityOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const auto control, OpenDmControl());
  DeviceMapper mapper(*control);
  if (context.dry_run) {
    KEELSON_RETURN_IF_ERROR(mapper.Info(options.name).status());
    if (!context.json()) absl::FPrintF(stderr, "would remove '/dev/mapper/%s'\n", options.name);
  } else if (options.cancel_deferred) {
    KEELSON_RETURN_IF_ERROR(mapper.CancelRemoval(options.name));
  } else {
    KEELSON_RETURN_IF_ERROR(mapper.Remove(options.name, options.deferred));
  }
  if (context.json()) {
    const Json answer = {{"device", absl::StrCat("/dev/mapper/", options.name)},
                         {"dry_run", context.dry_run}};
    std::printf("%s\n", answer.dump(2).c_str());
  }
  return ExitCode::kDone;
}

void PrintStatus(const DmDevice& device, const VerityTable& table, const std::string& state) {
  absl::PrintF("/dev/mapper/%s is active%s.\n", device.name,
               device.open_count > 0 ? " and is in use" : "");
  absl::PrintF("  type:    VERITY\n");
  absl::PrintF("  status:  %s\n", state.starts_with("V") ? "verified" : "corrupted");
  absl::PrintF("  hash type:   %d\n", table.params.hash_type);
  absl::PrintF("  data block:  %d\n", table.params.data_block_bytes);
  absl::PrintF("  hash block:  %d\n", table.params.hash_block_bytes);
  absl::PrintF("  hash name:   %s\n", table.params.algorithm);
  absl::PrintF("  salt:        %s\n", table.params.salt.empty() ? "-" : Hex(table.params.salt));
  absl::PrintF("  data device: %s\n", table.data_device);
  absl::PrintF("  size:        %d sectors\n", table.sectors());
  absl::PrintF("  mode:        %s\n", device.read_only ? "readonly" : "read/write");
  absl::PrintF("  hash device: %s\n", table.hash_device);
  absl::PrintF("  hash offset: %d sectors\n",
               table.hash_start_block * (table.params.hash_block_bytes / 512));
  if (table.fec.has_value()) {
    absl::PrintF("  FEC device:  %s\n", table.fec->device);
    absl::PrintF("  FEC offset:  %d sectors\n",
                 table.fec->start_block * (table.params.data_block_bytes / 512));
    absl::PrintF("  FEC roots:   %d\n", table.fec->roots);
  }
  absl::PrintF("  root hash:   %s\n", Hex(table.root_hash));
}

absl::StatusOr<ExitCode> Status(const Context& context, const VerityOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const auto control, OpenDmControl());
  DeviceMapper mapper(*control);
  KEELSON_ASSIGN_OR_RETURN(const DmDevice device, mapper.Info(options.name));
  KEELSON_ASSIGN_OR_RETURN(const auto table, mapper.Table(options.name));
  KEELSON_ASSIGN_OR_RETURN(const auto status, mapper.Status(options.name));
  if (table.size() != 1 || table.front().type != kType || status.size() != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("'/dev/mapper/", options.name, "' is not a verity device"));
  }
  KEELSON_ASSIGN_OR_RETURN(const VerityTable verity, ParseVerityTable(table.front().parameters));
  const std::string& state = status.front().parameters;
  if (context.json()) {
    const Json answer = {{"device", absl::StrCat("/dev/mapper/", device.name)},
                         {"uuid", device.uuid},
                         {"open_count", device.open_count},
                         {"status", state},
                         {"sound", state.starts_with("V")},
                         {"table", table.front().parameters},
                         {"root_hash", Hex(verity.root_hash)}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else {
    PrintStatus(device, verity, state);
  }
  return state.starts_with("V") ? ExitCode::kDone : ExitCode::kFailed;
}

void AddOpenOptions(CLI::App& verb, VerityOptions& options) {
  verb.add_option("DATA_DEVICE", options.data, "Block device or file.")->required();
  verb.add_option("NAME", options.name, "Of the device below /dev/mapper.")->required();
  verb.add_option("HASH_DEVICE", options.hash, "Its verity area; may be the same.")->required();
  verb.add_option("ROOT_HASH", options.root_hash, "Hexadecimal.");
  verb.add_option("--root-hash-file", options.root_hash_file, "Read.");
  verb.add_option("--root-hash-signature", options.root_hash_signature,
                  "PKCS#7 in DER, which the kernel checks.");
  verb.add_flag("--ignore-corruption", options.ignore_corruption, "Only log damage.");
  verb.add_flag("--restart-on-corruption", options.restart_on_corruption, "Restart on damage.");
  verb.add_flag("--panic-on-corruption", options.panic_on_corruption, "Panic on damage.");
  verb.add_flag("--ignore-zero-blocks", options.ignore_zero_blocks,
                "Read blocks whose digest is that of zeros as zeros.");
  verb.add_flag("--check-at-most-once", options.check_at_most_once,
                "Check a block only when it is first read.");
  verb.add_flag("--use-tasklets", options.use_tasklets, "Verify in tasklets.");
  AddVerityAreaOptions(verb, options);
}

}  // namespace

void AddVerityDeviceVerbs(CLI::App& verity, Context& context) {
  const auto [open, o] =
      AddVerityVerb(verity, context, "open", "Make a device that checks what is read.", Open);
  AddOpenOptions(*open, *o);
  const auto [close, c] = AddVerityVerb(verity, context, "close", "Remove a device.", Close);
  close->add_option("NAME", c->name, "Of the device below /dev/mapper.")->required();
  close->add_flag("--deferred", c->deferred, "When its last user closes it.");
  close->add_flag("--cancel-deferred", c->cancel_deferred, "Take that back.");
  const auto [status, s] = AddVerityVerb(verity, context, "status",
                                         "Show a device; exit code 1 if it found damage.", Status);
  status->add_option("NAME", s->name, "Of the device below /dev/mapper.")->required();
}

}  // namespace keelson::partition
