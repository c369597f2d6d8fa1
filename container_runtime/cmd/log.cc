#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/unique_fd.h"
#include "container_runtime/cmd/context.h"

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

}  // namespace

void Log(const Context& context, const char* level, const absl::Status& status) {
  const std::string message(status.message());
  const bool error = std::string_view(level) == "error";
  if (error || context.log_file.empty()) {
    (void)std::fprintf(stderr, "cradle: %s%s\n", error ? "" : "warning: ", message.c_str());
  }
  if (context.log_file.empty()) return;
  std::string line;
  if (context.log_json) {
    line = absl::StrCat("{\"level\":", Quoted(level), ",\"msg\":", Quoted(message),
                        ",\"time\":", Quoted(Now()),
                        ",\"code\":", Quoted(absl::StatusCodeToString(status.code())), "}\n");
  } else {
    line = absl::StrCat("time=", Quoted(Now()), " level=", level, " msg=", Quoted(message), "\n");
  }
  const UniqueFd file(
      ::open(context.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_SYNC | O_CLOEXEC, 0644));
  if (!file.ok() || ::write(file.get(), line.data(), line.size()) < 0) {
    (void)std::fprintf(stderr, "cradle: cannot write to log '%s'\n", context.log_file.c_str());
  }
}

}  // namespace keelson::container
