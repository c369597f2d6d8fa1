#include "container_runtime/runtime/id_maps.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/path/calls.h"
#include "container_runtime/path/kernel.h"
#include "container_runtime/runtime/command.h"

namespace keelson::container {
namespace {

absl::Status WriteProcFile(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.ok()) return ErrnoError(errno, absl::StrCat("open '", path, "'"));
  // The kernel takes a map in one write or not at all.
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoError(errno, absl::StrCat("write '", path, "'"));
  }
  return absl::OkStatus();
}

std::string MapText(const std::vector<IdMapping>& map) {
  std::string text;
  for (const IdMapping& line : map) {
    absl::StrAppend(&text, line.container_id, " ", line.host_id, " ", line.size, "\n");
  }
  return text;
}

bool OnlySelf(const std::vector<IdMapping>& map, unsigned self) {
  return map.size() == 1 && map[0].host_id == self && map[0].size == 1;
}

absl::Status WriteMap(pid_t pid, const char* file, const char* helper,
                      const std::vector<IdMapping>& map, unsigned self) {
  if (::geteuid() == 0 || OnlySelf(map, self)) {
    return WriteProcFile(absl::StrCat("/proc/", pid, "/", file), MapText(map));
  }
  std::vector<std::string> argv = {helper, absl::StrCat(pid)};
  for (const IdMapping& line : map) {
    for (const uint32_t number : {line.container_id, line.host_id, line.size}) {
      argv.push_back(absl::StrCat(number));
    }
  }
  return RunCommand(argv);
}

}  // namespace

bool MustDenySetgroups(const std::vector<IdMapping>& gids) {
  return ::geteuid() != 0 && OnlySelf(gids, ::getegid());
}

absl::Status WriteIdMaps(pid_t pid, const std::vector<IdMapping>& uids,
                         const std::vector<IdMapping>& gids, bool deny_setgroups) {
  if (deny_setgroups) {
    KEELSON_RETURN_IF_ERROR(WriteProcFile(absl::StrCat("/proc/", pid, "/setgroups"), "deny"));
  }
  KEELSON_RETURN_IF_ERROR(WriteMap(pid, "uid_map", "newuidmap", uids, ::geteuid()));
  return WriteMap(pid, "gid_map", "newgidmap", gids, ::getegid());
}

absl::StatusOr<UniqueFd> MakeUserNamespace(const std::vector<IdMapping>& uids,
                                           const std::vector<IdMapping>& gids) {
  clone_args args = {};
  args.flags = CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  const long pid = RealKernel().Call(SYS_clone3, calls::Pointer(&args), sizeof(args));
  if (pid == 0) {
    while (true) (void)RealKernel().Call(SYS_pause);
  }
  if (pid < 0) return ErrnoError(static_cast<int>(-pid), "clone for an id-mapped mount");
  const auto child = static_cast<pid_t>(pid);
  absl::Status status = WriteIdMaps(child, uids, gids, MustDenySetgroups(gids));
  UniqueFd space;
  if (status.ok()) {
    const std::string path = absl::StrCat("/proc/", child, "/ns/user");
    space.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!space.ok()) status = ErrnoError(errno, absl::StrCat("open '", path, "'"));
  }
  (void)::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  KEELSON_RETURN_IF_ERROR(status);
  return space;
}

}  // namespace keelson::container
