#include "container_runtime/runtime/process_id.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/state/state.h"

namespace keelson::container {
namespace {

constexpr int kStartTimeField = 22;  // proc(5)
constexpr int kStateField = 3;

}  // namespace

absl::StatusOr<ProcessInfo> ReadProcessInfo(pid_t pid) {
  if (pid <= 0) return absl::NotFoundError(absl::StrCat("no process ", pid));
  const absl::StatusOr<std::string> text = ReadHostFile(absl::StrCat("/proc/", pid, "/stat"));
  if (!text.ok()) return absl::NotFoundError(absl::StrCat("no process ", pid));
  // The name in field 2 may have anything in it, so fields are counted from its last ")".
  size_t at = text->rfind(')');
  if (at == std::string::npos || at + 2 >= text->size()) {
    return absl::DataLossError(absl::StrCat("/proc/", pid, "/stat is not understood"));
  }
  at += 2;
  ProcessInfo info;
  info.state = (*text)[at];
  for (int field = kStateField; field < kStartTimeField; ++field) {
    at = text->find(' ', at);
    if (at == std::string::npos) return absl::DataLossError("/proc/PID/stat is too short");
    ++at;
  }
  (void)std::from_chars(text->data() + at, text->data() + text->size(), info.start_time);
  return info;
}

bool IsAlive(pid_t pid, uint64_t start_time) {
  const absl::StatusOr<ProcessInfo> info = ReadProcessInfo(pid);
  return info.ok() && info->start_time == start_time && info->state != 'Z' && info->state != 'X';
}

absl::StatusOr<UniqueFd> OpenProcess(pid_t pid, uint64_t start_time) {
  UniqueFd pidfd(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1);
  // The number may have gone to another process before it was opened; now it cannot any more.
  if (!pidfd.ok() || !IsAlive(pid, start_time)) {
    return absl::NotFoundError(absl::StrCat("process ", pid, " has ended"));
  }
  return pidfd;
}

}  // namespace keelson::container
