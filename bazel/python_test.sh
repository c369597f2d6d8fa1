#!/usr/bin/env bash
# Runs one file of Python's unittest; see keelson_python_test in defs.bzl.
set -euo pipefail
export PYTHONPATH=$PWD/tools${PYTHONPATH:+:$PYTHONPATH}
exec python3 -B "$@"
