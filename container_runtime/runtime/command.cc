#include "container_runtime/runtime/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::container {
namespace {

absl::StatusOr<UniqueFd> Scratch(std::string_view text) {
  UniqueFd file(::memfd_create("cradle", MFD_CLOEXEC));
  if (!file.ok()) return ErrnoError(errno, "memfd_create");
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoError(errno, "write input of a command");
  }
  (void)::lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::string Contents(const UniqueFd& file, size_t bytes_max) {
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  const auto wanted = std::min(static_cast<size_t>(std::max<off_t>(size, 0)), bytes_max);
  std::string text(wanted, '\0');
  const ssize_t got = ::pread(file.get(), text.data(), wanted, size - static_cast<off_t>(wanted));
  text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

absl::StatusOr<pid_t> Start(const std::vector<std::string>& argv, const CommandOptions& options,
                            int input, int output, int errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, errors, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  std::vector<char*> args = Pointers(argv);
  std::vector<char*> env;
  if (options.env.has_value()) env = Pointers(*options.env);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr,
                                   args.data() + (options.argv0_separate ? 1 : 0),
                                   options.env.has_value() ? env.data() : environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoError(error, absl::StrCat("run '", argv[0], "'"));
  return pid;
}

// The wait status of `pid`; nullopt when it did not end in time and was killed.
std::optional<int> Await(pid_t pid, absl::Duration limit) {
  bool ended = true;
  if (limit < absl::InfiniteDuration()) {
    const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pollfd event = {.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    ended = ::poll(&event, 1, static_cast<int>(absl::ToInt64Milliseconds(limit))) != 0;
    if (!ended) (void)::kill(pid, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) return std::nullopt;
  return status;
}

absl::Status Run(const std::vector<std::string>& argv, const CommandOptions& options,
                 std::string* output) {
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd input, Scratch(options.input));
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd said, Scratch(""));
  UniqueFd out;
  if (output != nullptr) {
    KEELSON_ASSIGN_OR_RETURN(out, Scratch(""));
  }
  KEELSON_ASSIGN_OR_RETURN(
      const pid_t pid,
      Start(argv, options, input.get(), output != nullptr ? out.get() : said.get(), said.get()));
  const std::optional<int> status = Await(pid, options.limit);
  if (!status.has_value()) {
    return absl::DeadlineExceededError(
        absl::StrCat("'", argv[0], "' did not end in ", absl::FormatDuration(options.limit)));
  }
  if (output != nullptr) *output = Contents(out, size_t{16} << 20);
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return absl::OkStatus();
  const std::string how = WIFSIGNALED(*status) ? absl::StrCat("signal ", WTERMSIG(*status))
                                               : absl::StrCat("exit status ", WEXITSTATUS(*status));
  return absl::AbortedError(
      absl::StrCat("'", argv[0], "' failed: ", how, ", stdout and stderr: ", Contents(said, 1000)));
}

}  // namespace

absl::Status RunCommand(const std::vector<std::string>& argv, const CommandOptions& options) {
  return Run(argv, options, nullptr);
}

absl::StatusOr<std::string> ReadCommand(const std::vector<std::string>& argv) {
  std::string output;
  KEELSON_RETURN_IF_ERROR(Run(argv, {}, &output));
  return output;
}

absl::Status RunHooks(const std::vector<Hook>& hooks, std::string_view phase,
                      const std::string& state) {
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Hook& hook = hooks[i];
    std::vector<std::string> argv = {hook.path};
    if (hook.args.empty()) argv.push_back(hook.path);
    argv.insert(argv.end(), hook.args.begin(), hook.args.end());
    CommandOptions options;
    options.input = state;
    options.env = hook.env;
    options.argv0_separate = true;
    if (hook.timeout_s.has_value()) options.limit = absl::Seconds(*hook.timeout_s);
    KEELSON_RETURN_IF_ERROR(
        Annotate(RunCommand(argv, options),
                 absl::StrCat("error running ", std::string(phase), " hook #", i)));
  }
  return absl::OkStatus();
}

}  // namespace keelson::container
