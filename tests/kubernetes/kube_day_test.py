"""What Kubernetes relies on holds while a part of a day of 500 nodes passes, as fast as it goes.

Builds: three servers on loopback, and kube_day (see its .cc), which does what API servers do to them.
"""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cluster"))
from cluster import Cluster  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--load", required=True, help="the program kube_day")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--part", type=float, default=0.01, help="how much of the day (default: %(default)s)")
    parser.add_argument("--pods", type=int, default=15000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not os.path.exists(arguments.server):
        print("SKIPPED ALL: 'etcd' is missing; install it with: apt-get install etcd-server")
        return 0
    is_etcd = os.path.basename(arguments.server) == "etcd"
    with Cluster(os.path.abspath(arguments.server), members=arguments.members) as cluster:
        cluster.start()
        done = subprocess.run(
            [os.path.abspath(arguments.load), f"--endpoints={cluster.endpoints}", f"--part={arguments.part}",
             f"--pods={arguments.pods}", f"--seed={arguments.seed}", *(["--old-progress"] if is_etcd else [])],
            check=False)
        verdict = "nothing was violated" if done.returncode == 0 else "FAILED"
        print(f"kube-day: {verdict}", flush=True)
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
