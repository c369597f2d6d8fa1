// Reads test files in the format of cockroachdb/datadriven.
//
//   # A comment.
//   command arg key=value key=(v1,v2)
//   optional lines of input
//   ----
//   expected output, up to a blank line
#ifndef KEELSON_RAFT_TESTING_GOLDEN_FILE_H_
#define KEELSON_RAFT_TESTING_GOLDEN_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::raft::golden {

struct Arg {
  std::string key;
  std::vector<std::string> values;  // empty for a bare word
};

struct Case {
  int line = 0;  // of the directive, from 1
  std::string command;
  std::vector<Arg> args;
  std::string input;     // without the last newline
  std::string expected;  // every line with its newline
  // Lines of the file, from 0, that hold the output with its fences: [output_begin, output_end).
  size_t output_begin = 0;
  size_t output_end = 0;

  // Null when there is no such key.
  [[nodiscard]] const Arg* Find(std::string_view key) const;
  // The one value of `key`, or `fallback`.
  [[nodiscard]] std::string ValueOr(std::string_view key, std::string_view fallback) const;
};

// INVALID_ARGUMENT naming the line of what cannot be read.
absl::StatusOr<std::vector<Case>> ParseGoldenFile(std::string_view text);

// `text` with the output of its cases replaced by `outputs`, one for each case, in order.
std::string ReplaceOutputs(std::string_view text, const std::vector<Case>& cases,
                           const std::vector<std::string>& outputs);

// Decimal, or INVALID_ARGUMENT naming `text`.
absl::StatusOr<uint64_t> ParseNumber(std::string_view text);

// Lines that differ, "-" what was expected and "+" what came, each part with the number of
// its first line and some lines of context. Empty when both are equal.
std::string UnifiedDiff(std::string_view name, std::string_view expected, std::string_view actual);

}  // namespace keelson::raft::golden

#endif  // KEELSON_RAFT_TESTING_GOLDEN_FILE_H_
