#include "kvstore/config/config_file.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"

namespace keelson::kvstore {
namespace {

std::string Text(const std::vector<ConfigField>& fields) {
  std::string text;
  for (const ConfigField& field : fields) {
    absl::StrAppend(&text, field.section, "/", field.name, "=", field.value, "@", field.line, "\n");
  }
  return text;
}

TEST_CASE("Fields, lists and sections of a file", "[kvstore][config_file]") {
  KEELSON_ASSIGN_OR_FAIL(const auto fields, ParseConfigFile(R"(# a comment
name: 'default'
data-dir:
wal-dir: ~
snapshot-count: 10000
cors: ""
log-outputs: [stderr, default]
client-transport-security:
  # Path to the client server TLS cert file.
  cert-file: a b
  key-file:
peer-transport-security: {auto-tls: true}
cipher-suites:
  - A
  - B
)"));
  CHECK(Text(fields) ==
        "/name=default@2\n"
        "/snapshot-count=10000@5\n"
        "/log-outputs=stderr,default@7\n"
        "client-transport-security/cert-file=a b@10\n"
        "peer-transport-security/auto-tls=true@12\n"
        "/cipher-suites=A,B@13\n");
}

TEST_CASE("A file without fields is no error", "[kvstore][config_file]") {
  for (const char* text : {"", "# nothing\n", "---\n", "{}", "~"}) {
    KEELSON_ASSIGN_OR_FAIL(const auto fields, ParseConfigFile(text));
    CHECK(fields.empty());
  }
}

TEST_CASE("What is no such file is refused with its line", "[kvstore][config_file]") {
  const std::pair<const char*, const char*> rows[] = {
      {"name", "line 1: the file is not a list"},
      {"- a", "line 1: the file is not a list"},
      {"a: 1\nb: [", "line 3: did not find expected node content"},
      {"a: 1\n\tb: 2", "line 2: "},
      {"a:\n  b:\n    c: 1", "line 3: a section within a section"},
      {"a: [[1]]", "line 1: a list has plain elements only"},
      {"a: &x 1\nb: *x", "line 2: an alias is not understood"},
      {"[a]: 1", "line 1: "},
      {"a: 'x", "line 1: "}};
  for (const auto& [text, why] : rows) {
    INFO(text);
    KEELSON_CHECK_ERROR(ParseConfigFile(text).status(), absl::StatusCode::kInvalidArgument, why);
  }
}

}  // namespace
}  // namespace keelson::kvstore
