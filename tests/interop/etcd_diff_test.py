"""The version 3 API of kvstored answers as etcd 3.4's, request by request.

Builds: one etcd and one kvstored on loopback, with fresh data directories in memory where there
is a file system in memory. A driver (etcd_diff/driver.cc) sends both the same random requests in
lockstep - ranges, puts, deletions, nested transactions, compactions, leases, users and roles, with
authentication on and off - and compares every answer, what watches hear, and HashKV.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile

from interop import Story, expect, require_program
from cluster import Cluster

FLAGS = ["--bcrypt-cost=4"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--operations", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0, help="0: a new one")
    args = parser.parse_args()
    require_program("etcd", "etcd-server")
    seed = args.seed or random.SystemRandom().randint(1, 10**9)
    if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"  # The disk is not what is compared.
    with Cluster("/usr/bin/etcd", members=1, extra_flags=FLAGS) as etcd, \
            Cluster(os.path.abspath(args.server), members=1, extra_flags=[*FLAGS, "--etcd-version=3.4.23"]) as kvstored:
        etcd.start()
        kvstored.start()
        story = Story("etcd_diff", kvstored)
        story.say(f"seed {seed}: repeat with --seed={seed} --operations={args.operations}")
        with story.step(f"{args.operations} random requests get the same answers"):
            done = subprocess.run(
                [args.driver, f"--etcd={etcd.members[0].endpoint}", f"--ours={kvstored.members[0].endpoint}",
                 f"--operations={args.operations}", f"--seed={seed}"], check=False)
            expect(done.returncode == 0, f"the answers differ, seed {seed}")
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
