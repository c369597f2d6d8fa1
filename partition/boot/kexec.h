// Into another system without firmware: kexec of a unified kernel image.
//
//   KexecActivation activation(kernel, control, fs, "/var/lib/keelson/cold-boot.json");
//   KEELSON_RETURN_IF_ERROR(activation.Prepare("keelson_2.efi", image));
//   ... systemctl kexec ...
//   // At each start:
//   KEELSON_ASSIGN_OR_RETURN(const ColdBoot cold, activation.NoteStart(cmdline_of_this_boot));
//
// Two things go missing with the firmware. The loader does not take a try: Prepare does, before the
// jump. And that the image starts after a kexec does not show that firmware and loader can start
// it: a machine may run for months and fail at its next power cut. So a record says that a start
// from cold is still owed, until one has happened.
//
// Threading: not thread-safe.
#ifndef KEELSON_PARTITION_BOOT_KEXEC_H_
#define KEELSON_PARTITION_BOOT_KEXEC_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "partition/boot/boot_control.h"

namespace keelson::partition {

// What x86 takes, with the zero at its end.
inline constexpr size_t kKexecCmdlineBytesMax = 2048;

// The kernel that runs now.
class KexecKernel {
 public:
  virtual ~KexecKernel() = default;

  // Loads what `systemctl kexec` or reboot(LINUX_REBOOT_CMD_KEXEC) then starts.
  // PERMISSION_DENIED: not allowed, or under lockdown the kernel has no signature that counts.
  // UNIMPLEMENTED: the running kernel has no kexec_file_load.
  virtual absl::Status Load(std::string_view linux, std::string_view initrd,
                            const std::string& cmdline) = 0;
  // OK if nothing is loaded.
  virtual absl::Status Unload() = 0;
  // Writes back what is in memory and jumps into what is loaded; comes back with an error alone.
  virtual absl::Status Start() = 0;
};

// The system's: kexec_file_load(2) of files in memory. Lives for ever.
KexecKernel& RealKexecKernel();

struct ColdBoot {
  bool owed = false;  // the running system was never started by firmware and loader
  std::string id;     // of the candidate that owes it
};

class KexecActivation {
 public:
  // References must outlive it. `record` is the path of a small file that survives a reboot.
  KexecActivation(KexecKernel& kernel, BootControl& control, FileSystem& fs, std::string record);

  // Loads `image`, the candidate `id` of the boot control, takes a try from it and records that a
  // cold start is owed. When it fails nothing is loaded, and a reboot is the other way.
  //
  // Errors:
  //   FAILED_PRECONDITION  the candidate is bad.
  //   INVALID_ARGUMENT     `image` is no unified image, or its command line is too long.
  //   others               of the kernel, the boot control and the file system.
  absl::Status Prepare(const std::string& id, std::string_view image);

  // To be called once at each start with /proc/cmdline. A start from cold pays what is owed.
  absl::StatusOr<ColdBoot> NoteStart(std::string_view cmdline);

 private:
  KexecKernel& kernel_;
  BootControl& control_;
  FileSystem& fs_;
  const std::string record_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_KEXEC_H_
