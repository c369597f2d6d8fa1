// Command lines as runc and crun have them: flags of the program, a command, flags of the command,
// then what is left. "--name value", "--name=value", "-n value", "-n=value"; a single dash before a
// long name will do. Flags end at the first word that is none, or at "--".
#ifndef KEELSON_CONTAINER_RUNTIME_CMD_ARGS_H_
#define KEELSON_CONTAINER_RUNTIME_CMD_ARGS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::container {

struct Flag {
  enum Kind { kBool, kText, kList };
  const char* name;
  char letter;  // 0: none
  Kind kind;
  const char* help;
};

class Args {
 public:
  // Takes words from `words` until the flags end; `rest` has what follows.
  // `anywhere`: flags may also stand between and after the words that are none.
  static absl::StatusOr<Args> Parse(const std::vector<Flag>& flags,
                                    const std::vector<std::string>& words, bool anywhere);

  [[nodiscard]] bool Has(std::string_view name) const;
  [[nodiscard]] bool Bool(std::string_view name) const;
  // The last one given, or `otherwise`.
  [[nodiscard]] std::string Text(std::string_view name, std::string_view otherwise = "") const;
  [[nodiscard]] std::vector<std::string> List(std::string_view name) const;
  // INVALID_ARGUMENT when it is no number; 0 when it is not given.
  [[nodiscard]] absl::StatusOr<int64_t> Number(std::string_view name) const;

  std::vector<std::string> rest;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

// A table of flags for --help.
std::string FlagHelp(const std::vector<Flag>& flags);

// "64m" -> 67108864; plain numbers and suffixes b, k, m, g, t. "-1" stays.
absl::StatusOr<int64_t> ParseBytes(const std::string& text);

// "9", "KILL", "SIGKILL", "RTMIN+3" -> the signal's number.
absl::StatusOr<int> ParseSignal(const std::string& text);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CMD_ARGS_H_
