"""Clusters of processes that load themselves: raft_member_bench and libraft_member_bench.

Both take commands on standard input and answer in JSON (raft_member_bench.cc has the list), so the
processes of all systems can wait side by side while one of them is loaded.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
from cluster import Cluster, ClusterError, free_ports, wait_for  # noqa: E402

KV_LOAD = os.path.join(ROOT, "bazel-bin/tests/bench/kv_bench")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """One member. Its answers come in the order of the questions."""

    def __init__(self, command, log_path):
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, text=True, start_new_session=True)

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                raise ClusterError(f"a member ended at '{command}':\n{log.read()[-2000:]}")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Members:
    """Three processes. `command(id, folder, peers)` is what starts one."""

    def __init__(self, command, folder, count=3):
        peers = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
        self.folder = tempfile.mkdtemp(prefix="keelson-bench-", dir=folder)
        self.processes = []
        for i in range(1, count + 1):
            data = os.path.join(self.folder, str(i))
            os.mkdir(data)
            self.processes.append(
                Process(command(i, data, peers), os.path.join(self.folder, f"{i}.log")))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for process in self.processes:
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def leader(self):
        return next((p for p in self.processes if p.ask("leads")["leads"]), None)

    def load(self, outstanding, seconds):
        """One run on the leader: its report, with the CPU time of all members (generator included)."""
        leader = wait_for("a leader is elected", self.leader)
        before = [cpu_seconds(p.process.pid) for p in self.processes]
        report = leader.ask(f"load {outstanding} {seconds}")
        after = [cpu_seconds(p.process.pid) for p in self.processes]
        if report["errors"] or not report["ops"]:
            raise ClusterError(f"load of {outstanding}: {report}")
        report["cpu_us_per_entry"] = (sum(after) - sum(before)) * 1e6 / report["ops"]
        return report


class EtcdMembers:
    """Three processes of etcd, loaded over gRPC, which is the way into it."""

    def __init__(self, binary, folder, value_bytes):
        self.value_bytes = value_bytes
        self.cluster = Cluster(binary, members=3,
                               folder=tempfile.mkdtemp(prefix="keelson-bench-", dir=folder))

    def __enter__(self):
        self.cluster.start()
        self.endpoint = self.cluster.wait_leader().endpoint
        return self

    def __exit__(self, kind, error, trace):
        return self.cluster.__exit__(kind, error, trace)

    def load(self, outstanding, seconds):
        before = [m.cpu_seconds() for m in self.cluster.members]
        reply = subprocess.run(
            [KV_LOAD, f"--endpoint={self.endpoint}", "--op=put", f"--outstanding={outstanding}",
             f"--seconds={seconds}", f"--value-bytes={self.value_bytes}"],
            check=True, capture_output=True, text=True)
        after = [m.cpu_seconds() for m in self.cluster.members]
        report = json.loads(reply.stdout)
        if report["errors"]:
            raise ClusterError(f"load of {outstanding} on etcd: {reply.stderr}")
        report["cpu_us_per_entry"] = (sum(after) - sum(before)) * 1e6 / report["ops"]
        return report
