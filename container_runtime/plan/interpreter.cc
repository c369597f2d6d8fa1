#include "container_runtime/plan/interpreter.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "container_runtime/path/calls.h"
#include "container_runtime/plan/internal/steps.h"

namespace keelson::container {
namespace {

using steps::Descriptor;
using steps::Named;

int SetName(Machine& machine, long number, const char* call, const char* text) {
  return Named(
      machine, call,
      machine.kernel.Call(number, calls::Pointer(text), static_cast<long>(std::strlen(text))));
}

int NamespaceStep(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  switch (step.op) {
    case Op::kUnshare:
      return Named(machine, "unshare", kernel.Call(SYS_unshare, static_cast<long>(step.flags)));
    case Op::kSetNs:
      return steps::SetNs(machine, step);
    case Op::kTimeOffsets:
      return steps::TimeOffsets(machine, step);
    case Op::kBecomeRoot:
      return steps::BecomeRoot(machine, step);
    case Op::kSetHostname:
      return SetName(machine, SYS_sethostname, "sethostname", step.text);
    case Op::kSetDomainname:
      return SetName(machine, SYS_setdomainname, "setdomainname", step.text);
    case Op::kLoopbackUp:
      return steps::LoopbackUp(machine, step);
    case Op::kReadDevice:
      return steps::ReadDevice(machine, step);
    case Op::kCheckDevice:
      return steps::CheckDevice(machine, step);
    case Op::kMoveDevice:
      return steps::MoveDevice(machine, step);
    case Op::kSetUpDevice:
      return steps::SetUpDevice(machine, step);
    case Op::kJoinKeyring:
      return steps::JoinKeyring(machine, step);
    default:
      return -ENOSYS;
  }
}

int MountStep(Machine& machine, const Step& step) {
  switch (step.op) {
    case Op::kOpenPath:
      return steps::OpenPath(machine, step);
    case Op::kCloneTree:
      return steps::CloneTree(machine, step);
    case Op::kCloneAt:
      return steps::CloneAt(machine, step);
    case Op::kNewMount:
      return steps::NewMount(machine, step);
    case Op::kSetAttributes:
      return steps::SetAttributes(machine, step);
    case Op::kRemountBind:
      return steps::RemountBind(machine, step);
    case Op::kTarget:
      return steps::Target(machine, step);
    case Op::kMove:
      return steps::Move(machine, step);
    case Op::kCopyUp:
      return steps::CopyUp(machine, step);
    case Op::kMask:
      return steps::Mask(machine, step);
    case Op::kReadonly:
      return steps::Readonly(machine, step);
    case Op::kDetach:
      return Named(machine, "umount2", calls::DetachMount(machine.kernel, step.path));
    case Op::kPivot:
      return steps::Pivot(machine, step);
    case Op::kPropagation:
      return steps::Propagation(machine, step);
    case Op::kMakeNode:
      return steps::MakeNode(machine, step);
    case Op::kSymlink:
      return steps::Symlink(machine, step);
    case Op::kRemoveFile:
      return steps::RemoveFile(machine, step);
    default:
      return -ENOSYS;
  }
}

int SettingStep(Machine& machine, const Step& step) {
  Kernel& kernel = machine.kernel;
  const auto value = static_cast<long>(step.value);
  switch (step.op) {
    case Op::kWriteProc:
      return steps::WriteProc(machine, step);
    case Op::kWriteProcOfChild:
      return steps::WriteProcOfChild(machine, step);
    case Op::kRlimit:
      return steps::SetRlimit(machine, step);
    case Op::kUmask:
      (void)kernel.Call(SYS_umask, value);
      return 0;
    case Op::kPersonality:
      return std::min(0, Named(machine, "personality", kernel.Call(SYS_personality, value)));
    case Op::kScheduler:
      return Named(machine, "sched_setattr",
                   kernel.Call(SYS_sched_setattr, 0, calls::Pointer(step.data), 0));
    case Op::kIoPriority:
      return Named(machine, "ioprio_set", kernel.Call(SYS_ioprio_set, 1, 0, value));
    case Op::kMemoryPolicy:
      return Named(machine, "set_mempolicy",
                   kernel.Call(SYS_set_mempolicy, value, calls::Pointer(step.data),
                               static_cast<long>(step.value2)));
    case Op::kCpuAffinity:
      return std::min(
          0, Named(machine, "sched_setaffinity",
                   kernel.Call(SYS_sched_setaffinity, 0, step.count, calls::Pointer(step.data))));
    case Op::kNoNewPrivileges:
      return Named(machine, "prctl PR_SET_NO_NEW_PRIVS",
                   kernel.Call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    case Op::kNotDumpable:
      return Named(machine, "prctl PR_SET_DUMPABLE",
                   kernel.Call(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
    case Op::kDropBounding:
      return steps::DropBounding(machine, step);
    case Op::kSetUser:
      return steps::SetUser(machine, step);
    case Op::kCapabilities:
      return steps::SetCapabilities(machine, step);
    case Op::kAmbient:
      return steps::RaiseAmbient(machine, step);
    case Op::kChangeDirectory:
      return steps::ChangeDirectory(machine, step);
    default:
      return -ENOSYS;
  }
}

int ProgramStep(Machine& machine, const Step& step) {
  switch (step.op) {
    case Op::kSync:
      return steps::Sync(machine, step);
    case Op::kAttachCgroup:
      return steps::AttachCgroup(machine, step);
    case Op::kConsole:
      return steps::Console(machine, step);
    case Op::kNewSession:
      return steps::NewSession(machine, step);
    case Op::kReopenNull:
      return steps::ReopenNull(machine, step);
    case Op::kOwnStdio:
      return steps::OwnStdio(machine, step);
    case Op::kSeccomp:
      return steps::InstallSeccomp(machine, step);
    case Op::kHook:
      return steps::RunHook(machine, step);
    case Op::kFindProgram:
      return steps::FindProgram(machine, step);
    case Op::kWaitStart:
      return steps::WaitStart(machine, step);
    case Op::kSayStarted:
      return steps::SayStarted(machine, step);
    case Op::kCloseFrom:
      return steps::CloseUnneeded(machine, step);
    case Op::kExecute:
      return steps::Execute(machine, step);
    default:
      return -ENOSYS;
  }
}

int RunStep(Machine& machine, const Step& step) {
  if (step.op >= Op::kUnshare && step.op <= Op::kJoinKeyring) return NamespaceStep(machine, step);
  if (step.op >= Op::kOpenPath && step.op <= Op::kRemoveFile) return MountStep(machine, step);
  if (step.op >= Op::kWriteProc && step.op <= Op::kNotDumpable && step.op != Op::kSeccomp) {
    return SettingStep(machine, step);
  }
  return ProgramStep(machine, step);
}

}  // namespace

namespace steps {

void SetDetail(Machine& machine, std::string_view text) {
  const size_t size = std::min(text.size(), sizeof(machine.detail) - 1);
  std::memcpy(machine.detail, text.data(), size);
  machine.detail[size] = '\0';
}

int Keep(Machine& machine, int16_t out, int result) {
  if (result < 0) return result;
  machine.registers[out] = result;
  return 0;
}

}  // namespace steps

Outcome RunSteps(Machine& machine, std::span<const Step> list) {
  for (size_t i = 0; i < list.size(); ++i) {
    machine.call = "";
    machine.detail[0] = '\0';
    const int result = RunStep(machine, list[i]);
    if (result >= 0 || (list[i].flags & kIgnoreFailure) != 0) continue;
    return {.index = static_cast<int>(i), .error = -result};
  }
  return {};
}

void ReportFailure(Machine& machine, const Outcome& outcome) {
  Report report;
  report.kind = Report::kFailed;
  report.value = outcome.index;
  report.error = outcome.error;
  const size_t size = std::min(std::strlen(machine.call), sizeof(report.call) - 1);
  std::memcpy(report.call, machine.call, size);
  std::memcpy(report.detail, machine.detail, sizeof(report.detail));
  (void)calls::Write(machine.kernel, machine.registers[kSync], &report, sizeof(report));
  while (true) (void)machine.kernel.Call(SYS_exit_group, 1);
}

void RunChild(Machine& machine, std::span<const Step> list) {
  const Outcome outcome = RunSteps(machine, list);
  if (outcome.index >= 0) steps::TellStart(machine, list[static_cast<size_t>(outcome.index)]);
  ReportFailure(machine, outcome);
}

}  // namespace keelson::container
