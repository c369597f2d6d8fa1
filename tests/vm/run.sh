#!/bin/sh
# Runs the command: its output goes to the second serial line, its exit status to the third.
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
echo ready >/dev/ttyS2
cd /keelson/work || exit 1
# Through a pipe: programs that see a terminal colour their output.
{ sh /keelson/command.sh </dev/null; echo $? >/run/keelson-status; } 2>&1 | cat >/dev/ttyS1
status=$(cat /run/keelson-status)
sync
echo "exit $status" >/dev/ttyS2
poweroff -f
