# shellcheck shell=sh
# podman drives cradle on a host with nothing but the v2 tree: limits, exec, pause, update, stats, stop. Run by run_in_vm.py.
set -eu

export PATH=/usr/bin:/bin:/sbin TMPDIR=/tmp HOME=/root
root=$PWD/rootfs
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/etc" "$root/run" /etc/containers /root /var/tmp /var/lib
cp /bin/busybox "$root/bin/busybox"
for name in sh cat echo sleep head tail true; do ln -s busybox "$root/bin/$name"; done
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
cat >/etc/containers/storage.conf <<EOF
[storage]
driver = "vfs"
graphroot = "/tmp/storage"
runroot = "/run/storage"
EOF
cat >/etc/containers/containers.conf <<EOF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "cradle"
[engine.runtimes]
cradle = ["$PWD/container_runtime/cmd/cradle"]
EOF

fail() {
  echo "FAILED: $*"
  exit 1
}

# run [FLAG...] -- COMMAND...
run() {
  flags=
  while [ "$1" != -- ]; do
    flags="$flags $1"
    shift
  done
  shift
  # shellcheck disable=SC2086  # Flags are words.
  podman run --network=none --log-driver=k8s-file $flags --rootfs "$root" "$@" </dev/null
}

echo "== a program runs, and its status comes back"
set +e
output=$(run --rm -- /bin/sh -c 'echo inside; exit 7')
status=$?
set -e
[ "$status $output" = "7 inside" ] || fail "status $status: $output"

echo "== limits are those of the v2 tree"
# shellcheck disable=SC2016  # The shell inside expands it.
output=$(run --rm --memory=64m --pids-limit=30 --cpus=0.5 -- /bin/sh -c \
  'cd /sys/fs/cgroup; echo $(cat memory.max pids.max cpu.max)')
[ "$output" = "67108864 30 50000 100000" ] || fail "$output"

echo "== the memory limit kills"
set +e
run --rm --memory=16m --memory-swap=16m -- /bin/sh -c 'exec tail /dev/zero'
status=$?
set -e
[ "$status" = 137 ] || fail "status $status"

echo "== exec, pause, update, stats, stop"
run --detach --name=box -- /bin/sleep 1000 >/dev/null
[ "$(podman exec box /bin/echo joined)" = joined ] || fail "exec"
podman pause box >/dev/null
[ "$(podman inspect --format '{{.State.Status}}' box)" = paused ] || fail "not paused"
podman unpause box >/dev/null
podman update --memory=50m box >/dev/null
[ "$(podman exec box /bin/cat /sys/fs/cgroup/memory.max)" = 52428800 ] || fail "not updated"
output=$(podman stats --no-stream --format '{{.PIDs}} {{.MemUsage}}' box)
case $output in "1 "*[1-9]*"B / "*) ;; *) fail "stats: $output" ;; esac
# The limit that podman shows is the one of the config, or the machine's memory: not what update has set.
run --detach --memory=64m --name=small -- /bin/sleep 1000 >/dev/null
output=$(podman stats --no-stream --format '{{.MemUsage}}' small)
case $output in *" / 67.11MB") ;; *) fail "stats of a limited one: $output" ;; esac
podman stop --time=0 box small >/dev/null
podman rm box small >/dev/null
[ -z "$(podman ps --all --quiet)" ] || fail "a container is left"
[ -z "$(ls /run/cradle 2>/dev/null)" ] || fail "state is left"
echo "all passed"
