#include "container_runtime/cgroup/device_bpf.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::container {
namespace {

constexpr size_t kInstructionsMax = 4096;  // BPF_MAXINSNS
constexpr char kProgramName[] = "keelson_device";
constexpr char kLicense[] = "Apache";

// Registers by what the program keeps in them.
constexpr uint8_t kResult = BPF_REG_0, kContext = BPF_REG_1, kType = BPF_REG_2, kLeft = BPF_REG_3,
                  kMajor = BPF_REG_4, kMinor = BPF_REG_5, kScratch = BPF_REG_6;

bpf_insn Instruction(uint8_t code, uint8_t dst, uint8_t src, int16_t offset, int32_t immediate) {
  bpf_insn insn = {};
  insn.code = code;
  insn.dst_reg = dst;
  insn.src_reg = src;
  insn.off = offset;
  insn.imm = immediate;
  return insn;
}

bpf_insn LoadWord(uint8_t dst, uint8_t src, int16_t offset) {
  return Instruction(BPF_LDX | BPF_MEM | BPF_W, dst, src, offset, 0);
}
bpf_insn Alu(uint8_t operation, uint8_t dst, int32_t immediate) {
  return Instruction(BPF_ALU | operation | BPF_K, dst, 0, 0, immediate);
}
bpf_insn Copy(uint8_t dst, uint8_t src) {
  return Instruction(BPF_ALU | BPF_MOV | BPF_X, dst, src, 0, 0);
}
// A comparison of 32 bits: a 64-bit one would sign-extend the immediate.
bpf_insn JumpIf(uint8_t operation, uint8_t dst, int32_t immediate) {
  return Instruction(BPF_JMP32 | operation | BPF_K, dst, 0, 0, immediate);
}
bpf_insn Exit() { return Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

void Return(int value, std::vector<bpf_insn>& program) {
  program.push_back(Alu(BPF_MOV, kResult, value));
  program.push_back(Exit());
}

// One entry; whatever does not apply jumps to the instruction after the entry.
void Append(const DeviceEntry& entry, std::vector<bpf_insn>& program) {
  std::vector<size_t> to_next;
  const auto skip_unless_equal = [&](uint8_t reg, int64_t value) {
    to_next.push_back(program.size());
    program.push_back(JumpIf(BPF_JNE, reg, static_cast<int32_t>(static_cast<uint32_t>(value))));
  };
  if (entry.type != 'a') {
    skip_unless_equal(kType, entry.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  }
  if (entry.major != kAnyDevice) skip_unless_equal(kMajor, entry.major);
  if (entry.minor != kAnyDevice) skip_unless_equal(kMinor, entry.minor);
  const auto access = static_cast<int32_t>(entry.access);
  if (entry.allow) {
    // What this entry allows needs no further answer; nothing left means yes.
    program.push_back(Alu(BPF_AND, kLeft, static_cast<int32_t>(~entry.access)));
    to_next.push_back(program.size());
    program.push_back(JumpIf(BPF_JNE, kLeft, 0));
    Return(1, program);
  } else {
    program.push_back(Copy(kScratch, kLeft));
    program.push_back(Alu(BPF_AND, kScratch, access));
    to_next.push_back(program.size());
    program.push_back(JumpIf(BPF_JEQ, kScratch, 0));
    Return(0, program);
  }
  for (const size_t at : to_next) {
    program[at].off = static_cast<int16_t>(program.size() - at - 1);
  }
}

long Bpf(bpf_cmd command, bpf_attr& attr) {
  long result = 0;
  do {
    result = ::syscall(SYS_bpf, command, &attr, sizeof attr);
  } while (result < 0 && (errno == EINTR || errno == EAGAIN));
  return result;
}

absl::StatusOr<UniqueFd> Load(const std::vector<bpf_insn>& program) {
  bpf_attr attr = {};
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insn_cnt = static_cast<uint32_t>(program.size());
  attr.insns = reinterpret_cast<uint64_t>(program.data());
  attr.license = reinterpret_cast<uint64_t>(kLicense);
  std::memcpy(attr.prog_name, kProgramName, sizeof kProgramName);
  UniqueFd fd(static_cast<int>(Bpf(BPF_PROG_LOAD, attr)));
  if (!fd.ok() && errno == EPERM) {
    // Before Linux 5.11 programs counted against RLIMIT_MEMLOCK.
    const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    if (::setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0) {
      fd.Reset(static_cast<int>(Bpf(BPF_PROG_LOAD, attr)));
    }
  }
  if (fd.ok()) return fd;
  const int error = errno;
  std::string log(16384, '\0');
  attr.log_level = 1;
  attr.log_buf = reinterpret_cast<uint64_t>(log.data());
  attr.log_size = static_cast<uint32_t>(log.size());
  UniqueFd again(static_cast<int>(Bpf(BPF_PROG_LOAD, attr)));
  if (again.ok()) return again;
  return ErrnoError(error, absl::StrCat("bpf load of a device program of ", program.size(),
                                        " instructions (", log.c_str(), ")"));
}

// A descriptor of the attached program of ours; none when there is none.
UniqueFd FindOwn(const std::vector<uint32_t>& ids) {
  for (const uint32_t id : ids) {
    bpf_attr attr = {};
    attr.prog_id = id;
    UniqueFd fd(static_cast<int>(Bpf(BPF_PROG_GET_FD_BY_ID, attr)));
    if (!fd.ok()) continue;
    bpf_prog_info info = {};
    attr = {};
    attr.info.bpf_fd = static_cast<uint32_t>(fd.get());
    attr.info.info_len = sizeof info;
    attr.info.info = reinterpret_cast<uint64_t>(&info);
    if (Bpf(BPF_OBJ_GET_INFO_BY_FD, attr) == 0 && std::string(info.name) == kProgramName) return fd;
  }
  return UniqueFd();
}

}  // namespace

absl::StatusOr<std::vector<bpf_insn>> DeviceProgram(const DevicePolicy& policy) {
  std::vector<bpf_insn> program = {
      LoadWord(kType, kContext, offsetof(bpf_cgroup_dev_ctx, access_type)),
      Copy(kLeft, kType),
      Alu(BPF_AND, kType, 0xffff),
      Alu(BPF_RSH, kLeft, 16),
      LoadWord(kMajor, kContext, offsetof(bpf_cgroup_dev_ctx, major)),
      LoadWord(kMinor, kContext, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  for (const DeviceEntry& entry : policy.entries()) Append(entry, program);
  Return(0, program);
  if (program.size() > kInstructionsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("linux.resources.devices: ", policy.entries().size(), " rules make ",
                     program.size(), " BPF instructions; the most is ", kInstructionsMax));
  }
  return program;
}

absl::StatusOr<std::vector<uint32_t>> AttachedDevicePrograms(int cgroup_fd) {
  std::vector<uint32_t> ids(64);
  while (true) {
    bpf_attr attr = {};
    attr.query.target_fd = static_cast<uint32_t>(cgroup_fd);
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_cnt = static_cast<uint32_t>(ids.size());
    attr.query.prog_ids = reinterpret_cast<uint64_t>(ids.data());
    if (Bpf(BPF_PROG_QUERY, attr) == 0) {
      ids.resize(attr.query.prog_cnt);
      return ids;
    }
    if (errno != ENOSPC) return ErrnoError(errno, "bpf query of device programs");
    ids.resize(ids.size() * 2);
  }
}

absl::Status AttachDeviceProgram(int cgroup_fd, const std::vector<bpf_insn>& program) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, AttachedDevicePrograms(cgroup_fd));
  const UniqueFd present = FindOwn(ids);
  KEELSON_ASSIGN_OR_RETURN(const UniqueFd fd, Load(program));
  bpf_attr attr = {};
  attr.target_fd = static_cast<uint32_t>(cgroup_fd);
  attr.attach_bpf_fd = static_cast<uint32_t>(fd.get());
  attr.attach_type = BPF_CGROUP_DEVICE;
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  if (present.ok()) {
    attr.attach_flags |= BPF_F_REPLACE;
    attr.replace_bpf_fd = static_cast<uint32_t>(present.get());
  }
  if (Bpf(BPF_PROG_ATTACH, attr) < 0) return ErrnoError(errno, "bpf attach of a device program");
  return absl::OkStatus();
}

}  // namespace keelson::container
