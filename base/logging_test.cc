#include "base/logging.h"

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>

#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"

namespace keelson {
namespace {

const absl::Time kNow = absl::FromUnixMicros(1'700'000'000'123'456);

std::string Line(LogFormat format, std::initializer_list<LogField> fields,
                 std::string_view message = "became leader") {
  return FormatLogLine(format, kNow, LogLevel::kInfo, "kvstored", message, fields);
}

// Sends stderr to a file until it is read.
class CapturedStderr {
 public:
  CapturedStderr() : path_(std::string(std::getenv("TEST_TMPDIR")) + "/stderr"), saved_(::dup(2)) {
    const UniqueFd file(::open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(::dup2(file.get(), 2) == 2);
  }
  ~CapturedStderr() { Restore(); }
  std::string Text() {
    Restore();
    std::ifstream file(path_);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

 private:
  void Restore() {
    if (saved_.ok()) REQUIRE(::dup2(saved_.get(), 2) == 2);
    saved_.Reset();
  }
  const std::string path_;
  UniqueFd saved_;
};

TEST_CASE("A line of each format has its golden form", "[logging][format]") {
  const std::initializer_list<LogField> fields = {{"term", 7},
                                                  {"ratio", 0.5},
                                                  {"ok", true},
                                                  {"name", "a b"},
                                                  {"took", absl::Milliseconds(1500)}};

  CHECK(Line(LogFormat::kText, fields) ==
        "2023-11-14T22:13:20.123456Z info kvstored: became leader term=7 ratio=0.5 ok=true "
        "name=\"a b\" took=1.5");
  CHECK(Line(LogFormat::kJson, fields) ==
        R"({"ts":"2023-11-14T22:13:20.123456Z","level":"info","msg":"became leader",)"
        R"("component":"kvstored","term":7,"ratio":0.5,"ok":true,"name":"a b","took":1.5})");
  CHECK(Line(LogFormat::kJournal, fields) ==
        "<6>became leader term=7 ratio=0.5 ok=true name=\"a b\" took=1.5");
}

TEST_CASE("Hostile text never breaks a line or its quoting", "[logging][format]") {
  struct Row {
    std::string value;
    std::string text;
    std::string json;
  };
  auto row = GENERATE(values<Row>({
      {"plain", "plain", R"("plain")"},
      {"", R"("")", R"("")"},
      {"a=b", R"("a=b")", R"("a=b")"},
      {"say \"x\"", R"("say \"x\"")", R"("say \"x\"")"},
      {"a\nb", R"("a\nb")", R"("a\nb")"},
      {"esc\x1b[2J", R"("esc\u001b[2J")", R"("esc\u001b[2J")"},
      {"back\\slash", R"("back\\slash")", R"("back\\slash")"},
      {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F", "\"gr\xC3\xBC\xC3\x9F\""},
      {"\xF0\x9F\x9A\xA2", "\xF0\x9F\x9A\xA2", "\"\xF0\x9F\x9A\xA2\""},
      {"\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
      {"\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"",
       "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
      {"cut\xE2\x82", "\"cut\xEF\xBF\xBD\xEF\xBF\xBD\"", "\"cut\xEF\xBF\xBD\xEF\xBF\xBD\""},
  }));
  CAPTURE(row.value);

  CHECK(Line(LogFormat::kJournal, {{"v", row.value}}, "m") == "<6>m v=" + row.text);
  const std::string json = Line(LogFormat::kJson, {{"v", row.value}}, "m");
  CHECK(json.substr(json.find("\"v\":")) == "\"v\":" + row.json + "}");
}

TEST_CASE("A message with a newline stays one line", "[logging][format]") {
  CHECK(Line(LogFormat::kJournal, {}, "a\nb") == "<6>a b");
}

TEST_CASE("Numbers that JSON cannot say are strings", "[logging][format]") {
  const std::string json =
      Line(LogFormat::kJson, {{"x", std::numeric_limits<double>::infinity()}}, "m");
  CHECK(json.find(R"("x":"inf"})") != std::string::npos);
}

TEST_CASE("Integers keep their sign and their range", "[logging][format]") {
  CHECK(Line(LogFormat::kJournal,
             {{"a", std::numeric_limits<uint64_t>::max()},
              {"b", std::numeric_limits<int64_t>::min()}},
             "m") == "<6>m a=18446744073709551615 b=-9223372036854775808");
}

TEST_CASE("Levels and formats are read from flags", "[logging][flags]") {
  CHECK(*ParseLogLevel("warning") == LogLevel::kWarning);
  CHECK(*ParseLogLevel("warn") == LogLevel::kWarning);
  CHECK(*ParseLogLevel("debug") == LogLevel::kDebug);
  CHECK(*ParseLogFormat("json") == LogFormat::kJson);
  KEELSON_CHECK_ERROR(ParseLogLevel("INFO"), absl::StatusCode::kInvalidArgument,
                      "log level 'INFO' is not debug, info, warn or error");
  KEELSON_CHECK_ERROR(ParseLogLevel(""), absl::StatusCode::kInvalidArgument, "''");
  KEELSON_CHECK_ERROR(ParseLogFormat("xml"), absl::StatusCode::kInvalidArgument, "'xml'");
}

TEST_CASE("Only lines of the level and above are written", "[logging][output]") {
  const bool background = GENERATE(false, true);
  CapturedStderr captured;
  InitLogging({.level = LogLevel::kWarning,
               .format = LogFormat::kText,
               .component = "x",
               .background = background});

  LogInfo("too low");
  LogWarning("seen {}", {{"n", 1}});
  SetLogLevel(LogLevel::kDebug);
  LogDebug("seen too");
  ShutdownLogging();

  const std::string text = captured.Text();
  CHECK(text.find("too low") == std::string::npos);
  CHECK(text.find(" warn x: seen {} n=1\n") != std::string::npos);
  CHECK(text.find(" debug x: seen too\n") != std::string::npos);
}

TEST_CASE("The automatic format knows the journal and a plain file", "[logging][output]") {
  CapturedStderr captured;
  struct stat info {};
  REQUIRE(::fstat(2, &info) == 0);
  std::string stream = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  std::string want = "<4>m\n";
  SECTION("stderr is the journal's stream") {}
  SECTION("stderr was sent elsewhere") {
    stream += "1";
    want = "\"level\":\"warn\"";
  }
  REQUIRE(::setenv("JOURNAL_STREAM", stream.c_str(), 1) == 0);
  InitLogging({});
  REQUIRE(::unsetenv("JOURNAL_STREAM") == 0);

  LogWarning("m");

  CHECK(captured.Text().find(want) != std::string::npos);
}

}  // namespace
}  // namespace keelson
