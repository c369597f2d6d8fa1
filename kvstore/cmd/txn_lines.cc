#include "kvstore/cmd/txn_lines.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <map>

#include "absl/strings/str_cat.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"

namespace keelson::kvctl {
namespace {

using etcdserverpb::Compare;

constexpr std::string_view kSpaces = " \t\r\n";

void AppendUtf8(uint32_t code, std::string* out) {
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | ((code >> shift) & 0x3f)));
  };
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xc0 | (code >> 6)));
    tail(0);
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | (code >> 12)));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xf0 | (code >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

// Takes exactly `count` digits of `base` from the front of `text`.
std::optional<uint32_t> TakeDigits(size_t count, uint32_t base, std::string_view* text) {
  if (text->size() < count) return std::nullopt;
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    const char c = (*text)[i];
    uint32_t digit = base;
    if (c >= '0' && c <= '9') digit = static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<uint32_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') digit = static_cast<uint32_t>(c - 'A' + 10);
    if (digit >= base) return std::nullopt;
    value = value * base + digit;
  }
  text->remove_prefix(count);
  return value;
}

// Takes what follows a backslash. False when it is no escape of Go's.
bool TakeEscape(std::string_view* text, std::string* out) {
  static constexpr std::string_view kLetters = "abfnrtv\\\"'";
  static constexpr std::string_view kNamed = "\a\b\f\n\r\t\v\\\"'";
  if (text->empty()) return false;
  const char letter = text->front();
  if (const size_t named = kLetters.find(letter); named != std::string_view::npos) {
    out->push_back(kNamed[named]);
    text->remove_prefix(1);
    return true;
  }
  std::optional<uint32_t> code;
  if (letter >= '0' && letter <= '7') {
    code = TakeDigits(3, 8, text);
    if (!code || *code > 0xff) return false;
    out->push_back(static_cast<char>(*code));
    return true;
  }
  text->remove_prefix(1);
  if (letter == 'x') {
    code = TakeDigits(2, 16, text);
    if (code) out->push_back(static_cast<char>(*code));
    return code.has_value();
  }
  if (letter == 'u') code = TakeDigits(4, 16, text);
  if (letter == 'U') code = TakeDigits(8, 16, text);
  if (!code || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff)) return false;
  AppendUtf8(*code, out);
  return true;
}

std::string TakeWord(std::string_view* text) {
  const size_t end = std::min(text->find_first_of(kSpaces), text->size());
  std::string word(text->substr(0, end));
  text->remove_prefix(end);
  return word;
}

void SkipSpaces(std::string_view* text) {
  text->remove_prefix(std::min(text->find_first_not_of(kSpaces), text->size()));
}

Outcome BadInput(std::string text) { return Fail(Exit::kInvalidInput, std::move(text)); }

// Puts `value` into the member of the union that `target` names.
Outcome SetOperand(const std::string& target, const std::string& value, Compare* compare) {
  if (target == "val" || target == "value") {
    compare->set_target(Compare::VALUE);
    compare->set_value(value);
    return Done();
  }
  int64_t number = 0;
  const Outcome outcome = ParseInt(value, target == "lease" ? 16 : 10, &number);
  if (target == "ver" || target == "version") {
    compare->set_target(Compare::VERSION);
    compare->set_version(number);
  } else if (target == "create") {
    compare->set_target(Compare::CREATE);
    compare->set_create_revision(number);
  } else if (target == "mod") {
    compare->set_target(Compare::MOD);
    compare->set_mod_revision(number);
  } else if (target == "lease") {
    compare->set_target(Compare::LEASE);
    compare->set_lease(number);
  } else {
    return Fail(Exit::kBadFeature, absl::StrCat("unknown target ", target));
  }
  return outcome;
}

// Parses `words` behind the verb with the options of `Arguments`.
template <typename Arguments>
bool ParseWords(const std::vector<std::string>& words, Arguments* arguments) {
  CLI::App app;
  app.set_help_flag();
  AddOptions(app, *arguments);
  std::vector<std::string> reversed(words.rbegin(), words.rend() - 1);
  try {
    app.parse(reversed);
    return true;
  } catch (const CLI::Error&) {
    return false;
  }
}

}  // namespace

std::optional<std::string> TakeQuoted(std::string_view* text) {
  std::string_view rest = *text;
  if (rest.empty() || rest.front() != '"') return std::nullopt;
  rest.remove_prefix(1);
  std::string out;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == '"') {
      *text = rest;
      return out;
    }
    if (c != '\\') {
      out.push_back(c);
    } else if (!TakeEscape(&rest, &out)) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  SkipSpaces(&line);
  while (!line.empty()) {
    if (line.front() == '"') {
      std::optional<std::string> word = TakeQuoted(&line);
      if (!word) return std::nullopt;
      words.push_back(*std::move(word));
    } else if (line.front() == '\'') {
      const size_t end = line.find('\'', 1);
      if (end == std::string_view::npos) return std::nullopt;
      words.emplace_back(line.substr(1, end - 1));
      line.remove_prefix(end + 1);
    } else {
      words.push_back(TakeWord(&line));
    }
    SkipSpaces(&line);
  }
  return words;
}

Outcome ParseCompare(const std::string& line, Compare* compare) {
  static const std::map<std::string, Compare::CompareResult> kOperators = {
      {"=", Compare::EQUAL},
      {"!=", Compare::NOT_EQUAL},
      {"<", Compare::LESS},
      {">", Compare::GREATER}};
  const std::string malformed = "malformed comparison: " + line;
  const size_t open = line.find('(');
  if (open == std::string::npos) return BadInput(malformed);
  const std::string target = line.substr(0, open);

  std::string_view rest = std::string_view(line).substr(open + 1);
  const std::optional<std::string> key = TakeQuoted(&rest);
  std::string op;
  std::optional<std::string> value;
  if (key && rest.substr(0, 2) == ") ") {
    rest.remove_prefix(2);
    SkipSpaces(&rest);
    op = TakeWord(&rest);
    SkipSpaces(&rest);
    value = TakeQuoted(&rest);
  }
  if (!value) {
    return BadInput(absl::StrCat(malformed, "; got ", target, "(", Quote(key.value_or("")), ") ",
                                 op, " ", Quote("")));
  }
  const auto result = kOperators.find(op);
  if (result == kOperators.end())
    return BadInput(absl::StrCat(malformed, " (unknown operator ", op, ")"));
  compare->set_key(*key);
  compare->set_result(result->second);
  const Outcome outcome = SetOperand(target, *value, compare);
  if (outcome.exit == Exit::kBadFeature)
    return BadInput(absl::StrCat(malformed, " (", outcome.error, ")"));
  if (outcome.exit != Exit::kOk) return BadInput("invalid txn compare request: " + line);
  return Done();
}

Outcome ParseOperation(const std::string& line, etcdserverpb::RequestOp* operation) {
  const Outcome invalid = BadInput("invalid txn request: " + line);
  const std::optional<std::vector<std::string>> words = SplitWords(line);
  if (!words || words->empty()) return invalid;
  const std::string& verb = words->front();
  if (verb == "get") {
    GetArguments arguments;
    if (!ParseWords(*words, &arguments)) return invalid;
    return ToRequest(arguments, operation->mutable_request_range());
  }
  if (verb == "put") {
    PutArguments arguments;
    if (!ParseWords(*words, &arguments)) return invalid;
    return ToRequest(arguments, nullptr, operation->mutable_request_put());
  }
  if (verb == "del") {
    DeleteArguments arguments;
    if (!ParseWords(*words, &arguments)) return invalid;
    return ToRequest(arguments, operation->mutable_request_delete_range());
  }
  return invalid;
}

}  // namespace keelson::kvctl
