#include "partition/boot/entry_name.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keelson::partition {
namespace {

constexpr int kCountMax = std::numeric_limits<int>::max();
// FAT's long names have up to 255 UTF-16 units; the rest is for "+2147483647-2147483647" and
// ".tmp".
constexpr size_t kIdBytesMax = 220;

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

bool EndsWithNoCase(std::string_view text, std::string_view suffix) {
  return absl::EndsWithIgnoreCase(ToAbsl(text), ToAbsl(suffix));
}

// Takes a number of at most 2^31 - 1 off the start of `text`.
std::optional<int> TakeCount(std::string_view& text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  uint64_t value = 0;
  if (digits == 0 || !absl::SimpleAtoi(ToAbsl(text.substr(0, digits)), &value) ||
      value > static_cast<uint64_t>(kCountMax)) {
    return std::nullopt;
  }
  text.remove_prefix(digits);
  return static_cast<int>(value);
}

// The counter that is all of `text`, such as "3" or "2-1".
std::optional<TryCounter> ParseCounter(std::string_view text) {
  TryCounter counter;
  const std::optional<int> left = TakeCount(text);
  if (!left.has_value()) return std::nullopt;
  counter.left = *left;
  if (text.starts_with('-')) {
    text.remove_prefix(1);
    const std::optional<int> done = TakeCount(text);
    if (!done.has_value()) return std::nullopt;
    counter.done = *done;
  }
  if (!text.empty()) return std::nullopt;
  return counter;
}

}  // namespace

BootState EntryName::state() const {
  if (!counter.has_value()) return BootState::kGood;
  return counter->left > 0 ? BootState::kTrial : BootState::kBad;
}

std::optional<EntryName> ParseEntryName(std::string_view file_name) {
  const std::string_view suffix = EndsWithNoCase(file_name, ".conf") ? ".conf" : ".efi";
  if (!EndsWithNoCase(file_name, suffix) || file_name.size() == suffix.size() ||
      file_name.starts_with('.') || file_name.starts_with("auto-")) {
    return std::nullopt;
  }
  EntryName name;
  name.stem = file_name.substr(0, file_name.size() - suffix.size());
  name.suffix = file_name.substr(name.stem.size());
  // The loader compares the suffix behind a counter with its case.
  const size_t plus = name.stem.rfind('+');
  if (plus == std::string::npos || name.suffix != suffix) return name;
  name.counter = ParseCounter(std::string_view(name.stem).substr(plus + 1));
  if (name.counter.has_value()) name.stem.resize(plus);
  return name;
}

std::string FileName(const EntryName& name) {
  if (!name.counter.has_value()) return name.id();
  const std::string done =
      name.counter->done == 0 ? std::string() : absl::StrCat("-", name.counter->done);
  return absl::StrCat(name.stem, "+", name.counter->left, done, name.suffix);
}

EntryName AfterOneTry(EntryName name) {
  if (name.counter.has_value()) {
    name.counter->left = std::max(name.counter->left - 1, 0);
    if (name.counter->done < kCountMax) ++name.counter->done;
  }
  return name;
}

absl::Status CheckEntryId(std::string_view id) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", ToAbsl(id), "' is no name of a boot entry: ", ToAbsl(why)));
  };
  if (id.size() > kIdBytesMax) return bad(absl::StrCat("it has more than ", kIdBytesMax, " bytes"));
  const auto forbidden = [](char c) {
    return c < 0x20 || c > 0x7e ||
           std::string_view("\"*/:<>?\\|").find(c) != std::string_view::npos;
  };
  if (std::any_of(id.begin(), id.end(), forbidden)) {
    return bad("expected ASCII characters that FAT takes in a name");
  }
  const std::optional<EntryName> name = ParseEntryName(id);
  if (!name.has_value()) return bad("expected NAME.efi or NAME.conf");
  if (name->suffix != ".efi" && name->suffix != ".conf")
    return bad("expected a suffix in lower case");
  if (name->counter.has_value()) return bad("it has a counter");
  return absl::OkStatus();
}

}  // namespace keelson::partition
