#include "partition/boot/bls_entry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr size_t kBytesMax = size_t{1} << 20;
constexpr std::string_view kBlanks = " \t";

using Line = std::pair<std::string, std::string>;

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || kBlanks.find(text.back()) != kBlanks.npos)) {
    text.remove_suffix(1);
  }
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text;
}

std::vector<Line> ParseLines(std::string_view text) {
  std::vector<Line> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\n\r"), text.size());
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#') continue;
    const size_t key_end = std::min(line.find_first_of(kBlanks), line.size());
    std::string_view value = Trimmed(line.substr(key_end));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    if (value.empty()) continue;
    lines.emplace_back(line.substr(0, key_end), value);
  }
  return lines;
}

std::string EncodeLines(const std::vector<Line>& lines) {
  std::string text;
  for (const auto& [key, value] : lines) absl::StrAppend(&text, key, " ", value, "\n");
  return text;
}

struct TextField {
  const char* key;
  std::string BlsEntry::*value;
};
constexpr TextField kTextFields[] = {
    {"title", &BlsEntry::title},           {"version", &BlsEntry::version},
    {"machine-id", &BlsEntry::machine_id}, {"sort-key", &BlsEntry::sort_key},
    {"linux", &BlsEntry::linux},           {"efi", &BlsEntry::efi},
    {"devicetree", &BlsEntry::devicetree}, {"architecture", &BlsEntry::architecture},
};

absl::Status CheckBootable(const BlsEntry& entry) {
  if (!entry.linux.empty() || !entry.efi.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("the entry has neither 'linux' nor 'efi'");
}

}  // namespace

absl::StatusOr<BlsEntry> ParseBlsEntry(std::string_view text) {
  if (text.size() > kBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", kBytesMax, " bytes, found ", text.size()));
  }
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("zero byte at ", zero));
  }
  BlsEntry entry;
  for (const Line& line : ParseLines(text)) {
    const std::string& key = line.first;
    const std::string& value = line.second;
    const auto field = std::find_if(std::begin(kTextFields), std::end(kTextFields),
                                    [&](const TextField& item) { return item.key == key; });
    if (field != std::end(kTextFields)) {
      entry.*field->value = value;
    } else if (key == "initrd") {
      entry.initrd.push_back(value);
    } else if (key == "options") {
      absl::StrAppend(&entry.options, entry.options.empty() ? "" : " ", value);
    } else {
      entry.others.emplace_back(key, value);
    }
  }
  KEELSON_RETURN_IF_ERROR(CheckBootable(entry));
  return entry;
}

absl::StatusOr<std::string> EncodeBlsEntry(const BlsEntry& entry) {
  KEELSON_RETURN_IF_ERROR(CheckBootable(entry));
  std::vector<Line> lines;
  for (const TextField& field : kTextFields) {
    if (!(entry.*field.value).empty()) lines.emplace_back(field.key, entry.*field.value);
  }
  for (const std::string& initrd : entry.initrd) lines.emplace_back("initrd", initrd);
  if (!entry.options.empty()) lines.emplace_back("options", entry.options);
  lines.insert(lines.end(), entry.others.begin(), entry.others.end());
  std::string text = EncodeLines(lines);
  for (const auto& [key, value] : lines) {
    if (ParseLines(absl::StrCat(key, " ", value)) == std::vector<Line>{{key, value}}) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("'", key, "': '", value, "' would not be read back as it is"));
  }
  const absl::StatusOr<BlsEntry> again = ParseBlsEntry(text);
  if (!again.ok() || !(*again == entry)) {
    return absl::InvalidArgumentError("the entry would not be read back as it is");
  }
  return text;
}

std::optional<std::string> LoaderConf::Get(std::string_view key) const {
  const auto found = std::find_if(lines.rbegin(), lines.rend(),
                                  [&](const Line& line) { return line.first == key; });
  if (found == lines.rend()) return std::nullopt;
  return found->second;
}

void LoaderConf::Set(const std::string& key, const std::string& value) {
  lines.erase(std::remove_if(lines.begin(), lines.end(),
                             [&](const Line& line) { return line.first == key; }),
              lines.end());
  lines.emplace_back(key, value);
}

LoaderConf ParseLoaderConf(std::string_view text) { return {ParseLines(text)}; }

std::string EncodeLoaderConf(const LoaderConf& conf) { return EncodeLines(conf.lines); }

}  // namespace keelson::partition
