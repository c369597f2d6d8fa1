"""One bundle, two runtimes: what a process sees and how it ends is the same with cradle as with Debian's runc.

Each case changes the config a little; the program prints what it can see of itself, and the two outputs are compared
line by line. KEELSON_CASE=name runs one case, and prints both outputs.
"""

import os
import re
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "testing"))
from bundles import TMP, Bundle, Runtime, make_rootfs  # noqa: E402
from cases import CRADLE, reason_to_skip  # noqa: E402

ONLY = os.environ.get("KEELSON_CASE")
REASON = reason_to_skip(runc="runc")

FACTS = r"""
echo "# identity"; id; pwd; hostname; umask; echo "args $0 $*"
echo "# status"
grep -E '^(Uid|Gid|Groups|NStgid|NSpid|NSsid|SigIgn|SigBlk|Cap|NoNewPrivs|Seccomp)' /proc/self/status
echo "# limits"; cat /proc/self/limits
echo "# env"; env | sort
echo "# mounts"; cat /proc/self/mountinfo
echo "# cgroup"; cat /proc/self/cgroup
echo "# dev"; ls -ln /dev /dev/pts 2>&1 | sed 's/... .. ..:..//'
echo "# fds"; ls /proc/self/fd | wc -l
echo "# oom"; cat /proc/self/oom_score_adj; cat /proc/self/personality 2>&1
echo "# net"; cat /sys/class/net/lo/operstate 2>&1; cat /proc/net/dev | wc -l
echo "# files"; ls -ln /data /etc /etc/conf /root 2>&1 | sed 's/... .. ..:..//'
for f in /proc/kcore /proc/keys /proc/sysrq-trigger /sys/firmware /proc/sys/kernel/hostname; do
  head -c1 $f >/dev/null 2>&1; echo "$f read $?"; (echo 1 > $f) 2>/dev/null; echo "$f write $?"; done
"""


def mount(destination, **fields):
    options = fields.pop("options", [])
    return {"destination": destination, "options": options, **fields}


def namespaces(config, *types):
    config["linux"]["namespaces"] = [{"type": t} for t in types]


# Copies of the host's mounts are made before the namespace here and inside of it by runc; mountinfo is in order of age.
SORTED = {"user_namespace"}
ALL = ("pid", "network", "ipc", "uts", "mount")
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def simple(name, change):
    CASES[name] = change


@case
def as_it_is(config, context):
    del config, context


@case
def writable_root(config, context):
    config["root"]["readonly"] = False


def process(name, **fields):
    simple(name, lambda config, context: config["process"].update(fields))


process("user", user={"uid": 1000, "gid": 1001})
process("user_with_groups", user={"uid": 1000, "gid": 1000, "additionalGids": [5, 27, 4000]})
process("umask", user={"uid": 0, "gid": 0, "umask": 0o77})
process("cwd", cwd="/tmp")
process("cwd_as_user", cwd="/tmp", user={"uid": 12, "gid": 12})
process("privileges_may_grow", noNewPrivileges=False)
process("no_capabilities", capabilities={})
process("capabilities_absent", capabilities=None)
process("more_env", env=["PATH=/bin", "A=b c", "EMPTY=", "HOME=/root"])
process("no_path", env=["A=1"])
process("oom_score", oomScoreAdj=500)
process("no_rlimits", rlimits=[])
for resource, value in (("NPROC", 500), ("CORE", 0), ("STACK", 8388608), ("FSIZE", 1 << 30), ("MEMLOCK", 65536),
                        ("CPU", 100), ("AS", 1 << 34), ("SIGPENDING", 100), ("MSGQUEUE", 1000), ("LOCKS", 7)):
    process(f"rlimit_{resource}", rlimits=[{"type": f"RLIMIT_{resource}", "hard": value, "soft": value // 2}])
for name in ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_SYS_PTRACE", "CAP_BPF"):
    process(f"one_{name}", capabilities={s: [name] for s in ("bounding", "effective", "permitted")})
process("bounding_only", capabilities={"bounding": ["CAP_CHOWN", "CAP_FOWNER"]})
process("ambient", user={"uid": 1000, "gid": 1000}, capabilities={
    s: ["CAP_NET_RAW"] for s in ("bounding", "effective", "permitted", "inheritable", "ambient")})
process("permitted_only_as_user", user={"uid": 1000, "gid": 1000}, capabilities={
    s: ["CAP_NET_RAW"] for s in ("bounding", "permitted")})


def linux(name, **fields):
    simple(name, lambda config, context: config["linux"].update(fields))


linux("no_masks", maskedPaths=[], readonlyPaths=[])
linux("masked_missing", maskedPaths=["/nothing", "/etc/conf"])
linux("masked_file", maskedPaths=["/etc/conf/a"])
linux("readonly_missing", readonlyPaths=["/nothing", "/tmp", "/etc/passwd"])
linux("sysctl_net", sysctl={"net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/forwarding": "1"})
linux("sysctl_ipc", sysctl={"kernel.shmmax": "1000000", "fs.mqueue.queues_max": "7"})
linux("sysctl_foreign", sysctl={"vm.swappiness": "1"})
linux("sysctl_hostname", sysctl={"kernel.hostname": "x"})
# Not shared: runc 1.1 leaves the root of such a container private.
for propagation in ("private", "rprivate", "slave", "rslave"):  # runc 1.1 fails with unbindable ones
    linux(f"root_{propagation}", rootfsPropagation=propagation)
linux("extra_device", devices=[{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o640,
                                "uid": 7, "gid": 8},
                               {"type": "b", "path": "/dev/sub/disk", "major": 7, "minor": 3, "fileMode": 0o600},
                               {"type": "p", "path": "/dev/pipe", "fileMode": 0o622}])
linux("cgroups_path", cgroupsPath="/keelson-same/x")
for limit in ({"pids": {"limit": 77}}, {"memory": {"limit": 1 << 27}}, {"cpu": {"shares": 512, "quota": 50000}}):
    linux(f"limit_{list(limit)[0]}", resources={"devices": [{"allow": False, "access": "rwm"}], **limit})
linux("bad_namespace", namespaces=[{"type": "nonsense"}])
linux("namespace_twice", namespaces=[{"type": t} for t in (*ALL, "pid")])
for without in ("pid", "network", "ipc"):
    simple(f"without_{without}", lambda config, context, w=without: namespaces(config, *[t for t in ALL if t != w]))
simple("hostname_without_uts", lambda config, context: namespaces(config, *[t for t in ALL if t != "uts"]))
simple("cgroup_namespace", lambda config, context: namespaces(config, *ALL, "cgroup"))


@case
def user_namespace(config, context):
    namespaces(config, *ALL, "user")
    for field in ("uidMappings", "gidMappings"):
        config["linux"][field] = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@case
def user_namespace_without_maps(config, context):
    namespaces(config, *ALL, "user")


@case
def cgroup_mount(config, context):
    config["mounts"].append(mount("/sys/fs/cgroup", type="cgroup", source="cgroup",
                                  options=["nosuid", "noexec", "nodev", "relatime", "ro"]))


@case
def cgroup_mount_in_own_namespace(config, context):
    cgroup_mount(config, context)
    namespaces(config, *ALL, "cgroup")


BINDS = (["bind"], ["rbind"], ["bind", "ro"], ["rbind", "ro"], ["rbind", "rprivate"], ["rbind", "rslave"],
         ["rbind", "rshared"], ["bind", "nosuid", "nodev", "noexec"], ["rbind", "ro", "rprivate"], ["bind", "noatime"],
         ["bind", "nodiratime", "relatime"], ["bind", "strictatime"], ["bind", "private", "rw"], ["bind", "unbindable"])
for options in BINDS:
    simple("bind_" + "_".join(options).replace("=", ""), lambda config, context, o=options: config["mounts"].append(
        mount("/data", type="bind", source=context["folder"], options=o)))
simple("bind_file", lambda config, context: config["mounts"].append(
    mount("/etc/conf/a", type="bind", source=context["file"], options=["bind", "ro"])))
simple("bind_missing_source", lambda config, context: config["mounts"].append(
    mount("/data", type="bind", source="/nothing/here", options=["bind"])))


@case
def bind_new_target(config, context):
    writable_root(config, context)
    config["mounts"].append(mount("/made/deep/folder", type="bind", source=context["folder"], options=["bind"]))
    config["mounts"].append(mount("/made/file", type="bind", source=context["file"], options=["bind"]))


@case
def target_through_symlinks(config, context):
    writable_root(config, context)
    config["mounts"].append(mount("/var/run/x", type="tmpfs", source="tmpfs", options=["size=1m", "mode=755"]))


# With a mode: runc 1.1 gives the folder's by chmod, newer ones and we by an option, which mountinfo shows.
for options in (["size=1m"], ["ro"], ["uid=5"], ["nosuid", "noexec"], ["nonsense"], ["tmpcopyup"], ["rprivate"],
                ["noatime"]):
    simple("tmpfs_" + "_".join(options).replace("=", ""), lambda config, context, o=options: config["mounts"].append(
        mount("/etc/conf", type="tmpfs", source="tmpfs", options=[*o, "mode=755"])))
simple("unknown_file_system", lambda config, context: config["mounts"].append(
    mount("/data", type="nonsense", source="x")))
simple("mount_over_proc_file", lambda config, context: config["mounts"].append(
    mount("/proc/uptime", type="bind", source=context["file"], options=["bind"])))
simple("mount_over_proc_forbidden", lambda config, context: config["mounts"].append(
    mount("/proc/self", type="bind", source=context["folder"], options=["bind"])))
simple("proc_as_tmpfs", lambda config, context: config["mounts"].__setitem__(
    0, mount("/proc", type="tmpfs", source="tmpfs")))


def program(name, *args):
    simple(name, lambda config, context: config["process"].update(args=list(args)))


program("missing_program", "/bin/nothing")
program("missing_on_path", "nothing")
program("program_is_folder", "/etc")
program("program_not_executable", "/etc/passwd")
program("exit_status", "/bin/sh", "-c", "exit 42")
program("killed", "/bin/sh", "-c", "kill -TERM $$; sleep 1")
program("killed_kill", "/bin/sh", "-c", "kill -KILL $$; sleep 1")
process("no_args", args=[])
process("relative_cwd", cwd="tmp")
process("missing_cwd", cwd="/made-by-runtime/or-not")


def seccomp(name, **fields):
    linux(f"seccomp_{name}", seccomp=fields)


seccomp("empty", defaultAction="SCMP_ACT_ALLOW")
seccomp("deny_mkdir", defaultAction="SCMP_ACT_ALLOW",
        syscalls=[{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}])
seccomp("unknown_names", defaultAction="SCMP_ACT_ALLOW", architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        syscalls=[{"names": ["no_such_call", "chmod"], "action": "SCMP_ACT_ERRNO"}])
seccomp("arguments", defaultAction="SCMP_ACT_ALLOW", syscalls=[
    {"names": ["socket"], "action": "SCMP_ACT_ERRNO",
     "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 17, "op": "SCMP_CMP_EQ"}]}])
seccomp("bad_action", defaultAction="SCMP_ACT_NONSENSE")


def normal(text):
    """Without what differs from run to run."""
    lines = []
    for line in text.splitlines():
        # runc 1.1 has no hybrid hosts in mind, and leaves the tmpfs writable.
        if re.search(r" /sys/fs/cgroup(/unified)? r", line):
            continue
        fields = line.split(" ")
        if re.match(r"\d+ \d+ \d+:\d+ /", line):
            line = " ".join(["MOUNT", *fields[3:]])
        line = re.sub(r"(root|0) +(65534|0) +40 +mqueue", "0 0 40 mqueue", line)  # Group of the IPC namespace's maker.
        line = re.sub(r"^(NStgid|NSpid|NSsid):.*", r"\1", line)  # Threads of the runtime have used up numbers.
        # The launcher of tests may ignore signal 32; runc hands that on.
        line = re.sub(r"^(SigIgn:.*)8(0{7})$", r"\g<1>0\2", line)
        # Devices of a user namespace are mounts; crun and we let no programs be run from them, runc does.
        line = re.sub(r"^(MOUNT .* rw),nosuid,noexec(,relatime - devtmpfs)", r"\1\2", line)
        line = re.sub(r"(master|shared|propagate_from):\d+", r"\1", line)
        line = re.sub(r"same-\w+-\d+", "ID", line)
        line = re.sub(r"inode64|size=\d+k,nr_inodes=\d+", "", line)
        lines.append(line)
    return lines


@unittest.skipIf(REASON, REASON)
class SameAsRunc(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.mkdtemp(prefix="same", dir=TMP)
        cls.rootfs = os.path.join(cls.tmp, "rootfs")
        os.chmod(cls.tmp, 0o755)  # for containers in user namespaces
        make_rootfs(cls.rootfs)
        cls.context = {"folder": os.path.join(cls.tmp, "folder"), "file": os.path.join(cls.tmp, "file")}
        os.makedirs(os.path.join(cls.context["folder"], "inner"))
        with open(cls.context["file"], "w") as file:
            file.write("42.00 42.00\n")
        cls.runtimes = {"runc": Runtime(shutil.which("runc"), os.path.join(cls.tmp, "runc")),
                        "cradle": Runtime(CRADLE, os.path.join(cls.tmp, "cradle"))}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.tmp, ignore_errors=True)
        # Both runtimes leave the groups above a container's.
        for hierarchy in os.listdir("/sys/fs/cgroup"):
            if os.path.isdir(f"/sys/fs/cgroup/{hierarchy}/keelson-same"):
                os.rmdir(f"/sys/fs/cgroup/{hierarchy}/keelson-same")

    def outcome(self, name, runtime, number):
        """Exit status (0, 1 for a refusal, or the program's), and what the program printed."""
        bundle = Bundle(self.rootfs)
        bundle.config["process"]["args"] = ["/bin/sh", "-c", FACTS, "name", "argument"]
        CASES[name](bundle.config, self.context)
        bundle.write()
        identifier = f"same-{runtime}-{number}"
        reply = self.runtimes[runtime]("run", "--bundle", bundle.path, identifier)
        if ONLY:
            print(f"--- {runtime}: {reply.returncode}\n{reply.stdout}{reply.stderr}")
        self.assertIsNone(self.runtimes[runtime].state(identifier), "the container is left")
        bundle.remove()
        lines = normal(reply.stdout)
        return reply.returncode, sorted(lines) if name in SORTED else lines, reply.stderr

    def test_the_same_is_seen_with_both(self):
        self.assertGreaterEqual(len(CASES), 100)
        for number, name in enumerate(CASES):
            if ONLY and name != ONLY:
                continue
            with self.subTest(case=name):
                theirs, ours = (self.outcome(name, runtime, number) for runtime in ("runc", "cradle"))
                self.assertEqual((theirs[0], theirs[1]), (ours[0], ours[1]), f"stderr: {theirs[2]} / {ours[2]}")


if __name__ == "__main__":
    unittest.main()
