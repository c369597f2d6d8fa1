// The functions behind the ops, by file: mount_steps.cc, device_steps.cc, stdio_steps.cc,
// network_steps.cc, process_steps.cc, program_steps.cc. Each returns 0 or -errno and is async-signal-safe.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_INTERNAL_STEPS_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_INTERNAL_STEPS_H_

#include <string_view>

#include "container_runtime/plan/interpreter.h"

namespace keelson::container::steps {

// Names the call whose result follows: `return Named(m, "fsmount", calls::FsMount(...))`.
inline int Named(Machine& machine, const char* call, long result) {
  machine.call = call;
  return static_cast<int>(result);
}

// More words about a failure; cut where the buffer ends.
void SetDetail(Machine& machine, std::string_view text);

inline int Descriptor(const Machine& machine, int16_t reg) {
  return reg < 0 ? -1 : machine.registers[reg];
}
// Keeps `result` in register `out` when it is a descriptor. 0 or the error.
int Keep(Machine& machine, int16_t out, int result);

// mount_steps.cc
int OpenPath(Machine& machine, const Step& step);
int CloneTree(Machine& machine, const Step& step);
int CloneAt(Machine& machine, const Step& step);
int NewMount(Machine& machine, const Step& step);
int SetAttributes(Machine& machine, const Step& step);
int RemountBind(Machine& machine, const Step& step);
int Target(Machine& machine, const Step& step);
int Move(Machine& machine, const Step& step);
int Mask(Machine& machine, const Step& step);
int Readonly(Machine& machine, const Step& step);
int Pivot(Machine& machine, const Step& step);
int Propagation(Machine& machine, const Step& step);
// copy_up.cc
int CopyUp(Machine& machine, const Step& step);

// device_steps.cc
int MakeNode(Machine& machine, const Step& step);
int Symlink(Machine& machine, const Step& step);
int RemoveFile(Machine& machine, const Step& step);

// stdio_steps.cc
int Console(Machine& machine, const Step& step);
int NewSession(Machine& machine, const Step& step);
int ReopenNull(Machine& machine, const Step& step);
int OwnStdio(Machine& machine, const Step& step);

// process_steps.cc
int AttachCgroup(Machine& machine, const Step& step);
int SetNs(Machine& machine, const Step& step);
int TimeOffsets(Machine& machine, const Step& step);
int BecomeRoot(Machine& machine, const Step& step);
int JoinKeyring(Machine& machine, const Step& step);
int WriteProc(Machine& machine, const Step& step);
int WriteProcOfChild(Machine& machine, const Step& step);
int SetRlimit(Machine& machine, const Step& step);
int DropBounding(Machine& machine, const Step& step);
int SetUser(Machine& machine, const Step& step);
int SetCapabilities(Machine& machine, const Step& step);
int RaiseAmbient(Machine& machine, const Step& step);
int ChangeDirectory(Machine& machine, const Step& step);

// network_steps.cc
int LoopbackUp(Machine& machine, const Step& step);
int ReadDevice(Machine& machine, const Step& step);
int CheckDevice(Machine& machine, const Step& step);
int MoveDevice(Machine& machine, const Step& step);
int SetUpDevice(Machine& machine, const Step& step);

// program_steps.cc
int Sync(Machine& machine, const Step& step);
int InstallSeccomp(Machine& machine, const Step& step);
int RunHook(Machine& machine, const Step& step);
int FindProgram(Machine& machine, const Step& step);
int WaitStart(Machine& machine, const Step& step);
int SayStarted(Machine& machine, const Step& step);
// Tells a `start` that still waits which step failed.
void TellStart(Machine& machine, const Step& step);
int CloseUnneeded(Machine& machine, const Step& step);
int Execute(Machine& machine, const Step& step);

}  // namespace keelson::container::steps

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_INTERNAL_STEPS_H_
