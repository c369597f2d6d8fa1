#include "partition/cmd/examples.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "base/check.h"

namespace keelson::partition {
namespace {

constexpr const char kExitCodes[] =
    "EXIT CODES\n"
    "  0  done\n"
    "  1  failed, or what was checked is not sound\n"
    "  2  bad arguments, or a layout that does not fit\n"
    "  4  no permission\n"
    "  6  not in this state: the disk is in use, or not empty\n"
    "\n"
    "EXAMPLES\n";

struct Example {
  std::string_view verb;
  std::string_view lines;  // what to type behind "slotctl "
};

constexpr Example kExamples[] = {
    {"",
     "create disk.img --size=10GiB --layout=container_linux.json\n"
     "show disk.img --output=json\n"
     "repair /dev/vda --dry-run\n"
     "slots why /dev/vda\n"},
    {"show",
     "show disk.img\n"
     "show /dev/vda --output=json\n"},
    {"verify", "verify /dev/vda\n"},
    {"repair", "repair /dev/vda --dry-run\n"},
    {"create", "create disk.img --size=10GiB --layout=container_linux.json\n"},
    {"grow",
     "grow disk.img 9\n"
     "grow /dev/vda 9 --mount=/var --dry-run\n"},
    {"grow-root", "grow-root --dry-run\n"},
    {"keys", "keys keys --name=Example\n"},
    {"manifest",
     "manifest --product=os --release=1.2.3 --expires=2027-06-01T00:00:00Z "
     "--artifact=usr=usr.img --to=release.json\n"},
    {"sign", "sign manifest release.json --key=keys/release-1.key\n"},
    {"sign root-hash",
     "sign root-hash @usr.root --key=keys/verity.key "
     "--certificate=keys/verity.crt --to=usr.p7s\n"},
    {"sign pe", "sign pe keelson_1.efi --key=keys/db.key --certificate=keys/db.crt\n"},
    {"sign variable",
     "sign variable db keys/db.esl --key=keys/KEK.key "
     "--certificate=keys/KEK.crt --to=db.auth\n"},
    {"sign manifest",
     "sign manifest release.json --key=keys/release-1.key\n"
     "sign manifest release.json --key='pkcs11:token=release;object=key-1' "
     "--pkcs11-module=libsofthsm2.so\n"},
    {"verify-signature", "verify-signature pe keelson_1.efi --trusted=keys/db.crt\n"},
    {"verify-signature root-hash",
     "verify-signature root-hash @usr.root usr.p7s --trusted=keys/verity.crt\n"},
    {"verify-signature pe", "verify-signature pe keelson_1.efi --trusted=keys/db.crt\n"},
    {"verify-signature variable", "verify-signature variable db db.auth --trusted=keys/KEK.crt\n"},
    {"verify-signature manifest",
     "verify-signature manifest release.json --trusted=keys/manifest-keys.json --product=os\n"},
    {"uki", "uki show keelson_1.efi\n"},
    {"uki make",
     "uki make --linux=vmlinuz --initrd=initrd --os-release=/etc/os-release "
     "--cmdline=quiet --to=keelson_1.efi\n"},
    {"uki show", "uki show keelson_1.efi --output=json\n"},
    {"boot", "boot list\n"},
    {"boot list",
     "boot list --esp=/efi\n"
     "boot list --disk=disk.img\n"},
    {"boot commit", "boot commit keelson_2.efi --tries=3 --failed-versions=failed.json\n"},
    {"boot mark",
     "boot mark good\n"
     "boot mark bad keelson_2.efi --reason='no network'\n"},
    {"boot remove", "boot remove keelson_1.efi\n"},
    {"boot tidy", "boot tidy --dry-run\n"},
    {"boot started", "boot started --failed-versions=failed.json\n"},
    {"kexec",
     "kexec keelson_2.efi && systemctl kexec\n"
     "kexec slot-4 --disk=/dev/vda --image=keelson_2.efi\n"},
    {"verity",
     "verity format usr.img usr.hash --root-hash-file=usr.root\n"
     "verity verify usr.img usr.hash --root-hash-file=usr.root\n"},
    {"verity format",
     "verity format usr.img usr.hash --root-hash-file=usr.root --fec-device=usr.fec\n"
     "verity format usr.img usr.hash --salt=- --uuid=5e8ec48b-1f1d-4b52-8f4a-c9bd6c10eb0d\n"},
    {"verity verify", "verity verify usr.img usr.hash --root-hash-file=usr.root\n"},
    {"verity repair",
     "verity repair usr.img usr.hash --root-hash-file=usr.root --fec-device=usr.fec\n"},
    {"verity dump", "verity dump usr.hash\n"},
    {"verity open",
     "verity open /dev/vda3 usr /dev/vda4 --root-hash-file=usr.root "
     "--restart-on-corruption\n"},
    {"verity close", "verity close usr\n"},
    {"verity status", "verity status usr --output=json\n"},
    {"slots", "slots why /dev/vda\n"},
    {"slots list", "slots list /dev/vda\n"},
    {"slots why", "slots why disk.img --running=3\n"},
    {"slots next", "slots next /dev/vda\n"},
    {"slots mark-good", "slots mark-good /dev/vda 4\n"},
    {"slots mark-bad",
     "slots mark-bad /dev/vda 4 --reason='no network' "
     "--failed-versions=failed.json\n"},
    {"slots booted", "slots booted /dev/vda --failed-versions=failed.json\n"},
    {"slots prioritize", "slots prioritize /dev/vda 3\n"},
    {"install",
     "install /dev/vda --image=usr.img --hash-file=usr.hash "
     "--root-hash-file=usr.root --image-version=1.2.3\n"
     "install /dev/vda --delta=usr.delta --root-hash-file=usr.root\n"},
    {"delta", "delta usr_1.img usr_2.img usr_2.hash usr.delta --root-hash-file=usr_2.root\n"},
};

std::string_view LinesOf(std::string_view verb) {
  const auto* found = std::find_if(std::begin(kExamples), std::end(kExamples),
                                   [verb](const Example& one) { return one.verb == verb; });
  KEELSON_CHECK(found != std::end(kExamples)) << "no example of " << std::string(verb);
  return found->lines;
}

void AddTo(CLI::App& verb, const std::string& path) {
  std::string footer = kExitCodes;
  for (std::string_view lines = LinesOf(path); !lines.empty();) {
    const size_t end = lines.find('\n') + 1;
    footer.append("  slotctl ").append(lines.substr(0, end));
    lines.remove_prefix(end);
  }
  footer.pop_back();
  verb.footer(footer);
  for (CLI::App* inner : verb.get_subcommands(nullptr)) {
    AddTo(*inner, path.empty() ? inner->get_name() : path + " " + inner->get_name());
  }
}

}  // namespace

void AddExamples(CLI::App& slotctl) { AddTo(slotctl, ""); }

}  // namespace keelson::partition
