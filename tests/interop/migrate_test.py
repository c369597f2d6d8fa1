"""Data moves between etcd and kvstored by kvctl's snapshots and migrations, with the same hashes.

Every step runs real servers on loopback: Debian's etcd on one side, kvstored on the other.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys

from interop import (Cluster, Ctl, Story, clean_environment, expect, expect_equal, free_ports,
                     require_peers, scratch_folder, wait_for)


def write_everything(ctl):
    """Keys of many kinds: updated, deleted, leased, compacted; users and roles, not enabled."""
    for i in range(3):
        ctl.run("txn", stdin="\n" + "".join(f"put k{k} v{i}\n" for k in range(10)) + "\n\n")
    ctl.run("put", "binary\x01\n", "\x7f value")
    ctl.run("del", "k3")
    ctl.run("put", "k3", "again")
    ctl.run("del", "k4")
    lease = ctl.run("lease", "grant", "5000").stdout.split()[1]
    ctl.run("put", "leased", "x", f"--lease={lease}")
    ctl.run("put", "once-leased", "x", f"--lease={lease}")
    ctl.run("put", "once-leased", "y")
    revision = ctl.json("get", "k1")["header"]["revision"]
    ctl.run("compaction", str(revision - 4), "--physical")
    ctl.run("user", "add", "alice:secret")
    ctl.run("role", "add", "readers")
    ctl.run("role", "grant-permission", "readers", "read", "k", "l")
    ctl.run("user", "grant-role", "alice", "readers")
    ctl.run("txn", stdin="\n" + "".join(f"put late{i} z\n" for i in range(5)) + "\n\n")
    return lease


def hash_kv(ctl, member, revision=0):
    return ctl.json("endpoint", "hashkv", f"--rev={revision}",
                    endpoints=member.endpoint)[0]["HashKV"]["hash"]


def everything(ctl):
    """What a client sees."""
    return ctl.json("get", "--prefix", "")["kvs"]


@contextlib.contextmanager
def prepared(binary, ctl_binary, members=1, extra_flags=()):
    """A cluster that is not started, and a ctl for it."""
    with Cluster(binary, members=members, ports=free_ports(2 * members),
                 extra_flags=extra_flags) as cluster:
        yield cluster, Ctl(ctl_binary, cluster)


def restore_flags(cluster, member):
    return [f"--name={member.name}", f"--data-dir={member.data_dir}",
            f"--initial-cluster={member.initial_cluster}",
            f"--initial-advertise-peer-urls={member.peer_url}"]


def local(binary, *words, check=True):
    """A ctl's run that asks no server."""
    done = subprocess.run([binary, *words], capture_output=True, text=True, check=False,
                          env=clean_environment(), timeout=300)
    if check and done.returncode != 0:
        raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Test:
    def __init__(self, arguments, folder):
        self.etcd = arguments.etcd
        self.kvstored = os.path.abspath(arguments.server)
        self.kvctl = os.path.abspath(arguments.ctl)
        self.keys = arguments.keys
        self.folder = folder
        self.story = Story("migrate_test")

    def path(self, name):
        return os.path.join(self.folder, name)

    def check_served(self, cluster, ctl, source):
        """Each member of a started cluster has the data and the hash of `source`."""
        for member in cluster.members:
            expect_equal(hash_kv(ctl, member, source["revision"]), source["hash"],
                         f"HashKV of {member.name}")
        expect_equal(everything(ctl), source["kvs"], "keys")
        left = ctl.run("lease", "timetolive", source["lease"], "--keys").stdout
        expect("attached keys([leased])" in left, left)
        expect_equal(ctl.run("user", "get", "alice").stdout, "User: alice\nRoles: readers\n")
        expect("\t[k, l)" in ctl.run("role", "get", "readers").stdout, "the role's range")
        ctl.run("put", "after", "1")
        expect_equal(ctl.json("get", "after")["kvs"][0]["mod_revision"], source["revision"] + 1,
                     "the next revision")

    def source_of(self, cluster, ctl, lease):
        revision = ctl.json("get", "k1")["header"]["revision"]
        return {"revision": revision, "hash": hash_kv(ctl, cluster.members[0], revision),
                "kvs": everything(ctl), "lease": lease}

    def save_both(self):
        """Snapshots of etcd and of kvstored with the same contents; what was in them."""
        self.sources = {}
        for name, binary in (("etcd", self.etcd), ("kvstored", self.kvstored)):
            with self.story.step(f"snapshot save from {name}, status as etcdctl's"), \
                    prepared(binary, self.kvctl) as (cluster, ctl):
                cluster.start()
                lease = write_everything(ctl)
                self.sources[name] = self.source_of(cluster, ctl, lease)
                path = self.path(name + ".db")
                expect_equal(ctl.run("snapshot", "save", path).stdout, f"Snapshot saved at {path}\n")
                expect(not os.path.exists(path + ".part"), "a .part file is left")
                for form in ("simple", "json", "fields", "table"):
                    expect_equal(local(self.kvctl, "snapshot", "status", path, "-w", form).stdout,
                                 local("etcdctl", "snapshot", "status", path, "-w", form).stdout,
                                 f"status -w {form}")
                if name == "etcd":
                    self.kill_with_a_log(cluster, ctl, lease)

    def kill_with_a_log(self, cluster, ctl, lease):
        """Kills etcd before its database has the last changes. What they are, it tells itself."""
        member = cluster.members[0]
        ctl.run("txn", stdin="\nput tail 1\ndel k5\nput k6 tail\n\n\n")
        ctl.run("lease", "grant", "777")
        ctl.run("put", "tail", "2")
        member.kill()
        self.killed = shutil.copytree(member.data_dir, self.path("killed"))
        member.start()
        cluster.wait_healthy()
        self.sources["killed"] = self.source_of(cluster, ctl, lease)

    def restore_cluster(self, name):
        with self.story.step(f"three members restored from {name}'s snapshot form a cluster"), \
                prepared(self.kvstored, self.kvctl, members=3) as (cluster, ctl):
            for member in cluster.members:
                local(self.kvctl, "snapshot", "restore", self.path(name + ".db"),
                      *restore_flags(cluster, member))
            cluster.start()
            self.check_served(cluster, ctl, self.sources[name])
            # What the members say of themselves survives a restart, and so does the data.
            cluster.members[0].kill()
            cluster.members[0].start()
            cluster.wait_healthy()
            ctl.wait_caught_up(cluster.members[0])
            revision = self.sources[name]["revision"]
            expect_equal(hash_kv(ctl, cluster.members[0], revision), self.sources[name]["hash"])

    def restore_whole(self):
        with self.story.step("snapshot restore-cluster makes all members at once"), \
                prepared(self.kvstored, self.kvctl, members=3) as (cluster, ctl):
            out = self.path("whole")
            local(self.kvctl, "snapshot", "restore-cluster", self.path("etcd.db"),
                  f"--output-dir={out}", f"--initial-cluster={cluster.members[0].initial_cluster}")
            for member in cluster.members:
                os.rename(os.path.join(out, member.name + ".etcd"), member.data_dir)
            cluster.start()
            self.check_served(cluster, ctl, self.sources["etcd"])

    def bump(self):
        with self.story.step("--bump-revision with --mark-compacted"), \
                prepared(self.kvstored, self.kvctl) as (cluster, ctl):
            member = cluster.members[0]
            local(self.kvctl, "snapshot", "restore", self.path("etcd.db"), "--bump-revision=1000000",
                  "--mark-compacted", *restore_flags(cluster, member))
            cluster.start()
            bumped = self.sources["etcd"]["revision"] + 1000000
            expect_equal(ctl.json("get", "k1")["header"]["revision"], bumped, "revision")
            expect_equal(everything(ctl), self.sources["etcd"]["kvs"], "keys")
            done = ctl.run("get", "k1", f"--rev={bumped - 1}", check=False)
            expect("compacted" in done.stderr, done.stderr)
            done = local(self.kvctl, "snapshot", "restore", self.path("etcd.db"),
                         "--bump-revision=5", check=False)
            expect_equal(done.returncode, 128, "one flag without the other")

    def import_folder(self):
        """The folder of an etcd that was killed: its log holds what the database lacks."""
        with self.story.step("migrate import of a killed member's folder, with its log"), \
                prepared(self.kvstored, self.kvctl) as (cluster, ctl):
            member = cluster.members[0]
            dry = local(self.kvctl, "migrate", "import", self.killed, "--dry-run",
                        *restore_flags(cluster, member))
            expect("would restore" in dry.stderr, dry.stderr)
            expect(not os.path.exists(member.data_dir), "a dry run wrote something")
            done = local(self.kvctl, "migrate", "import", self.killed,
                         *restore_flags(cluster, member))
            self.story.say(done.stderr.strip())
            cluster.start()
            self.check_served(cluster, ctl, self.sources["killed"])
            expect_equal(ctl.run("lease", "list").stdout.splitlines()[0], "found 2 leases")

    def refuse(self):
        """Bad input is refused with a reason, and leaves nothing."""
        with self.story.step("damaged, cut and foreign files are refused"):
            with open(self.path("etcd.db"), "rb") as f:
                good = f.read()
            bad = {"flipped": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
                   "cut": good[:len(good) // 2], "empty": b"", "text": b"hello\n" * 200,
                   "digest only": good[:-32]}
            for name, content in bad.items():
                path, target = self.path("bad.db"), self.path("bad.etcd")
                with open(path, "wb") as f:
                    f.write(content)
                done = local(self.kvctl, "snapshot", "restore", path, f"--data-dir={target}",
                             check=False)
                expect_equal(done.returncode, 1, f"{name}: {done.stderr}")
                expect(done.stderr.startswith("Error: "), done.stderr)
                expect(not os.path.exists(target), f"{name}: a folder was made")
            local(self.kvctl, "snapshot", "restore", path, "--skip-hash-check",
                  f"--data-dir={self.path('bad.etcd')}")
            again = local(self.kvctl, "snapshot", "restore", path, "--skip-hash-check",
                          f"--data-dir={self.path('bad.etcd')}", check=False)
            expect("exists" in again.stderr, again.stderr)

    def export(self):
        with self.story.step("migrate export of a stopped member: etcd serves it, same hash"), \
                prepared(self.kvstored, self.kvctl) as (ours, ctl):
            ours.start()
            lease = write_everything(ctl)
            source = self.source_of(ours, ctl, lease)
            running = local(self.kvctl, "migrate", "export", self.path("no.db"),
                            f"--data-dir={ours.members[0].data_dir}", check=False)
            expect_equal(running.returncode, 1, "a folder in use")
            ours.members[0].kill()
            path = self.path("export.db")
            local(self.kvctl, "migrate", "export", path, f"--data-dir={ours.members[0].data_dir}")
            with prepared(self.etcd, "etcdctl") as (theirs, etcdctl):
                local("etcdctl", "snapshot", "restore", path,
                      *restore_flags(theirs, theirs.members[0]))
                theirs.start()
                self.check_served(theirs, etcdctl, source)
            ours.members[0].start()
            ours.wait_healthy()
            expect_equal(everything(ctl), source["kvs"], "the folder still serves")

    def large(self):
        """Memory does not grow with the store, and a kill in between leaves nothing half done."""
        with self.story.step(f"{self.keys} keys"), \
                prepared(self.etcd, self.kvctl) as (cluster, ctl):
            cluster.start()
            value = "x" * 200
            puts = 100
            for first in range(0, self.keys, 20 * puts):
                lines = []
                for txn in range(first, min(first + 20 * puts, self.keys), puts):
                    lines.append("\n" + "".join(f"put key{i:08} {value}\n"
                                                for i in range(txn, txn + puts)) + "\n\n")
                for text in lines:
                    ctl.run("txn", stdin=text)
            path = self.path("large.db")
            ctl.run("snapshot", "save", path)
        with self.story.step("killed while it restores, then restored; memory"), \
                prepared(self.kvstored, self.kvctl) as (cluster, ctl):
            member = cluster.members[0]
            command = [self.kvctl, "snapshot", "restore", path, *restore_flags(cluster, member)]
            process = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.DEVNULL)
            wait_for("a part of it is there", lambda: os.path.exists(member.data_dir + ".part"))
            process.send_signal(signal.SIGKILL)
            process.wait()
            expect(not os.path.exists(member.data_dir), "a folder appeared before it was whole")
            self.measured(command, os.path.getsize(path))
            cluster.start()
            count = ctl.json("get", "--prefix", "key", "--count-only")["count"]
            expect_equal(count, self.keys, "keys")
            member.stop()
            self.measured([self.kvctl, "migrate", "export", self.path("back.db"),
                           f"--data-dir={member.data_dir}"], os.path.getsize(path))
            # But for what names the log's position and the server's own rows.
            expect_equal(local("etcdctl", "snapshot", "status", self.path("back.db"), "-w",
                               "json").returncode, 0, "etcdctl reads it")

    def measured(self, command, size):
        process = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        expect_equal(process.returncode, 0, process.stderr.read())
        megabytes = usage.ru_maxrss / 1024
        self.story.say(f"{command[1]} {command[2]} of {size >> 20} MiB: peak RSS {megabytes:.0f} "
                       f"MiB, {usage.ru_utime + usage.ru_stime:.1f} s of CPU")
        expect(megabytes < 200, f"peak RSS {megabytes} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--ctl", required=True)
    parser.add_argument("--etcd", default="/usr/bin/etcd")
    parser.add_argument("--keys", type=int, default=20000)
    arguments = parser.parse_args()
    require_peers("etcd", "etcdctl")
    with scratch_folder() as folder:
        test = Test(arguments, folder)
        test.save_both()
        for name in ("etcd", "kvstored"):
            test.restore_cluster(name)
        test.restore_whole()
        test.bump()
        test.import_folder()
        test.refuse()
        test.export()
        test.large()
    return test.story.finish()


if __name__ == "__main__":
    sys.exit(main())
