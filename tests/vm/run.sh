#!/bin/sh
# Runs the command: its output goes to the second serial line, its exit status to the third.
stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo
echo ready >/dev/ttyS2
cd /keelson/work || exit 1
# Through a pipe: programs that see a terminal colour their output.
mkfifo /run/keelson-output
cat /run/keelson-output >/dev/ttyS1 &
copier=$!
sh /keelson/command.sh </dev/null >/run/keelson-output 2>&1
status=$?
sync
# The copier ends with the last writer; processes that the command left behind are not waited for.
tries=0
while kill -0 $copier 2>/dev/null && [ $tries -lt 20 ]; do
  sleep 0.05
  tries=$((tries + 1))
done
echo "exit $status" >/dev/ttyS2
poweroff -f
