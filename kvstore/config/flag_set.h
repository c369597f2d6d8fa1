// Command-line flags as Go programs take them, with environment variables
// behind them.
//
//   std::string name = "default";
//   FlagSet flags;
//   flags.String("name", &name, "Human-readable name for this member.");
//   KEELSON_RETURN_IF_ERROR(flags.ParseArguments(arguments));    // -name x,
//   --name=x ... KEELSON_RETURN_IF_ERROR(flags.ParseEnvironment("ETCD_",
//   environment));
//
// What is registered keeps its value unless a flag or, failing that, a variable
// sets it. Spelling follows Go's flag package: one or two dashes, `-flag
// value`, `-flag=value`; a boolean flag never takes the next argument; `--`
// ends the flags; the last of several wins.
//
// Threading: a value for one thread.
#ifndef KEELSON_KVSTORE_CONFIG_FLAG_SET_H_
#define KEELSON_KVSTORE_CONFIG_FLAG_SET_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keelson::kvstore {

class FlagSet {
 public:
  // Registers flags. Targets are borrowed and outlive the set; the value in
  // them is the default that Help shows. `help` is one sentence.
  void String(const std::string& name, std::string* target, std::string help);
  void Bool(const std::string& name, bool* target, std::string help);
  void Int64(const std::string& name, int64_t* target, std::string help);
  void Uint64(const std::string& name, uint64_t* target, std::string help);
  void Duration(const std::string& name, absl::Duration* target, std::string help);

  // Another name for a registered flag. Not shown by Help.
  void Alias(const std::string& alias, const std::string& name);

  // A flag of the program we stand in for that has no effect here. Setting it
  // leaves one warning. `is_bool` decides whether it may stand without a value.
  void WithoutEffect(const std::string& name, bool is_bool);

  // A flag that would change what the user relies on, so it must not be
  // ignored: any value but the empty one and `harmless` is refused with
  // `reason`.
  void Refused(const std::string& name, bool is_bool, std::string harmless, std::string reason);

  // Starts a new heading of Help.
  void Section(std::string title);

  // Takes the arguments after the program's name.
  // INVALID_ARGUMENT names the flag; an unknown one comes with the nearest
  // known name.
  absl::Status ParseArguments(std::span<const std::string> arguments);

  // Takes variables "<prefix><NAME>=value" from `environment`, dashes of the
  // name spelled as underscores, for flags that ParseArguments did not set.
  // Unknown variables with the prefix leave a warning. Errors as above, naming
  // the variable.
  absl::Status ParseEnvironment(std::string_view prefix, std::span<const std::string> environment);

  // Sets a flag from the field of a file; `origin` names the place in messages. A whole number is
  // nanoseconds where a duration is wanted, as in etcd's files. NOT_FOUND for an unknown name.
  absl::Status SetFromFile(const std::string& name, const std::string& value,
                           const std::string& origin);

  // Whether there is such a flag or alias.
  [[nodiscard]] bool Knows(const std::string& name) const {
    return flags_.contains(name) || aliases_.contains(name);
  }
  // Whether an argument, a variable or a file set `name`.
  [[nodiscard]] bool IsSet(const std::string& name) const;

  // One line each, in the order they came up.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

  // All flags with defaults, under their headings.
  [[nodiscard]] std::string Help() const;

 private:
  struct Flag {
    std::function<absl::Status(std::string_view)> set;  // message: what is wrong with the value
    bool is_bool = false;
    bool is_duration = false;
    bool was_set = false;
    bool without_effect = false;
  };
  struct HelpLine {
    std::string name;  // empty for a heading
    std::string default_value;
    std::string text;
  };

  void Register(const std::string& name, bool is_bool, std::string default_value, std::string help,
                std::function<absl::Status(std::string_view)> set);
  Flag* Find(const std::string& name);
  absl::Status Set(Flag& flag, std::string_view value, const std::string& origin);
  [[nodiscard]] std::string Nearest(const std::string& name) const;

  std::map<std::string, Flag> flags_;
  std::map<std::string, std::string> aliases_;
  std::vector<HelpLine> help_;
  std::vector<std::string> warnings_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_FLAG_SET_H_
