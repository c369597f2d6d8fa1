// The verbs of slotctl. Each Add function declares verbs on the command line; the one that was
// given sets `Context::run`.
#ifndef KEELSON_PARTITION_CMD_VERBS_H_
#define KEELSON_PARTITION_CMD_VERBS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/exit_code.h"
#include "partition/block_device.h"
#include "partition/gpt_disk.h"
#include "partition/gpt_plan.h"

namespace CLI {
class App;
}

namespace keelson::partition {

// What the global options say, and what to do.
struct Context {
  std::string output = "text";  // or "json"
  bool dry_run = false;
  uint32_t sector_bytes = 0;
  std::function<absl::StatusOr<ExitCode>()> run;

  [[nodiscard]] bool json() const { return output == "json"; }

  // Opens `path`: for writing unless this is a dry run. `in_use`: as in DeviceOptions.
  [[nodiscard]] absl::StatusOr<std::unique_ptr<BlockDevice>> OpenForChange(
      const std::string& path, bool in_use = false) const;
  [[nodiscard]] absl::StatusOr<std::unique_ptr<BlockDevice>> OpenForReading(
      const std::string& path) const;
};

// Says each write and, unless this is a dry run, does it. The text goes to stderr, or as a JSON
// object {"disk", "dry_run", "writes"} to stdout.
absl::Status Carry(const Context& context, BlockDevice& disk, std::span<const DiskWrite> writes);

// The same where `carry_out` does the writes and tells `say` of each. `next`: a slot that the
// answer for programs names as the one that boots next.
absl::Status CarryWrites(const Context& context, const std::string& name,
                         std::span<const DiskWrite> writes,
                         const std::function<absl::Status(const WriteObserver& say)>& carry_out,
                         std::optional<int> next = std::nullopt);

// show, verify, create, repair, grow, grow-root
void AddTableVerbs(CLI::App& app, Context& context);

// keys, manifest, sign, verify-signature
void AddTrustVerbs(CLI::App& app, Context& context);

// uki, boot, kexec
void AddBootVerbs(CLI::App& app, Context& context);

// verity format, verify, repair, dump, open, close, status
void AddVerityVerbs(CLI::App& app, Context& context);

// slots list, next, mark-good, mark-bad, prioritize, booted, why
void AddSlotVerbs(CLI::App& app, Context& context);

// install, delta
void AddInstallVerbs(CLI::App& app, Context& context);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_VERBS_H_
