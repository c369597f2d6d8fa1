// Replays the shared corpus of etcd-io/raft, and checks that the harness notices differences.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "raft/testing/golden_file.h"
#include "raft/testing/golden_run.h"

namespace keelson::raft::golden {
namespace {

namespace fs = std::filesystem;

// $KEELSON_SHARED, or ../shared beside the working tree that this test was built from.
fs::path SharedFolder() {
  if (const char* dir = std::getenv("KEELSON_SHARED")) return dir;
  std::error_code error;
  const fs::path self = fs::canonical("raft/testing/golden_test.cc", error);
  if (error) return {};
  return self.parent_path().parent_path().parent_path().parent_path() / "shared";
}

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

TEST_CASE("Every shared transcript of etcd-io/raft is equal", "[raft][golden]") {
  const fs::path corpus = SharedFolder() / "corpora" / "raft-golden";
  if (!fs::exists(corpus)) {
    WARN("SKIPPED: no corpus at " << corpus);
    return;
  }
  const std::string folder = GENERATE("interaction", "quorum", "confchange");
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(corpus / folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE_FALSE(files.empty());
  for (const fs::path& file : files) {
    DYNAMIC_SECTION(folder << "/" << file.filename().string()) {
      KEELSON_ASSIGN_OR_FAIL(
          const FileResult result,
          RunGoldenFile(*ParseKind(folder), file.filename().string(), ReadFile(file)));
      CHECK(result.cases > 0);
      INFO(result.diff);
      CHECK(result.diff.empty());
    }
  }
}

// Scenes that the corpus lacks, some with options or commands of our own.
TEST_CASE("Every transcript of our own is equal", "[raft][golden]") {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator("raft/testdata/transcripts")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() >= 8);
  for (const fs::path& file : files) {
    DYNAMIC_SECTION(file.filename().string()) {
      KEELSON_ASSIGN_OR_FAIL(
          const FileResult result,
          RunGoldenFile(Kind::kInteraction, file.filename().string(), ReadFile(file)));
      INFO(result.diff);
      CHECK(result.diff.empty());
      CHECK(result.updated == ReadFile(file));
    }
  }
}

TEST_CASE("A file is updated with what came, and nothing else changes", "[raft][golden]") {
  const std::string text =
      "# kept\n\nlog-level none\n----\nwrong\n\n# kept too\nno-such 1\ninput\n----\n----\na\n\nb\n"
      "----\n----\n\n# end\n";
  KEELSON_ASSIGN_OR_FAIL(const FileResult result, RunGoldenFile(Kind::kInteraction, "x", text));
  CHECK(result.updated ==
        "# kept\n\nlog-level none\n----\nok\n\n# kept too\nno-such 1\ninput\n----\n"
        "no node 1\n\n# end\n");
}

TEST_CASE("A difference is shown with its case and both sides", "[raft][golden]") {
  const std::string text =
      "add-nodes 1 voters=(1) index=2\n----\n"
      "INFO 1 switched to configuration voters=(2)\n"
      "INFO 1 became follower at term 0\n"
      "INFO newRaft 1 [peers: [1], term: 0, commit: 2, applied: 2, lastindex: 2, lastterm: 1]\n";
  KEELSON_ASSIGN_OR_FAIL(const FileResult result, RunGoldenFile(Kind::kInteraction, "x", text));
  CHECK(
      result.diff ==
      "--- x:1 add-nodes expected\n+++ x:1 add-nodes actual\n@@ -1,3 +1,3 @@\n"
      "-INFO 1 switched to configuration voters=(2)\n"
      "+INFO 1 switched to configuration voters=(1)\n"
      " INFO 1 became follower at term 0\n"
      " INFO newRaft 1 [peers: [1], term: 0, commit: 2, applied: 2, lastindex: 2, lastterm: 1]\n");
}

TEST_CASE("A directive is split into words, values and lists", "[raft][golden]") {
  KEELSON_ASSIGN_OR_FAIL(const std::vector<Case> cases,
                         ParseGoldenFile("# comment\n\nc 1 a=b l=(1, 2) e=()\ninput\nmore\n"
                                         "----\nout\n\n\nd\n----\n"));
  REQUIRE(cases.size() == 2);
  CHECK(cases[0].line == 3);
  CHECK(cases[0].command == "c");
  REQUIRE(cases[0].args.size() == 4);
  CHECK(cases[0].args[0].key == "1");
  CHECK(cases[0].ValueOr("a", "") == "b");
  CHECK(cases[0].Find("l")->values == std::vector<std::string>{"1", "2"});
  CHECK(cases[0].Find("e")->values.empty());
  CHECK(cases[0].input == "input\nmore");
  CHECK(cases[0].expected == "out\n");
  CHECK(cases[1].expected.empty());
}

TEST_CASE("Output in a doubled fence may hold blank lines", "[raft][golden]") {
  KEELSON_ASSIGN_OR_FAIL(const std::vector<Case> cases,
                         ParseGoldenFile("c\n----\n----\na\n\nb\n----\n----\n\nd\n----\nx\n"));
  REQUIRE(cases.size() == 2);
  CHECK(cases[0].expected == "a\n\nb\n");
  CHECK(cases[1].expected == "x\n");
}

TEST_CASE("A file that is not in the format is refused with the line", "[raft][golden]") {
  KEELSON_CHECK_ERROR(ParseGoldenFile("\nc 1\nno fence\n"), absl::StatusCode::kInvalidArgument,
                      "line 2");
  KEELSON_CHECK_ERROR(ParseGoldenFile("c a=(1\n----\n"), absl::StatusCode::kInvalidArgument,
                      "no )");
  KEELSON_CHECK_ERROR(ParseGoldenFile("c =1\n----\n"), absl::StatusCode::kInvalidArgument,
                      "without a name");
}

TEST_CASE("Bad commands are answered, not fatal", "[raft][golden]") {
  const std::string command = GENERATE(
      "no-such-command 1", "campaign", "campaign 9", "campaign x", "add-nodes", "add-nodes x",
      "add-nodes 1 voters=(x) index=2", "add-nodes 1 voters=(1) index=1", "log-level loud",
      "process-ready 7", "transfer-leadership from=1 to=x", "deliver-msgs 1 drop=(1)");
  const std::string text =
      "log-level none\n----\nok\n\nadd-nodes 1 voters=(1) index=2\n----\nok\n\n" + command +
      "\n----\nok\n";
  KEELSON_ASSIGN_OR_FAIL(const FileResult result, RunGoldenFile(Kind::kInteraction, "x", text));
  CHECK_FALSE(result.diff.empty());
}

}  // namespace
}  // namespace keelson::raft::golden
