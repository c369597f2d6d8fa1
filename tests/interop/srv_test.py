"""Members that find each other, and are found, by SRV records: --discovery-srv.

Builds: network and mount namespaces of its own, in which /etc/resolv.conf names a small domain name
server of this test on loopback; three members that know nothing but the domain. Expects what etcd
become one cluster, and that kvctl and Debian's etcdctl find it. (etcd 3.4.23 itself wants a record for https, too.)
"""

import argparse
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import types

from interop import Story, clean_environment, expect, expect_equal, require_peers, scratch_folder, wait_for

DOMAIN = "cluster.test"
PEER_PORTS = (23801, 23802, 23803)
CLIENT_PORTS = (23791, 23792, 23793)
A, SRV = 1, 33


def labels(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


class DnsServer:
    """Answers questions for `srv` (name -> [(target, port)]) and for the address of any host of the domain."""

    def __init__(self, srv):
        self.srv = srv
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def rows(self, name, kind):
        """The rows, or None for a name that does not exist."""
        if kind == SRV:
            records = self.srv.get(name)
            return records and [struct.pack("!HHH", 1, 1, port) + labels(target) for target, port in records]
        if not name.endswith(".hosts." + DOMAIN):
            return None
        return [socket.inet_aton("127.0.0.1")] if kind == A else []

    def serve(self):
        while True:
            packet, client = self.socket.recvfrom(4096)
            end = packet.index(b"\0", 12) + 5
            kind = struct.unpack("!H", packet[end - 4:end - 2])[0]
            parts, at = [], 12
            while packet[at]:
                parts.append(packet[at + 1:at + 1 + packet[at]].decode())
                at += 1 + packet[at]
            rows = self.rows(".".join(parts).lower(), kind)
            head = packet[:2] + struct.pack("!HHHHH", 0x8580 | (3 if rows is None else 0), 1, len(rows or ()), 0, 0)
            answers = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 1, len(row)) + row for row in rows or ())
            self.socket.sendto(head + packet[12:end] + answers, client)


def enter_namespaces(arguments):
    """Runs this script again in namespaces of its own."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", sys.executable, "-B",
               os.path.abspath(__file__), "--inside", *arguments]
    return subprocess.run(command, check=False).returncode


def use_own_resolver(folder):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2\n"), ("hosts", "127.0.0.1 localhost\n"),
                       ("nsswitch.conf", "hosts: files dns\n")):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        subprocess.run(["mount", "--bind", path, os.path.realpath("/etc/" + name)], check=True)


class Member:
    def __init__(self, server, folder, number, host, service):
        self.name = f"m{number}"
        self.log_path = os.path.join(folder, self.name + ".log")
        client = f"http://127.0.0.1:{CLIENT_PORTS[number]}"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [server, f"--name={self.name}", f"--data-dir={folder}/{self.name}", f"--discovery-srv={DOMAIN}",
                 *([f"--discovery-srv-name={service}"] if service else []),
                 f"--initial-advertise-peer-urls=http://{host}:{PEER_PORTS[number]}",
                 f"--listen-peer-urls=http://127.0.0.1:{PEER_PORTS[number]}", f"--listen-client-urls={client}",
                 f"--advertise-client-urls={client}"],
                stdout=log, stderr=subprocess.STDOUT, env=clean_environment())

    def log_tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=20)


def run_ctl(binary, *words):
    return subprocess.run([binary, *words, "--command-timeout=5s"], capture_output=True, text=True, timeout=60,
                          check=False, env=clean_environment())


def expect_cluster(story, options, folder, title, host_of, service):
    """Three members find each other, and clients find them."""
    members = [Member(options.server, folder, n, host_of(n), service) for n in range(3)]
    story.cluster = types.SimpleNamespace(members=members)
    found = ["--discovery-srv=" + DOMAIN] + (["--discovery-srv-name=" + service] if service else [])
    try:
        for ctl in (options.ctl, "etcdctl"):
            name = os.path.basename(ctl)
            with story.step(f"{title}: {name} finds the members"):
                wait_for("a write", lambda ctl=ctl: run_ctl(ctl, *found, "put", "a", "1").returncode == 0)
                expect_equal(run_ctl(ctl, *found, "get", "a").stdout, "a\n1\n")
        with story.step(f"{title}: the members are known by the URLs of their records"):
            lines = run_ctl("etcdctl", *found, "member", "list").stdout.splitlines()
            urls = sorted(line.split(", ")[3] for line in lines)
            expect_equal(urls, [f"http://m{n}.hosts.{DOMAIN}:{PEER_PORTS[n]}" for n in range(3)])
    finally:
        for member in members:
            member.stop()


def expect_refusals(story, options, folder):
    story.cluster = None
    with story.step("a member without a record of its own does not start, and says why"):
        stranger = Member(options.server, os.path.join(folder), 0, "127.0.0.2", "")
        expect(stranger.process.wait(timeout=60) != 0, "it must fail")
        expect('cannot find local etcd member "m0" in SRV records' in stranger.log_tail().replace('\\"', '"'),
               stranger.log_tail())
    with story.step("a domain without records is an error of kvctl"):
        done = run_ctl(options.ctl, "--discovery-srv=none.test", "get", "a")
        expect(done.returncode == 1, f"exit code {done.returncode}")
        expect("dns lookup errors" in done.stderr, done.stderr)
    with story.step("members without TLS are left out when that is asked for"):
        done = run_ctl(options.ctl, "--discovery-srv=" + DOMAIN, "--insecure-discovery=false", "get", "a")
        expect_equal(done.stderr.count("ignoring discovered insecure endpoint"), 3, done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--ctl", required=True)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    require_peers("etcd", "etcdctl")
    if os.geteuid() != 0:
        print("SKIPPED ALL: namespaces with a resolver of their own need root")
        return 0
    if not options.inside:
        return enter_namespaces(sys.argv[1:])
    options.server, options.ctl = os.path.abspath(options.server), os.path.abspath(options.ctl)
    with scratch_folder() as folder:
        use_own_resolver(folder)
        hosts = [f"m{n}.hosts.{DOMAIN}" for n in range(3)]
        servers, clients = list(zip(hosts, PEER_PORTS)), list(zip(hosts, CLIENT_PORTS))
        DnsServer({f"_etcd-server._tcp.{DOMAIN}": servers, f"_etcd-client._tcp.{DOMAIN}": clients,
                   f"_etcd-server-blue._tcp.{DOMAIN}": servers, f"_etcd-client-blue._tcp.{DOMAIN}": clients})
        story = Story("srv")
        for title, host_of, service in (("by address", lambda n: "127.0.0.1", ""),
                                        ("by name", lambda n: hosts[n], "blue")):
            expect_cluster(story, options, tempfile.mkdtemp(dir=folder), title, host_of, service)
        expect_refusals(story, options, tempfile.mkdtemp(dir=folder))
        return story.finish()


if __name__ == "__main__":
    sys.exit(main())
