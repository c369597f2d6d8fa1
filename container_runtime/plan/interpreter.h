// Executes the steps of a plan.
//
// Async-signal-safe from end to end: no memory is taken, no lock, no errno; every call goes through
// the Kernel. So the child of a clone in a program with many threads may run it.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_INTERPRETER_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_INTERPRETER_H_

#include <sys/types.h>

#include <climits>
#include <cstdint>
#include <span>

#include "container_runtime/path/kernel.h"
#include "container_runtime/plan/step.h"

namespace keelson::container {

// What the child says to the process that runs the plan: one SOCK_SEQPACKET message each. The answer
// is one byte.
struct Report {
  enum Kind : uint32_t { kReached, kFailed, kSeccompListener };
  Kind kind = kReached;
  int32_t value = 0;      // kReached: SyncPoint; kFailed: index of the step; kSeccompListener: fd
  int32_t error = 0;      // errno
  char call[32] = {};     // of kFailed: the call that failed, such as "fsmount"
  char detail[400] = {};  // of kFailed: more words, often none
};

struct Machine {
  Kernel& kernel;
  int* registers;
  std::span<const int> cgroup_tasks;  // files to write "0" to
  pid_t child = 0;                    // for steps of the list `ready`

  bool start_waits = false;     // `start` reads kFifo until it is told how it went
  bool target_made = false;     // whether the last kTarget made what was missing
  bool empty_attached = false;  // kEmptyMount is on a directory already

  // Found by kFindProgram.
  char program[PATH_MAX] = {};
  // Of the step that failed.
  const char* call = "";
  char detail[400] = {};
};

struct Outcome {
  int index = -1;  // of the step that failed; -1: none did
  int error = 0;
};

// Runs `steps` in order up to the first that fails. kExecute does not return when it succeeds.
Outcome RunSteps(Machine& machine, std::span<const Step> steps);

// Says over kSync that `outcome` was a failure and ends the process.
[[noreturn]] void ReportFailure(Machine& machine, const Outcome& outcome);

// RunSteps; a failure is reported.
[[noreturn]] void RunChild(Machine& machine, std::span<const Step> steps);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_INTERPRETER_H_
