#include "partition/partition_types.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::partition {
namespace {

constexpr std::string_view kCoreOsUsr = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";
constexpr std::string_view kChromeOsKernel = "fe3a2a5d-4f32-41a7-b725-accc3285a309";

constexpr PartitionType kTypes[] = {
    {"esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system partition"},
    {"bios-boot", "21686148-6449-6e6f-744e-656564454649", "GRUB's core image on BIOS machines"},
    {"xbootldr", "bc13c2ff-59e6-4262-a352-b275fd6f7172", "extended boot loader partition"},
    {"coreos-usr", kCoreOsUsr, "CoreOS and Flatcar /usr slot"},
    {"coreos-resize", "3884dd41-8582-4404-b9a8-e9b84f2df50e", "CoreOS root that grows"},
    {"coreos-reserved", "c95dc21a-df0e-4340-8d7b-26cbfa9a03e0", "CoreOS OEM configuration"},
    {"coreos-root-raid", "be9067b9-ea49-4f15-b4f6-f36f8c9e1818", "CoreOS root on RAID"},
    {"chromeos-kernel", kChromeOsKernel, "ChromeOS kernel slot"},
    {"chromeos-rootfs", "3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec", "ChromeOS root slot"},
    {"chromeos-reserved", "2e0a753d-9e48-43b0-8337-b15192cb1b5e", "ChromeOS reserved"},
    {"root", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root, x86-64"},
    {"root-verity", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "hash tree of root, x86-64"},
    {"root-verity-sig", "41092b05-9fc8-4523-994f-2def0408b176", "signature of root, x86-64"},
    {"usr", "8484680c-9521-48c6-9c11-b0720656f69e", "/usr, x86-64"},
    {"usr-verity", "77ff5f63-e7b6-4633-acf4-1565b864c0e6", "hash tree of /usr, x86-64"},
    {"usr-verity-sig", "e7bb33fb-06cf-4e81-8273-e543b413e2e2", "signature of /usr, x86-64"},
    {"var", "4d21b016-b534-45c2-a9fb-5c16e091fd2d", "/var"},
    {"home", "933ac7e1-2eb4-4f13-b844-0e14e2aef915", "/home"},
    {"srv", "3b8f8425-20e0-4f3b-907f-1a25a76f98e8", "/srv"},
    {"tmp", "7ec6f557-3bc5-4aca-b293-16ef5df639d1", "/var/tmp"},
    {"swap", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "swap space"},
    {"linux", "0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux data"},
};

Guid Known(std::string_view text) {
  const absl::StatusOr<Guid> guid = ParseGuid(text);
  KEELSON_CHECK_OK(guid.status());
  return *guid;
}

}  // namespace

std::span<const PartitionType> PartitionTypes() { return kTypes; }

absl::StatusOr<Guid> ParsePartitionType(std::string_view text) {
  for (const PartitionType& type : kTypes) {
    if (type.name == text) return Known(type.guid);
  }
  if (absl::StatusOr<Guid> guid = ParseGuid(text); guid.ok() && !guid->IsZero()) return guid;
  return absl::InvalidArgumentError(
      absl::StrCat("'", absl::string_view(text.data(), text.size()),
                   "' is neither the name of a partition type nor a GUID"));
}

std::string PartitionTypeName(const Guid& type) {
  std::string text = ToString(type);
  for (const PartitionType& known : kTypes) {
    if (known.guid == text) return std::string(known.name);
  }
  return text;
}

Guid CoreOsUsrType() { return Known(kCoreOsUsr); }
Guid ChromeOsKernelType() { return Known(kChromeOsKernel); }

}  // namespace keelson::partition
