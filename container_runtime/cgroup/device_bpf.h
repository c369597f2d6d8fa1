// Device rules as a BPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, the way of cgroup v2. The
// assembler is pure; loading is at the end of this header.
//
// The kernel calls the program for each open and mknod with r1 pointing to struct bpf_cgroup_dev_ctx
// {u32 access_type (type | access << 16); u32 major; u32 minor} (linux/bpf.h) and lets the
// call pass when it returns 1.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_DEVICE_BPF_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_DEVICE_BPF_H_

#include <linux/bpf.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "container_runtime/cgroup/device_rules.h"

namespace keelson::container {

// The program for `policy`: for each access asked for, the first entry that covers it decides. At most
// some 8 instructions an entry; the kernel takes up to 4096 without privileges beyond CAP_BPF.
//
// Errors: RESOURCE_EXHAUSTED more than 4096 instructions.
absl::StatusOr<std::vector<bpf_insn>> DeviceProgram(const DevicePolicy& policy);

// Loads `program` and attaches it to the cgroup of the open folder `cgroup_fd`. One program of ours is replaced
// in one step (BPF_F_REPLACE); programs of others (systemd) stay: all must agree.

//
// Errors: by errno; PERMISSION_DENIED without CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN.
absl::Status AttachDeviceProgram(int cgroup_fd, const std::vector<bpf_insn>& program);

// Ids of the device programs attached to the cgroup itself.
absl::StatusOr<std::vector<uint32_t>> AttachedDevicePrograms(int cgroup_fd);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_DEVICE_BPF_H_
