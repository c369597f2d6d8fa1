// create, run, start, state, kill, delete, list.
#include <pwd.h>
#include <regex.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "container_runtime/cmd/context.h"
#include "container_runtime/runtime/foreground.h"
#include "container_runtime/runtime/notify_relay.h"
#include "container_runtime/runtime/sockets.h"

namespace keelson::container {
namespace {

std::vector<Flag> CreateFlags(bool run) {
  std::vector<Flag> flags = {
      {"bundle", 'b', Flag::kText, "folder of the bundle (default: here)"},
      {"config", 'f', Flag::kText, "the config's file (default: config.json)"},
      {"console-socket", 0, Flag::kText, "socket that receives the terminal's descriptor"},
      {"pidfd-socket", 0, Flag::kText, "socket that receives the process's pidfd"},
      {"pid-file", 0, Flag::kText, "file to write the process id to"},
      {"no-pivot", 0, Flag::kBool, "chroot in place of pivot_root, for a root in a RAM disk"},
      {"no-new-keyring", 0, Flag::kBool, "keep the caller's session keyring"},
      {"preserve-fds", 0, Flag::kText, "number of descriptors after 2 that the program keeps"},
  };
  if (!run) return flags;
  flags.push_back({"detach", 'd', Flag::kBool, "return when the program runs"});
  flags.push_back({"keep", 0, Flag::kBool, "leave the container when its program ends"});
  flags.push_back({"no-subreaper", 0, Flag::kBool, "do not adopt the program's orphans"});
  return flags;
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<CreateOptions> ReadCreateOptions(const Args& args) {
  CreateOptions options;
  options.id = args.rest[0];
  options.bundle = args.Text("bundle", ".");
  options.config = args.Text("config", "config.json");
  options.pid_file = args.Text("pid-file");
  options.console_socket = args.Text("console-socket");
  options.pidfd_socket = args.Text("pidfd-socket");
  options.no_pivot = args.Bool("no-pivot");
  options.no_new_keyring = args.Bool("no-new-keyring");
  KEELSON_ASSIGN_OR_RETURN(const int64_t fds, args.Number("preserve-fds"));
  options.preserve_fds = static_cast<int>(fds);
  options.notify_socket = Environment("NOTIFY_SOCKET");
  (void)absl::SimpleAtoi(Environment("LISTEN_FDS"),
                         &options.listen_fds);  // 0 where it is no number.
  options.listen_names = Environment("LISTEN_FDNAMES");
  return options;
}

// Logs what was left out of what the config asks for.
void LogWarnings(const Context& context, const std::vector<std::string>& warnings) {
  for (const std::string& text : warnings) Log(context, "warning", absl::UnknownError(text));
}

CommandResult Create(const Context& context, const Args& args) {
  KEELSON_ASSIGN_OR_RETURN(CreateOptions options, ReadCreateOptions(args));
  std::vector<std::string> warnings;
  options.warnings = &warnings;
  Runtime runtime(context.runtime);
  const absl::StatusOr<Child> child = runtime.Create(options);
  LogWarnings(context, warnings);
  KEELSON_RETURN_IF_ERROR(child);
  return 0;
}

// A service manager's socket for the program has to be there before the program is.
absl::StatusOr<Child> RunWithRelay(Runtime& runtime, const CreateOptions& options,
                                   std::optional<NotifyRelay>& relay) {
  if (options.notify_socket.empty()) return runtime.Run(options);
  KEELSON_ASSIGN_OR_RETURN(Child child, runtime.Create(options));
  absl::StatusOr<NotifyRelay> opened =
      NotifyRelay::Open(runtime.NotifyFolderOf(options.id), options.notify_socket);
  absl::Status status = opened.status();
  if (status.ok()) {
    relay.emplace(*std::move(opened));
    status = runtime.Start(options.id);
  }
  if (status.ok()) return child;
  (void)runtime.Delete(options.id, /*force=*/true);
  return status;
}

CommandResult RunForeground(Runtime& runtime, CreateOptions options, const Args& args) {
  Foreground foreground;
  if (!args.Bool("no-subreaper")) foreground.BecomeSubreaper();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError(errno, "socketpair");
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  options.console_fd = options.console_socket.empty() ? theirs.get() : -1;
  std::optional<NotifyRelay> relay;
  KEELSON_ASSIGN_OR_RETURN(const Child child, RunWithRelay(runtime, options, relay));
  theirs.Reset();
  // A terminal was sent before the program was let go, if there is one.
  UniqueFd master = ReceiveFd(ours.get(), /*wait=*/false).value_or(UniqueFd());
  absl::StatusOr<int> status =
      foreground.Await(child, std::move(master), relay.has_value() ? relay->fd() : -1,
                       [&relay, &child] { (void)relay->Take(child.pid); });
  if (!args.Bool("keep")) {
    const absl::Status removed = runtime.Delete(options.id, /*force=*/true);
    if (status.ok() && !removed.ok()) return removed;
  }
  return status;
}

CommandResult RunDetached(Runtime& runtime, const CreateOptions& options) {
  std::optional<NotifyRelay> relay;
  KEELSON_ASSIGN_OR_RETURN(const Child child, RunWithRelay(runtime, options, relay));
  if (relay.has_value()) {
    KEELSON_RETURN_IF_ERROR(relay->AwaitReady(child.pidfd.get(), child.pid));
  }
  return 0;
}

CommandResult Run(const Context& context, const Args& args) {
  KEELSON_ASSIGN_OR_RETURN(CreateOptions options, ReadCreateOptions(args));
  std::vector<std::string> warnings;
  options.warnings = &warnings;
  Runtime runtime(context.runtime);
  CommandResult result = 0;
  if (args.Bool("detach")) {
    result = RunDetached(runtime, options);
  } else {
    result = RunForeground(runtime, std::move(options), args);
  }
  LogWarnings(context, warnings);
  return result;
}

CommandResult Start(const Context& context, const Args& args) {
  KEELSON_RETURN_IF_ERROR(
      Runtime(context.runtime).Start(args.rest[0], Environment("NOTIFY_SOCKET")));
  return 0;
}

CommandResult State(const Context& context, const Args& args) {
  Runtime runtime(context.runtime);
  KEELSON_ASSIGN_OR_RETURN(const ContainerState state, runtime.Load(args.rest[0]));
  const ContainerStatus status = runtime.StatusOf(state);
  // As with other runtimes there is nothing to ask about before create has come back.
  if (status == ContainerStatus::kCreating) {
    return absl::NotFoundError(
        absl::StrCat("container does not exist: '", args.rest[0], "' is being created"));
  }
  const pid_t pid = status == ContainerStatus::kStopped ? 0 : state.pid;
  (void)std::printf("%s\n", Runtime::StateJson(state, status, pid).c_str());
  return 0;
}

CommandResult Kill(const Context& context, const Args& args) {
  KEELSON_ASSIGN_OR_RETURN(const int signal,
                           ParseSignal(args.rest.size() > 1 ? args.rest[1] : "TERM"));
  KEELSON_RETURN_IF_ERROR(Runtime(context.runtime).Kill(args.rest[0], signal, args.Bool("all")));
  return 0;
}

CommandResult Delete(const Context& context, const Args& args) {
  Runtime runtime(context.runtime);
  if (!args.Bool("regex")) {
    KEELSON_RETURN_IF_ERROR(runtime.Delete(args.rest[0], args.Bool("force")));
    return 0;
  }
  regex_t pattern;
  if (::regcomp(&pattern, args.rest[0].c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", args.rest[0], "' is no regular expression"));
  }
  absl::StatusOr<std::vector<std::string>> ids = runtime.List();
  absl::Status first = ids.status();
  for (const std::string& id : ids.value_or(std::vector<std::string>())) {
    if (::regexec(&pattern, id.c_str(), 0, nullptr, 0) != 0) continue;
    absl::Status status = runtime.Delete(id, args.Bool("force"));
    if (first.ok()) first = std::move(status);
  }
  ::regfree(&pattern);
  KEELSON_RETURN_IF_ERROR(first);
  return 0;
}

struct Row {
  std::string id, pid, status, bundle, created, owner, json;
};

void PrintTable(const std::vector<Row>& rows) {
  const Row header = {"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER", ""};
  size_t widths[5] = {12, 12, 12, 12, 12};
  const auto fit = [&](const Row& row) {
    const std::string* cells[5] = {&row.id, &row.pid, &row.status, &row.bundle, &row.created};
    for (int i = 0; i < 5; ++i) widths[i] = std::max(widths[i], cells[i]->size() + 4);
  };
  fit(header);
  for (const Row& row : rows) fit(row);
  const auto print = [&](const Row& row) {
    (void)std::printf("%-*s%-*s%-*s%-*s%-*s%s\n", static_cast<int>(widths[0]), row.id.c_str(),
                      static_cast<int>(widths[1]), row.pid.c_str(), static_cast<int>(widths[2]),
                      row.status.c_str(), static_cast<int>(widths[3]), row.bundle.c_str(),
                      static_cast<int>(widths[4]), row.created.c_str(), row.owner.c_str());
  };
  print(header);
  for (const Row& row : rows) print(row);
}

CommandResult List(const Context& context, const Args& args) {
  Runtime runtime(context.runtime);
  absl::StatusOr<std::vector<std::string>> ids = runtime.List();
  if (absl::IsNotFound(ids.status()) && !context.root_given) ids = std::vector<std::string>();
  KEELSON_RETURN_IF_ERROR(ids.status());
  std::vector<Row> rows;
  for (const std::string& id : *ids) {
    if (args.Bool("quiet")) {
      (void)std::printf("%s\n", id.c_str());
      continue;
    }
    const absl::StatusOr<ContainerState> state = runtime.Load(id);
    if (!state.ok()) continue;  // Being made or removed at this moment.
    const ContainerStatus status = runtime.StatusOf(*state);
    const pid_t pid = status == ContainerStatus::kStopped ? 0 : state->pid;
    const std::string owner = state->owner == 0 ? "root" : absl::StrCat("#", state->owner);
    rows.push_back({id, absl::StrCat(pid), StatusName(status), state->bundle, state->created, owner,
                    Runtime::StateJson(*state, status, pid)});
  }
  if (args.Bool("quiet")) return 0;
  const std::string format = args.Text("format", "table");
  if (format == "table") {
    PrintTable(rows);
  } else if (format == "json") {
    std::string text;
    for (const Row& row : rows) absl::StrAppend(&text, text.empty() ? "" : ",", row.json);
    (void)std::printf(rows.empty() ? "null\n" : "[%s]\n", text.c_str());
  } else {
    return absl::InvalidArgumentError("invalid format option");
  }
  return 0;
}

}  // namespace

std::vector<Command> LifecycleCommands() {
  return {
      {"create", "<container-id>", "Makes a container; its program waits for start.",
       CreateFlags(false), 1, 1, true, Create},
      {"run", "<container-id>", "Makes a container and runs its program.", CreateFlags(true), 1, 1,
       true, Run},
      {"start",
       "<container-id>",
       "Lets the program of a created container run.",
       {},
       1,
       1,
       true,
       Start},
      {"state", "<container-id>", "Prints the container's state in JSON.", {}, 1, 1, true, State},
      {"kill",
       "<container-id> [signal]",
       "Sends a signal (default SIGTERM) to the container's first process.",
       {{"all", 'a', Flag::kBool, "to every process of the container"}},
       1,
       2,
       true,
       Kill},
      {"delete",
       "<container-id>",
       "Removes a container that has stopped.",
       {{"force", 'f', Flag::kBool, "also one that runs, and what a crash has left"},
        {"regex", 'r', Flag::kBool, "all whose id matches this extended regular expression"}},
       1,
       1,
       true,
       Delete},
      {"list",
       "",
       "Lists the containers.",
       {{"format", 'f', Flag::kText, "table or json"}, {"quiet", 'q', Flag::kBool, "ids alone"}},
       0,
       0,
       true,
       List},
  };
}

}  // namespace keelson::container
