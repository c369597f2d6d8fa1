#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "container_runtime/cmd/context.h"
#include "container_runtime/runtime/failure.h"

namespace keelson::container {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(&out, "\\u", absl::StrFormat("%04x", static_cast<unsigned>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string Now() {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts = {};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[32];
  (void)::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string Parts(const Context& context, const absl::Status& status) {
  const Failure failure = DescribeFailure(status, context.command);
  return absl::StrCat(",\"code\":", Quoted(failure.code), ",\"phase\":", Quoted(failure.phase),
                      ",\"syscall\":", Quoted(failure.syscall), ",\"errno\":", failure.error,
                      ",\"object\":", Quoted(failure.object), ",\"hint\":", Quoted(failure.hint));
}

}  // namespace

absl::Status OpenLog(const Context& context) {
  if (context.log_file.empty()) return absl::OkStatus();
  const UniqueFd file(
      ::open(context.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (file.ok()) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("open log file '", context.log_file, "'"));
}

void Log(const Context& context, const char* level, const absl::Status& status) {
  const std::string message(status.message());
  const std::string_view kind = level;
  const bool error = kind == "error";
  if (kind == "debug" && !context.debug) return;
  std::string line;
  if (context.log_json) {
    line = absl::StrCat("{\"level\":", Quoted(level), ",\"msg\":", Quoted(message),
                        ",\"time\":", Quoted(Now()), error ? Parts(context, status) : "", "}\n");
  } else {
    line = absl::StrCat("time=", Quoted(Now()), " level=", level, " msg=", Quoted(message), "\n");
  }
  if (error) (void)std::fprintf(stderr, "cradle: %s\n", message.c_str());
  if (context.log_file.empty()) {
    if (kind == "warning" && !context.debug) {
      (void)std::fprintf(stderr, "cradle: warning: %s\n", message.c_str());
    }
    if (context.debug) (void)std::fputs(line.c_str(), stderr);
    return;
  }
  const UniqueFd file(
      ::open(context.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_SYNC | O_CLOEXEC, 0644));
  if (!file.ok() || ::write(file.get(), line.data(), line.size()) < 0) {
    (void)std::fprintf(stderr, "cradle: cannot write to log '%s'\n", context.log_file.c_str());
  }
}

}  // namespace keelson::container
