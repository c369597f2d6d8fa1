"""A member of a real cluster loses its disk, or a part of it, and comes back by itself."""

import glob
import os
import shutil
import subprocess
import unittest

from cluster import Cluster, wait_for

KVSTORED = "kvstore/daemon/kvstored"
KVCTL = "kvstore/cmd/kvctl"
FAST = ["--heartbeat-interval=20", "--election-timeout=200"]


def kvctl(member, *arguments):
    done = subprocess.run([KVCTL, f"--endpoints={member.endpoint}", *arguments],
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"kvctl {arguments}: {done.stderr}{done.stdout}")
    return done.stdout


class LostDiskTest(unittest.TestCase):
    def check_is_a_voter_again(self, cluster, victim):
        wait_for("the member has recovered", lambda: victim.metric("raft_recovering") == 0)
        self.assertEqual(victim.metric("raft_storage_repairs_total"), 1)
        self.assertEqual(kvctl(victim, "get", "key-7").split(), ["key-7", "value-7"])
        # Two of three are left, and the member is one of them: nothing works without it.
        other = next(m for m in cluster.members if m is not victim and not m.is_leader())
        other.kill()
        wait_for("a leader without the other one", cluster.leader)
        kvctl(victim, "put", "after", "all")
        self.assertEqual(kvctl(victim, "get", "after").split(), ["after", "all"])

    def run_with(self, damage, flags=()):
        with Cluster(KVSTORED, extra_flags=FAST) as cluster:
            cluster.start()
            cluster.wait_leader()
            for i in range(50):
                kvctl(cluster.members[0], "put", f"key-{i}", f"value-{i}")
            victim = cluster.members[2]
            victim.kill()
            damage(victim)
            victim.extra_flags = FAST + list(flags)
            victim.start()
            wait_for("the member is healthy", victim.healthy)
            self.check_is_a_voter_again(cluster, victim)
            return victim.log_tail(200)

    def test_a_replaced_disk(self):
        log = self.run_with(lambda victim: shutil.rmtree(victim.data_dir),
                            ["--initial-cluster-state=existing"])
        self.assertIn("recovering from the other members", log)

    def test_a_flipped_bit_in_the_log(self):
        def flip(victim):
            (segment,) = glob.glob(os.path.join(victim.data_dir, "member/wal/*.wal"))
            with open(segment, "r+b") as f:
                at = f.read(1 << 20).index(b"key-9")
                f.seek(at)
                f.write(b"kez")

        log = self.run_with(flip)
        self.assertIn("0000000000000001.wal' at ", log)
        self.assertIn("0000000000000001.wal.damaged", log)


if __name__ == "__main__":
    unittest.main()
