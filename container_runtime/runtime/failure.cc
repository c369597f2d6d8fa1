#include "container_runtime/runtime/failure.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keelson::container {
namespace {

constexpr const char* kPhase = "keelson.container/phase";
constexpr const char* kSyscall = "keelson.container/syscall";
constexpr const char* kErrno = "keelson.container/errno";
constexpr const char* kObject = "keelson.container/object";
constexpr int kErrnoMax = 133;

std::string Kept(const absl::Status& status, const char* key) {
  const auto payload = status.GetPayload(key);
  return payload.has_value() ? std::string(*payload) : "";
}

// By the text that the system gives it, in which the first letter may be a small one.
int ErrnoOf(const std::string& message) {
  for (int number = 1; number <= kErrnoMax; ++number) {
    const char* text = strerrordesc_np(number);
    if (text == nullptr || std::strlen(text) < 2) continue;
    if (absl::EndsWith(message, text + 1) && message.size() >= std::strlen(text)) {
      const char first = message[message.size() - std::strlen(text)];
      if ((first | 0x20) == (text[0] | 0x20)) return number;
    }
  }
  return 0;
}

std::string ObjectOf(const std::string& message) {
  const size_t open = message.find_first_of("'\"");
  if (open != std::string::npos) {
    const size_t close = message.find(message[open], open + 1);
    if (close != std::string::npos) return message.substr(open + 1, close - open - 1);
  }
  const size_t colon = message.find(": ");
  const std::string place = colon == std::string::npos ? "" : message.substr(0, colon);
  return place.find(' ') == std::string::npos ? place : "";
}

std::string HintFor(absl::StatusCode code, const Failure& failure, const std::string& message) {
  const auto says = [&](const char* words) { return absl::StrContains(message, words); };
  if (says("exec: ")) return "the program is looked for inside root.path, by PATH of process.env";
  if (says("does not exist")) return "cradle list shows the containers of this --root";
  if (says("already exists")) return "choose another id, or cradle delete the old container first";
  if (says("is not empty"))
    return "linux.cgroupsPath names a cgroup in use; give each container its own";
  if (says("could not join or create cgroup"))
    return "cat /proc/cgroups shows the host's controllers";
  if (says("seccomp agent"))
    return "the agent must listen on linux.seccomp.listenerPath before create";
  if (says("symlink is in the way")) return "the image has a symlink where a folder must be";
  if (failure.syscall == "sched_setattr" && failure.error == EPERM) {
    return "cgroup v1 gives real-time only to groups with cpu.rt_runtime_us";
  }
  if (failure.syscall == "prlimit" && failure.error == EPERM) {
    return "the host's hard limit is lower, and raising it needs CAP_SYS_RESOURCE";
  }
  if (failure.error == EPERM || failure.error == EACCES) {
    return "a privilege is missing here; as another user than root, linux.namespaces needs user";
  }
  if (failure.error == ENOSPC && says("clone")) return "a limit of /proc/sys/user is reached";
  if (failure.error == ENOENT && says("mount"))
    return "the source of the mount is missing on the host";
  if (code == absl::StatusCode::kInvalidArgument)
    return "see the named place of config.json or flag";
  return "";
}

}  // namespace

absl::Status WithFailure(absl::Status status, const Failure& failure) {
  if (!failure.phase.empty()) status.SetPayload(kPhase, absl::Cord(failure.phase));
  if (!failure.syscall.empty()) status.SetPayload(kSyscall, absl::Cord(failure.syscall));
  if (failure.error != 0) status.SetPayload(kErrno, absl::Cord(absl::StrCat(failure.error)));
  if (!failure.object.empty()) status.SetPayload(kObject, absl::Cord(failure.object));
  return status;
}

Failure DescribeFailure(const absl::Status& status, std::string_view phase) {
  const std::string message(status.message());
  Failure failure;
  failure.code = absl::StatusCodeToString(status.code());
  failure.phase = Kept(status, kPhase);
  if (failure.phase.empty()) failure.phase = std::string(phase);
  failure.syscall = Kept(status, kSyscall);
  const std::string error = Kept(status, kErrno);
  (void)std::from_chars(error.data(), error.data() + error.size(), failure.error);
  if (failure.error == 0) failure.error = ErrnoOf(message);
  failure.object = Kept(status, kObject);
  if (failure.object.empty()) failure.object = ObjectOf(message);
  failure.hint = HintFor(status.code(), failure, message);
  return failure;
}

}  // namespace keelson::container
