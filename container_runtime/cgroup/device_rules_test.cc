#include "container_runtime/cgroup/device_rules.h"

#include <catch2/catch.hpp>

#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "container_runtime/cgroup/device_bpf.h"

namespace keelson::container {
namespace {

DeviceRule Rule(bool allow, char type, std::optional<int64_t> major, std::optional<int64_t> minor,
                const std::string& access) {
  return {.allow = allow, .type = type, .major = major, .minor = minor, .access = access};
}

uint32_t BitsOf(const DeviceRule& rule) {
  return rule.access.empty() ? kDeviceAll : *DeviceAccessOf(rule.access);
}

// The definition in the header, word by word: for each access the last rule that covers it.
bool NaiveAllows(const std::vector<DeviceRule>& rules, const DeviceRequest& request) {
  for (const uint32_t bit : {kDeviceMknod, kDeviceRead, kDeviceWrite}) {
    if ((request.access & bit) == 0) continue;
    bool allowed = false;
    for (const DeviceRule& rule : rules) {
      if ((rule.type == 'a' || rule.type == request.type) &&
          rule.major.value_or(request.major) == request.major &&
          rule.minor.value_or(request.minor) == request.minor && (BitsOf(rule) & bit) != 0) {
        allowed = rule.allow;
      }
    }
    if (!allowed) return false;
  }
  return true;
}

// Runs the few instructions that DeviceProgram makes, as the kernel would.
int RunProgram(const std::vector<bpf_insn>& program, const DeviceRequest& request) {
  const uint32_t type = request.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
  const uint32_t context[3] = {type | request.access << 16, static_cast<uint32_t>(request.major),
                               static_cast<uint32_t>(request.minor)};
  uint32_t reg[11] = {};
  for (size_t pc = 0; pc < program.size(); ++pc) {
    const bpf_insn& i = program[pc];
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        reg[i.dst_reg] = context[i.off / 4];
        break;
      case BPF_ALU | BPF_MOV | BPF_X:
        reg[i.dst_reg] = reg[i.src_reg];
        break;
      case BPF_ALU | BPF_MOV | BPF_K:
        reg[i.dst_reg] = static_cast<uint32_t>(i.imm);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        reg[i.dst_reg] &= static_cast<uint32_t>(i.imm);
        break;
      case BPF_ALU | BPF_RSH | BPF_K:
        reg[i.dst_reg] >>= i.imm;
        break;
      case BPF_JMP32 | BPF_JNE | BPF_K:
        if (reg[i.dst_reg] != static_cast<uint32_t>(i.imm)) pc += static_cast<size_t>(i.off);
        break;
      case BPF_JMP32 | BPF_JEQ | BPF_K:
        if (reg[i.dst_reg] == static_cast<uint32_t>(i.imm)) pc += static_cast<size_t>(i.off);
        break;
      case BPF_JMP | BPF_EXIT:
        return static_cast<int>(reg[0]);
      default:
        FAIL("instruction " << pc << " has code " << int{i.code});
    }
  }
  FAIL("ran past the end");
  return 0;
}

// The kernel's device cgroup of v1 (security/device_cgroup.c), as far as it matters here.
class FakeV1 {
 public:
  void Write(const DeviceWrite& write) {
    if (write.line == "a") {
      allow_ = write.allow;
      exceptions_.clear();
      return;
    }
    const absl::StatusOr<DevicePolicy> parsed = DevicePolicy::OfList(write.line);
    KEELSON_REQUIRE_OK(parsed);
    const DeviceEntry entry = parsed->entries().at(0);
    auto same = std::find_if(exceptions_.begin(), exceptions_.end(), [&](const DeviceEntry& e) {
      return e.type == entry.type && e.major == entry.major && e.minor == entry.minor;
    });
    if (write.allow != allow_) {
      if (same == exceptions_.end()) {
        exceptions_.push_back(entry);
      } else {
        same->access |= entry.access;
      }
    } else if (same != exceptions_.end()) {
      same->access &= ~entry.access;
      if (same->access == 0) exceptions_.erase(same);
    }
  }

  // One exception must cover the whole request (match_exception); for denials a part is enough
  // (match_exception_partial).
  [[nodiscard]] bool Allows(const DeviceRequest& r) const {
    for (const DeviceEntry& e : exceptions_) {
      if (!e.Covers(r.type, r.major, r.minor)) continue;
      if (!allow_ && (r.access & ~e.access) == 0) return true;
      if (allow_ && (r.access & e.access) != 0) return false;
    }
    return allow_;
  }

  [[nodiscard]] std::string List() const {
    if (allow_) return "a *:* rwm\n";
    std::string text;
    for (const DeviceEntry& e : exceptions_) {
      const auto number = [](int64_t n) { return n == kAnyDevice ? "*" : absl::StrCat(n); };
      absl::StrAppend(&text, std::string(1, e.type), " ", number(e.major), ":", number(e.minor),
                      " ", (e.access & kDeviceRead) != 0 ? "r" : "",
                      (e.access & kDeviceWrite) != 0 ? "w" : "",
                      (e.access & kDeviceMknod) != 0 ? "m" : "", "\n");
    }
    return text;
  }

 private:
  bool allow_ = true;
  std::vector<DeviceEntry> exceptions_;
};

std::vector<DeviceRule> RandomRules(std::mt19937& random) {
  static const char* kAccess[] = {"r", "w", "m", "rw", "rm", "wm", "rwm"};
  std::vector<DeviceRule> rules(random() % 8);
  for (DeviceRule& rule : rules) {
    rule = Rule(random() % 2 == 0, "abc"[random() % 3], std::nullopt, std::nullopt,
                kAccess[random() % 7]);
    if (random() % 3 != 0) rule.major = random() % 3;
    if (random() % 3 != 0) rule.minor = random() % 3;
  }
  return rules;
}

std::vector<DeviceRequest> AllRequests() {
  std::vector<DeviceRequest> requests;
  for (const char type : {'b', 'c'}) {
    for (int64_t major = 0; major < 4; ++major) {
      for (int64_t minor = 0; minor < 4; ++minor) {
        for (uint32_t access = 1; access <= kDeviceAll; ++access) {
          requests.push_back({type, major, minor, access});
        }
      }
    }
  }
  return requests;
}

TEST_CASE("Policy and BPF program decide as the rules say, whatever the rules",
          "[cgroup][device]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const std::vector<DeviceRequest> requests = AllRequests();

  for (int round = 0; round < 300; ++round) {
    const std::vector<DeviceRule> rules = RandomRules(random);
    KEELSON_ASSIGN_OR_FAIL(const DevicePolicy policy, DevicePolicy::Of(rules));
    KEELSON_ASSIGN_OR_FAIL(const std::vector<bpf_insn> program, DeviceProgram(policy));
    bool everything = true;
    for (const DeviceRequest& r : requests) {
      const bool want = NaiveAllows(rules, r);
      everything = everything && want;
      if (policy.Allows(r) != want || RunProgram(program, r) != (want ? 1 : 0)) {
        FAIL("round " << round << ": " << r.type << " " << r.major << ":" << r.minor << " access "
                      << r.access << ": want " << want << ", policy " << policy.Allows(r)
                      << ", program " << RunProgram(program, r));
      }
    }
    if (policy.AllowsEverything()) CHECK(everything);
  }
}

// Single accesses only: a v1 cgroup wants one exception to cover a whole request.
TEST_CASE("Writes to a v1 cgroup make it decide as the rules say, or say that v1 cannot",
          "[cgroup][device]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  int applied = 0, refused = 0;

  for (int round = 0; round < 2000; ++round) {
    FakeV1 cgroup;
    // From allow-all to some rules, and from those to others.
    std::vector<DeviceRule> before;
    for (int step = 0; step < 2; ++step) {
      const std::vector<DeviceRule> rules = RandomRules(random);
      KEELSON_ASSIGN_OR_FAIL(const DevicePolicy present, DevicePolicy::OfList(cgroup.List()));
      KEELSON_ASSIGN_OR_FAIL(const DevicePolicy wanted, DevicePolicy::Of(rules));
      const auto writes = DeviceWrites(present, wanted);
      if (!writes.ok()) {
        CHECK(writes.status().code() == absl::StatusCode::kFailedPrecondition);
        ++refused;
        break;
      }
      for (const DeviceWrite& write : *writes) {
        cgroup.Write(write);
        // What is allowed before and after is so in between, unless the default changes.
        if (step == 0 || (*writes)[0].line == "a") continue;
        for (const DeviceRequest& r : AllRequests()) {
          if (__builtin_popcount(r.access) != 1) continue;
          if (NaiveAllows(before, r) && NaiveAllows(rules, r)) REQUIRE(cgroup.Allows(r));
        }
      }
      for (const DeviceRequest& r : AllRequests()) {
        if (__builtin_popcount(r.access) != 1) continue;
        if (cgroup.Allows(r) != NaiveAllows(rules, r)) {
          FAIL("round " << round << " step " << step << ": " << r.type << " " << r.major << ":"
                        << r.minor << " access " << r.access);
        }
      }
      before = rules;
      ++applied;
    }
  }

  CHECK(applied > 500);
  CHECK(refused > 50);
}

TEST_CASE("The default devices are allowed whatever the rules say", "[cgroup][device]") {
  KEELSON_ASSIGN_OR_FAIL(const DevicePolicy policy,
                         DevicePolicy::Of(WithDefaultDevices({Rule(false, 'a', {}, {}, "")})));

  CHECK(policy.Allows({'c', 1, 3, kDeviceAll}));
  CHECK(policy.Allows({'c', 136, 7, kDeviceRead | kDeviceWrite}));
  CHECK(policy.Allows({'b', 8, 0, kDeviceMknod}));
  CHECK_FALSE(policy.Allows({'b', 8, 0, kDeviceRead}));
  CHECK_FALSE(policy.Allows({'c', 1, 1, kDeviceRead}));  // mem
}

TEST_CASE("A privileged container's rules leave nothing to set up", "[cgroup][device]") {
  KEELSON_ASSIGN_OR_FAIL(const DevicePolicy policy,
                         DevicePolicy::Of(WithDefaultDevices({Rule(true, 'a', {}, {}, "rwm")})));

  CHECK(policy.AllowsEverything());
}

TEST_CASE("The writes of a usual container deny all and allow a list", "[cgroup][device]") {
  KEELSON_ASSIGN_OR_FAIL(const DevicePolicy present, DevicePolicy::OfList("a *:* rwm\n"));
  KEELSON_ASSIGN_OR_FAIL(
      const DevicePolicy wanted,
      DevicePolicy::Of({Rule(false, 'a', {}, {}, "rwm"), Rule(true, 'c', 1, 3, "rwm"),
                        Rule(true, 'c', 136, {}, "rw")}));

  KEELSON_ASSIGN_OR_FAIL(const auto writes, DeviceWrites(present, wanted));

  CHECK(writes ==
        std::vector<DeviceWrite>{{false, "a"}, {true, "c 1:3 rwm"}, {true, "c 136:* rw"}});
}

TEST_CASE("A rule that is no rule is refused with its index", "[cgroup][device]") {
  struct Row {
    DeviceRule rule;
    std::string says;
  };
  const auto row = GENERATE(values<Row>({
      {Rule(true, 'x', 1, 3, "rwm"), "type 'x'"},
      {Rule(true, 'c', -2, 3, "rwm"), "-2"},
      {Rule(true, 'c', 1, 0x100000000LL, "rwm"), "4294967296"},
      {Rule(true, 'c', 1, 3, "rwx"), "'rwx'"},
      {Rule(true, 'c', 1, 3, ""), "empty"},
  }));

  const auto policy = DevicePolicy::Of({Rule(true, 'c', 1, 3, "r"), row.rule});

  KEELSON_CHECK_ERROR(policy.status(), absl::StatusCode::kInvalidArgument, row.says);
  KEELSON_CHECK_ERROR(policy.status(), absl::StatusCode::kInvalidArgument, "devices[1]");
}

TEST_CASE("A list that the kernel does not write is refused", "[cgroup][device]") {
  const std::string list = GENERATE("c 1:3", "c 1 3 rwm x", "cc 1:3 rwm", "c 1:x rwm", "c 1:3 q");
  KEELSON_CHECK_ERROR(DevicePolicy::OfList(list).status(), absl::StatusCode::kInvalidArgument,
                      "devices.list line");
}

TEST_CASE("More rules than a program can hold are refused", "[cgroup][device]") {
  std::vector<DeviceRule> rules;
  for (int i = 0; i < 1000; ++i) rules.push_back(Rule(true, 'c', 7, i, "rwm"));
  KEELSON_ASSIGN_OR_FAIL(const DevicePolicy policy, DevicePolicy::Of(rules));

  KEELSON_CHECK_ERROR(DeviceProgram(policy).status(), absl::StatusCode::kResourceExhausted, "1000");
}

}  // namespace
}  // namespace keelson::container
