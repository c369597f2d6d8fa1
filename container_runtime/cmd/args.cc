#include "container_runtime/cmd/args.h"

#include <signal.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace keelson::container {
namespace {

const Flag* FindFlag(const std::vector<Flag>& flags, std::string_view name) {
  for (const Flag& flag : flags) {
    if (name == flag.name) return &flag;
    if (name.size() == 1 && flag.letter == name[0]) return &flag;
  }
  return nullptr;
}

absl::StatusOr<int64_t> ParseNumber(std::string_view text, std::string_view what) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("invalid value \"", std::string(text), "\" for ", std::string(what)));
  }
  return value;
}

}  // namespace

absl::StatusOr<Args> Args::Parse(const std::vector<Flag>& flags,
                                 const std::vector<std::string>& words, bool anywhere) {
  Args args;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      args.rest.insert(args.rest.end(), words.begin() + static_cast<ptrdiff_t>(i) + 1, words.end());
      return args;
    }
    if (word.size() < 2 || word[0] != '-' || FindFlag(flags, "") != nullptr) {
      args.rest.push_back(word);
      if (anywhere) continue;
      args.rest.insert(args.rest.end(), words.begin() + static_cast<ptrdiff_t>(i) + 1, words.end());
      return args;
    }
    std::string name = word.substr(word[1] == '-' ? 2 : 1);
    const size_t equals = name.find('=');
    const bool has_value = equals != std::string::npos;
    std::string value = has_value ? name.substr(equals + 1) : "";
    name = name.substr(0, equals);
    const Flag* flag = FindFlag(flags, name);
    if (flag == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("flag provided but not defined: -", name));
    }
    if (flag->kind == Flag::kBool) {
      if (!has_value) value = "true";
    } else if (!has_value) {
      if (++i == words.size()) {
        return absl::InvalidArgumentError(absl::StrCat("flag needs an argument: -", name));
      }
      value = words[i];
    }
    args.values_[flag->name].push_back(value);
  }
  return args;
}

bool Args::Has(std::string_view name) const { return values_.find(name) != values_.end(); }

std::string Args::Text(std::string_view name, std::string_view otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string(otherwise) : found->second.back();
}

bool Args::Bool(std::string_view name) const {
  const std::string value = Text(name, "false");
  return value == "true" || value == "1" || value == "t" || value == "T" || value == "True";
}

std::vector<std::string> Args::List(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

absl::StatusOr<int64_t> Args::Number(std::string_view name) const {
  if (!Has(name)) return 0;
  return ParseNumber(Text(name), absl::StrCat("flag -", std::string(name)));
}

std::string FlagHelp(const std::vector<Flag>& flags) {
  std::string text;
  for (const Flag& flag : flags) {
    std::string left = absl::StrCat("   --", flag.name);
    if (flag.letter != 0) absl::StrAppend(&left, ", -", std::string(1, flag.letter));
    if (flag.kind != Flag::kBool) absl::StrAppend(&left, " value");
    left.resize(std::max<size_t>(left.size() + 2, 34), ' ');
    absl::StrAppend(&text, left, flag.help, "\n");
  }
  return text;
}

absl::StatusOr<int64_t> ParseBytes(const std::string& text) {
  constexpr std::string_view kUnits = "kmgtp";
  std::string digits = text;
  if (digits.size() > 1 && std::tolower(static_cast<unsigned char>(digits.back())) == 'b') {
    digits.pop_back();
  }
  int64_t factor = 1;
  if (digits.size() > 1 && std::isalpha(static_cast<unsigned char>(digits.back())) != 0) {
    const size_t unit =
        kUnits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(digits.back()))));
    if (unit == std::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("invalid size: '", text, "'"));
    }
    factor = int64_t{1} << (10 * (unit + 1));
    digits.pop_back();
  }
  const absl::StatusOr<int64_t> value = ParseNumber(digits, "a size");
  if (!value.ok()) return value.status();
  if (*value > INT64_MAX / factor || *value < INT64_MIN / factor) {
    return absl::InvalidArgumentError(absl::StrCat("invalid size: '", text, "' is too large"));
  }
  return *value * factor;
}

absl::StatusOr<int> ParseSignal(const std::string& text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat("unknown signal \"", text, "\""));
  };
  if (!text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0) {
    const absl::StatusOr<int64_t> number = ParseNumber(text, "signal");
    if (!number.ok() || *number < 0 || *number > SIGRTMAX) return bad();
    return static_cast<int>(*number);
  }
  std::string name;
  for (const char c : text) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (name.rfind("SIG", 0) == 0) name.erase(0, 3);
  for (const auto& [prefix, base] : {std::pair<const char*, int>{"RTMIN", SIGRTMIN},
                                     std::pair<const char*, int>{"RTMAX", SIGRTMAX}}) {
    if (name.rfind(prefix, 0) != 0) continue;
    const std::string offset = name.substr(5);
    if (offset.empty()) return base;
    const absl::StatusOr<int64_t> number =
        ParseNumber(offset[0] == '+' ? offset.substr(1) : offset, "signal");
    if (!number.ok() || base + *number < SIGRTMIN || base + *number > SIGRTMAX) return bad();
    return base + static_cast<int>(*number);
  }
  for (int number = 1; number < 32; ++number) {
    const char* known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  if (name == "IOT") return SIGABRT;
  if (name == "CLD") return SIGCHLD;
  return bad();
}

}  // namespace keelson::container
