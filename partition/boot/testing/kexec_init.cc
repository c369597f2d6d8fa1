// The first process of a machine that goes into another system by kexec: prepares /next.efi with
// the real kernel and jumps; where that led to, it says on the console what it was given, and
// powers off.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/file_system.h"
#include "base/status.h"
#include "partition/boot/kexec.h"
#include "partition/boot/testing/fake_boot_control.h"

namespace keelson::partition {
namespace {

constexpr uint64_t kBytesMax = uint64_t{1} << 28;
constexpr char kRecord[] = "/cold-boot";

absl::Status Run() {
  FileSystem& fs = RealFileSystem();
  KEELSON_ASSIGN_OR_RETURN(const std::string cmdline, ReadFile(fs, "/proc/cmdline", kBytesMax));
  std::printf("\nKEELSON-INIT %s KEELSON-END\n", cmdline.substr(0, cmdline.find('\n')).c_str());
  (void)std::fflush(stdout);
  KEELSON_ASSIGN_OR_RETURN(const bool has_next, fs.Exists("/next.efi"));
  if (!has_next) {
    (void)::reboot(RB_POWER_OFF);
    return absl::OkStatus();
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string image, ReadFile(fs, "/next.efi", kBytesMax));
  testing::FakeBootControl control;
  KEELSON_RETURN_IF_ERROR(control.Commit({.id = "next.efi", .contents = image}, 3));
  KexecActivation activation(RealKexecKernel(), control, fs, kRecord);
  KEELSON_RETURN_IF_ERROR(activation.Prepare("next.efi", image));
  KEELSON_ASSIGN_OR_RETURN(const ColdBoot cold, activation.NoteStart(cmdline + " keelson.kexec=1"));
  KEELSON_ASSIGN_OR_RETURN(const auto candidates, control.Candidates());
  std::printf("KEELSON-TRIES %d owed by '%s'\n", candidates[0].tries_left, cold.id.c_str());
  (void)std::fflush(stdout);
  (void)::reboot(RB_KEXEC);
  return absl::InternalError("the kernel did not jump");
}

}  // namespace
}  // namespace keelson::partition

int main() {
  (void)::mkdir("/proc", 0755);  // It may be there.
  (void)::mount("proc", "/proc", "proc", 0, nullptr);
  const absl::Status status = keelson::partition::Run();
  std::printf("KEELSON-FAILED %s\n", status.ToString().c_str());
  (void)std::fflush(stdout);
  (void)::reboot(RB_POWER_OFF);
  return 1;
}
