// What the verbs of `slotctl verity` have in common: options with veritysetup's names, and the
// devices that they mean.
#ifndef KEELSON_PARTITION_CMD_VERITY_OPTIONS_H_
#define KEELSON_PARTITION_CMD_VERITY_OPTIONS_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/cmd/verbs.h"
#include "partition/verity/format.h"

namespace keelson::partition {

struct VerityOptions {
  std::string data;
  std::string hash;
  std::string name;  // of a mapping
  std::string root_hash;
  std::string root_hash_file;
  std::string salt;  // hexadecimal, "-" for none; empty: random for format
  std::string uuid;
  std::string algorithm = "sha256";
  uint32_t hash_type = 1;
  uint32_t data_block_bytes = 4096;
  uint32_t hash_block_bytes = 4096;
  uint64_t data_blocks = 0;  // 0: as many as the device has
  uint64_t hash_offset = 0;
  bool no_superblock = false;
  std::string fec_device;
  uint64_t fec_offset = 0;
  int fec_roots = 2;
  int threads = 0;
  // Of a mapping.
  bool ignore_corruption = false;
  bool restart_on_corruption = false;
  bool panic_on_corruption = false;
  bool ignore_zero_blocks = false;
  bool check_at_most_once = false;
  bool use_tasklets = false;
  bool deferred = false;
  bool cancel_deferred = false;
  std::string root_hash_signature;
};

// The devices of one command. A file that stands in several places is opened once.
struct OpenVerity {
  std::unique_ptr<BlockDevice> data_device;
  std::unique_ptr<BlockDevice> hash_device;  // empty: it is `data_device`
  std::unique_ptr<BlockDevice> fec_device;   // empty: none, or one of the others
  VerityDevices devices;
  VerityFormat format;
};

// Which of the devices are written.
enum class VerityAccess { kRead, kRepair };

// Opens what is there and reads the superblock (or takes the options in its place).
absl::StatusOr<OpenVerity> OpenVerityArea(const Context& context, const VerityOptions& options,
                                          VerityAccess access);

// The parameters that options say, for `data_bytes` of data.
absl::StatusOr<VerityFormat> FormatOf(const VerityOptions& options, uint64_t data_bytes);

// The argument, or what --root-hash-file holds, as bytes.
absl::StatusOr<std::string> RootHashOf(const VerityOptions& options);

// "" is read as random, "-" as none. INVALID_ARGUMENT: no hexadecimal digits.
absl::StatusOr<std::string> ParseSalt(const std::string& text);

// Options that say where and what a verity area is.
void AddVerityAreaOptions(CLI::App& app, VerityOptions& options);

// A verb below `verity` that runs `run`, and its options, which live as long as the program.
using VerityVerb = absl::StatusOr<ExitCode> (*)(const Context&, const VerityOptions&);
std::pair<CLI::App*, std::shared_ptr<VerityOptions>> AddVerityVerb(CLI::App& verity,
                                                                   Context& context,
                                                                   const std::string& name,
                                                                   const std::string& what,
                                                                   VerityVerb run);

// open, close, status
void AddVerityDeviceVerbs(CLI::App& verity, Context& context);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_VERITY_OPTIONS_H_
