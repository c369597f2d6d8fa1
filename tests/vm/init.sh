#!/bin/busybox sh
# shellcheck shell=dash
# The first process of a virtual machine. The archive's tree is in /image; it becomes the root by a mount of its own,
# as pivot_root and everything built on it refuses the initial file system. Then either the command
# runs here, or systemd starts and a unit of it runs the command.
set -u
b=/image/bin/busybox
$b mount --bind /image /image
cd /image || exit 1
$b mount --move . /
exec /image/bin/busybox chroot . /bin/sh /keelson/start.sh
