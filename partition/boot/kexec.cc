#include "partition/boot/kexec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "partition/boot/uki.h"

namespace keelson::partition {
namespace {

// On the command line of a kernel that was started by kexec; a loader never adds it.
constexpr std::string_view kMark = "keelson.kexec=1";
constexpr uint64_t kRecordBytesMax = 4096;

bool StartedByKexec(std::string_view cmdline) {
  const std::vector<std::string> words = absl::StrSplit(
      absl::string_view(cmdline.data(), cmdline.size()), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  return std::find(words.begin(), words.end(), kMark) != words.end();
}

}  // namespace

KexecActivation::KexecActivation(KexecKernel& kernel, BootControl& control, FileSystem& fs,
                                 std::string record)
    : kernel_(kernel), control_(control), fs_(fs), record_(std::move(record)) {}

absl::Status KexecActivation::Prepare(const std::string& id, std::string_view image) {
  KEELSON_ASSIGN_OR_RETURN(const UkiParts parts, ParseUki(image));
  const std::string cmdline =
      absl::StrCat(parts.cmdline, parts.cmdline.empty() ? "" : " ", std::string(kMark));
  if (cmdline.size() >= kKexecCmdlineBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("command line: expected at most ", kKexecCmdlineBytesMax - 1, " bytes with '",
                     std::string(kMark), "', found ", cmdline.size()));
  }
  KEELSON_RETURN_IF_ERROR(
      Annotate(kernel_.Load(parts.linux, parts.initrd, cmdline), absl::StrCat("load '", id, "'")));
  // The record first: a cold start that is owed without need does no harm. The try before the jump,
  // as a loader does it, so that a system that hangs has used it up.
  absl::Status status = WriteFileAtomically(fs_, record_, id + "\n");
  if (status.ok()) status = control_.CountTry(id);
  if (status.ok()) return status;
  (void)kernel_.Unload();  // Best effort: the reboot that follows starts without it.
  return status;
}

absl::StatusOr<ColdBoot> KexecActivation::NoteStart(std::string_view cmdline) {
  const absl::StatusOr<std::string> record = ReadFile(fs_, record_, kRecordBytesMax);
  if (absl::IsNotFound(record.status())) return ColdBoot{};
  KEELSON_RETURN_IF_ERROR(record);
  if (StartedByKexec(cmdline)) {
    return ColdBoot{.owed = true, .id = record->substr(0, record->find('\n'))};
  }
  KEELSON_RETURN_IF_ERROR(fs_.Remove(record_));
  return ColdBoot{};
}

}  // namespace keelson::partition
