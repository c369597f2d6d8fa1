"""The examples around kvstore/, against kvstored or, with etcd as argument, against etcd itself."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from cluster import Cluster, wait_for  # noqa: E402

KVSTORED = os.path.abspath("kvstore/daemon/kvstored")
KVCTL = os.path.abspath("kvstore/cmd/kvctl")
SERVER = sys.argv.pop() if sys.argv[-1] == "etcd" else KVSTORED
# etcd's own, where it is installed: what we write is what it reads.
CTL = shutil.which("etcdctl") or KVCTL


def example(name):
    return os.path.abspath(f"examples/{name}/{name}")


class Program:
    """An example that runs, with what it has printed."""

    def __init__(self, name, *arguments):
        # pylint: disable=consider-using-with
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([example(name), *arguments], stdout=self.output,
                                        stderr=subprocess.STDOUT, text=True)

    def lines(self):
        self.output.seek(0)
        return self.output.read().splitlines()

    def wait_for_line(self, start):
        """The first line that begins so."""
        return wait_for(f"a line '{start}'", lambda: next(
            (line for line in self.lines() if line.startswith(start)), None))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(30)

    def kill(self):
        self.process.kill()
        self.process.wait(30)


class StoreExamples(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(SERVER, members=1)
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__, None, None, None)
        self.cluster.start()
        self.cluster.wait_leader()
        self.endpoints = "--endpoints=" + self.cluster.endpoints

    def run_example(self, name, *arguments):
        program = Program(name, self.endpoints, *arguments)
        self.addCleanup(program.output.close)
        self.addCleanup(program.stop)
        return program

    def ctl(self, *words):
        done = subprocess.run([CTL, self.endpoints, *words], capture_output=True, text=True,
                              timeout=60, check=True, env={**os.environ, "ETCDCTL_API": "3"})
        return done.stdout

    def test_config_client_follows_and_counts(self):
        for start in (1, 2):
            program = self.run_example("config_client", "--prefix=config/app/")
            program.wait_for_line(f"start {start}")
            program.wait_for_line(f"config/app/starts = {start}")
            self.ctl("put", "config/app/limit", str(start))
            program.wait_for_line(f"config/app/limit = {start}")
            self.ctl("del", "config/app/limit")
            program.wait_for_line("config/app/limit is gone")
            self.assertEqual(program.stop(), 0)
            self.assertEqual(program.lines()[-1], "1 settings")

    def test_leader_workers_take_turns(self):
        first = self.run_example("leader_worker", "--name=a", "--ttl=2")
        first.wait_for_line("a works")
        second = self.run_example("leader_worker", "--name=b", "--ttl=2")
        wait_for("b stands", lambda: len(self.ctl("get", "--prefix", "--keys-only",
                                                  "leaders/worker/").split()) == 2)
        self.assertNotIn("b works", second.lines())
        first.kill()  # Its lease goes after 2 s.
        second.wait_for_line("b works")
        self.assertEqual(self.ctl("get", "work/last").split()[1], "b")
        self.assertEqual(second.stop(), 0)
        # Who stops in good order leaves nothing behind.
        self.assertEqual(self.ctl("get", "--prefix", "--keys-only", "leaders/worker/").split(), [])

    def test_workers_and_etcdctl_share_the_election(self):
        if CTL == KVCTL:
            print("SKIPPED: 'etcdctl' is missing; install it with: apt-get install etcd-client")
            return
        # pylint: disable=consider-using-with
        elect = subprocess.Popen([CTL, self.endpoints, "elect", "leaders/worker", "ctl"],
                                 stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "ETCDCTL_API": "3"})
        self.addCleanup(elect.stdout.close)
        self.addCleanup(elect.wait, 30)
        self.addCleanup(elect.kill)
        self.assertTrue(elect.stdout.readline().startswith("leaders/worker/"))
        worker = self.run_example("leader_worker", "--name=a", "--ttl=2")
        wait_for("a stands", lambda: len(self.ctl("get", "--prefix", "--keys-only",
                                                  "leaders/worker/").split()) == 2)
        self.assertEqual(worker.lines(), [])
        elect.terminate()  # It gives the leadership up.
        worker.wait_for_line("a works")

    def test_services_are_found_while_they_live(self):
        heavy = self.run_example("service_discovery", "serve", "127.0.0.1:0", "--weight=200")
        light = self.run_example("service_discovery", "serve", "127.0.0.1:0",
                                 "--dns=w1.hello.local")
        addresses = [p.wait_for_line("registered ").split()[1] for p in (heavy, light)]
        found = self.run_example("service_discovery", "find", "--count=3")
        self.assertEqual(found.process.wait(30), 0)
        self.assertEqual(sorted(found.lines()), sorted([addresses[0]] * 2 + [addresses[1]]))
        # The layouts: clientv3/naming's and SkyDNS's.
        entry = json.loads(self.ctl("get", "--print-value-only", "services/hello/" + addresses[0]))
        self.assertEqual(entry, {"Op": 0, "Addr": addresses[0], "Metadata": {"weight": 200}})
        record = json.loads(self.ctl("get", "--print-value-only", "/skydns/local/hello/w1"))
        self.assertEqual(record["host"], "127.0.0.1")
        self.assertEqual(record["port"], int(addresses[1].split(":")[1]))
        # One leaves, one dies.
        self.assertEqual(heavy.stop(), 0)
        self.assertEqual(self.ctl("get", "--prefix", "--keys-only", "services/hello/").split(),
                         ["services/hello/" + addresses[1]])
        light.kill()
        wait_for("the dead one to go", lambda: not self.ctl("get", "--prefix", "--keys-only",
                                                            "").split(), 30)
        nobody = self.run_example("service_discovery", "find")
        self.assertEqual(nobody.process.wait(30), 1)


class EmbeddedStore(unittest.TestCase):
    def test_keeps_its_book_and_lets_others_look_into_it(self):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
            book = f"--directory={folder}/book"
            first = Program("embedded_store", book, "ann", "bob")
            self.assertEqual(first.process.wait(60), 0)
            self.addCleanup(first.output.close)
            self.assertEqual(first.lines(), ["ann signs", "bob signs", "book/ann", "book/bob"])
            second = Program("embedded_store", book, "--listen=http://127.0.0.1:0", "bob", "cid")
            self.addCleanup(second.output.close)
            self.addCleanup(second.stop)
            address = second.wait_for_line("serving ").split()[1]
            self.assertEqual(second.lines()[:2], ["bob is here already", "cid signs"])
            keys = subprocess.run([CTL, f"--endpoints={address}", "get", "--prefix", "--keys-only",
                                   "book/"], capture_output=True, text=True, timeout=60, check=True,
                                  env={**os.environ, "ETCDCTL_API": "3"}).stdout.split()
            self.assertEqual(keys, ["book/ann", "book/bob", "book/cid"])
            self.assertEqual(second.stop(), 0)


if __name__ == "__main__":
    if shutil.which(SERVER) is None:
        print("SKIPPED ALL: 'etcd' is missing; install it with: apt-get install etcd-server")
        sys.exit(0)
    unittest.main()
