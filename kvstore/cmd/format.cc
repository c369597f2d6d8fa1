#include "kvstore/cmd/format.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <limits>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "kvstore/json_string.h"

namespace keelson::kvctl {
namespace {

using kvstore::DecodeRune;
using kvstore::Rune;

constexpr size_t kMaxCellColumns = 30;

// Letters, marks, numbers, punctuation, symbols and the plain space. By blocks, not by a
// complete Unicode table: rare unassigned characters count as printable here.
bool IsPrintable(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0xad) return false;
  if (code >= 0x2000 && code <= 0x200f) return false;  // spaces, marks of direction
  if (code >= 0x2028 && code <= 0x202f) return false;
  if (code >= 0x205f && code <= 0x206f) return false;
  if (code == 0x1680 || code == 0x3000 || code == 0xfeff) return false;
  if (code >= 0xe000 && code <= 0xf8ff) return false;  // private use
  if (code >= 0xfff0 && code <= 0xfffb) return false;
  return (code & 0xfffeU) != 0xfffe && code < 0xe0000;
}

size_t Columns(std::string_view text) {
  size_t columns = 0;
  while (!text.empty()) {
    const std::optional<Rune> rune = DecodeRune(text);
    text.remove_prefix(rune ? rune->size : 1);
    ++columns;
  }
  return columns;
}

// Breaks `text` at spaces so that the squares of the space left over in all lines but the last
// sum up to the least; a single longer word widens the limit.
std::vector<std::string> Wrap(const std::string& text) {
  if (Columns(text) <= kMaxCellColumns) return {text};
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  const size_t count = words.size();
  size_t limit = kMaxCellColumns;
  for (const std::string& word : words) limit = std::max(limit, Columns(word));

  std::vector<size_t> cost(count + 1, std::numeric_limits<size_t>::max());
  std::vector<size_t> next(count + 1, count);
  cost[count] = 0;
  for (size_t first = count; first-- > 0;) {
    size_t width = 0;
    for (size_t last = first; last < count; ++last) {
      width += Columns(words[last]) + (last == first ? 0 : 1);
      if (width > limit) break;
      const size_t left = last + 1 == count ? 0 : limit - width;
      const size_t total = left * left + cost[last + 1];
      if (total < cost[first]) {
        cost[first] = total;
        next[first] = last + 1;
      }
    }
  }
  std::vector<std::string> lines;
  for (size_t first = 0; first < count; first = next[first]) {
    std::string line;
    for (size_t i = first; i < next[first]; ++i)
      absl::StrAppend(&line, i == first ? "" : " ", words[i]);
    lines.push_back(line);
  }
  return lines;
}

}  // namespace

std::string Quote(std::string_view bytes) {
  static constexpr std::string_view kNamed = "\a\b\f\n\r\t\v\\\"";
  static constexpr std::string_view kLetters = "abfnrtv\\\"";
  std::string out = "\"";
  while (!bytes.empty()) {
    const auto first = static_cast<unsigned char>(bytes[0]);
    const std::optional<Rune> rune = DecodeRune(bytes);
    const size_t named = kNamed.find(bytes[0]);
    if (!rune) {
      absl::StrAppendFormat(&out, "\\x%02x", first);
    } else if (named != std::string_view::npos) {
      out.push_back('\\');
      out.push_back(kLetters[named]);
    } else if (IsPrintable(rune->code)) {
      out.append(bytes.substr(0, rune->size));
    } else if (rune->code < 0x80) {
      absl::StrAppendFormat(&out, "\\x%02x", first);
    } else if (rune->code < 0x10000) {
      absl::StrAppendFormat(&out, "\\u%04x", rune->code);
    } else {
      absl::StrAppendFormat(&out, "\\U%08x", rune->code);
    }
    bytes.remove_prefix(rune ? rune->size : 1);
  }
  out.push_back('"');
  return out;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(c));
  return out;
}

std::string DurationText(absl::Duration duration) {
  const int64_t total = absl::ToInt64Nanoseconds(duration);
  if (total == 0) return "0s";
  const uint64_t nanoseconds =
      total < 0 ? -static_cast<uint64_t>(total) : static_cast<uint64_t>(total);
  const auto with_fraction = [](uint64_t value, uint64_t unit, std::string_view name) {
    std::string digits = absl::StrCat(value % unit + unit).substr(1);  // leading zeros kept
    while (!digits.empty() && digits.back() == '0') digits.pop_back();
    return absl::StrCat(value / unit, digits.empty() ? "" : ".", digits,
                        absl::string_view(name.data(), name.size()));
  };
  std::string text;
  if (nanoseconds < 1000) {
    text = absl::StrCat(nanoseconds, "ns");
  } else if (nanoseconds < 1000000) {
    text = with_fraction(nanoseconds, 1000, "µs");
  } else if (nanoseconds < 1000000000) {
    text = with_fraction(nanoseconds, 1000000, "ms");
  } else {
    const uint64_t minutes = nanoseconds / 60000000000;
    if (minutes >= 60) absl::StrAppend(&text, minutes / 60, "h");
    if (minutes > 0) absl::StrAppend(&text, minutes % 60, "m");
    absl::StrAppend(&text, with_fraction(nanoseconds % 60000000000, 1000000000, "s"));
  }
  return total < 0 ? "-" + text : text;
}

std::string SizeText(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 10) return absl::StrCat(bytes, " B");
  size_t unit = 0;
  uint64_t scale = 1;
  while (bytes / scale >= 1000) {
    scale *= 1000;
    ++unit;
  }
  // Rounded to tenths first: 9.96 becomes 10.0, which has no decimal.
  const double value = static_cast<double>(static_cast<uint64_t>(
                           static_cast<double>(bytes) / static_cast<double>(scale) * 10 + 0.5)) /
                       10;
  return value < 10 ? absl::StrFormat("%.1f %s", value, kUnits[unit])
                    : absl::StrFormat("%.0f %s", value, kUnits[unit]);
}

std::string IdText(uint64_t id) { return absl::StrFormat("%x", id); }

std::string LeaseIdText(int64_t lease) {
  return absl::StrFormat("%016x", static_cast<uint64_t>(lease));
}

std::string Table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::string& name : header) widths.push_back(Columns(name));
  std::vector<std::vector<std::vector<std::string>>> wrapped;
  for (const auto& row : rows) {
    wrapped.emplace_back();
    for (size_t i = 0; i < row.size(); ++i) {
      wrapped.back().push_back(Wrap(row[i]));
      for (const std::string& line : wrapped.back().back()) {
        widths[i] = std::max(widths[i], Columns(line));
      }
      // A wrapped cell takes the whole width, even if its lines came out shorter.
      if (wrapped.back().back().size() > 1) widths[i] = std::max(widths[i], kMaxCellColumns);
    }
  }

  std::string border = "+";
  std::string out;
  for (const size_t width : widths) absl::StrAppend(&border, std::string(width + 2, '-'), "+");
  border.push_back('\n');
  absl::StrAppend(&out, border, "|");
  for (size_t i = 0; i < header.size(); ++i) {
    std::string name = header[i];
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    const size_t left = (widths[i] - Columns(name)) / 2;
    const size_t right = widths[i] - Columns(name) - left;
    absl::StrAppend(&out, " ", std::string(left, ' '), name, std::string(right, ' '), " |");
  }
  absl::StrAppend(&out, "\n", border);
  for (const auto& row : wrapped) {
    size_t height = 1;
    for (const auto& cell : row) height = std::max(height, cell.size());
    for (size_t line = 0; line < height; ++line) {
      out.push_back('|');
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string text = line < row[i].size() ? row[i][line] : "";
        absl::StrAppend(&out, " ", std::string(widths[i] - Columns(text), ' '), text, " |");
      }
      out.push_back('\n');
    }
  }
  if (!rows.empty()) absl::StrAppend(&out, border);
  return out;
}

}  // namespace keelson::kvctl
