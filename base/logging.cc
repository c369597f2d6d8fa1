#include "base/logging.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/clock.h"

namespace keelson {
namespace {

constexpr size_t kBackgroundLines = 8192;

// True when stderr is the stream that systemd connected to the journal (systemd.exec(5),
// JOURNAL_STREAM): a program that redirected stderr still has the variable.
bool StderrIsJournal() {
  const char* variable = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (variable == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == variable;
}

LogFormat Resolve(LogFormat format) {
  if (format != LogFormat::kAuto) return format;
  if (StderrIsJournal()) return LogFormat::kJournal;
  return ::isatty(STDERR_FILENO) == 1 ? LogFormat::kText : LogFormat::kJson;
}

std::shared_ptr<spdlog::logger> WithOurSettings(std::shared_ptr<spdlog::logger> logger) {
  logger->set_pattern("%v");  // Lines come formatted; levels are filtered before.
  logger->set_level(spdlog::level::trace);
  return logger;
}

std::shared_ptr<spdlog::logger> DirectLogger() {
  return WithOurSettings(std::make_shared<spdlog::logger>(
      "keelson", std::make_shared<spdlog::sinks::stderr_sink_mt>()));
}

struct Setup {
  std::atomic<LogLevel> level{LogLevel::kInfo};
  LogFormat format = Resolve(LogFormat::kAuto);
  std::string component;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::logger> logger = DirectLogger();
};

Setup& TheSetup() {
  static Setup* setup = new Setup;  // Never destroyed: destructors of others may log.
  return *setup;
}

absl::Status NotOneOf(std::string_view what, std::string_view text, std::string_view allowed) {
  return absl::InvalidArgumentError(std::string(what) + " '" + std::string(text) + "' is not " +
                                    std::string(allowed));
}

}  // namespace

void InitLogging(const LogOptions& options) {
  ShutdownLogging();
  Setup& setup = TheSetup();
  setup.level = options.level;
  setup.format = Resolve(options.format);
  setup.component = options.component;
  if (options.background) {
    setup.pool = std::make_shared<spdlog::details::thread_pool>(kBackgroundLines, 1);
    setup.logger = WithOurSettings(std::make_shared<spdlog::async_logger>(
        "keelson", std::make_shared<spdlog::sinks::stderr_sink_mt>(), setup.pool,
        spdlog::async_overflow_policy::overrun_oldest));
  }
}

void ShutdownLogging() {
  Setup& setup = TheSetup();
  setup.logger = DirectLogger();
  setup.pool.reset();  // Its destructor writes what waits and joins.
}

void SetLogLevel(LogLevel level) { TheSetup().level.store(level, std::memory_order_relaxed); }

bool LogEnabled(LogLevel level) {
  return level >= TheSetup().level.load(std::memory_order_relaxed);
}

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  const Setup& setup = TheSetup();
  const std::string line =
      FormatLogLine(setup.format, RealClock().Now(), level, setup.component, message, fields);
  setup.logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warn" || text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  return NotOneOf("log level", text, "debug, info, warn or error");
}

absl::StatusOr<LogFormat> ParseLogFormat(std::string_view text) {
  if (text == "auto") return LogFormat::kAuto;
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  if (text == "journal") return LogFormat::kJournal;
  return NotOneOf("log format", text, "auto, text, json or journal");
}

}  // namespace keelson
