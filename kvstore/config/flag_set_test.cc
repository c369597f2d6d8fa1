#include "kvstore/config/flag_set.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"

using namespace keelson::kvstore;

namespace {

using Words = std::vector<std::string>;

// One flag of each kind.
struct Fixture {
  std::string text = "default";
  bool flag = false;
  int64_t number = -1;
  uint64_t count = 7;
  absl::Duration time = absl::Seconds(5);
  FlagSet flags;

  Fixture() {
    flags.String("name", &text, "A text.");
    flags.Bool("pre-vote", &flag, "A switch.");
    flags.Int64("quota", &number, "A number.");
    flags.Uint64("count", &count, "A count.");
    flags.Duration("interval", &time, "A time.");
    flags.Alias("experimental-count", "count");
    flags.WithoutEffect("max-wals", false);
    flags.Refused("proxy", false, "off", "not supported");
  }
};

}  // namespace

TEST_CASE("Flags are spelled as Go programs spell them", "[kvstore][flags]") {
  struct Row {
    std::string name;
    Words arguments;
    std::string text;
    bool flag;
  };
  const auto row = GENERATE(values<Row>({
      {"two dashes and equals", {"--name=x"}, "x", false},
      {"two dashes and a word", {"--name", "x"}, "x", false},
      {"one dash", {"-name", "x"}, "x", false},
      {"one dash and equals", {"-name=x"}, "x", false},
      {"an empty value", {"--name="}, "", false},
      {"a value with equals", {"--name=a=b"}, "a=b", false},
      {"a value like a flag", {"--name", "--pre-vote"}, "--pre-vote", false},
      {"a switch alone", {"--pre-vote"}, "default", true},
      {"a switch with a value", {"--pre-vote=T"}, "default", true},
      {"the last one wins", {"--name=a", "--name=b", "--pre-vote", "--pre-vote=0"}, "b", false},
      {"a closing --", {"--name=a", "--"}, "a", false},
  }));
  DYNAMIC_SECTION(row.name) {
    Fixture f;

    KEELSON_REQUIRE_OK(f.flags.ParseArguments(row.arguments));

    CHECK(f.text == row.text);
    CHECK(f.flag == row.flag);
  }
}

TEST_CASE("Bad arguments are refused in one line that names the flag", "[kvstore][flags]") {
  struct Row {
    Words arguments;
    std::string message;
  };
  const auto row = GENERATE(values<Row>({
      {{"--nmae=x"}, "--nmae: unknown flag, did you mean --name?"},
      {{"--prevote"}, "--prevote: unknown flag, did you mean --pre-vote?"},
      {{"--zzzzzzzzzzzz"}, "--zzzzzzzzzzzz: unknown flag"},
      {{"--name"}, "--name: a value must follow"},
      {{"stray"}, "'stray' is not a flag"},
      {{"--pre-vote", "false"}, "'false' is not a flag"},
      {{"-"}, "'-' is not a flag"},
      {{"--", "--name=x"}, "'--' is not a flag"},
      {{"---name=x"}, "'---name=x' is not a flag"},
      {{"--=x"}, "'--=x' is not a flag"},
      {{""}, "'' is not a flag"},
      {{"--pre-vote=maybe"}, "--pre-vote: 'maybe' is not true or false"},
      {{"--quota=1.5"}, "--quota: '1.5' is not a whole number"},
      {{"--quota="}, "--quota: '' is not a whole number"},
      {{"--quota=99999999999999999999"}, "--quota: '99999999999999999999' is not a whole number"},
      {{"--count=-1"}, "--count: '-1' is not a whole number of 0 or more"},
      {{"--interval=10"}, "--interval: '10' is not a duration such as 500ms, 10s or 1h30m"},
      {{"--interval=inf"}, "--interval: 'inf' is not a duration such as 500ms, 10s or 1h30m"},
      {{"--interval=10 s"}, "--interval: '10 s' is not a duration such as 500ms, 10s or 1h30m"},
      {{"--proxy=on"}, "--proxy: not supported"},
  }));
  DYNAMIC_SECTION(row.message) {
    Fixture f;

    const absl::Status status = f.flags.ParseArguments(row.arguments);

    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()) == row.message);
  }
}

TEST_CASE("A flag wins over its variable, a variable over the default", "[kvstore][flags]") {
  Fixture f;
  KEELSON_REQUIRE_OK(f.flags.ParseArguments(Words{"--name=flag"}));

  KEELSON_REQUIRE_OK(f.flags.ParseEnvironment(
      "ETCD_", Words{"ETCD_NAME=variable", "ETCD_PRE_VOTE=true", "ETCD_QUOTA=", "PATH=/bin"}));

  CHECK(f.text == "flag");
  CHECK(f.flag);
  CHECK(f.number == -1);
  CHECK(f.flags.IsSet("pre-vote"));
  CHECK_FALSE(f.flags.IsSet("quota"));
  REQUIRE(f.flags.warnings().size() == 1);
  CHECK(f.flags.warnings()[0] ==
        "environment variable ETCD_NAME is overridden by its flag, ignoring");
}

TEST_CASE("An unknown variable with the prefix is a warning", "[kvstore][flags]") {
  Fixture f;

  KEELSON_REQUIRE_OK(f.flags.ParseEnvironment("ETCD_", Words{"ETCD_NO_SUCH=1", "ETCDX=1"}));

  CHECK(f.flags.warnings() == Words{"unrecognized environment variable ETCD_NO_SUCH, ignoring"});
}

TEST_CASE("A bad variable is an error that names it", "[kvstore][flags]") {
  Fixture f;

  const absl::Status status = f.flags.ParseEnvironment("ETCD_", Words{"ETCD_COUNT=many"});

  CHECK(std::string(status.message()) == "ETCD_COUNT: 'many' is not a whole number of 0 or more");
}

TEST_CASE("A flag without effect is accepted with one warning", "[kvstore][flags]") {
  Fixture f;

  KEELSON_REQUIRE_OK(f.flags.ParseArguments(Words{"--max-wals", "3", "--proxy=off"}));

  CHECK(f.flags.warnings() == Words{"--max-wals has no effect here, ignoring"});
}

TEST_CASE("An alias sets the flag it stands for", "[kvstore][flags]") {
  SECTION("as an argument") {
    Fixture f;
    KEELSON_REQUIRE_OK(f.flags.ParseArguments(Words{"--experimental-count=9"}));
    CHECK(f.count == 9);
  }
  SECTION("as a variable") {
    Fixture f;
    KEELSON_REQUIRE_OK(f.flags.ParseEnvironment("ETCD_", Words{"ETCD_EXPERIMENTAL_COUNT=9"}));
    CHECK(f.count == 9);
  }
}

TEST_CASE("Help shows flags with their defaults", "[kvstore][flags]") {
  Fixture f;
  CHECK(f.flags.Help().find("--interval '5s'\n      A time.") != std::string::npos);
}
