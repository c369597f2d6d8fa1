"""Bad input from outside gets one clear line and a fitting exit code, and loses nothing.

Builds: single servers on loopback, each with a scratch data directory. Expects of kvstored that
a start which cannot work ends soon, with a code from base/exit_code.h and a line that names what
is wrong; and that bytes that are no request harm nobody. With --server=/usr/bin/etcd only what
etcd promises too is checked (it words things otherwise).
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile

from interop import (Cluster, ClusterError, Ctl, Story, clean_environment, expect, expect_equal,
                     free_ports, require_peers, scratch_folder, wait_for)

FAILED, BAD_ARGUMENTS, NO_PERMISSION, NOT_CONFIGURED = 1, 2, 4, 6
START_SECONDS = 30


class World:
    """The programs under test."""

    def __init__(self, server, ctl):
        self.server = os.path.abspath(server) if os.path.sep in server else server
        self.ctl = ctl
        self.strict = os.path.basename(server) != "etcd"

    @contextlib.contextmanager
    def member(self, folder=None, flags=()):
        """A cluster of one, not started; what it wrote is removed at the end."""
        with Cluster(self.server, members=1, ports=free_ports(2), folder=folder,
                     extra_flags=flags, keep=folder is not None) as cluster:
            yield cluster, cluster.members[0], Ctl(self.ctl, cluster)

    def refuses_to_start(self, command, codes, *patterns, user=None):
        """Runs a server that must end by itself, with one line beside its log of what went well.
        Each pattern must occur in that line."""
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=START_SECONDS,
                                  env=clean_environment(), user=user, check=False)
        except subprocess.TimeoutExpired:
            raise AssertionError("the server neither served nor ended") from None
        expect(done.returncode != 0, f"exit code 0:\n{done.stdout}")
        if not self.strict:
            return
        expect(done.returncode in codes, f"exit code {done.returncode}, not {codes}:\n{done.stdout}")
        complaints = [line for line in done.stdout.splitlines() if " info " not in line]
        expect(len(complaints) == 1, f"{len(complaints)} complaints, not one:\n{done.stdout}")
        for pattern in patterns:
            expect(re.search(pattern, complaints[0], re.IGNORECASE),
                   f"no '{pattern}' in: {complaints[0]}")
        Story.say(complaints[0].strip()[:200])


def stopped_with_data(ctl, cluster, member, keys=50):
    """Fills a member and ends it by kill -9; returns what it acknowledged."""
    cluster.start()
    wanted = {}
    for i in range(keys):
        ctl.run("put", f"key/{i:03d}", f"value {i}")
        wanted[f"key/{i:03d}"] = f"value {i}"
    member.kill()
    return wanted


def expect_pairs(ctl, wanted):
    lines = ctl.run("get", "--prefix", "key/").stdout.splitlines()
    expect_equal(dict(zip(lines[::2], lines[1::2])), wanted, "pairs of the store")


def check_arguments(story, world):
    with story.step("an unknown flag is named, with exit code 2"):
        world.refuses_to_start([world.server, "--no-such-flag=1"], [BAD_ARGUMENTS], "no-such-flag")
    with story.step("a flag's bad value is named, with exit code 2"):
        for flag in ("--listen-client-urls=127.0.0.1", "--listen-client-urls=ftp://127.0.0.1:1",
                     "--heartbeat-interval=fast", "--initial-cluster-state=maybe"):
            name, value = flag.lstrip("-").split("=", 1)
            world.refuses_to_start([world.server, flag], [BAD_ARGUMENTS], name, re.escape(value))
    with story.step("a member that is not in its initial cluster is refused"):
        with world.member() as (_, member, _):
            member.initial_cluster = "somebody-else=http://127.0.0.1:1"
            world.refuses_to_start(member.command(), [BAD_ARGUMENTS, NOT_CONFIGURED], member.name)


def check_ports(story, world):
    for which in ("client", "peer"):
        with story.step(f"a {which} port that is in use is named"), world.member() as (_, member, _):
            port = member.client_port if which == "client" else member.peer_port
            with socket.socket() as squatter:
                squatter.bind(("127.0.0.1", port))
                squatter.listen()
                world.refuses_to_start(member.command(), [FAILED], str(port), "in use")


def check_directories(story, world):
    with story.step("a data directory that is a file"), world.member() as (cluster, member, _):
        with open(member.data_dir, "w", encoding="ascii") as f:
            f.write("no folder\n")
        world.refuses_to_start(member.command(), [FAILED, NOT_CONFIGURED], re.escape(member.data_dir))
    with story.step("a data directory that may not be read"):
        check_unreadable(world)
    if world.strict:
        with story.step("a data directory with somebody else's files is left alone"):
            with world.member() as (_, member, _):
                os.makedirs(member.data_dir)
                alien = os.path.join(member.data_dir, "diary.txt")
                with open(alien, "w", encoding="ascii") as f:
                    f.write("dear diary\n")
                world.refuses_to_start(member.command(), [NOT_CONFIGURED],
                                       re.escape(member.data_dir), "diary")
                expect_equal(os.listdir(member.data_dir), ["diary.txt"])
        check_etcd_directory(story, world)
    with story.step("a data directory that another process has open"):
        with world.member() as (cluster, member, ctl):
            cluster.start()
            ctl.run("put", "mine", "1")
            with world.member() as (_, second, _):
                second.data_dir = member.data_dir
                if world.strict:
                    world.refuses_to_start(second.command(), [FAILED, NOT_CONFIGURED],
                                           re.escape(member.data_dir))
                expect_equal(ctl.run("get", "mine").stdout, "mine\n1\n")


def check_unreadable(world):
    # Root may read everything, so the server runs as nobody, from a copy nobody can reach.
    with tempfile.TemporaryDirectory(prefix="keelson-", dir="/tmp") as public, \
            world.member(folder=public) as (_, member, _):
        os.chmod(public, 0o755)
        user = None
        if os.geteuid() == 0:
            user = 65534
            member.binary = os.path.join(public, "server")
            shutil.copy(shutil.which(world.server) or world.server, member.binary)
            os.chmod(member.binary, 0o755)
        os.makedirs(member.data_dir)
        os.chmod(member.data_dir, 0)
        world.refuses_to_start(member.command(), [FAILED, NO_PERMISSION],
                               re.escape(member.data_dir), "permission denied", user=user)
        os.chmod(member.data_dir, stat.S_IRWXU)


def check_etcd_directory(story, world):
    if shutil.which("etcd") is None:
        print("SKIPPED: a data directory of etcd: 'etcd' is missing (apt-get install etcd-server)")
        return
    with story.step("a data directory of etcd is recognised and left alone"), scratch_folder() as folder:
        with Cluster("etcd", members=1, ports=free_ports(2), folder=folder, keep=True) as cluster:
            cluster.start()
            cluster.members[0].stop()
        with world.member(folder=folder) as (_, member, _):
            before = sorted(os.listdir(os.path.join(member.data_dir, "member")))
            world.refuses_to_start(member.command(), [NOT_CONFIGURED], re.escape(member.data_dir),
                                   "etcd")
            expect_equal(sorted(os.listdir(os.path.join(member.data_dir, "member"))), before)


def check_identity(story, world):
    with story.step("the flags about a new cluster mean nothing to a member that has data"):
        with world.member(flags=["--initial-cluster-token=one"]) as (cluster, member, ctl):
            wanted = stopped_with_data(ctl, cluster, member, keys=5)
            member.extra_flags = ["--initial-cluster-token=two"]
            cluster.start()
            expect_pairs(ctl, wanted)


def last_segment(member):
    folder = os.path.join(member.data_dir, "member", "wal")
    names = sorted(n for n in os.listdir(folder) if n.endswith(".wal"))
    expect(names, f"no segment in {os.listdir(folder)}")
    return os.path.join(folder, names[0])


def used_bytes(path):
    """Size without the zeros at the end, which are space taken in advance."""
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def check_log(story, world):
    with story.step("a log cut inside its last record: recovers, and goes on"):
        with world.member() as (cluster, member, ctl):
            wanted = stopped_with_data(ctl, cluster, member)
            segment = last_segment(member)
            os.truncate(segment, used_bytes(segment) - 3)
            cluster.start()
            # The last record may have been the last put's.
            lines = ctl.run("get", "--prefix", "key/").stdout.splitlines()
            got = dict(zip(lines[::2], lines[1::2]))
            missing = sorted(set(wanted) - set(got))
            expect(missing in ([], [max(wanted)]), f"missing: {missing}")
            expect(all(wanted[k] == v for k, v in got.items()), "a value has changed")
            ctl.run("put", "key/new", "after")
            member.kill()
            cluster.start()
            expect_pairs(ctl, {**got, "key/new": "after"})
    with story.step("a flipped bit in the middle of the log: refuses, names file and offset"):
        with world.member() as (cluster, member, ctl):
            wanted = stopped_with_data(ctl, cluster, member)
            segment = last_segment(member)
            flip_bit(segment)
            world.refuses_to_start(member.command(), [FAILED], re.escape(os.path.basename(segment)),
                                   r"' at \d+")
            flip_bit(segment)  # Back again: the refusal has changed nothing.
            cluster.start()
            expect_pairs(ctl, wanted)


def flip_bit(path):
    """Flips a bit of a value in the middle of the log. (In a record's length, etcd takes the same
    for the end of the log, and cuts it.)"""
    with open(path, "r+b") as f:
        position = f.read().index(b"alue 25") - 1
        f.seek(position)
        byte = f.read(1)[0]
        f.seek(position)
        f.write(bytes([byte ^ 0x10]))


def header_block(pairs):
    """HPACK, literals without indexing and without Huffman coding."""
    block = b""
    for name, value in pairs:
        block += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return block


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def grpc_call(path, message):
    """The bytes of an HTTP/2 connection with one gRPC call of `message`."""
    headers = header_block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
                            (b":authority", b"localhost"), (b"content-type", b"application/grpc"),
                            (b"te", b"trailers")])
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers) +
            frame(0, 1, 1, message))


def send_bytes(member, data, seconds=10):
    """Sends, says that this is all, and reads until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", member.client_port), timeout=seconds) as s:
        with contextlib.suppress(OSError):  # The server may be gone already.
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while True:
                part = s.recv(65536)
                if not part:
                    break
                answer += part
    return answer


def call_ended(answer):
    """True when the frames in `answer` end stream 1, or the connection."""
    position = 0
    while position + 9 <= len(answer):
        length = int.from_bytes(answer[position:position + 3], "big")
        kind, flags = answer[position + 3], answer[position + 4]
        stream = int.from_bytes(answer[position + 5:position + 9], "big")
        end_stream = stream == 1 and (kind == 3 or (kind in (0, 1) and flags & 1))
        if kind == 7 or end_stream:
            return True
        position += 9 + length
    return False


def send_call(member, data, seconds=20):
    """Sends a gRPC call and waits until the server has ended it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", member.client_port), timeout=seconds) as s:
        with contextlib.suppress(ConnectionError):
            s.sendall(data)
            while not call_ended(answer):
                part = s.recv(65536)
                if not part:
                    break
                answer += part
    return answer


GARBAGE = [
    ("random bytes", bytes(range(256)) * 16),
    ("zeros", b"\0" * 4096),
    ("a TLS hello on a plain port", bytes.fromhex("160301002f0100002b0303") + b"\x11" * 40),
    ("half an HTTP/2 preface", b"PRI * HTTP/2.0\r\n"),
    ("a preface and a frame that is too long", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\0\0\0\1"),
    ("HTTP of an unknown version", b"GET /health HTTP/9.9\r\n\r\n"),
    ("a request line without end", b"GET /" + b"a" * 100000),
    ("a header without end", b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200000),
    ("both lengths", b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a bad chunk", b"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
]

BAD_CALLS = [
    ("a call of bytes that are no protobuf",
     grpc_call(b"/etcdserverpb.KV/Put", b"\0\0\0\0\5" + b"\xff\xff\xff\xff\xff")),
    ("a call whose message is longer than it says",
     grpc_call(b"/etcdserverpb.KV/Range", b"\0\0\0\0\1" + b"\x0a" * 20)),
    ("a call whose message says 4 GiB", grpc_call(b"/etcdserverpb.KV/Range", b"\0\xff\xff\xff\xff")),
    ("a call that is said to be compressed", grpc_call(b"/etcdserverpb.KV/Range", b"\1\0\0\0\2ab")),
    ("a call of no method", grpc_call(b"/etcdserverpb.KV/Steal", b"\0\0\0\0\0")),
    ("a watch of bytes that are no protobuf",
     grpc_call(b"/etcdserverpb.Watch/Watch", b"\0\0\0\0\3" + b"\x0a\xff\xff")),
]


def check_bytes(story, world):
    with world.member() as (cluster, member, ctl):
        with story.step("a member with a key, for what follows"):
            cluster.start()
            ctl.run("put", "key/1", "1")
        for name, data in GARBAGE:
            with story.step(f"client port, {name}: answered or closed, and the member lives on"):
                answer = send_bytes(member, data)
                expect(b"200 OK" not in answer, f"answered {answer[:80]!r}")
                member.check_running()
                expect_equal(ctl.run("get", "key/1").stdout, "key/1\n1\n")
        for name, data in BAD_CALLS:
            with story.step(f"client port, {name}: the call ends, and the member lives on"):
                answer = send_call(member, data)
                expect(b"200 OK" not in answer, f"answered {answer[:80]!r}")
                member.check_running()
                expect_equal(ctl.run("get", "key/1").stdout, "key/1\n1\n")
        with story.step("peer port, random bytes: the member lives on"):
            with contextlib.suppress(OSError), \
                    socket.create_connection(("127.0.0.1", member.peer_port), timeout=10) as s:
                s.sendall(bytes(range(256)) * 64)
            wait_for("the member is healthy", member.healthy)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    world = World(arguments.server, arguments.ctl)
    story = Story("badinput_test")
    check_arguments(story, world)
    check_ports(story, world)
    check_directories(story, world)
    check_identity(story, world)
    check_log(story, world)
    check_bytes(story, world)
    return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
