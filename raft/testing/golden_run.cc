#include "raft/testing/golden_run.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/testing/golden_file.h"
#include "raft/testing/golden_interaction.h"
#include "raft/testing/golden_tables.h"

namespace keelson::raft::golden {

std::optional<Kind> ParseKind(std::string_view name) {
  if (name == "interaction") return Kind::kInteraction;
  if (name == "quorum") return Kind::kQuorum;
  if (name == "confchange") return Kind::kConfChange;
  return std::nullopt;
}

absl::StatusOr<FileResult> RunGoldenFile(Kind kind, std::string_view name, std::string_view text) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<Case> cases, ParseGoldenFile(text));
  FileResult result;
  std::vector<std::string> outputs;
  Interaction interaction;
  ConfChangeTable table;
  for (const Case& test : cases) {
    std::string actual;
    switch (kind) {
      case Kind::kInteraction:
        actual = interaction.Run(test);
        break;
      case Kind::kQuorum:
        actual = RunQuorumCase(test);
        break;
      case Kind::kConfChange:
        actual = table.Run(test);
        break;
    }
    ++result.cases;
    result.diff += UnifiedDiff(absl::StrCat(std::string(name), ":", test.line, " ", test.command),
                               test.expected, actual);
    outputs.push_back(std::move(actual));
  }
  result.updated = ReplaceOutputs(text, cases, outputs);
  return result;
}

}  // namespace keelson::raft::golden
