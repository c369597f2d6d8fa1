// The part of checker.h that is about watches.
#ifndef KEELSON_TESTS_LINEARIZABILITY_WATCH_CHECKER_H_
#define KEELSON_TESTS_LINEARIZABILITY_WATCH_CHECKER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/linearizability/checker.h"
#include "tests/linearizability/history.h"

namespace keelson::linearizability {

// Violations by kind.
class Findings {
 public:
  void Add(std::string_view kind, std::string text);
  [[nodiscard]] uint64_t count() const { return count_; }
  // "kind: text", round robin over the kinds.
  [[nodiscard]] std::vector<std::string> Lines() const;

 private:
  uint64_t count_ = 0;
  std::map<std::string, std::vector<std::string>, std::less<>> by_kind_;
};

// By revision, in order of the changes inside it.
using Log = std::map<int64_t, std::vector<WatchEvent>>;

// Checks every watch of `history` and returns the log that the first whole one has told.
Log CheckWatches(const History& history, Findings& findings, Verdict& verdict);

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_WATCH_CHECKER_H_
