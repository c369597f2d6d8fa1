#include "kvstore/cmd/password.h"

#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::kvctl {
namespace {

// Turns the echo of the terminal off. Signals that end the process wait meanwhile, so that no
// terminal is left without echo.
class WithoutEcho {
 public:
  WithoutEcho() : terminal_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!terminal_) return;
    sigset_t ending;
    sigemptyset(&ending);
    for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) sigaddset(&ending, number);
    ::pthread_sigmask(SIG_BLOCK, &ending, &signals_before_);
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    // With the terminal's signals blocked, an interrupt ends the line instead.
    quiet.c_cc[VEOL2] = quiet.c_cc[VINTR];
    quiet.c_lflag &= ~static_cast<tcflag_t>(ISIG);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    interrupt_ = static_cast<char>(before_.c_cc[VINTR]);
  }
  ~WithoutEcho() {
    if (!terminal_) return;
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    ::pthread_sigmask(SIG_SETMASK, &signals_before_, nullptr);
  }
  WithoutEcho(const WithoutEcho&) = delete;
  WithoutEcho& operator=(const WithoutEcho&) = delete;

  // Whether the user gave up with the interrupt key.
  [[nodiscard]] bool Interrupted(const std::string& line) const {
    return terminal_ && !line.empty() && line.back() == interrupt_;
  }

 private:
  termios before_ = {};
  const bool terminal_;
  sigset_t signals_before_ = {};
  char interrupt_ = 0;
};

}  // namespace

std::string AskPassword(const std::string& prompt, std::istream& in, std::ostream& out) {
  out << prompt << std::flush;
  std::string line;
  bool interrupted = false;
  {
    const WithoutEcho quiet;
    char byte = 0;
    while (in.get(byte) && byte != '\n') {
      line.push_back(byte);
      if (quiet.Interrupted(line)) {
        interrupted = true;
        break;
      }
    }
  }
  out << "\n" << std::flush;
  if (interrupted) ::raise(SIGINT);
  absl::StripAsciiWhitespace(&line);
  return line;
}

absl::StatusOr<std::string> AskNewPassword(const std::string& name, std::istream& in,
                                           std::ostream& out) {
  std::string first = AskPassword(absl::StrCat("Password of ", name, ": "), in, out);
  if (first.empty()) return absl::InvalidArgumentError("empty password");
  const std::string second =
      AskPassword(absl::StrCat("Type password of ", name, " again for confirmation: "), in, out);
  if (first != second) return absl::InvalidArgumentError("given passwords are different");
  return first;
}

}  // namespace keelson::kvctl
