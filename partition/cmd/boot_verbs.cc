// uki.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/boot/uki.h"
#include "partition/cmd/output.h"
#include "partition/cmd/verbs.h"
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

}  // namespace

void AddBootVerbs(CLI::App& app, Context& context) { AddUkiVerbs(app, context); }

}  // namespace keelson::partition
