#include "partition/boot/version_order.h"

#include <algorithm>

namespace keelson::partition {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsVersion(char c) {
  return IsDigit(c) || IsAlpha(c) || c == '~' || c == '-' || c == '^' || c == '.';
}

char First(std::string_view text) { return text.empty() ? '\0' : text[0]; }

void SkipOthers(std::string_view& text) {
  while (!text.empty() && !IsVersion(text[0])) text.remove_prefix(1);
}

// Takes `separator` off both; the side that has it alone is the older one.
std::strong_ordering TakeSeparator(char separator, std::string_view& a, std::string_view& b) {
  const bool in_a = First(a) == separator;
  const bool in_b = First(b) == separator;
  if (in_a != in_b) return in_a ? std::strong_ordering::less : std::strong_ordering::greater;
  if (in_a) {
    a.remove_prefix(1);
    b.remove_prefix(1);
  }
  return std::strong_ordering::equal;
}

// Takes the longest beginning of `text` whose characters are all of a kind.
std::string_view TakeRun(std::string_view& text, bool (*kind)(char)) {
  const auto end = std::find_if_not(text.begin(), text.end(), kind);
  const auto size = static_cast<size_t>(end - text.begin());
  const std::string_view run = text.substr(0, size);
  text.remove_prefix(size);
  return run;
}

std::strong_ordering CompareNumbers(std::string_view a, std::string_view b) {
  if (a.empty() != b.empty())
    return a.empty() ? std::strong_ordering::less : std::strong_ordering::greater;
  a.remove_prefix(std::min(a.find_first_not_of('0'), a.size()));
  b.remove_prefix(std::min(b.find_first_not_of('0'), b.size()));
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

}  // namespace

std::strong_ordering CompareVersions(std::string_view a, std::string_view b) {
  while (true) {
    SkipOthers(a);
    SkipOthers(b);
    if (const auto order = TakeSeparator('~', a, b); std::is_neq(order)) return order;
    // Only after "~", which is older than an end.
    if (a.empty() || b.empty()) return b.empty() <=> a.empty();
    for (const char separator : {'-', '^', '.'}) {
      if (const auto order = TakeSeparator(separator, a, b); std::is_neq(order)) return order;
    }
    std::strong_ordering order = std::strong_ordering::equal;
    if (IsDigit(First(a)) || IsDigit(First(b))) {
      const std::string_view run_a = TakeRun(a, IsDigit);
      order = CompareNumbers(run_a, TakeRun(b, IsDigit));
    } else {
      const std::string_view run_a = TakeRun(a, IsAlpha);
      order = run_a.compare(TakeRun(b, IsAlpha)) <=> 0;
    }
    if (std::is_neq(order)) return order;
  }
}

}  // namespace keelson::partition
