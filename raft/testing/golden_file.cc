#include "raft/testing/golden_file.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace keelson::raft::golden {
namespace {

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

// Takes "word", "key=value" or "key=(a, b)" from the front of `rest`.
absl::StatusOr<Arg> TakeArg(std::string_view& rest) {
  Arg arg;
  const size_t stop = rest.find_first_of(" =");
  arg.key = std::string(rest.substr(0, stop));
  if (arg.key.empty()) return absl::InvalidArgumentError("an argument without a name");
  rest.remove_prefix(arg.key.size());
  if (rest.empty() || rest.front() != '=') return arg;
  rest.remove_prefix(1);
  if (rest.empty() || rest.front() != '(') {
    const size_t end = std::min(rest.find(' '), rest.size());
    arg.values.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end);
    return arg;
  }
  const size_t close = rest.find(')');
  if (close == std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("no ) after ", arg.key, "=("));
  }
  const std::string_view list = rest.substr(1, close - 1);
  if (!Trim(list).empty()) {
    for (const absl::string_view value : absl::StrSplit(ToAbsl(list), ',')) {
      arg.values.emplace_back(Trim({value.data(), value.size()}));
    }
  }
  rest.remove_prefix(close + 1);
  return arg;
}

absl::Status ParseDirective(std::string_view line, Case& test) {
  line = Trim(line);
  const size_t end = std::min(line.find(' '), line.size());
  test.command = std::string(line.substr(0, end));
  line = Trim(line.substr(end));
  while (!line.empty()) {
    KEELSON_ASSIGN_OR_RETURN(Arg arg, TakeArg(line));
    test.args.push_back(std::move(arg));
    line = Trim(line);
  }
  return absl::OkStatus();
}

// Steps through the lines of one file.
class Parser {
 public:
  explicit Parser(std::string_view text) : lines_(SplitLines(text)) {}

  absl::StatusOr<std::vector<Case>> Parse() {
    std::vector<Case> cases;
    while (SkipToDirective()) {
      Case test;
      test.line = static_cast<int>(next_) + 1;
      const absl::Status status = ParseCase(test);
      if (!status.ok()) return Annotate(status, absl::StrCat("line ", test.line));
      cases.push_back(std::move(test));
    }
    return cases;
  }

 private:
  bool SkipToDirective() {
    while (next_ < lines_.size()) {
      const std::string_view line = Trim(lines_[next_]);
      if (!line.empty() && line.front() != '#') return true;
      ++next_;
    }
    return false;
  }

  absl::Status ParseCase(Case& test) {
    std::string directive(Trim(lines_[next_++]));
    while (!directive.empty() && directive.back() == '\\' && next_ < lines_.size()) {
      directive.pop_back();
      directive += std::string(Trim(lines_[next_++]));
    }
    KEELSON_RETURN_IF_ERROR(ParseDirective(directive, test));
    while (next_ < lines_.size() && lines_[next_] != "----") {
      if (!test.input.empty()) test.input += '\n';
      test.input += std::string(lines_[next_++]);
    }
    if (next_ == lines_.size()) return absl::InvalidArgumentError("no ---- after the command");
    test.output_begin = next_++;
    // A second ---- at once means that the output holds blank lines and ends at another pair.
    const bool blanks = next_ < lines_.size() && lines_[next_] == "----";
    if (blanks) ++next_;
    for (; next_ < lines_.size(); ++next_) {
      if (blanks && lines_[next_] == "----" && next_ + 1 < lines_.size() &&
          lines_[next_ + 1] == "----") {
        next_ += 2;
        break;
      }
      if (!blanks && Trim(lines_[next_]).empty()) break;
      absl::StrAppend(&test.expected, ToAbsl(lines_[next_]), "\n");
    }
    test.output_end = next_;
    return absl::OkStatus();
  }

  std::vector<std::string_view> lines_;
  size_t next_ = 0;
};

}  // namespace

const Arg* Case::Find(std::string_view key) const {
  for (const Arg& arg : args) {
    if (arg.key == key) return &arg;
  }
  return nullptr;
}

std::string Case::ValueOr(std::string_view key, std::string_view fallback) const {
  const Arg* arg = Find(key);
  return arg != nullptr && arg->values.size() == 1 ? arg->values.front() : std::string(fallback);
}

absl::StatusOr<std::vector<Case>> ParseGoldenFile(std::string_view text) {
  return Parser(text).Parse();
}

std::string ReplaceOutputs(std::string_view text, const std::vector<Case>& cases,
                           const std::vector<std::string>& outputs) {
  const std::vector<std::string_view> lines = SplitLines(text);
  std::string out;
  size_t next = 0;
  const auto copy_until = [&](size_t end) {
    for (; next < end; ++next) absl::StrAppend(&out, ToAbsl(lines[next]), "\n");
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    copy_until(cases[i].output_begin);
    const char* fence = outputs[i].find("\n\n") == std::string::npos ? "----\n" : "----\n----\n";
    absl::StrAppend(&out, fence, outputs[i]);
    if (std::string_view(fence).size() > 5) out += fence;
    next = cases[i].output_end;
  }
  copy_until(lines.size());
  return out;
}

absl::StatusOr<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(ToAbsl(text), &number)) {
    return absl::InvalidArgumentError(absl::StrCat("'", ToAbsl(text), "' is no number"));
  }
  return number;
}

std::string UnifiedDiff(std::string_view name, std::string_view expected, std::string_view actual) {
  if (expected == actual) return "";
  constexpr size_t kContext = 3;
  const auto a = SplitLines(expected);
  const auto b = SplitLines(actual);
  // Equal ends are cut off; what lies between is one part. Enough for outputs of one case.
  size_t head = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
  size_t tail = 0;
  while (tail < a.size() - head && tail < b.size() - head &&
         a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) {
    ++tail;
  }
  const size_t from = head - std::min(head, kContext);
  const size_t after = std::min(tail, kContext);
  const size_t end_a = a.size() - tail + after;
  const size_t end_b = b.size() - tail + after;
  std::string out =
      absl::StrCat("--- ", ToAbsl(name), " expected\n+++ ", ToAbsl(name), " actual\n");
  absl::StrAppend(&out, "@@ -", from + 1, ",", end_a - from, " +", from + 1, ",", end_b - from,
                  " @@\n");
  for (size_t i = from; i < head; ++i) absl::StrAppend(&out, " ", ToAbsl(a[i]), "\n");
  for (size_t i = head; i < a.size() - tail; ++i) absl::StrAppend(&out, "-", ToAbsl(a[i]), "\n");
  for (size_t i = head; i < b.size() - tail; ++i) absl::StrAppend(&out, "+", ToAbsl(b[i]), "\n");
  for (size_t i = a.size() - tail; i < end_a; ++i) absl::StrAppend(&out, " ", ToAbsl(a[i]), "\n");
  return out;
}

}  // namespace keelson::raft::golden
