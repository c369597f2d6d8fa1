#!/usr/bin/env bash
# Does what README.md tells its reader to do, with the programs that Bazel has built.
#
# `./keelson` cannot build here, since Bazel is busy running this test. It finds a copy of
# the scripts with the programs in place, and KEELSON_NO_BUILD tells it to leave them so.
set -euo pipefail

runfiles=$PWD
tree=$TEST_TMPDIR/tree
mkdir -p "$tree"/bazel-bin/kvstore/{daemon,cmd} "$tree/out/bin"
cp -rL README.md keelson tools tests "$tree/"
for program in kvstore/daemon/kvstored kvstore/cmd/kvctl; do
  ln -s "$runfiles/$program" "$tree/bazel-bin/$program"
  ln -s "$runfiles/$program" "$tree/out/bin/${program##*/}"
done

cd "$tree"
export KEELSON_NO_BUILD=1 HOME=$TEST_TMPDIR
tools/readme_test.py README.md
