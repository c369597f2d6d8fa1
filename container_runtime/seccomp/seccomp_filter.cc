#include "container_runtime/seccomp/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/memfd.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::container {
namespace {

constexpr unsigned kWaitKillable = 1U << 5;

struct Releaser {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Releaser>;

constexpr std::array<std::pair<const char*, uint32_t>, 20> kArchitectures = {
    {{"SCMP_ARCH_X86", SCMP_ARCH_X86},
     {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
     {"SCMP_ARCH_X32", SCMP_ARCH_X32},
     {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
     {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
     {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
     {"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},
     {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
     {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
     {"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
     {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
     {"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
     {"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
     {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
     {"SCMP_ARCH_S390", SCMP_ARCH_S390},
     {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
     {"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},
     {"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
     {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64},
     {"SCMP_ARCH_NATIVE", SCMP_ARCH_NATIVE}}};

constexpr std::array<std::pair<const char*, scmp_compare>, 7> kOperators = {
    {{"SCMP_CMP_NE", SCMP_CMP_NE},
     {"SCMP_CMP_LT", SCMP_CMP_LT},
     {"SCMP_CMP_LE", SCMP_CMP_LE},
     {"SCMP_CMP_EQ", SCMP_CMP_EQ},
     {"SCMP_CMP_GE", SCMP_CMP_GE},
     {"SCMP_CMP_GT", SCMP_CMP_GT},
     {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}}};

absl::Status Invalid(std::string_view place, const std::string& reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("linux.seccomp.", std::string(place), ": ", reason));
}

absl::StatusOr<uint32_t> ActionOf(const std::string& name, std::optional<uint32_t> errno_value) {
  const uint32_t number = errno_value.value_or(EPERM);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(number);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(number);
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_NOTIFY") return SCMP_ACT_NOTIFY;
  return Invalid("action", absl::StrCat("unknown value '", name, "'"));
}

absl::StatusOr<scmp_arg_cmp> ArgumentOf(const SeccompArg& arg) {
  const auto* found = std::find_if(kOperators.begin(), kOperators.end(),
                                   [&](const auto& entry) { return arg.op == entry.first; });
  if (found == kOperators.end()) return Invalid("op", absl::StrCat("unknown '", arg.op, "'"));
  scmp_arg_cmp result = {};
  result.arg = arg.index;
  result.op = found->second;
  result.datum_a = arg.value;
  result.datum_b = arg.value_two;
  return result;
}

// One rule for one system call. Comparisons of one argument twice are given one by one, which ORs
// them: what people who write such rules mean, and what runc does.
int AddRule(void* context, uint32_t action, int number, const std::vector<scmp_arg_cmp>& args) {
  std::array<int, 6> uses = {};
  bool twice = false;
  for (const scmp_arg_cmp& arg : args) twice |= ++uses[arg.arg] > 1;
  if (!twice) {
    return seccomp_rule_add_array(context, action, number, static_cast<unsigned>(args.size()),
                                  args.data());
  }
  for (const scmp_arg_cmp& arg : args) {
    const int result = seccomp_rule_add_array(context, action, number, 1, &arg);
    if (result != 0) return result;
  }
  return 0;
}

absl::Status AddSyscalls(void* context, const Seccomp& config, uint32_t default_action,
                         std::set<std::string>* unknown) {
  for (size_t i = 0; i < config.syscalls.size(); ++i) {
    const SeccompSyscall& rule = config.syscalls[i];
    KEELSON_ASSIGN_OR_RETURN(const uint32_t action, ActionOf(rule.action, rule.errno_ret));
    if (action == default_action) continue;  // libseccomp refuses what changes nothing.
    std::vector<scmp_arg_cmp> args;
    for (const SeccompArg& arg : rule.args) {
      KEELSON_ASSIGN_OR_RETURN(args.emplace_back(), ArgumentOf(arg));
    }
    for (const std::string& name : rule.names) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) {
        unknown->insert(name);
        continue;
      }
      const int result = AddRule(context, action, number, args);
      // A name that only another architecture has.
      if (result == 0 || result == -EDOM) continue;
      return Invalid(absl::StrCat("syscalls[", i, "]"),
                     absl::StrCat("rule for '", name, "': ", std::strerror(-result)));
    }
  }
  return absl::OkStatus();
}

absl::Status AddArchitectures(void* context, const Seccomp& config) {
  for (size_t i = 0; i < config.architectures.size(); ++i) {
    const std::string& name = config.architectures[i];
    const auto* found = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                                     [&](const auto& entry) { return name == entry.first; });
    const std::string place = absl::StrCat("architectures[", i, "]");
    if (found == kArchitectures.end()) {
      return Invalid(place, absl::StrCat("unknown architecture '", name, "'"));
    }
    const int result = seccomp_arch_add(context, found->second);
    if (result != 0 && result != -EEXIST) {
      return Invalid(place, absl::StrCat("'", name, "': ", std::strerror(-result)));
    }
  }
  return absl::OkStatus();
}

// libseccomp 2.5 writes programs to descriptors only.
absl::StatusOr<std::vector<sock_filter>> Export(void* context) {
  UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.ok()) return ErrnoError(errno, "memfd_create for the seccomp filter");
  const int result = seccomp_export_bpf(context, file.get());
  if (result != 0) return ErrnoError(-result, "compile the seccomp filter");
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> code(static_cast<size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), code.data(), static_cast<size_t>(size), 0) != size) {
    return ErrnoError(errno, "read the seccomp filter");
  }
  if (code.size() > BPF_MAXINSNS) {
    return absl::InvalidArgumentError(absl::StrCat(
        "linux.seccomp: ", code.size(), " instructions, the kernel takes ", BPF_MAXINSNS));
  }
  return code;
}

// System calls newer than all the profile knows answer ENOSYS, not the profile's error: programs
// fall back on older ones then. `highest` is the largest number named for this architecture.
void PutNewcomersStub(std::vector<sock_filter>* code, int highest) {
  const std::vector<sock_filter> stub = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      // Numbers of x32 start at 2^30; they are the profile's business.
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<uint32_t>(highest), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  code->insert(code->begin(), stub.begin(), stub.end());
}

int HighestNamed(const Seccomp& config) {
  int highest = -1;
  for (const SeccompSyscall& rule : config.syscalls) {
    for (const std::string& name : rule.names) {
      highest = std::max(highest, seccomp_syscall_resolve_name(name.c_str()));
    }
  }
  return highest;
}

unsigned FlagsOf(const Seccomp& config) {
  unsigned flags = 0;
  for (const std::string& flag : config.flags) {
    if (flag == "SECCOMP_FILTER_FLAG_LOG") flags |= SECCOMP_FILTER_FLAG_LOG;
    if (flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if (flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") flags |= kWaitKillable;
    // TSYNC: there is one thread when the filter is loaded.
  }
  return flags;
}

}  // namespace

absl::StatusOr<SeccompFilter> CompileSeccomp(const Seccomp& config) {
  SeccompFilter filter;
  if (config.default_action == "SCMP_ACT_ALLOW" && config.syscalls.empty()) return filter;
  KEELSON_ASSIGN_OR_RETURN(const uint32_t default_action,
                           ActionOf(config.default_action, config.default_errno_ret));
  const Context context(seccomp_init(default_action));
  if (context == nullptr) return absl::InternalError("seccomp_init failed");
  KEELSON_RETURN_IF_ERROR(AddArchitectures(context.get(), config));
  // Loading is ours to do, with the privileges we then have.
  (void)seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_NNP, 0);
  (void)seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  std::set<std::string> unknown;
  KEELSON_RETURN_IF_ERROR(AddSyscalls(context.get(), config, default_action, &unknown));
  KEELSON_ASSIGN_OR_RETURN(filter.code, Export(context.get()));
#if defined(__x86_64__)
  const bool refuses = config.default_action == "SCMP_ACT_ERRNO" ||
                       config.default_action.rfind("SCMP_ACT_KILL", 0) == 0 ||
                       config.default_action == "SCMP_ACT_TRAP";
  const int highest = HighestNamed(config);
  if (refuses && highest > 0) PutNewcomersStub(&filter.code, highest);
#endif
  filter.flags = FlagsOf(config);
  filter.has_listener =
      std::any_of(config.syscalls.begin(), config.syscalls.end(),
                  [](const SeccompSyscall& rule) { return rule.action == "SCMP_ACT_NOTIFY"; });
  if (filter.has_listener) {
    if (config.listener_path.empty()) {
      return Invalid("listenerPath", "SCMP_ACT_NOTIFY needs one");
    }
    filter.flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  }
  for (const std::string& name : unknown) {
    filter.warnings.push_back(absl::StrCat("seccomp: unknown system call '", name, "', skipped"));
  }
  return filter;
}

uint32_t EvaluateFilter(const std::vector<sock_filter>& code, int number) {
#if defined(__aarch64__)
  constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
  constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#endif
  uint32_t accumulator = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& step = code[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        accumulator = step.k == 0 ? static_cast<uint32_t>(number) : (step.k == 4 ? kArch : 0);
        break;
      case BPF_JMP | BPF_JA:
        at += step.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= step.k ? step.jt : step.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (accumulator & step.k) != 0 ? step.jt : step.jf;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= step.k;
        break;
      case BPF_RET | BPF_K:
        return step.k;
      default:
        return SECCOMP_RET_KILL_PROCESS;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

bool AllowsExecveat(const SeccompFilter& filter) {
  const uint32_t action = EvaluateFilter(filter.code, SYS_execveat) & SECCOMP_RET_ACTION_FULL;
  return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

std::vector<std::string> SeccompArchitectures() {
  std::vector<std::string> names;
  for (const auto& [name, token] : kArchitectures) {
    if (token != SCMP_ARCH_NATIVE) names.emplace_back(name);
  }
  return names;
}

}  // namespace keelson::container
