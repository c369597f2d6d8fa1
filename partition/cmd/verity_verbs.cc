// verity format, verify, repair, dump.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file_system.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "partition/cmd/progress.h"
#include "partition/cmd/verbs.h"
#include "partition/cmd/verity_options.h"
#include "partition/hex.h"
#include "partition/verity/copy_on_write.h"
#include "partition/verity/fec.h"
#include "partition/verity/verify.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

WorkOptions WorkOf(const VerityOptions& options, Progress& progress) {
  return {.threads = options.threads,
          .progress = [&progress](uint64_t done, uint64_t total) { progress.Update(done, total); }};
}

struct Summary {
  VerityFormat format;
  TreeShape shape;
  uint64_t hash_end = 0;
  uint64_t fec_blocks = 0;
  uint64_t fec_end = 0;
  std::string root_hash;  // bytes; empty: not known
};

Json ToJson(const VerityOptions& options, const Summary& summary) {
  const VerityParams& params = summary.format.params;
  Json out = {{"hash_device", options.hash},
              {"hash_type", params.hash_type},
              {"data_blocks", params.data_blocks},
              {"data_block_bytes", params.data_block_bytes},
              {"hash_blocks", summary.shape.blocks},
              {"hash_block_bytes", params.hash_block_bytes},
              {"hash_algorithm", params.algorithm},
              {"hash_device_bytes", summary.hash_end},
              {"salt", Hex(params.salt)}};
  if (!options.data.empty()) out["data_device"] = options.data;
  if (summary.format.superblock) out["uuid"] = ToString(summary.format.uuid);
  if (summary.format.fec.has_value()) {
    out["fec_roots"] = summary.format.fec->roots;
    out["fec_blocks"] = summary.fec_blocks;
    out["fec_device_bytes"] = summary.fec_end;
  }
  if (!summary.root_hash.empty()) out["root_hash"] = Hex(summary.root_hash);
  return out;
}

// In veritysetup's form, for the scripts that read that.
void Print(const VerityOptions& options, const Summary& summary) {
  const VerityParams& params = summary.format.params;
  absl::PrintF("VERITY header information for %s\n", options.hash);
  absl::PrintF("UUID:            \t%s\n",
               summary.format.superblock ? ToString(summary.format.uuid) : "");
  absl::PrintF("Hash type:       \t%d\n", params.hash_type);
  absl::PrintF("Data blocks:     \t%d\n", params.data_blocks);
  absl::PrintF("Data block size: \t%d\n", params.data_block_bytes);
  absl::PrintF("Hash blocks:     \t%d\n", summary.shape.blocks);
  absl::PrintF("Hash block size: \t%d\n", params.hash_block_bytes);
  absl::PrintF("Hash algorithm:  \t%s\n", params.algorithm);
  if (summary.format.fec.has_value()) {
    absl::PrintF("FEC RS roots:   \t%d\n", summary.format.fec->roots);
    absl::PrintF("FEC blocks:     \t%d\n", summary.fec_blocks);
  }
  absl::PrintF("Salt:            \t%s\n", params.salt.empty() ? "-" : Hex(params.salt));
  if (!summary.root_hash.empty()) absl::PrintF("Root hash:      \t%s\n", Hex(summary.root_hash));
  // It leaves the sizes out where an area does not start its device.
  if (options.hash_offset == 0) absl::PrintF("Hash device size: \t%d [bytes]\n", summary.hash_end);
  if (summary.format.fec.has_value() && options.fec_offset == 0) {
    absl::PrintF("FEC device size: \t%d [bytes]\n", summary.fec_end);
  }
}

void Tell(const Context& context, const VerityOptions& options, const Summary& summary) {
  if (context.json()) {
    std::printf("%s\n", ToJson(options, summary).dump(2).c_str());
  } else {
    Print(options, summary);
  }
}

// Makes the file `path` if it is missing, and at least `bytes` long if it is a file.
absl::Status MakeRoom(const std::string& path, uint64_t bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct stat info = {};
  if (!fd.ok() || ::fstat(fd.get(), &info) != 0) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("open '", path, "'"));
  }
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) >= bytes) {
    return absl::OkStatus();
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    const int error = errno;
    return ErrnoError(error, absl::StrCat("extend '", path, "' to ", bytes, " bytes"));
  }
  return absl::OkStatus();
}

bool Same(const std::string& a, const std::string& b) {
  std::error_code ignored;  // What is not there is no other's twin.
  return a == b || std::filesystem::equivalent(a, b, ignored);
}

absl::Status WriteRootHash(const VerityOptions& options, const std::string& root_hash) {
  if (options.root_hash_file.empty()) return absl::OkStatus();
  return WriteFileAtomically(RealFileSystem(), options.root_hash_file, Hex(root_hash));
}

// Opens the devices of a format, each once, and makes those that are missing.
absl::StatusOr<OpenVerity> OpenForFormat(const VerityOptions& options, const VerityFormat& format,
                                         Summary& summary) {
  OpenVerity area = {.format = format};
  const bool on_data = Same(options.data, options.hash);
  KEELSON_ASSIGN_OR_RETURN(area.data_device, OpenBlockDevice(options.data, {.sector_bytes = 512}));
  VerityDevices probe = {.data = area.data_device.get(),
                         .hash = on_data ? area.data_device.get() : nullptr};
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(format, probe));
  summary.hash_end = areas.hash_end;
  KEELSON_RETURN_IF_ERROR(MakeRoom(options.hash, areas.hash_end));
  const DeviceOptions for_writing = {.write = true, .sector_bytes = 512};
  KEELSON_ASSIGN_OR_RETURN(area.hash_device, OpenBlockDevice(options.hash, for_writing));
  // Both see the same file; only one may hold it for writing.
  area.devices = {.data = on_data ? area.hash_device.get() : area.data_device.get(),
                  .hash = area.hash_device.get()};
  if (!format.fec.has_value()) return area;

  const bool on_hash = Same(options.fec_device, options.hash);
  if (on_hash) area.devices.fec = area.hash_device.get();
  KEELSON_ASSIGN_OR_RETURN(const FecMessage message, FecMessageOf(format, area.devices));
  KEELSON_ASSIGN_OR_RETURN(const FecShape shape, FecShapeOf(message, format.fec->roots));
  summary.fec_blocks = shape.bytes / format.params.data_block_bytes;
  summary.fec_end = format.fec->offset + shape.bytes;
  if (on_hash) area.hash_device.reset();  // Opened anew with its new size.
  KEELSON_RETURN_IF_ERROR(MakeRoom(options.fec_device, summary.fec_end));
  KEELSON_ASSIGN_OR_RETURN(auto fec, OpenBlockDevice(options.fec_device, for_writing));
  area.devices.fec = fec.get();
  (on_hash ? area.hash_device : area.fec_device) = std::move(fec);
  if (on_hash) area.devices.hash = area.devices.fec;
  if (on_hash && on_data) area.devices.data = area.devices.fec;
  return area;
}

absl::StatusOr<ExitCode> Format(const Context& context, const VerityOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const auto data, OpenBlockDevice(options.data, {.sector_bytes = 512}));
  Summary summary;
  KEELSON_ASSIGN_OR_RETURN(summary.format, FormatOf(options, data->geometry().bytes()));
  KEELSON_ASSIGN_OR_RETURN(summary.shape, ShapeOf(summary.format.params));
  if (context.dry_run) {
    const VerityDevices probe = {.data = data.get()};
    KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(summary.format, probe));
    const uint64_t bytes = areas.hash_end - options.hash_offset;
    if (context.json()) {
      const Json answer = {{"hash_device", options.hash},
                           {"dry_run", true},
                           {"offset", options.hash_offset},
                           {"bytes", bytes}};
      std::printf("%s\n", answer.dump(2).c_str());
    } else {
      absl::FPrintF(stderr, "would write '%s': %d bytes at byte %d\n", options.hash, bytes,
                    options.hash_offset);
    }
    return ExitCode::kDone;
  }
  KEELSON_ASSIGN_OR_RETURN(const OpenVerity area, OpenForFormat(options, summary.format, summary));
  Progress progress("hashing");
  KEELSON_ASSIGN_OR_RETURN(summary.root_hash,
                           FormatVerity(summary.format, area.devices, WorkOf(options, progress)));
  KEELSON_RETURN_IF_ERROR(WriteRootHash(options, summary.root_hash));
  Tell(context, options, summary);
  return ExitCode::kDone;
}

Json ToJson(const std::vector<VerityFault>& faults) {
  Json out = Json::array();
  for (const VerityFault& fault : faults) {
    Json item = {{"what", fault.level == VerityFault::kData ? "data" : "hash"}};
    if (fault.level != VerityFault::kData) item["level"] = fault.level;
    item.update({{"block", fault.block}, {"offset", fault.offset}, {"message", fault.message}});
    out.push_back(std::move(item));
  }
  return out;
}

// Repairs in memory to see whether that would work.
absl::StatusOr<VerityRepair> TryRepair(const OpenVerity& area, const std::string& root_hash,
                                       BlockDevice* data, BlockDevice* hash,
                                       const WorkOptions& work) {
  VerityDevices devices = area.devices;
  devices.data = data;
  devices.hash = hash;
  if (area.devices.fec == area.devices.hash) devices.fec = hash;
  KEELSON_ASSIGN_OR_RETURN(FecMessage message, FecMessageOf(area.format, devices));
  return RepairVerity({.message = std::move(message),
                       .data = data,
                       .hash = hash,
                       .fec = devices.fec,
                       .fec_offset = area.format.fec->offset,
                       .roots = area.format.fec->roots},
                      root_hash, work);
}

absl::StatusOr<ExitCode> Verify(const Context& context, const VerityOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, RootHashOf(options));
  KEELSON_ASSIGN_OR_RETURN(const OpenVerity area,
                           OpenVerityArea(context, options, VerityAccess::kRead));
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(area.format, area.devices));
  Progress progress("verifying");
  const WorkOptions work = WorkOf(options, progress);
  KEELSON_ASSIGN_OR_RETURN(const VerityReport report, VerifyTree(areas.place, root_hash, work));
  Json answer = {{"data_device", options.data},
                 {"sound", report.ok()},
                 {"faults", ToJson(report.faults)},
                 {"unjudged_blocks", report.unjudged_blocks}};
  std::string hint;
  if (!report.ok() && area.format.fec.has_value()) {
    CopyOnWriteDevice data(*area.devices.data);
    CopyOnWriteDevice own_hash(*area.devices.hash);
    BlockDevice* hash = area.devices.hash == area.devices.data ? &data : &own_hash;
    KEELSON_ASSIGN_OR_RETURN(const VerityRepair repair,
                             TryRepair(area, root_hash, &data, hash, work));
    answer["repairable"] = repair.beyond_repair.empty();
    hint = repair.beyond_repair.empty()
               ? "; `slotctl verity repair` mends it"
               : absl::StrCat("; ", repair.beyond_repair.size(), " are beyond repair by FEC");
  }
  if (context.json()) {
    std::printf("%s\n", answer.dump(2).c_str());
  } else if (report.ok()) {
    absl::PrintF("'%s' is sound: %d blocks\n", options.data, area.format.params.data_blocks);
  } else {
    absl::FPrintF(stderr, "slotctl: %s\n", report.faults.front().message);
    absl::PrintF("'%s' is not sound: %d damaged blocks, %d blocks not judged%s\n", options.data,
                 report.faults.size(), report.unjudged_blocks, hint);
  }
  return report.ok() ? ExitCode::kDone : ExitCode::kFailed;
}

absl::StatusOr<ExitCode> Repair(const Context& context, const VerityOptions& options) {
  if (options.fec_device.empty()) {
    return absl::InvalidArgumentError("--fec-device: without parity nothing can be repaired");
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, RootHashOf(options));
  KEELSON_ASSIGN_OR_RETURN(const OpenVerity area,
                           OpenVerityArea(context, options, VerityAccess::kRepair));
  Progress progress("repairing");
  CopyOnWriteDevice dry_data(*area.devices.data);
  CopyOnWriteDevice dry_hash(*area.devices.hash);
  BlockDevice* data = context.dry_run ? &dry_data : area.data_device.get();
  BlockDevice* hash = context.dry_run ? &dry_hash : area.devices.hash;
  if (area.devices.hash == area.devices.data) hash = data;
  KEELSON_ASSIGN_OR_RETURN(const VerityRepair repair,
                           TryRepair(area, root_hash, data, hash, WorkOf(options, progress)));
  if (context.json()) {
    const Json answer = {{"data_device", options.data},
                         {"dry_run", context.dry_run},
                         {"repaired", ToJson(repair.repaired)},
                         {"beyond_repair", ToJson(repair.beyond_repair)}};
    std::printf("%s\n", answer.dump(2).c_str());
  } else {
    for (const VerityFault& fault : repair.repaired) {
      absl::FPrintF(stderr, "%s: %s\n", context.dry_run ? "would repair" : "repaired",
                    fault.message);
    }
    for (const VerityFault& fault : repair.beyond_repair) {
      absl::FPrintF(stderr, "beyond repair: %s\n", fault.message);
    }
    absl::PrintF("'%s': %d blocks %s, %d beyond repair\n", options.data, repair.repaired.size(),
                 context.dry_run ? "could be repaired" : "repaired", repair.beyond_repair.size());
  }
  return repair.beyond_repair.empty() ? ExitCode::kDone : ExitCode::kFailed;
}

absl::StatusOr<ExitCode> Dump(const Context& context, const VerityOptions& given) {
  VerityOptions options = given;
  options.data = options.hash;  // Only its superblock is looked at.
  KEELSON_ASSIGN_OR_RETURN(const OpenVerity area,
                           OpenVerityArea(context, options, VerityAccess::kRead));
  Summary summary = {.format = area.format};
  KEELSON_ASSIGN_OR_RETURN(summary.shape, ShapeOf(area.format.params));
  KEELSON_ASSIGN_OR_RETURN(const uint64_t tree, TreeOffset(options.hash_offset, true,
                                                           area.format.params.hash_block_bytes));
  summary.hash_end = tree + summary.shape.blocks * area.format.params.hash_block_bytes;
  options.data.clear();
  Tell(context, options, summary);
  return ExitCode::kDone;
}

}  // namespace

void AddVerityVerbs(CLI::App& app, Context& context) {
  CLI::App* verity = app.add_subcommand("verity", "Hash trees and error correction of dm-verity.");
  verity->require_subcommand(1);
  verity->fallthrough();
  const auto [format, f] =
      AddVerityVerb(*verity, context, "format", "Make the tree; says the root hash.", Format);
  format->add_option("DATA_DEVICE", f->data, "Block device or file.")->required();
  format->add_option("HASH_DEVICE", f->hash, "Gets the tree; a file is made if it is missing.")
      ->required();
  format->add_option("--uuid", f->uuid, "Default: random.");
  format->add_option("--root-hash-file", f->root_hash_file, "Written.");
  AddVerityAreaOptions(*format, *f);

  const auto [verify, v] = AddVerityVerb(*verity, context, "verify",
                                         "Check all data; names the first damaged block.", Verify);
  const auto [repair, r] =
      AddVerityVerb(*verity, context, "repair", "Restore damaged blocks by their parity.", Repair);
  for (const auto& [verb, options] : {std::pair(verify, v), std::pair(repair, r)}) {
    verb->add_option("DATA_DEVICE", options->data, "Block device or file.")->required();
    verb->add_option("HASH_DEVICE", options->hash, "Its verity area; may be the same.")->required();
    verb->add_option("ROOT_HASH", options->root_hash, "Hexadecimal.");
    verb->add_option("--root-hash-file", options->root_hash_file, "Read.");
    AddVerityAreaOptions(*verb, *options);
  }
  const auto [dump, d] = AddVerityVerb(*verity, context, "dump", "Show a superblock.", Dump);
  dump->add_option("HASH_DEVICE", d->hash, "Block device or file.")->required();
  dump->add_option("--hash-offset", d->hash_offset, "Start of the verity area, in bytes.");
  AddVerityDeviceVerbs(*verity, context);
}

}  // namespace keelson::partition
