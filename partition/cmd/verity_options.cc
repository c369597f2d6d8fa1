#include "partition/cmd/verity_options.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/guid.h"

namespace keelson::partition {
namespace {

constexpr size_t kSaltBytes = 32;
constexpr uint64_t kRootHashFileBytesMax = 4096;

absl::StatusOr<std::string> ParseHex(const std::string& what, const std::string& text) {
  const bool hex = std::all_of(text.begin(), text.end(),
                               [](unsigned char c) { return absl::ascii_isxdigit(c); });
  if (!hex || text.size() % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, " '", absl::CHexEscape(text), "': expected an even number of hexadecimal digits"));
  }
  return absl::HexStringToBytes(text);
}

absl::StatusOr<std::unique_ptr<BlockDevice>> Open(const Context& context, const std::string& path,
                                                  bool write) {
  return OpenBlockDevice(path, {.write = write && !context.dry_run, .sector_bytes = 512});
}

bool SameFile(const std::string& a, const std::string& b) {
  std::error_code ignored;  // A file that is not there is no other's twin.
  return a == b || std::filesystem::equivalent(a, b, ignored);
}

absl::StatusOr<VeritySuperblock> ReadSuperblock(const BlockDevice& hash, uint64_t offset) {
  std::array<char, kVeritySuperblockBytes> bytes{};
  KEELSON_RETURN_IF_ERROR(hash.Read(offset, bytes));
  absl::StatusOr<VeritySuperblock> superblock = DecodeSuperblock({bytes.data(), bytes.size()});
  if (superblock.ok()) return superblock;
  return Annotate(superblock.status(), absl::StrCat("'", hash.name(), "' at byte ", offset));
}

}  // namespace

absl::StatusOr<std::string> ParseSalt(const std::string& text) {
  if (text == "-") return std::string();
  if (!text.empty()) return ParseHex("salt", text);
  std::string salt;
  while (salt.size() < kSaltBytes) {
    const Guid random = RandomGuid();
    // Version and variant are in bytes 6 to 8.
    salt.append(reinterpret_cast<const char*>(random.bytes.data()), 6);
    salt.append(reinterpret_cast<const char*>(random.bytes.data()) + 9, 7);
  }
  salt.resize(kSaltBytes);
  return salt;
}

absl::StatusOr<VerityFormat> FormatOf(const VerityOptions& options, uint64_t data_bytes) {
  VerityFormat format = {.params = {.hash_type = options.hash_type,
                                    .algorithm = options.algorithm,
                                    .data_block_bytes = options.data_block_bytes,
                                    .hash_block_bytes = options.hash_block_bytes,
                                    .data_blocks = options.data_blocks},
                         .superblock = !options.no_superblock,
                         .hash_offset = options.hash_offset};
  KEELSON_ASSIGN_OR_RETURN(format.params.salt, ParseSalt(options.salt));
  if (format.params.data_blocks == 0 && format.params.data_block_bytes != 0) {
    format.params.data_blocks = data_bytes / format.params.data_block_bytes;
  }
  if (!options.uuid.empty()) {
    if (options.no_superblock) {
      return absl::InvalidArgumentError("--uuid: it stands in the superblock, and there is none");
    }
    KEELSON_ASSIGN_OR_RETURN(format.uuid, ParseVerityUuid(options.uuid));
  } else if (format.superblock) {
    // In the order of its text, unlike a partition's: made from that.
    KEELSON_ASSIGN_OR_RETURN(format.uuid, ParseVerityUuid(ToString(RandomGuid())));
  }
  if (!options.fec_device.empty()) {
    format.fec = FecArea{.roots = options.fec_roots, .offset = options.fec_offset};
  }
  return format;
}

absl::StatusOr<std::string> RootHashOf(const VerityOptions& options) {
  std::string text = options.root_hash;
  if (!options.root_hash_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(
        text, ReadFile(RealFileSystem(), options.root_hash_file, kRootHashFileBytesMax));
    absl::StripTrailingAsciiWhitespace(&text);
  }
  if (text.empty()) return absl::InvalidArgumentError("no root hash: give it, or --root-hash-file");
  return ParseHex("root hash", text);
}

absl::StatusOr<OpenVerity> OpenVerityArea(const Context& context, const VerityOptions& options,
                                          VerityAccess access) {
  const bool write = access == VerityAccess::kRepair;
  OpenVerity area;
  KEELSON_ASSIGN_OR_RETURN(area.data_device, Open(context, options.data, write));
  if (!SameFile(options.data, options.hash)) {
    KEELSON_ASSIGN_OR_RETURN(area.hash_device, Open(context, options.hash, write));
  }
  area.devices.data = area.data_device.get();
  area.devices.hash = area.hash_device ? area.hash_device.get() : area.data_device.get();
  if (!options.fec_device.empty()) {
    if (SameFile(options.fec_device, options.hash)) {
      area.devices.fec = area.devices.hash;
    } else if (SameFile(options.fec_device, options.data)) {
      area.devices.fec = area.data_device.get();
    } else {
      KEELSON_ASSIGN_OR_RETURN(area.fec_device, Open(context, options.fec_device, false));
      area.devices.fec = area.fec_device.get();
    }
  }
  KEELSON_ASSIGN_OR_RETURN(area.format, FormatOf(options, area.data_device->geometry().bytes()));
  if (!options.no_superblock) {
    KEELSON_ASSIGN_OR_RETURN(VeritySuperblock superblock,
                             ReadSuperblock(*area.devices.hash, options.hash_offset));
    area.format.params = std::move(superblock.params);
    area.format.uuid = superblock.uuid;
  }
  return area;
}

void AddVerityAreaOptions(CLI::App& app, VerityOptions& options) {
  app.add_option("--hash-offset", options.hash_offset, "Start of the verity area, in bytes.");
  app.add_flag("--no-superblock", options.no_superblock, "The options below say what it would.");
  app.add_option("--format", options.hash_type, "1, or 0 for ChromeOS. Default: 1.");
  app.add_option("-h,--hash", options.algorithm, "Hash algorithm. Default: sha256.");
  app.add_option("--data-block-size", options.data_block_bytes, "In bytes. Default: 4096.");
  app.add_option("--hash-block-size", options.hash_block_bytes, "In bytes. Default: 4096.");
  app.add_option("--data-blocks", options.data_blocks, "Default: all of DATA.");
  app.add_option("-s,--salt", options.salt, "Hexadecimal, - for none. Default: 32 random bytes.");
  app.add_option("--fec-device", options.fec_device, "Parity for error correction.");
  app.add_option("--fec-offset", options.fec_offset, "Start of the parity, in bytes.");
  app.add_option("--fec-roots", options.fec_roots, "Parity bytes in 255: 2 to 24. Default: 2.");
  app.add_option("--threads", options.threads, "Default: one a processor.")
      ->check(CLI::Range(0, 1024));
}

std::pair<CLI::App*, std::shared_ptr<VerityOptions>> AddVerityVerb(CLI::App& verity,
                                                                   Context& context,
                                                                   const std::string& name,
                                                                   const std::string& what,
                                                                   VerityVerb run) {
  auto options = std::make_shared<VerityOptions>();
  CLI::App* verb = verity.add_subcommand(name, what);
  // -h is --hash, as veritysetup has it.
  verb->set_help_flag("--help", "Say this and stop.");
  verb->callback([&context, options, run] {
    context.run = [&context, options, run] { return run(context, *options); };
  });
  return {verb, options};
}

}  // namespace keelson::partition
