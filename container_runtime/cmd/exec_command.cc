// exec.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "container_runtime/cmd/context.h"
#include "container_runtime/config/parser.h"
#include "container_runtime/runtime/foreground.h"
#include "container_runtime/runtime/sockets.h"

namespace keelson::container {
namespace {

constexpr int kSetupFailed = 255;  // as runc

absl::StatusOr<uint32_t> ParseId(const std::string& text) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no number of a user or a group"));
  }
  return id;
}

absl::Status ApplyUser(const Args& args, Process& process) {
  if (args.Has("user")) {
    const std::vector<std::string> parts = absl::StrSplit(args.Text("user"), ':');
    if (parts.size() > 2) {
      return absl::InvalidArgumentError(absl::StrCat("--user: '", args.Text("user"), "'"));
    }
    KEELSON_ASSIGN_OR_RETURN(process.user.uid, ParseId(parts[0]));
    if (parts.size() == 2) {
      KEELSON_ASSIGN_OR_RETURN(process.user.gid, ParseId(parts[1]));
    }
  }
  for (const std::string& gid : args.List("additional-gids")) {
    KEELSON_ASSIGN_OR_RETURN(process.user.additional_gids.emplace_back(), ParseId(gid));
  }
  return absl::OkStatus();
}

// The container's own process with what the command line says instead.
absl::StatusOr<Process> ProcessFromFlags(const Args& args, Process process) {
  process.args.assign(args.rest.begin() + 1, args.rest.end());
  if (process.args.empty()) {
    return absl::InvalidArgumentError("process args cannot be empty");
  }
  process.terminal = args.Bool("tty");
  process.console_size.reset();
  if (args.Has("cwd")) process.cwd = args.Text("cwd");
  for (const std::string& entry : args.List("env")) process.env.push_back(entry);
  if (args.Has("apparmor")) process.apparmor_profile = args.Text("apparmor");
  if (args.Has("process-label")) process.selinux_label = args.Text("process-label");
  if (args.Has("no-new-privs")) process.no_new_privileges = args.Bool("no-new-privs");
  if (!process.capabilities.has_value()) process.capabilities.emplace();
  for (const std::string& name : args.List("cap")) {
    Capabilities& sets = *process.capabilities;
    // Not the inheritable set: programs with file capabilities would get them (CVE-2022-29162).
    for (auto* set : {&sets.bounding, &sets.effective, &sets.permitted}) set->push_back(name);
    // What the container's own process passes on to programs, the new one does as well.
    const auto& inheritable = sets.inheritable;
    if (std::find(inheritable.begin(), inheritable.end(), name) != inheritable.end()) {
      sets.ambient.push_back(name);
    }
  }
  KEELSON_RETURN_IF_ERROR(ApplyUser(args, process));
  return process;
}

// "[controller[,...]:]path"
absl::Status ReadCgroup(const Args& args, SubCgroup& cgroup) {
  for (const std::string& text : args.List("cgroup")) {
    const size_t colon = text.find(':');
    const size_t begin = text.find_first_not_of('/', colon == std::string::npos ? 0 : colon + 1);
    const std::string path = begin == std::string::npos ? "" : text.substr(begin);
    if (colon == std::string::npos) {
      cgroup.path = path;
      continue;
    }
    for (const std::string& name :
         std::vector<std::string>(absl::StrSplit(text.substr(0, colon), ','))) {
      cgroup.path_of[name] = path;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ExecRequest> ReadRequest(const Container& container, const Args& args) {
  ExecRequest request;
  if (args.Has("process")) {
    KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadHostFile(args.Text("process")));
    KEELSON_ASSIGN_OR_RETURN(request.process, ParseProcess(text));
    if (args.Has("tty")) request.process.terminal = args.Bool("tty");
  } else {
    KEELSON_ASSIGN_OR_RETURN(request.process,
                             ProcessFromFlags(args, container.spec.process.value_or(Process{})));
  }
  request.pid_file = args.Text("pid-file");
  request.console_socket = args.Text("console-socket");
  request.pidfd_socket = args.Text("pidfd-socket");
  request.ignore_paused = args.Bool("ignore-paused");
  KEELSON_ASSIGN_OR_RETURN(const int64_t fds, args.Number("preserve-fds"));
  request.preserve_fds = static_cast<int>(fds);
  KEELSON_RETURN_IF_ERROR(ReadCgroup(args, request.cgroup));
  return request;
}

CommandResult Exec(const Context& context, const Args& args) {
  Runtime runtime(context.runtime);
  KEELSON_ASSIGN_OR_RETURN(const Container container, runtime.Open(args.rest[0]));
  KEELSON_ASSIGN_OR_RETURN(ExecRequest request, ReadRequest(container, args));
  if (args.Bool("detach")) {
    KEELSON_RETURN_IF_ERROR(runtime.Exec(request, container));
    return 0;
  }
  Foreground foreground;
  UniqueFd ours;
  UniqueFd theirs;
  if (request.process.terminal && request.console_socket.empty()) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return ErrnoError(errno, "socketpair");
    }
    ours.Reset(ends[0]);
    theirs.Reset(ends[1]);
    request.console_fd = theirs.get();
  }
  KEELSON_ASSIGN_OR_RETURN(const Child child, runtime.Exec(request, container));
  UniqueFd master;
  if (ours.ok()) {
    KEELSON_ASSIGN_OR_RETURN(master, ReceiveFd(ours.get(), /*wait=*/true));
  }
  return foreground.Await(child, std::move(master));
}

}  // namespace

std::vector<Command> ExecCommands() {
  return {{"exec",
           "<container-id> <command> [arguments]",
           "Runs one more process in a container.",
           {
               {"process", 'p', Flag::kText, "file with a process object; no command then"},
               {"tty", 't', Flag::kBool, "with a terminal"},
               {"detach", 'd', Flag::kBool, "return when the process runs"},
               {"pid-file", 0, Flag::kText, "file to write the process id to"},
               {"console-socket", 0, Flag::kText, "socket that receives the terminal"},
               {"pidfd-socket", 0, Flag::kText, "socket that receives the process's pidfd"},
               {"cwd", 0, Flag::kText, "working directory"},
               {"env", 'e', Flag::kList, "NAME=value, added to the container's"},
               {"user", 'u', Flag::kText, "UID[:GID]"},
               {"additional-gids", 'g', Flag::kList, "more groups"},
               {"cap", 'c', Flag::kList, "a capability to add"},
               {"no-new-privs", 0, Flag::kBool, "set no_new_privs"},
               {"apparmor", 0, Flag::kText, "AppArmor profile"},
               {"process-label", 0, Flag::kText, "SELinux label"},
               {"preserve-fds", 0, Flag::kText, "number of descriptors after 2 to keep"},
               {"cgroup", 0, Flag::kList, "[controller[,...]:]path below the container's cgroup"},
               {"ignore-paused", 0, Flag::kBool, "also in a paused container"},
               {"no-subreaper", 0, Flag::kBool, "accepted for compatibility"},
           },
           1,
           -1,
           false,
           Exec,
           kSetupFailed}};
}

}  // namespace keelson::container
