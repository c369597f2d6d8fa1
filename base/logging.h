// Logs of daemons: one event a line on stderr, facts as typed fields.
//
//   InitLogging({.level = LogLevel::kInfo, .component = "kvstored"});  // First thing in main.
//   LogInfo("became leader", {{"term", 7}, {"peers", 5}});
//   LogError("cannot save snapshot", {{"err", status}, {"took_ms", 12}});
//
// The message is constant text; what differs from one time to the next is a field. Never log
// values, tokens or keys. Levels: error = someone must act; warning = degraded but handled;
// info = state changes only, an idle daemon logs nothing; debug = for developers.
// Libraries log at debug only and return errors instead; the program logs each failure once.
//
// Threading: thread-safe. Lines of two threads do not mix.
#ifndef KEELSON_BASE_LOGGING_H_
#define KEELSON_BASE_LOGGING_H_

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace keelson {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

enum class LogFormat {
  kAuto,  // kJournal when stderr is the journal ($JOURNAL_STREAM), kText when it is a terminal, else kJson.
  kText,     // 2026-01-31T12:00:00.123456Z info kvstored: became leader term=7
  kJson,     // {"ts":"...","level":"info","msg":"became leader","component":"kvstored","term":7}
  kJournal,  // <6>became leader term=7
};

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kAuto;
  std::string component = {};  // Name of the program or of its part.
  // Writes lines on a thread of its own, so that a slow stderr never delays a caller; 8,192
  // lines are kept, then the oldest are dropped. Lines not yet written are lost in a crash.
  bool background = false;
};

// The value of a field: text, a number, a bool; a Duration shows as seconds, a Status as text.
class LogValue {
 public:
  using Value = std::variant<std::string, int64_t, uint64_t, double, bool>;

  LogValue(const char* text) : value_(std::string(text)) {}            // NOLINT: fields convert.
  LogValue(std::string_view text) : value_(std::string(text)) {}       // NOLINT
  LogValue(const std::string& text) : value_(text) {}                  // NOLINT
  LogValue(const absl::Status& status) : value_(status.ToString()) {}  // NOLINT
  LogValue(absl::Duration d) : value_(absl::ToDoubleSeconds(d)) {}     // NOLINT
  LogValue(double number) : value_(number) {}                          // NOLINT
  LogValue(bool truth) : value_(truth) {}                              // NOLINT
  template <std::signed_integral T>
  LogValue(T number) : value_(static_cast<int64_t>(number)) {}  // NOLINT
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) LogValue(T number)
      : value_(static_cast<uint64_t>(number)) {}  // NOLINT

  [[nodiscard]] const Value& value() const { return value_; }

 private:
  Value value_;
};

struct LogField {
  std::string_view key;  // snake_case; in JSON also not ts, level, msg or component.
  LogValue value;
};

// Sets the process's log up. Before it, lines of level info and above go to stderr as kAuto
// says. May be called again; call it while no other thread logs.
void InitLogging(const LogOptions& options);

// Writes what a background thread still holds and ends that thread. Lines logged later are written
// by their callers. Call at the end of main when `background` was set; harmless otherwise.
void ShutdownLogging();

// Changes the level; thread-safe.
void SetLogLevel(LogLevel level);
[[nodiscard]] bool LogEnabled(LogLevel level);

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
inline void LogDebug(std::string_view message, std::initializer_list<LogField> fields = {}) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, message, fields);
}
inline void LogInfo(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, message, fields);
}
inline void LogWarning(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarning, message, fields);
}
inline void LogError(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, message, fields);
}

// "debug", "info", "warn" or "warning", "error". INVALID_ARGUMENT names what is allowed.
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view text);
// "auto", "text", "json", "journal". INVALID_ARGUMENT names what is allowed.
absl::StatusOr<LogFormat> ParseLogFormat(std::string_view text);

// The line of one event, without its newline. In kText and kJournal, text that holds spaces,
// quotes, `=` or control bytes is quoted and escaped, so a line never breaks in two; in JSON, bytes
// that are not UTF-8 become U+FFFD. `format` must not be kAuto.
std::string FormatLogLine(LogFormat format, absl::Time now, LogLevel level,
                          std::string_view component, std::string_view message,
                          std::initializer_list<LogField> fields);

}  // namespace keelson

#endif  // KEELSON_BASE_LOGGING_H_
