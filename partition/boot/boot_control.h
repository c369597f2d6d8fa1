// What boots next, whoever decides it: a boot loader's files, bits in the partition table, or a
// fake.
//
//   KEELSON_RETURN_IF_ERROR(control.CheckRoom(image.size()));        // before anything is touched
//   KEELSON_RETURN_IF_ERROR(control.Commit({.id = "keelson_2.efi", .contents = image}, 3));
//   ... boot; it works ...
//   KEELSON_RETURN_IF_ERROR(control.Mark("keelson_2.efi", BootVerdict::kGood, ""));
//
// A candidate on trial may be started a number of times; each start takes a try before anything of
// it runs. When the tries are gone and nobody marked it good, the next best candidate boots.
// Whatever call a power cut interrupts, something that could boot before still can.
#ifndef KEELSON_PARTITION_BOOT_BOOT_CONTROL_H_
#define KEELSON_PARTITION_BOOT_BOOT_CONTROL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::partition {

enum class BootState : uint8_t {
  kTrial,  // has tries left, and nobody has said whether it works
  kGood,
  kBad,  // its tries are gone, or it was marked so
};

// "trial", "good", "bad".
std::string_view BootStateName(BootState state);

struct BootCandidate {
  std::string id;  // stays the same while its state changes
  std::string title;
  std::string version;
  BootState state = BootState::kGood;
  int tries_left = 0;  // of one on trial
  int tries_done = 0;
  bool next = false;  // it is what boots next
  std::string why;    // for people: why it boots next, or why not
};

// A file that an image needs beside it.
struct BootFile {
  std::string path;  // from the root of the boot partition, with '/'
  std::string_view contents;
};

struct BootImage {
  std::string id;
  std::string_view contents;
  std::vector<BootFile> files;  // made durable before the image can boot
};

enum class BootVerdict : uint8_t {
  kGood,
  kBad,
  kIndeterminate,  // as it was when it was started: takes a verdict back
};

// Not thread-safe; one process at a time changes a machine's boot.
class BootControl {
 public:
  virtual ~BootControl() = default;

  // In the order in which they would be tried.
  virtual absl::StatusOr<std::vector<BootCandidate>> Candidates() = 0;

  // The id of what this system was started from.
  // NOT_FOUND: nothing says so; the machine was perhaps started in another way.
  virtual absl::StatusOr<std::string> Running() = 0;

  // RESOURCE_EXHAUSTED: no room for `bytes` more; the message says how much is missing, and what
  // could go.
  virtual absl::Status CheckRoom(uint64_t bytes) = 0;

  // Makes `image` bootable, with that many tries or, without a number, as good. Durable when OK.
  // The same image again is OK.
  //
  // Errors:
  //   RESOURCE_EXHAUSTED   as CheckRoom; nothing was changed.
  //   ALREADY_EXISTS       another image has this id.
  //   INVALID_ARGUMENT     the id, or a path, is not one that the loader can use; tries below 1.
  virtual absl::Status Commit(const BootImage& image, std::optional<int> tries) = 0;

  // Idempotent. Durable when OK. `reason` is for whoever keeps a record of failures.
  //
  // Errors:
  //   NOT_FOUND            there is no such candidate.
  //   FAILED_PRECONDITION  kBad, and nothing else is known to boot; or kIndeterminate, and how it
  //                        was started is not known.
  //   RESOURCE_EXHAUSTED   kGood of the only candidate, and no room to do it safely. It stays
  //                        bootable.
  virtual absl::Status Mark(const std::string& id, BootVerdict verdict,
                            const std::string& reason) = 0;

  // Takes a try from a candidate on trial, for a start that no loader sees (kexec). OK, and nothing
  // happens, for a good one. FAILED_PRECONDITION: it is bad.
  virtual absl::Status CountTry(const std::string& id) = 0;

  // NOT_FOUND. FAILED_PRECONDITION: it is running, or nothing else is known to boot.
  virtual absl::Status Remove(const std::string& id) = 0;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_BOOT_BOOT_CONTROL_H_
