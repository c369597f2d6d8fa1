// Runs a whole transcript of etcd-io/raft.
#ifndef KEELSON_RAFT_TESTING_GOLDEN_RUN_H_
#define KEELSON_RAFT_TESTING_GOLDEN_RUN_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keelson::raft::golden {

enum class Kind { kInteraction, kQuorum, kConfChange };
std::optional<Kind> ParseKind(std::string_view name);

struct FileResult {
  size_t cases = 0;
  std::string diff;     // empty: everything was equal
  std::string updated;  // the file as it would be if every output had been expected
};

// INVALID_ARGUMENT when `text` is not in the format; `name` is for the diff only.
absl::StatusOr<FileResult> RunGoldenFile(Kind kind, std::string_view name, std::string_view text);

}  // namespace keelson::raft::golden

#endif  // KEELSON_RAFT_TESTING_GOLDEN_RUN_H_
