#include "container_runtime/cgroup/unit_property.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "container_runtime/cgroup/conversion.h"
#include "container_runtime/cgroup/device_rules.h"

namespace keelson::container {
namespace {

constexpr uint64_t kInfinity = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kPeriodDefaultUsec = 100000;
constexpr char kAnnotationPrefix[] = "org.systemd.property.";

// What runc's numbers become as uint64: -1 is systemd's infinity.
uint64_t Unsigned(int64_t value) { return value < 0 ? kInfinity : static_cast<uint64_t>(value); }

void AddQuota(int64_t quota, uint64_t period, std::vector<UnitProperty>& out,
              int64_t* rounded_quota) {
  if (quota == 0 && period == 0) return;
  if (period != 0) out.push_back({"CPUQuotaPeriodUSec", period});
  if (period == 0) period = kPeriodDefaultUsec;
  const uint64_t per_second = CpuQuotaPerSecond(quota, period);
  out.push_back({"CPUQuotaPerSecUSec", per_second});
  if (per_second == kInfinity) return;
  *rounded_quota =
      static_cast<int64_t>(static_cast<unsigned __int128>(per_second) * period / 1000000);
}

absl::Status AddMemory(const MemoryLimits& m, bool unified, std::vector<UnitProperty>& out) {
  const int64_t limit = m.limit.value_or(0);
  if (!unified) {
    if (limit != 0) out.push_back({"MemoryLimit", Unsigned(limit)});
    return absl::OkStatus();
  }
  if (limit != 0) out.push_back({"MemoryMax", Unsigned(limit)});
  if (m.reservation.value_or(0) != 0) out.push_back({"MemoryLow", Unsigned(*m.reservation)});
  KEELSON_ASSIGN_OR_RETURN(const std::optional<int64_t> swap, SwapMax(m.limit, m.swap));
  if (swap) out.push_back({"MemorySwapMax", Unsigned(*swap)});
  return absl::OkStatus();
}

absl::Status AddCpu(const CpuLimits& c, bool unified, std::vector<UnitProperty>& out,
                    int64_t* rounded_quota) {
  if (unified) {
    // Weight 0 is systemd's word for cpu.idle.
    if (c.idle.value_or(0) == 1) {
      out.push_back({"CPUWeight", uint64_t{0}});
    } else if (c.shares.value_or(0) != 0) {
      out.push_back({"CPUWeight", CpuWeightOfShares(*c.shares)});
    }
  } else if (c.shares.value_or(0) != 0) {
    out.push_back({"CPUShares", *c.shares});
  }
  AddQuota(c.quota.value_or(0), c.period.value_or(0), out, rounded_quota);
  if (!unified) return absl::OkStatus();  // systemd knows cpuset on v2 only
  for (const auto& [list, name] :
       {std::pair(&c.cpus, "AllowedCPUs"), std::pair(&c.mems, "AllowedMemoryNodes")}) {
    if (list->empty()) continue;
    KEELSON_ASSIGN_OR_RETURN(std::vector<uint8_t> bits, BitmapOfList(*list));
    out.push_back({name, std::move(bits)});
  }
  return absl::OkStatus();
}

// v1 only: on v2 our own program holds, and systemd leaves it alone while it has no rules of its own. A rule
// that it cannot say is written to the files afterwards.
absl::Status AddDevices(const std::vector<DeviceRule>& rules, std::vector<UnitProperty>& out) {
  KEELSON_ASSIGN_OR_RETURN(const DevicePolicy policy, DevicePolicy::Of(rules));
  std::vector<std::pair<std::string, std::string>> allow;
  if (policy.AllowsEverything()) {
    out.push_back({"DevicePolicy", std::string("auto")});
    out.push_back({"DeviceAllow", std::move(allow)});
    return absl::OkStatus();
  }
  for (const DeviceEntry& entry : policy.entries()) {
    if (!entry.allow || (entry.major == kAnyDevice && entry.minor != kAnyDevice)) continue;
    std::string access;
    if ((entry.access & kDeviceRead) != 0) access += 'r';
    if ((entry.access & kDeviceWrite) != 0) access += 'w';
    if ((entry.access & kDeviceMknod) != 0) access += 'm';
    for (const char type : {'b', 'c'}) {
      if (entry.type != 'a' && entry.type != type) continue;
      const std::string kind = type == 'b' ? "block" : "char";
      std::string path = kind + "-*";
      if (entry.major != kAnyDevice) {
        path = entry.minor == kAnyDevice
                   ? absl::StrCat(kind, "-", entry.major)
                   : absl::StrCat("/dev/", kind, "/", entry.major, ":", entry.minor);
      }
      allow.emplace_back(std::move(path), access);
    }
  }
  out.push_back({"DevicePolicy", std::string("strict")});
  out.push_back({"DeviceAllow", std::move(allow)});
  return absl::OkStatus();
}

absl::Status AddUnified(const std::string& file, const std::string& raw,
                        std::vector<UnitProperty>& out, int64_t* rounded_quota) {
  const absl::string_view value = absl::StripAsciiWhitespace(raw);
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("unified resource \"", file, "\" value invalid: \"", raw, "\""));
  };
  const auto number = [](absl::string_view word, uint64_t* n) {
    *n = kInfinity;
    return word == "max" || absl::SimpleAtoi(word, n);
  };
  static const std::map<std::string, const char*> kNumbers = {
      {"memory.high", "MemoryHigh"},        {"memory.low", "MemoryLow"},
      {"memory.min", "MemoryMin"},          {"memory.max", "MemoryMax"},
      {"memory.swap.max", "MemorySwapMax"}, {"pids.max", "TasksMax"},
      {"cpu.weight", "CPUWeight"}};
  uint64_t n = 0;
  if (const auto it = kNumbers.find(file); it != kNumbers.end()) {
    if (!number(value, &n)) return bad();
    out.push_back({it->second, n});
  } else if (file == "cpu.max") {
    const std::vector<absl::string_view> words = absl::StrSplit(value, ' ', absl::SkipEmpty());
    uint64_t period = kPeriodDefaultUsec;
    if (words.empty() || words.size() > 2 || !number(words[0], &n) ||
        (words.size() == 2 && !absl::SimpleAtoi(words[1], &period))) {
      return bad();
    }
    AddQuota(words[0] == "max" ? -1 : static_cast<int64_t>(n), period, out, rounded_quota);
  } else if (file == "cpuset.cpus" || file == "cpuset.mems") {
    absl::StatusOr<std::vector<uint8_t>> bits = BitmapOfList(std::string(value));
    if (!bits.ok()) return bad();
    out.push_back({file == "cpuset.cpus" ? "AllowedCPUs" : "AllowedMemoryNodes", *std::move(bits)});
  }
  return absl::OkStatus();  // The others are written to their files.
}

// Reads the text of one GVariant value.
class GVariantParser {
 public:
  explicit GVariantParser(absl::string_view text) : text_(text) {}

  absl::StatusOr<UnitValue> Parse() {
    KEELSON_ASSIGN_OR_RETURN(UnitValue value, Value());
    Skip();
    if (!text_.empty()) return Bad();
    return value;
  }

 private:
  absl::Status Bad() const {
    return absl::InvalidArgumentError(
        absl::StrCat("no GVariant that a unit property can have, at '", text_.substr(0, 20), "'"));
  }
  void Skip() { text_ = absl::StripLeadingAsciiWhitespace(text_); }
  bool Take(absl::string_view word) {
    Skip();
    return absl::ConsumePrefix(&text_, word);
  }

  absl::StatusOr<UnitValue> Value() {
    if (Take("@as")) return List();
    Skip();
    if (text_.empty()) return Bad();
    if (text_[0] == '[') return List();
    if (text_[0] == '\'' || text_[0] == '"') {
      KEELSON_ASSIGN_OR_RETURN(std::string text, Quoted());
      return UnitValue(std::move(text));
    }
    const absl::string_view word = Word();
    if (word == "true") return UnitValue(true);
    if (word == "false") return UnitValue(false);
    if (word == "uint64") return Number<uint64_t>(Word());
    if (word == "int64") return Number<int64_t>(Word());
    if (word == "uint32") return Number<uint32_t>(Word());
    if (word == "int32") return Number<int32_t>(Word());
    if (word == "double" || absl::StrContains(word, ".")) {
      double d = 0;
      if (!absl::SimpleAtod(word == "double" ? Word() : word, &d) || !std::isfinite(d))
        return Bad();
      return UnitValue(d);
    }
    return Number<int32_t>(word);
  }

  // Up to the next space or separator.
  absl::string_view Word() {
    Skip();
    size_t end = 0;
    while (end < text_.size() && !absl::ascii_isspace(static_cast<unsigned char>(text_[end])) &&
           text_[end] != ',' && text_[end] != ']') {
      ++end;
    }
    const absl::string_view word = text_.substr(0, end);
    text_.remove_prefix(end);
    return word;
  }

  template <typename T>
  absl::StatusOr<UnitValue> Number(absl::string_view word) {
    T n = 0;
    if (!absl::SimpleAtoi(word, &n)) return Bad();
    return UnitValue(n);
  }

  absl::StatusOr<std::string> Quoted() {
    const char quote = text_[0];
    std::string result;
    for (size_t i = 1; i < text_.size(); ++i) {
      if (text_[i] == quote) {
        text_.remove_prefix(i + 1);
        return result;
      }
      if (text_[i] == '\\' && ++i == text_.size()) break;
      result += text_[i];
    }
    return Bad();
  }

  absl::StatusOr<UnitValue> List() {
    if (!Take("[")) return Bad();
    std::vector<std::string> items;
    while (!Take("]")) {
      if (!items.empty() && !Take(",")) return Bad();
      Skip();
      if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) return Bad();
      KEELSON_ASSIGN_OR_RETURN(std::string item, Quoted());
      items.push_back(std::move(item));
    }
    return UnitValue(std::move(items));
  }

  absl::string_view text_;
};

// A number of seconds, whatever its type, in microseconds.
absl::StatusOr<UnitValue> Microseconds(const UnitValue& value) {
  const double seconds = std::visit(
      [](const auto& v) -> double {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
          return static_cast<double>(v);
        }
        return -1;
      },
      value);
  if (!(seconds >= 0 && seconds < 1e12)) {
    return absl::InvalidArgumentError("no number of seconds in [0, 1e12)");
  }
  return UnitValue(static_cast<uint64_t>(std::llround(seconds * 1e6)));
}

}  // namespace

absl::StatusOr<UnitValue> ParseGVariant(const std::string& text) {
  return GVariantParser(text).Parse();
}

absl::StatusOr<std::vector<UnitProperty>> PropertiesOf(const Resources& r, bool unified,
                                                       int64_t* rounded_quota) {
  std::vector<UnitProperty> out;
  if (!unified) KEELSON_RETURN_IF_ERROR(AddDevices(r.devices, out));
  if (r.memory) KEELSON_RETURN_IF_ERROR(AddMemory(*r.memory, unified, out));
  if (r.cpu) KEELSON_RETURN_IF_ERROR(AddCpu(*r.cpu, unified, out, rounded_quota));
  if (r.pids_limit) {
    // systemd takes no 0, and the first process is inside anyway.
    out.push_back({"TasksMax", *r.pids_limit == 0 ? uint64_t{1} : Unsigned(*r.pids_limit)});
  }
  if (!unified && r.block_io && r.block_io->weight.value_or(0) != 0) {
    out.push_back({"BlockIOWeight", uint64_t{*r.block_io->weight}});
  }
  if (unified) {
    for (const auto& [file, value] : r.unified) {
      KEELSON_RETURN_IF_ERROR(AddUnified(file, value, out, rounded_quota));
    }
  }
  return out;
}

absl::StatusOr<std::vector<UnitProperty>> PropertiesOfAnnotations(
    const std::map<std::string, std::string>& annotations) {
  std::vector<UnitProperty> out;
  for (const auto& [key, text] : annotations) {
    absl::string_view name = key;
    if (!absl::ConsumePrefix(&name, kAnnotationPrefix)) continue;
    const auto error = [&key = key](const absl::Status& status) {
      return Annotate(status, absl::StrCat("annotation '", key, "'"));
    };
    const bool letters = std::all_of(name.begin(), name.end(),
                                     [](unsigned char c) { return absl::ascii_isalpha(c); });
    if (name.size() < 3 || !letters) {
      return error(absl::InvalidArgumentError("the name of a unit property has letters alone"));
    }
    absl::StatusOr<UnitValue> value = ParseGVariant(text);
    std::string property(name);
    if (value.ok() && absl::EndsWith(name, "Sec") && !absl::EndsWith(name, "USec")) {
      property = absl::StrCat(name.substr(0, name.size() - 3), "USec");
      value = Microseconds(*value);
    }
    if (!value.ok()) return error(value.status());
    out.push_back({std::move(property), *std::move(value)});
  }
  return out;
}

}  // namespace keelson::container
