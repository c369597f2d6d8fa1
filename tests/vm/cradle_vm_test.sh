# shellcheck shell=sh
# cradle on a host with nothing but the v2 tree, and on Debian's kernel: limits by their effect, freezing, delegation,
# time namespaces, kill of all. Run by run_in_vm.py; busybox is the machine's and the container's.
set -eu

cradle=$PWD/container_runtime/cmd/cradle
bundle=$PWD/bundle # Not in /tmp, which allows no devices.
mkdir -p "$bundle/rootfs/bin" "$bundle/rootfs/proc" "$bundle/rootfs/sys" "$bundle/rootfs/dev" "$bundle/rootfs/tmp"
cp /bin/busybox "$bundle/rootfs/bin/busybox"
for name in sh cat echo sleep head tail true mkdir mknod grep ls; do ln -s busybox "$bundle/rootfs/bin/$name"; done

fail() {
  echo "FAILED: $*"
  exit 1
}

# config SCRIPT [RESOURCES [MORE]]: RESOURCES are fields of linux.resources, MORE fields of linux, each with a comma before.
config() {
  cat >"$bundle/config.json" <<EOF
{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"cwd": "/", "user": {"uid": 0, "gid": 0},
 "args": ["/bin/sh", "-c", "$1"], "env": ["PATH=/bin"],
 "capabilities": {"bounding": ["CAP_MKNOD"], "effective": ["CAP_MKNOD"], "permitted": ["CAP_MKNOD"]}},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"},
                          {"type": "cgroup"}${4-}],
           "resources": {"devices": [{"allow": false, "access": "rwm"}]${2-}}${3-}}}
EOF
}

run() { "$cradle" run --bundle "$bundle" box 2>&1 </dev/null; }
detached() { "$cradle" run --detach --bundle "$bundle" box </dev/null >/dev/null 2>&1; }
box=/sys/fs/cgroup/box

echo "== a program runs, and its status comes back"
config 'echo inside; exit 7'
set +e
output=$(run)
status=$?
set -e
[ "$status $output" = "7 inside" ] || fail "status $status: $output"

echo "== the memory limit kills"
config 'head -c 60m /dev/zero | tail >/dev/null; echo status $?' ', "memory": {"limit": 16777216, "swap": 16777216}'
run | grep -q 'status 137' || fail "no kill"

echo "== the pids limit fails fork"
config 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo not reached' ', "pids": {"limit": 4}'
output=$(run) || true
case $output in *"not reached"*) fail "$output" ;; esac

echo "== a device is denied, and allowed when a rule says so"
config 'mknod /tmp/d c 10 229; : </tmp/d; echo end'
run | grep -q 'not permitted' || fail "opened"
config 'mknod /tmp/e c 10 229; : </tmp/e; echo end' ', "network": {}'
sed -i 's/"access": "rwm"}\]/"access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]/' \
  "$bundle/config.json"
if run | grep -q 'not permitted'; then fail "denied although allowed"; fi

echo "== the cpu quota throttles"
config 'while :; do :; done' ', "cpu": {"quota": 10000, "period": 100000, "shares": 2048}'
detached
i=0
until grep -q 'nr_throttled [1-9]' "$box/cpu.stat"; do
  i=$((i + 1))
  [ "$i" -lt 200 ] || fail "$(cat "$box/cpu.stat")"
  sleep 0.1
done
[ "$(cat "$box/cpu.max")" = "10000 100000" ] || fail "cpu.max"
[ "$(cat "$box/cpu.weight")" -gt 100 ] || fail "cpu.weight"

echo "== pause freezes, resume thaws, exec joins, delete kills all"
"$cradle" pause box
grep -q 'frozen 1' "$box/cgroup.events" || fail "not frozen"
case $("$cradle" state box) in *paused*) ;; *) fail "state" ;; esac
"$cradle" resume box
grep -q 'frozen 0' "$box/cgroup.events" || fail "not thawed"
"$cradle" exec box cat /proc/self/cgroup </dev/null | grep -q '0::/$' || fail "exec is elsewhere"
"$cradle" delete --force box
[ ! -e "$box" ] || fail "the cgroup is left"

echo "== the weight of block devices arrives"
config 'sleep 1000' ', "blockIO": {"weight": 123}'
detached
if [ -e "$box/io.bfq.weight" ]; then
  grep -q '\<123$' "$box/io.bfq.weight" || fail "io.bfq.weight: $(cat "$box/io.bfq.weight")"
elif [ -e "$box/io.weight" ]; then
  grep -q 'default 1142$' "$box/io.weight" || fail "io.weight: $(cat "$box/io.weight")"
else
  echo "SKIPPED: the kernel gives block devices no weights"
fi
"$cradle" delete --force box

echo "== a container with its own cgroup namespace manages what is below"
config 'mkdir /sys/fs/cgroup/below && echo made; cat /sys/fs/cgroup/cgroup.controllers'
run | grep -q made || fail "not delegated"

echo "== exec follows an init that has moved down, where its own level takes no processes any more"
config 'cd /sys/fs/cgroup; mkdir below; echo 1 >below/cgroup.procs; echo +pids >cgroup.subtree_control; exec sleep 1000'
detached
i=0
until grep -q pids "$box/cgroup.subtree_control"; do
  i=$((i + 1))
  [ "$i" -lt 200 ] || fail "init did not move"
  sleep 0.1
done
"$cradle" exec box cat /proc/self/cgroup </dev/null | grep -q '0::/below$' || fail "exec is elsewhere"
"$cradle" delete --force box

echo "== a time namespace has its offsets"
config 'cat /proc/self/timens_offsets' '' ', "timeOffsets": {"boottime": {"secs": 7881}}' ', {"type": "time"}'
run | grep -q 7881 || fail "no offset"

echo "== paths are masked and read only"
config 'ls /proc/tty /proc/irq; cat /proc/timer_list; mkdir /tmp/x 2>/dev/null || echo refused; echo end' '' \
  ', "maskedPaths": ["/proc/tty", "/proc/irq", "/proc/timer_list", "/proc/missing"], "readonlyPaths": ["/tmp"]'
output=$(run)
# shellcheck disable=SC2086,SC2116  # Lines become words.
[ "$(echo $output)" = "/proc/irq: /proc/tty: refused end" ] || fail "$output"

[ -z "$(ls /run/cradle 2>/dev/null)" ] || fail "state is left"
echo "all passed"
