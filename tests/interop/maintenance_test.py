"""Hashes, snapshots and alarms of kvstored, judged by etcd and etcdctl 3.4.

Builds: one etcd and one kvstored on loopback, takes the same writes to both and compares HashKV;
then etcdctl saves kvstored's snapshot, checks and restores it, and a real etcd serves it.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys

from interop import Ctl, Story, clean_environment, expect, expect_equal, require_program, scratch_folder
from cluster import Cluster, wait_for


def hash_of(ctl, *words):
    return ctl.json("endpoint", "hashkv", *words)[0]["HashKV"]["hash"]


def write(ctl):
    for i in range(40):
        ctl.run("put", f"k{i % 13}", f"v{i}")
    ctl.run("del", "k3")
    ctl.run("del", "k4", "k6")
    ctl.run("put", "k4", "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    args = parser.parse_args()
    require_program("etcd", "etcd-server")
    require_program("etcdctl", "etcd-client")
    with Cluster("/usr/bin/etcd", members=1) as etcd, Cluster(args.server, members=1) as kvstored, \
            scratch_folder() as folder:
        etcd.start()
        kvstored.start()
        story = Story("maintenance_test", kvstored)
        theirs, ours = Ctl("etcdctl", etcd), Ctl("etcdctl", kvstored)
        saved = os.path.join(folder, "saved.db")
        with story.step("equal writes have equal hashes, before and after a compaction"):
            for ctl in (theirs, ours):
                write(ctl)
            for words in ((), ("--rev=20",), ("--rev=44",)):
                expect_equal(hash_of(ours, *words), hash_of(theirs, *words), f"hash {words}")
            for ctl in (theirs, ours):
                ctl.run("compact", "30", "--physical")
            for words in ((), ("--rev=31",), ("--rev=44",)):
                expect_equal(hash_of(ours, *words), hash_of(theirs, *words), f"hash {words} after compaction")
        with story.step("etcdctl saves, checks and restores a snapshot, and etcd serves it"):
            ours.run("snapshot", "save", saved)
            ours.run("snapshot", "status", saved)
            with Cluster("/usr/bin/etcd", members=1) as restored:
                member = restored.members[0]
                subprocess.run(
                    ["etcdctl", "snapshot", "restore", saved, f"--data-dir={member.data_dir}",
                     f"--name={member.name}", f"--initial-cluster={member.initial_cluster}",
                     f"--initial-advertise-peer-urls={member.peer_url}"],
                    check=True, capture_output=True, env=clean_environment())
                restored.start()
                ctl = Ctl("etcdctl", restored)
                expect_equal(hash_of(ctl), hash_of(ours), "hash of the restored etcd")
                expect_equal(ctl.run("get", "", "--prefix").stdout, ours.run("get", "", "--prefix").stdout)
        with story.step("an alarm refuses writes, survives a restart, and is disarmed"):
            member = kvstored.members[0]
            connection = http.client.HTTPConnection("127.0.0.1", member.client_port)
            connection.request("POST", "/v3/maintenance/alarm",
                               json.dumps({"action": "ACTIVATE", "memberID": 7, "alarm": "NOSPACE"}))
            expect_equal(connection.getresponse().status, 200)
            member.kill()
            member.start()
            wait_for("it serves", lambda: ours.status(member))
            expect_equal(ours.run("alarm", "list").stdout, "memberID:7 alarm:NOSPACE \n")
            expect("database space exceeded" in ours.run("put", "a", "b", check=False).stderr, "a put is refused")
            expect_equal(ours.run("alarm", "disarm").stdout, "memberID:7 alarm:NOSPACE \n")
            ours.run("put", "a", "b")
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
