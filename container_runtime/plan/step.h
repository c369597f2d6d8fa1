// The steps a plan is made of: what a process does to become a container, one after the other.
//
// A Step is plain data with pointers into its plan (plan.h); interpreter.h executes it without
// taking memory. Descriptors go from step to step in numbered registers.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_STEP_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_STEP_H_

#include <cstddef>
#include <cstdint>

namespace keelson::container {

// Registers with a meaning of their own; the others are numbered from kFirstFree on.
enum Register : int16_t {
  kNone = -1,
  kOldRoot,     // "/" as it was at the clone
  kRoot,        // the container's root mount
  kProc,        // the host's procfs, checked (proc.h)
  kSync,        // our end of the socket to the process that runs the plan
  kFifo,        // exec.fifo (O_PATH): closed until `start`
  kConsole,     // where the pseudo terminal's descriptor goes
  kDev,         // the container's /dev
  kEmptyMount,  // a read-only tmpfs, on the first masked directory and cloned over the others
  kTrampoline,  // the sealed program that executes the user's
  kProcess,     // a process of the container that `exec` joins (pidfd)
  kFirstFree,
};

enum class Op : uint8_t {
  // Between the process that runs the plan and the child.
  kSync,          // value: SyncPoint; says it is reached, waits for the answer; flags: kNoAnswer
  kAttachCgroup,  // moves itself into the v1 cgroups

  // Namespaces and identity.
  kUnshare,        // flags: CLONE_NEW*
  kSetNs,          // in: descriptor, flags: CLONE_NEW* or 0; `path`: procfs's name of the present
                   // one, which will do if it is the same
  kTimeOffsets,    // text: lines of timens_offsets; a new time namespace is entered
  kBecomeRoot,     // all ids 0; flags: 1 = setgroups is denied
  kSetHostname,    // text
  kSetDomainname,  // text
  kLoopbackUp,
  // Network devices of the host, data: DeviceCall. Looked up and their addresses noted; seen that the
  // new name is free; moved to the namespace of the child, by its parent; named, addressed, set up.
  kReadDevice,
  kCheckDevice,
  kMoveDevice,
  kSetUpDevice,
  kJoinKeyring,  // text: name of the session keyring

  // Mounts.
  kOpenPath,       // out = the host's `path`; flags: of open
  kCloneTree,      // out = a detached copy of the host's `path`; flags: AT_RECURSIVE
  kCloneAt,        // out = a detached copy of what is at `path` in root `in`; flags: AT_RECURSIVE
  kNewMount,       // out = a new file system `text` with `options`, attributes `value`; at: target
  kSetAttributes,  // of mount `in`: set `value`, clear `value2`, propagation `value3`, user ns `at`
  kRemountBind,    // as kSetAttributes, keeping what a foreign user namespace has locked
  kTarget,         // out = `path` below `in`; value: Make; flags: kNoSymlinks
  kMove,           // mount `in` onto target `at`
  kCopyUp,         // what is at target `at` into mount `in`
  kMask,           // hides `path` below `in`
  kReadonly,       // makes `path` below `in` read only
  kDetach,         // unmounts the host's `path`
  kPivot,          // kRoot becomes "/"; flags: kNoPivot
  kPropagation,    // of "/": `value` (MS_*)

  // Files of /dev.
  kMakeNode,    // `path` below `in`: value mode, value2 device, value3 owner
  kSymlink,     // `path` below `in` to `text`
  kRemoveFile,  // `path` (one name) in `in`

  // Standard streams.
  kConsole,  // a pseudo terminal becomes 0, 1, 2; value: columns << 16 | rows
  kNewSession,
  kReopenNull,  // a standard stream that is the host's /dev/null becomes the container's
  kOwnStdio,    // to uid `value`

  // Settings of the process.
  kWriteProc,         // text to `path` of procfs
  kWriteProcOfChild,  // the same for /proc/PID/`path` of the child, by its parent
  kRlimit,            // of the child, by its parent: value resource, value2 soft, value3 hard
  kUmask,
  kPersonality,
  kScheduler,  // data: struct sched_attr
  kIoPriority,
  kMemoryPolicy,  // value mode, data: node bits, value2: number of bits
  kCpuAffinity,   // data: bits of processors
  kNoNewPrivileges,
  kSeccomp,          // data: struct sock_filter[]; flags
  kDropBounding,     // value: what stays
  kSetUser,          // value uid, value2 gid, data: groups
  kCapabilities,     // value effective, value2 permitted, value3 inheritable
  kAmbient,          // value
  kChangeDirectory,  // path
  kNotDumpable,

  // The end.
  kHook,         // data: HookCall
  kFindProgram,  // data: ProgramCall
  kWaitStart,    // until somebody reads kFifo, which is open for writing then
  kSayStarted,   // to that somebody
  kCloseFrom,    // value: first descriptor to be closed, now or at execve
  kExecute,      // data: ProgramCall
};

// Where the child waits for the process that runs the plan.
enum class SyncPoint : uint8_t {
  kMapIds,   // the user namespace wants its maps
  kCgroup,   // attach me (only where a child cannot attach itself)
  kHooks,    // mounts are made, hooks of the runtime's namespaces run now
  kReady,    // all but the program is set up: limits from outside
  kGo,       // the container may start: state is on disk
  kHooked,   // hooks of the container's namespaces have run (where `start` is not waited for)
  kNetwork,  // the network namespace is there: devices of the host may come
};

enum StepFlag : uint64_t {
  kNoAnswer = 1,       // kSync: nobody has to act, there is nothing to wait for
  kNoSymlinks = 1,     // kTarget
  kModeOfTarget = 1,   // kNewMount: the root gets the mode of the directory it covers
  kBindIfRefused = 2,  // kNewMount: `path` of the host is bound instead when that is refused
  kLikeSource = 2,     // kTarget: a directory or a file as mount `at` is
  kNoPivot = 1,        // kPivot
  kOnlyStdio = 1,      // kConsole: /dev/console is left alone
  kPlainNewlines = 2,  // kConsole: a line ends with a newline alone
  kByPath = 1,         // kExecute: execveat is filtered, the trampoline is named by procfs
  kDirect = 2,         // kExecute: no trampoline, as a label must go to the program itself
  kIgnoreFailure = 1ULL << 63,
};

struct MountOption {
  const char* key;
  const char* value;  // null: a flag
};

// A network device on its way. What kReadDevice finds out before the clone, the child has as a copy.
struct DeviceRecord {
  struct Address {
    uint8_t family, prefix, bytes;  // bytes of each address: 4 or 16
    bool has_broadcast;
    uint32_t flags;  // IFA_F_*
    uint8_t local[16], peer[16], broadcast[4];
  };
  static constexpr uint32_t kAddressesMax = 64;
  int index = 0;  // on the host
  uint32_t count = 0;
  Address addresses[kAddressesMax] = {};
};

struct DeviceCall {
  const char* host_name;
  const char* name;  // in the container; may have one "%d", for which the kernel puts a number
  DeviceRecord* record;
};

struct HookCall {
  const char* const* argv;
  const char* const* envp;
  const char* state_head;  // the state's JSON before the pid and after it
  const char* state_tail;
  int timeout_ms;  // -1: none
};

struct ProgramCall {
  // What the trampoline takes (trampoline.c): its mark, the program's path (put in when it is
  // found), then the program's own arguments, name first.
  const char** argv;
  const char* const* envp;
  const char* search_path;  // $PATH
};

struct Step {
  Op op = Op::kSync;
  // For messages: 'error mounting "proc" to rootfs at "/proc"'. Null: the step's own name does.
  const char* what = nullptr;
  int16_t out = kNone, in = kNone, at = kNone;
  uint64_t flags = 0;
  uint64_t value = 0, value2 = 0, value3 = 0;
  const char* path = nullptr;
  const char* text = nullptr;
  const MountOption* options = nullptr;  // `count` of them
  const void* data = nullptr;            // of the op's type, `count` of them
  uint32_t count = 0;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_STEP_H_
