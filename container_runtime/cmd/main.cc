// cradle: an OCI runtime. See --help.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "container_runtime/cmd/context.h"

namespace keelson::container {
namespace {

const std::vector<Flag>& GlobalFlags() {
  static const auto* flags = new std::vector<Flag>{
      {"root", 0, Flag::kText, "folder for the state of containers (default: /run/cradle)"},
      {"log", 0, Flag::kText, "file for messages, beside standard error"},
      {"log-format", 0, Flag::kText, "text (default) or json"},
      {"log-level", 0, Flag::kText, "error, warning or debug"},
      {"debug", 0, Flag::kBool, "more messages"},
      {"systemd-cgroup", 0, Flag::kBool, "make cgroups through systemd"},
      {"cgroup-manager", 0, Flag::kText, "cgroupfs (default), systemd or disabled"},
      {"rootless", 0, Flag::kText, "true, false or auto (default)"},
      {"criu", 0, Flag::kText, "accepted for compatibility"},
      {"help", 'h', Flag::kBool, "this text"},
      {"version", 'v', Flag::kBool, "the version"},
  };
  return *flags;
}

std::vector<Command> AllCommands() {
  std::vector<Command> all;
  for (auto* list : {LifecycleCommands, ExecCommands, ResourceCommands, DescribeCommands}) {
    for (Command& command : list()) all.push_back(std::move(command));
  }
  return all;
}

std::string Help(const std::vector<Command>& commands) {
  std::string text =
      "NAME:\n   cradle - Open Container Initiative runtime\n\n"
      "USAGE:\n   cradle [global options] command [options] [arguments]\n\nCOMMANDS:\n";
  for (const Command& command : commands) {
    std::string name = absl::StrCat("   ", command.name);
    name.resize(std::max<size_t>(name.size() + 2, 14), ' ');
    absl::StrAppend(&text, name, command.help, "\n");
  }
  absl::StrAppend(&text, "\nGLOBAL OPTIONS:\n", FlagHelp(GlobalFlags()));
  return absl::StrCat(text,
                      "\nEXIT STATUS:\n   0 done; 1 failed; run and exec end with their program's "
                      "status (128 and the\n   number for a signal), exec with 255 when the "
                      "process could not be made.\n");
}

std::string DefaultRoot() {
  const char* run = ::geteuid() == 0 ? nullptr : std::getenv("XDG_RUNTIME_DIR");
  return run == nullptr ? "/run/cradle" : absl::StrCat(run, "/cradle");
}

absl::StatusOr<Context> ReadContext(const Args& args) {
  Context context;
  context.log_file = args.Text("log");
  const std::string format = args.Text("log-format", "text");
  if (format != "text" && format != "json") {
    return absl::InvalidArgumentError(absl::StrCat("invalid log-format: ", format));
  }
  context.log_json = format == "json";
  context.debug = args.Bool("debug") || args.Text("log-level") == "debug";
  context.root_given = args.Has("root");
  context.runtime.root = args.Text("root", DefaultRoot());
  if (context.runtime.root.empty() || context.runtime.root == "/") {
    return absl::InvalidArgumentError("--root: the root folder itself cannot hold state");
  }
  if (context.runtime.root[0] != '/') {
    char* here = ::getcwd(nullptr, 0);
    context.runtime.root = absl::StrCat(here == nullptr ? "" : here, "/", context.runtime.root);
    std::free(here);
  }
  const std::string manager = args.Text("cgroup-manager", "cgroupfs");
  if (args.Bool("systemd-cgroup") || manager == "systemd") {
    context.runtime.cgroup_driver = CgroupDriver::kSystemd;
  } else if (manager == "disabled") {
    context.runtime.cgroup_driver = CgroupDriver::kDisabled;
  } else if (manager != "cgroupfs") {
    return absl::InvalidArgumentError(absl::StrCat("unknown cgroup manager '", manager, "'"));
  }
  const std::string rootless = args.Text("rootless", "auto");
  context.runtime.rootless = rootless == "true" || (rootless == "auto" && ::geteuid() != 0);
  return context;
}

int Fail(const Context& context, const absl::Status& status, int exit_status = 1) {
  Log(context, "error", status);
  return exit_status;
}

int RunCommandLine(const Context& context, const Command& command,
                   const std::vector<std::string>& words) {
  std::vector<Flag> flags = command.flags;
  flags.push_back({"help", 'h', Flag::kBool, "this text"});
  const absl::StatusOr<Args> args = Args::Parse(flags, words, command.flags_anywhere);
  if (!args.ok()) return Fail(context, args.status(), command.error_exit);
  if (args->Bool("help")) {
    (void)std::printf(
        "NAME:\n   cradle %s - %s\n\nUSAGE:\n   cradle %s [options] %s\n\nOPTIONS:\n%s",
        command.name, command.help, command.name, command.usage, FlagHelp(flags).c_str());
    return 0;
  }
  const auto count = static_cast<int>(args->rest.size());
  if (count < command.words_min || (command.words_max >= 0 && count > command.words_max)) {
    return Fail(
        context,
        absl::InvalidArgumentError(absl::StrCat("\"", command.name, "\" requires ", command.usage,
                                                ", got ", count, " argument(s)")),
        command.error_exit);
  }
  const CommandResult result = command.run(context, *args);
  if (!result.ok()) return Fail(context, result.status(), command.error_exit);
  return *result;
}

// Memory from the kernel in one piece, not given back before the end: each call for more or less, and
// each page asked for anew, costs more than what it saves in a program as short as this.
void KeepMemory() {
  constexpr int kBytes = 1 << 20;
  (void)::mallopt(M_TOP_PAD, kBytes);
  (void)::mallopt(M_TRIM_THRESHOLD, 4 * kBytes);
}

int Main(const std::vector<std::string>& words) {
  KeepMemory();
  // A reader of our output that has gone away is no reason to leave a container half made.
  (void)::signal(SIGPIPE, SIG_IGN);
  const absl::StatusOr<Args> args = Args::Parse(GlobalFlags(), words, false);
  if (!args.ok()) return Fail({}, args.status());
  const std::vector<Command> commands = AllCommands();
  if (args->Bool("version")) {
    (void)std::fputs(VersionText().c_str(), stdout);
    return 0;
  }
  if (args->Bool("help") || args->rest.empty() || args->rest[0] == "help") {
    (void)std::fputs(Help(commands).c_str(), stdout);
    return 0;
  }
  absl::StatusOr<Context> context = ReadContext(*args);
  if (!context.ok()) return Fail({}, context.status());
  if (const absl::Status log = OpenLog(*context); !log.ok()) return Fail({}, log);
  context->runtime.warn = [&context](const std::string& text) {
    Log(*context, "warning", absl::UnknownError(text));
  };
  context->command = args->rest[0];
  Log(*context, "debug", absl::UnknownError(absl::StrCat("command: ", absl::StrJoin(words, " "))));
  for (const Command& command : commands) {
    if (args->rest[0] != command.name) continue;
    return RunCommandLine(*context, command, {args->rest.begin() + 1, args->rest.end()});
  }
  return Fail(*context,
              absl::InvalidArgumentError(absl::StrCat("No help topic for '", args->rest[0], "'")));
}

}  // namespace
}  // namespace keelson::container

int main(int argc, char** argv) {
  return keelson::container::Main(std::vector<std::string>(argv + 1, argv + argc));
}
