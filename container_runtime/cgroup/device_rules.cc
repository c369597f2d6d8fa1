#include "container_runtime/cgroup/device_rules.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace keelson::container {
namespace {

// The kernel's dev_t has 12 bits of major and 20 of minor; the specification allows what fits u32.
constexpr int64_t kNumberMax = 0xffffffffLL;

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

DeviceRule Allowed(char type, std::optional<int64_t> major, std::optional<int64_t> minor,
                   const char* access) {
  return {.allow = true, .type = type, .major = major, .minor = minor, .access = access};
}

// True when `outer` decides for everything that `inner` covers, as far as bits of `outer.access` go.
bool Includes(const DeviceEntry& outer, const DeviceEntry& inner) {
  return (outer.type == 'a' || outer.type == inner.type) &&
         (outer.major == kAnyDevice || outer.major == inner.major) &&
         (outer.minor == kAnyDevice || outer.minor == inner.minor);
}

bool Overlap(const DeviceEntry& a, const DeviceEntry& b) {
  return (a.type == 'a' || b.type == 'a' || a.type == b.type) &&
         (a.major == kAnyDevice || b.major == kAnyDevice || a.major == b.major) &&
         (a.minor == kAnyDevice || b.minor == kAnyDevice || a.minor == b.minor);
}

absl::StatusOr<DeviceEntry> EntryOf(const DeviceRule& rule) {
  DeviceEntry entry{.allow = rule.allow,
                    .type = rule.type,
                    .major = rule.major.value_or(kAnyDevice),
                    .minor = rule.minor.value_or(kAnyDevice)};
  if (entry.type != 'a' && entry.type != 'b' && entry.type != 'c') {
    return absl::InvalidArgumentError(
        absl::StrCat("type '", std::string(1, rule.type), "' is none of a, b, c"));
  }
  for (const int64_t number : {entry.major, entry.minor}) {
    if (number < kAnyDevice || number > kNumberMax) {
      return absl::InvalidArgumentError(absl::StrCat("device number ", number, " is out of range"));
    }
  }
  if (rule.access.empty() && rule.type == 'a') {
    entry.access = kDeviceAll;
  } else {
    KEELSON_ASSIGN_OR_RETURN(entry.access, DeviceAccessOf(rule.access));
  }
  return entry;
}

std::string LineOf(const DeviceEntry& entry) {
  const auto number = [](int64_t n) { return n == kAnyDevice ? "*" : absl::StrCat(n); };
  std::string line = absl::StrCat(std::string(1, entry.type), " ", number(entry.major), ":",
                                  number(entry.minor), " ");
  if ((entry.access & kDeviceRead) != 0) line += 'r';
  if ((entry.access & kDeviceWrite) != 0) line += 'w';
  if ((entry.access & kDeviceMknod) != 0) line += 'm';
  return line;
}

// What a v1 cgroup keeps: a default, and exceptions of the other kind, one a device.
struct V1State {
  using Key = std::tuple<char, int64_t, int64_t>;
  bool allow_by_default = false;
  std::map<Key, uint32_t> exceptions;

  [[nodiscard]] static DeviceEntry EntryAt(const Key& key, uint32_t access, bool allow) {
    return {.allow = allow,
            .type = std::get<0>(key),
            .major = std::get<1>(key),
            .minor = std::get<2>(key),
            .access = access};
  }
};

// Takes `entry` (weaker entries are in already) into `state`, or says why v1 cannot.
absl::Status Take(const DeviceEntry& entry, V1State& state) {
  if (entry.type == 'a' && entry.major == kAnyDevice && entry.minor == kAnyDevice &&
      entry.access == kDeviceAll) {
    state = {.allow_by_default = entry.allow};
    return absl::OkStatus();
  }
  std::vector<char> types = {entry.type};
  if (entry.type == 'a') types = {'b', 'c'};
  for (const char type : types) {
    DeviceEntry one = entry;
    one.type = type;
    const V1State::Key key{type, one.major, one.minor};
    if (one.allow != state.allow_by_default) {
      state.exceptions[key] |= one.access;
      continue;
    }
    // Back to the default: exceptions inside go, wider ones cannot be cut.
    for (auto it = state.exceptions.begin(); it != state.exceptions.end();) {
      const DeviceEntry other = V1State::EntryAt(it->first, it->second, !one.allow);
      if ((other.access & one.access) != 0 && Overlap(one, other) && !Includes(one, other)) {
        return absl::FailedPreconditionError(absl::StrCat(one.allow ? "allow" : "deny", " '",
                                                          LineOf(one), "' cannot punch a hole in '",
                                                          LineOf(other), "' with cgroup v1"));
      }
      if (Includes(one, other)) it->second &= ~one.access;
      it = it->second == 0 ? state.exceptions.erase(it) : std::next(it);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<V1State> StateOf(const DevicePolicy& policy) {
  V1State state;
  const std::vector<DeviceEntry>& entries = policy.entries();
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    KEELSON_RETURN_IF_ERROR(Take(*it, state));
  }
  return state;
}

}  // namespace

absl::StatusOr<uint32_t> DeviceAccessOf(std::string_view letters) {
  uint32_t bits = 0;
  for (const char c : letters) {
    switch (c) {
      case 'r':
        bits |= kDeviceRead;
        break;
      case 'w':
        bits |= kDeviceWrite;
        break;
      case 'm':
        bits |= kDeviceMknod;
        break;
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("access '", Absl(letters), "' has another letter than r, w, m"));
    }
  }
  if (bits == 0) return absl::InvalidArgumentError("access is empty");
  return bits;
}

std::vector<DeviceRule> DefaultDevices() {
  return {
      Allowed('c', std::nullopt, std::nullopt, "m"),
      Allowed('b', std::nullopt, std::nullopt, "m"),
      Allowed('c', 1, 3, "rwm"),               // null
      Allowed('c', 1, 5, "rwm"),               // zero
      Allowed('c', 1, 7, "rwm"),               // full
      Allowed('c', 1, 8, "rwm"),               // random
      Allowed('c', 1, 9, "rwm"),               // urandom
      Allowed('c', 5, 0, "rwm"),               // tty
      Allowed('c', 5, 2, "rwm"),               // ptmx
      Allowed('c', 136, std::nullopt, "rwm"),  // pts/*
      Allowed('c', 10, 200, "rwm"),            // net/tun
  };
}

std::vector<DeviceRule> WithDefaultDevices(std::vector<DeviceRule> rules) {
  const std::vector<DeviceRule> defaults = DefaultDevices();
  rules.insert(rules.end(), defaults.begin(), defaults.end());
  return rules;
}

absl::StatusOr<DevicePolicy> DevicePolicy::Of(const std::vector<DeviceRule>& rules) {
  DevicePolicy policy;
  // From the last to the first: `entries_` holds what outweighs the rule at hand.
  for (size_t i = rules.size(); i-- > 0;) {
    absl::StatusOr<DeviceEntry> parsed = EntryOf(rules[i]);
    if (!parsed.ok()) {
      return Annotate(parsed.status(), absl::StrCat("linux.resources.devices[", i, "]"));
    }
    DeviceEntry entry = *parsed;
    for (const DeviceEntry& stronger : policy.entries_) {
      if (Includes(stronger, entry)) entry.access &= ~stronger.access;
    }
    if (entry.access != 0) policy.entries_.push_back(entry);
  }
  // Denials at the end say what holds anyway.
  while (!policy.entries_.empty() && !policy.entries_.back().allow) policy.entries_.pop_back();
  return policy;
}

absl::StatusOr<DevicePolicy> DevicePolicy::OfList(std::string_view devices_list) {
  DevicePolicy policy;
  for (const absl::string_view line : absl::StrSplit(Absl(devices_list), '\n', absl::SkipEmpty())) {
    const auto bad = [&] {
      return absl::InvalidArgumentError(absl::StrCat("devices.list line '", line, "' is none"));
    };
    const std::vector<std::string> words = absl::StrSplit(line, absl::ByAnyChar(" :"));
    if (words.size() != 4 || words[0].size() != 1) return bad();
    DeviceRule rule{.allow = true, .type = words[0][0], .access = words[3]};
    for (const auto& [word, number] :
         {std::pair(&words[1], &rule.major), std::pair(&words[2], &rule.minor)}) {
      int64_t value = 0;
      if (*word == "*") continue;
      if (!absl::SimpleAtoi(*word, &value)) return bad();
      *number = value;
    }
    const absl::StatusOr<DeviceEntry> entry = EntryOf(rule);
    if (!entry.ok()) return bad();
    policy.entries_.push_back(*entry);
  }
  return policy;
}

bool DevicePolicy::Allows(const DeviceRequest& request) const {
  uint32_t left = request.access;
  for (const DeviceEntry& entry : entries_) {
    const uint32_t decided = left & entry.access;
    if (decided == 0 || !entry.Covers(request.type, request.major, request.minor)) continue;
    if (!entry.allow) return false;
    left &= ~decided;
  }
  return left == 0;
}

bool DevicePolicy::AllowsEverything() const {
  uint32_t left[2] = {kDeviceAll, kDeviceAll};  // of 'b' and 'c'
  for (const DeviceEntry& entry : entries_) {
    if (!entry.allow) return false;  // a denial that nothing above makes void
    if (entry.major != kAnyDevice || entry.minor != kAnyDevice) continue;
    if (entry.type != 'c') left[0] &= ~entry.access;
    if (entry.type != 'b') left[1] &= ~entry.access;
  }
  return left[0] == 0 && left[1] == 0;
}

absl::StatusOr<std::vector<DeviceWrite>> DeviceWrites(const DevicePolicy& present,
                                                      const DevicePolicy& wanted) {
  KEELSON_ASSIGN_OR_RETURN(V1State from, StateOf(present));
  KEELSON_ASSIGN_OR_RETURN(const V1State to, StateOf(wanted));
  std::vector<DeviceWrite> writes;
  if (from.allow_by_default || to.allow_by_default) {
    // A cgroup that allows by default lists its exceptions nowhere, so start afresh, also from what looks
    // like the same.
    writes.push_back({to.allow_by_default, "a"});
    from = {.allow_by_default = to.allow_by_default};
  }
  const bool exception_allows = !to.allow_by_default;
  for (const auto& [key, access] : to.exceptions) {
    const auto it = from.exceptions.find(key);
    const uint32_t missing = access & ~(it == from.exceptions.end() ? 0 : it->second);
    if (missing == 0) continue;
    writes.push_back({exception_allows, LineOf(V1State::EntryAt(key, missing, false))});
  }
  for (const auto& [key, access] : from.exceptions) {
    const auto it = to.exceptions.find(key);
    const uint32_t extra = access & ~(it == to.exceptions.end() ? 0 : it->second);
    if (extra == 0) continue;
    writes.push_back({!exception_allows, LineOf(V1State::EntryAt(key, extra, false))});
  }
  return writes;
}

}  // namespace keelson::container
