#include "kvstore/config/flag_set.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status BadValue(std::string_view value, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat("'", View(value), "' is not ", wanted));
}

// The spellings of Go's strconv.ParseBool.
absl::Status ParseBool(std::string_view text, bool* value) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return *value = true, absl::OkStatus();
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return *value = false, absl::OkStatus();
  }
  return BadValue(text, "true or false");
}

// How many single-letter edits turn `a` into `b`.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replace});
    }
  }
  return row[b.size()];
}

std::string VariableOf(std::string_view prefix, const std::string& flag) {
  return absl::StrCat(View(prefix), absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

}  // namespace

void FlagSet::Register(const std::string& name, bool is_bool, std::string default_value,
                       std::string help, std::function<absl::Status(std::string_view)> set) {
  flags_[name] = {.set = std::move(set), .is_bool = is_bool};
  help_.push_back({name, std::move(default_value), std::move(help)});
}

void FlagSet::String(const std::string& name, std::string* target, std::string help) {
  Register(name, false, *target, std::move(help), [target](std::string_view value) {
    *target = std::string(value);
    return absl::OkStatus();
  });
}

void FlagSet::Bool(const std::string& name, bool* target, std::string help) {
  Register(name, true, *target ? "true" : "false", std::move(help),
           [target](std::string_view value) { return ParseBool(value, target); });
}

void FlagSet::Int64(const std::string& name, int64_t* target, std::string help) {
  Register(name, false, absl::StrCat(*target), std::move(help), [target](std::string_view value) {
    int64_t parsed = 0;
    if (!absl::SimpleAtoi(View(value), &parsed)) return BadValue(value, "a whole number");
    *target = parsed;
    return absl::OkStatus();
  });
}

void FlagSet::Uint64(const std::string& name, uint64_t* target, std::string help) {
  Register(name, false, absl::StrCat(*target), std::move(help), [target](std::string_view value) {
    uint64_t parsed = 0;
    if (!absl::SimpleAtoi(View(value), &parsed)) {
      return BadValue(value, "a whole number of 0 or more");
    }
    *target = parsed;
    return absl::OkStatus();
  });
}

void FlagSet::Duration(const std::string& name, absl::Duration* target, std::string help) {
  Register(name, false, absl::FormatDuration(*target), std::move(help),
           [target](std::string_view value) {
             absl::Duration parsed;
             if (!absl::ParseDuration(View(value), &parsed) || parsed == absl::InfiniteDuration() ||
                 parsed == -absl::InfiniteDuration()) {
               return BadValue(value, "a duration such as 500ms, 10s or 1h30m");
             }
             *target = parsed;
             return absl::OkStatus();
           });
  flags_[name].is_duration = true;
}

void FlagSet::Alias(const std::string& alias, const std::string& name) { aliases_[alias] = name; }

void FlagSet::WithoutEffect(const std::string& name, bool is_bool) {
  flags_[name] = {.set = [](std::string_view) { return absl::OkStatus(); },
                  .is_bool = is_bool,
                  .without_effect = true};
}

void FlagSet::Refused(const std::string& name, bool is_bool, std::string harmless,
                      std::string reason) {
  flags_[name] = {
      .set =
          [harmless = std::move(harmless), reason = std::move(reason)](std::string_view value) {
            if (value.empty() || value == harmless) return absl::OkStatus();
            return absl::InvalidArgumentError(reason);
          },
      .is_bool = is_bool};
}

void FlagSet::Section(std::string title) { help_.push_back({"", "", std::move(title)}); }

FlagSet::Flag* FlagSet::Find(const std::string& name) {
  const auto alias = aliases_.find(name);
  const auto found = flags_.find(alias == aliases_.end() ? name : alias->second);
  return found == flags_.end() ? nullptr : &found->second;
}

bool FlagSet::IsSet(const std::string& name) const {
  const auto found = flags_.find(name);
  return found != flags_.end() && found->second.was_set;
}

absl::Status FlagSet::Set(Flag& flag, std::string_view value, const std::string& origin) {
  KEELSON_RETURN_IF_ERROR(Annotate(flag.set(value), origin));
  if (flag.without_effect) {
    warnings_.push_back(absl::StrCat(origin, " has no effect here, ignoring"));
  }
  flag.was_set = true;
  return absl::OkStatus();
}

std::string FlagSet::Nearest(const std::string& name) const {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const auto& [candidate, flag] : flags_) {
    const size_t distance = EditDistance(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

absl::Status FlagSet::ParseArguments(std::span<const std::string> arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const size_t dashes = argument.starts_with("--") ? 2 : argument.starts_with("-") ? 1 : 0;
    if (argument == "--" && i + 1 == arguments.size()) break;
    if (dashes == 0 || argument.size() == dashes || argument[dashes] == '-' ||
        argument[dashes] == '=') {
      return absl::InvalidArgumentError(absl::StrCat("'", argument, "' is not a flag"));
    }
    const size_t equals = argument.find('=', dashes);
    const std::string name =
        argument.substr(dashes, equals == std::string::npos ? std::string::npos : equals - dashes);
    const std::string origin = absl::StrCat("--", name);

    Flag* const flag = Find(name);
    if (flag == nullptr) {
      const std::string nearest = Nearest(name);
      return absl::InvalidArgumentError(absl::StrCat(origin, ": unknown flag",
                                                     nearest.empty() ? "" : ", did you mean --",
                                                     nearest, nearest.empty() ? "" : "?"));
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (flag->is_bool) {
      value = "true";
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat(origin, ": a value must follow"));
    }
    KEELSON_RETURN_IF_ERROR(Set(*flag, value, origin));
  }
  return absl::OkStatus();
}

absl::Status FlagSet::ParseEnvironment(std::string_view prefix,
                                       std::span<const std::string> environment) {
  std::map<std::string, std::string> known;  // variable -> flag or alias
  for (const auto& [alias, name] : aliases_) known[VariableOf(prefix, alias)] = alias;
  for (const auto& [name, flag] : flags_) known[VariableOf(prefix, name)] = name;

  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    if (!entry.starts_with(prefix) || equals == std::string::npos) continue;
    const std::string variable = entry.substr(0, equals);
    const std::string value = entry.substr(equals + 1);
    const auto found = known.find(variable);
    if (found == known.end()) {
      warnings_.push_back(
          absl::StrCat("unrecognized environment variable ", variable, ", ignoring"));
      continue;
    }
    Flag* const flag = Find(found->second);
    // As etcd, an empty variable is an unset one.
    if (value.empty()) continue;
    if (flag->was_set) {
      warnings_.push_back(
          absl::StrCat("environment variable ", variable, " is overridden by its flag, ignoring"));
      continue;
    }
    KEELSON_RETURN_IF_ERROR(Set(*flag, value, variable));
  }
  return absl::OkStatus();
}

absl::Status FlagSet::SetFromFile(const std::string& name, const std::string& value,
                                  const std::string& origin) {
  Flag* const flag = Find(name);
  if (flag == nullptr) return absl::NotFoundError(absl::StrCat(origin, ": unknown field"));
  const bool number = value.find_first_not_of("0123456789") == std::string::npos;
  return Set(*flag, flag->is_duration && number ? value + "ns" : value, origin);
}

std::string FlagSet::Help() const {
  std::string text;
  for (const HelpLine& line : help_) {
    if (line.name.empty()) {
      absl::StrAppend(&text, "\n", line.text, ":\n");
    } else {
      absl::StrAppend(&text, "  --", line.name, " '", line.default_value, "'\n      ", line.text,
                      "\n");
    }
  }
  return text;
}

}  // namespace keelson::kvstore
