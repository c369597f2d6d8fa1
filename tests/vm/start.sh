#!/bin/sh
# Second half of init.sh, in the machine's own root. /keelson/options sets INIT, CGROUPS and MODULES.
set -u
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
# shellcheck disable=SC1091  # It is in the machine.
. /keelson/options
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid devtmpfs /dev
for module in $MODULES; do
  insmod "/keelson/modules/$module" || echo "keelson: insmod $module failed" >/dev/console
done
if [ "$INIT" = systemd ]; then
  exec /lib/systemd/systemd
fi
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
mount -t securityfs none /sys/kernel/security 2>/dev/null
v1_cgroups() {
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for controllers in cpu,cpuacct cpuset memory pids devices blkio freezer net_cls,net_prio; do
    mkdir "/sys/fs/cgroup/$controllers"
    mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
  done
}
case $CGROUPS in
  v2) mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup ;;
  v1) v1_cgroups ;;
  hybrid)
    v1_cgroups
    mkdir /sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
    ;;
esac
ip link set lo up
sh /keelson/run.sh
