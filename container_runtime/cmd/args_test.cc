#include "container_runtime/cmd/args.h"

#include <signal.h>
#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"

namespace keelson::container {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const std::vector<Flag> kFlags = {{"bundle", 'b', Flag::kText, ""},
                                  {"force", 'f', Flag::kBool, ""},
                                  {"env", 'e', Flag::kList, ""}};

TEST_CASE("Flags are taken in every form that engines use", "[container][args]") {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--bundle", "x", "-f", "id"},
        std::vector<std::string>{"--bundle=x", "--force=true", "id"},
        std::vector<std::string>{"-b", "x", "-force", "id"},
        std::vector<std::string>{"-b=x", "--force", "--", "id"}}) {
    KEELSON_ASSIGN_OR_FAIL(const Args args, Args::Parse(kFlags, words, false));
    CHECK(args.Text("bundle") == "x");
    CHECK(args.Bool("force"));
    CHECK(args.rest == std::vector<std::string>{"id"});
  }
}

TEST_CASE("A command line after the first word is left alone", "[container][args]") {
  KEELSON_ASSIGN_OR_FAIL(const Args args,
                         Args::Parse(kFlags, {"-e", "A=1", "-e", "B=2", "id", "ls", "-f"}, false));
  CHECK(args.List("env") == std::vector<std::string>{"A=1", "B=2"});
  CHECK(args.rest == std::vector<std::string>{"id", "ls", "-f"});
  CHECK_FALSE(args.Bool("force"));
}

TEST_CASE("Flags may follow words where that is said", "[container][args]") {
  KEELSON_ASSIGN_OR_FAIL(const Args args, Args::Parse(kFlags, {"id", "--force"}, true));
  CHECK(args.Bool("force"));
  CHECK(args.rest == std::vector<std::string>{"id"});
}

TEST_CASE("Bad command lines are refused", "[container][args]") {
  KEELSON_CHECK_ERROR(Args::Parse(kFlags, {"--nothing"}, false).status(), kInvalid,
                      "not defined: -nothing");
  KEELSON_CHECK_ERROR(Args::Parse(kFlags, {"--bundle"}, false).status(), kInvalid,
                      "needs an argument");
  KEELSON_ASSIGN_OR_FAIL(const Args args, Args::Parse(kFlags, {"--bundle", "x"}, false));
  KEELSON_CHECK_ERROR(args.Number("bundle").status(), kInvalid, "invalid value \"x\"");
}

TEST_CASE("Signals have names and numbers", "[container][args]") {
  CHECK(ParseSignal("9").value() == SIGKILL);
  CHECK(ParseSignal("SIGTERM").value() == SIGTERM);
  CHECK(ParseSignal("hup").value() == SIGHUP);
  CHECK(ParseSignal("RTMIN+3").value() == SIGRTMIN + 3);
  CHECK(ParseSignal("SIGRTMIN").value() == SIGRTMIN);
  for (const char* text : {"", "SIG", "NOTHING", "-1", "9x", "1000", "RTMIN+x", "RTMIN+100"}) {
    KEELSON_CHECK_ERROR(ParseSignal(text).status(), kInvalid, "unknown signal");
  }
}

TEST_CASE("Sizes have units", "[container][args]") {
  CHECK(ParseBytes("64m").value() == 64 << 20);
  CHECK(ParseBytes("1GB").value() == 1 << 30);
  CHECK(ParseBytes("17").value() == 17);
  CHECK(ParseBytes("-1").value() == -1);
  for (const char* text : {"", "m", "1x", "1.5m", "99999999999g"}) {
    CHECK(ParseBytes(text).status().code() == kInvalid);
  }
}

}  // namespace
}  // namespace keelson::container
