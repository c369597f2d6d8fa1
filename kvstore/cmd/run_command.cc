#include "kvstore/cmd/run_command.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/cmd/format.h"

namespace keelson::kvctl {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::Status RunCommand(const std::vector<std::string>& command,
                        const std::map<std::string, std::string>& environment) {
  const absl::Status status = RunProgram(command, environment);
  if (status.ok()) return status;
  const std::string words = absl::StrJoin(
      command, " ", [](std::string* out, const std::string& word) { out->append(Quote(word)); });
  return absl::AbortedError(absl::StrCat("command [", words, "] error (", status.message(), ")"));
}

absl::Status RunProgram(const std::vector<std::string>& command,
                        const std::map<std::string, std::string>& environment) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (environment.count(text.substr(0, text.find('='))) == 0) variables.push_back(text);
  }
  for (const auto& [name, value] : environment) variables.push_back(absl::StrCat(name, "=", value));
  std::vector<std::string> words = command;

  // Signals that we wait for in a thread would stay blocked in the program.
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, command[0].c_str(), nullptr, &attributes,
                                   Pointers(words).data(), Pointers(variables).data());
  ::posix_spawnattr_destroy(&attributes);
  if (error == ENOENT) {
    // Go's two texts: a path is not looked up.
    return absl::AbortedError(
        command[0].find('/') == std::string::npos
            ? absl::StrCat("exec: ", Quote(command[0]), ": executable file not found in $PATH")
            : absl::StrCat("fork/exec ", command[0], ": no such file or directory"));
  }
  if (error != 0) return absl::AbortedError(std::strerror(error));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return absl::AbortedError(std::strerror(errno));
  }
  if (WIFSIGNALED(status)) {
    return absl::AbortedError(absl::StrCat("signal: ", ::strsignal(WTERMSIG(status))));
  }
  if (WEXITSTATUS(status) != 0) {
    return absl::AbortedError(absl::StrCat("exit status ", WEXITSTATUS(status)));
  }
  return absl::OkStatus();
}

}  // namespace keelson::kvctl
