// slotctl: partition tables, slots and verity of a disk or of the image of one. See --help.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

#include "partition/cmd/examples.h"
#include "partition/cmd/verbs.h"

namespace keelson::partition {
namespace {

constexpr const char kDescription[] =
    "Partition tables, system slots and verity of a disk, or of a plain file that holds the image\n"
    "of one. Needs no privilege beyond access to the file.\n"
    "\n"
    "Every write is said on standard error before it happens, and each is durable before the next\n"
    "one starts: a power cut leaves the old table or the new one. With --dry-run nothing is\n"
    "written. A disk whose table contradicts itself is never written to.";

ExitCode Fail(const absl::Status& status) {
  std::fprintf(stderr, "slotctl: %s\n", std::string(status.message()).c_str());
  return ExitCodeFor(status);
}

ExitCode Main(int argc, char** argv) {
  CLI::App app(kDescription, "slotctl");
  app.require_subcommand(1);
  app.fallthrough();
  Context context;
  app.add_option("--output", context.output, "text, or json for programs.")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_flag("--dry-run", context.dry_run, "Say what would be written, and write nothing.");
  app.add_option(
      "--sector-size", context.sector_bytes,
      "512 or 4096. Default: the disk's own; for an image, that of its table, else 512.");
  AddTableVerbs(app, context);
  AddTrustVerbs(app, context);
  AddBootVerbs(app, context);
  AddVerityVerbs(app, context);
  AddSlotVerbs(app, context);
  AddInstallVerbs(app, context);
  AddExamples(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    (void)app.exit(help);  // Prints it.
    return ExitCode::kDone;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "slotctl: %s\n", error.what());
    return ExitCode::kBadArguments;
  }
  const absl::StatusOr<ExitCode> result = context.run();
  return result.ok() ? *result : Fail(result.status());
}

}  // namespace
}  // namespace keelson::partition

int main(int argc, char** argv) {
  try {
    return static_cast<int>(keelson::partition::Main(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "slotctl: %s\n", error.what());
    return 1;
  }
}
