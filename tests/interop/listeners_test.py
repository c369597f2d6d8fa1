"""What kvstored's flags say about who is let in: tokens, certificates, hosts, pages, files.

Builds: certificates with openssl, and one member or three on loopback for each chapter. Drives
them with etcdctl and curl, which are not ours.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

from interop import (Cluster, ClusterError, Ctl, Story, clean_environment, expect, expect_equal, free_ports,
                     require_program, scratch_folder, started_cluster, wait_for)
from tls_test import make_authority, make_certificate, openssl

QUICK = ["--dial-timeout=2s", "--command-timeout=3s"]


def run(*words, timeout=60):
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, env=clean_environment())


def curl(*words):
    return run("curl", "-sS", "-m", "10", *words)


def etcdctl(*words):
    return run("etcdctl", *QUICK, *words)


class Server:
    """One process of the server with flags of our own; ended and forgotten at the end."""

    def __init__(self, binary, folder, name, flags):
        self.log_path = os.path.join(folder, name + ".log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([binary, *flags], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
                                            env=clean_environment())

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_log(self, text):
        def there():
            if text in self.log():
                return True
            if self.process.poll() is not None:
                raise ClusterError(f"the server ended: {self.log()[-2000:]}")
            return False
        wait_for(f"the log says '{text}'", there)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def serving(binary, folder, name, flags, ready="ready to serve client requests"):
    server = Server(binary, folder, name, flags)
    try:
        server.wait_log(ready)
        yield server
    finally:
        server.stop()


def flags_of(name, client, peer, client_scheme="http", peer_scheme="http", cluster=None):
    client_url, peer_url = f"{client_scheme}://127.0.0.1:{client}", f"{peer_scheme}://127.0.0.1:{peer}"
    return [f"--name={name}", f"--data-dir={name}.data", f"--listen-client-urls={client_url}",
            f"--advertise-client-urls={client_url}", f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}", f"--initial-cluster={cluster or f'{name}={peer_url}'}"]


def jwt_chapter(story, server, folder):
    openssl("genrsa", "-out", os.path.join(folder, "jwt.key"), "2048")
    openssl("rsa", "-in", os.path.join(folder, "jwt.key"), "-pubout", "-out", os.path.join(folder, "jwt.pub"))
    spec = f"--auth-token=jwt,pub-key={folder}/jwt.pub,priv-key={folder}/jwt.key,sign-method=PS256,ttl=8s"
    with started_cluster(server, "etcdctl", members=1, extra_flags=[spec, "--bcrypt-cost=4"]) as (cluster, ctl):
        with story.step("a JSON Web Token lets its user in until it ends, and a user whose rights change not"):
            for words in (["user", "add", "root:pw"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
                ctl.run(*words)
            ctl.run("--user=root:pw", "put", "a", "1")
            url = f"http://{cluster.members[0].endpoint}/v3"
            token = json.loads(curl(f"{url}/auth/authenticate", "-d", '{"name":"root","password":"pw"}').stdout)["token"]
            expect_equal(token.count("."), 2, "dots in " + token)
            ask = ["-H", f"Authorization: {token}", f"{url}/kv/range", "-d", '{"key":"YQ=="}']
            answer = curl(*ask).stdout
            expect("\"value\":\"MQ==\"" in answer.replace(" ", ""), answer)
            broken = ["-H", f"Authorization: {token[:-6]}AAAAAA", f"{url}/kv/range", "-d", '{"key":"YQ=="}']
            expect("invalid auth token" in curl(*broken).stdout, curl(*broken).stdout)
            wait_for("the token has ended", lambda: "invalid auth token" in curl(*ask).stdout, 60)
            token = json.loads(curl(f"{url}/auth/authenticate", "-d", '{"name":"root","password":"pw"}').stdout)["token"]
            ctl.run("--user=root:pw", "user", "add", "u:pw")
            ask[1] = f"Authorization: {token}"
            expect("revision of auth store is old" in curl(*ask).stdout, curl(*ask).stdout)
        with story.step("no token and no secret is in the log"):
            log = cluster.members[0].log_tail(10000)
            expect(token[:40] not in log and "rootpw" not in log, "a token is in the log")


def certificate_chapter(story, server, folder):
    ca = make_authority(folder, "authority")
    own = make_certificate(folder, "localhost", ca, "serverAuth,clientAuth")
    good = make_certificate(folder, "good", ca, "clientAuth")
    bad = make_certificate(folder, "bad", ca, "clientAuth")
    index, config = os.path.join(folder, "index.txt"), os.path.join(folder, "ca.cnf")
    open(index, "w", encoding="ascii").close()
    with open(config, "w", encoding="ascii") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={index}\ndefault_md=sha256\ndefault_crl_days=1\n")
    crl = os.path.join(folder, "revoked.pem")
    ca_words = ["ca", "-config", config, "-keyfile", ca + ".key", "-cert", ca + ".crt"]
    openssl(*ca_words, "-gencrl", "-out", crl)
    client, peer = free_ports(2)
    tls = [f"--cert-file={own}.crt", f"--key-file={own}.key", f"--trusted-ca-file={ca}.crt"]
    flags = flags_of("crl", client, peer, "https") + tls + [
        f"--client-crl-file={crl}", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "--tls-max-version=TLS1.2"]

    def put(name):
        return etcdctl(f"--endpoints=https://127.0.0.1:{client}", f"--cacert={ca}.crt", f"--cert={name}.crt",
                       f"--key={name}.key", "put", "a", "1")

    with serving(server, folder, "crl", flags) as process:
        with story.step("a trusted-ca-file alone makes certificates required, as in etcd"):
            expect(etcdctl(f"--endpoints=https://127.0.0.1:{client}", f"--cacert={ca}.crt", "get", "a").returncode != 0,
                   "a client without a certificate is answered")
        with story.step("a certificate that gets revoked is refused without a restart"):
            expect_equal(put(bad).stdout, "OK\n")
            openssl(*ca_words, "-revoke", bad + ".crt")
            openssl(*ca_words, "-gencrl", "-out", crl + ".new")
            os.rename(crl + ".new", crl)
            expect(put(bad).returncode != 0, "a revoked certificate is accepted")
            expect_equal(put(good).stdout, "OK\n")
            process.wait_log("certificate revoked")
        with story.step("while the list cannot be read nobody is let in"):
            os.rename(crl, crl + ".away")
            expect(put(good).returncode != 0, "somebody is let in without a list")
            os.rename(crl + ".away", crl)
            expect_equal(put(good).stdout, "OK\n")
        with story.step("only the chosen suites and versions of TLS are spoken"):
            base = ["openssl", "s_client", "-connect", f"127.0.0.1:{client}", "-cert", good + ".crt", "-key", good + ".key"]
            for words, works in ((["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], True),
                                 (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], False), (["-tls1_3"], False)):
                done = subprocess.run([*base, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=30, check=False)
                expect_equal("Cipher is ECDHE" in done.stdout, works, " ".join(words))
    peers = free_ports(6)
    cluster = ",".join(f"m{i}=https://127.0.0.1:{peers[3 + i]}" for i in range(3))
    with contextlib.ExitStack() as stack, story.step("a peer with another name is kept out and hears why"):
        servers = []
        for i, name in enumerate((own, own, good)):
            tls = [f"--peer-cert-file={name}.crt", f"--peer-key-file={name}.key", f"--peer-trusted-ca-file={ca}.crt",
                   "--peer-client-cert-auth", "--peer-cert-allowed-cn=other,localhost", "--heartbeat-interval=300", "--election-timeout=3000"]
            servers.append(Server(server, folder, f"m{i}",
                                  flags_of(f"m{i}", peers[i], peers[3 + i], "http", "https", cluster) + tls))
            stack.callback(servers[-1].stop)
        servers[0].wait_log("ready to serve client requests")
        servers[0].wait_log("rejected connection on peer endpoint")
        servers[0].wait_log("client certificate authentication failed")
        servers[2].wait_log("remote error: tls: bad certificate")
        expect("ready to serve" not in servers[2].log(), "it has joined")


def http_chapter(story, server, folder):
    # A socket's path has 107 bytes at most, and that of a test's folder may have more.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="keelson-") as sockets:
        http_steps(story, server, folder, sockets)


def http_steps(story, server, folder, sockets):
    client, peer = free_ports(2)
    own = os.path.join(folder, "localhost")
    flags = flags_of("both", client, peer) + [f"--cert-file={own}.crt", f"--key-file={own}.key"]
    urls = f"http://127.0.0.1:{client},https://127.0.0.1:{client},unix://{sockets}/client.sock"
    flags += [f"--listen-client-urls={urls}", "--host-whitelist=127.0.0.1,good.example",
              "--cors=http://page.example:80"]
    with serving(server, folder, "both", flags):
        ca = os.path.join(folder, "authority.crt")
        with story.step("http and https, HTTP/1.1 and gRPC share an address"):
            expect_equal(etcdctl(f"--endpoints=http://127.0.0.1:{client}", "put", "a", "1").stdout, "OK\n")
            expect_equal(etcdctl(f"--endpoints=https://127.0.0.1:{client}", f"--cacert={ca}", "get", "a").stdout, "a\n1\n")
            for base in ("http", "https"):
                expect('"health":"true"' in curl("--cacert", ca, f"{base}://127.0.0.1:{client}/health").stdout, base)
        with story.step("clients come by a socket of the file system too"):
            expect("etcdserver" in curl("--unix-socket", f"{sockets}/client.sock", "http://good.example/version").stdout, "")
        with story.step("without TLS only hosts of the whitelist are answered"):
            for host, status in (("good.example", "200"), ("evil.example", "421")):
                done = curl("-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", f"http://127.0.0.1:{client}/health")
                expect_equal(done.stdout, status, host)
            done = curl("-o", "/dev/null", "-w", "%{http_code}", "--cacert", ca, "-H", "Host: evil.example",
                        f"https://127.0.0.1:{client}/health")
            expect_equal(done.stdout, "200", "with TLS")
        with story.step("pages of other origins are not told that they may read"):
            for origin, told in (("http://page.example:80", True), ("http://evil.example:80", False)):
                done = curl("-i", "-H", f"Origin: {origin}", f"http://127.0.0.1:{client}/version")
                expect_equal(f"access-control-allow-origin: {origin}" in done.stdout.lower(), told, done.stdout)


def version_chapter(story, server, folder):
    with story.step("--version has the line that tools made for etcd look for"):
        expect("\netcd Version: 3.6.0\n" in run(server, "--version").stdout, "no version")
    client, http, peer = free_ports(3)
    flags = flags_of("apart", client, peer) + [f"--listen-client-http-urls=http://127.0.0.1:{http}", "--etcd-version=3.4.23"]
    with serving(server, folder, "apart", flags), story.step("HTTP has its own address, and the version that is asked for"):
        expect_equal(curl(f"http://127.0.0.1:{http}/health").stdout, '{"health":"true"}')
        expect('"etcdserver":"3.4.23","etcdcluster":"3.4.0"' in curl(f"http://127.0.0.1:{http}/version").stdout, "version")
        expect(curl(f"http://127.0.0.1:{client}/health").returncode != 0, "HTTP is served beside gRPC")
        expect_equal(etcdctl(f"--endpoints=127.0.0.1:{client}", "put", "a", "1").stdout, "OK\n")


def file_chapter(story, server, folder):
    client, peer = free_ports(2)
    path = os.path.join(folder, "conf.yml")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"name: filed\ndata-dir: filed.data\nlisten-client-urls: http://127.0.0.1:{client}\n"
                f"advertise-client-urls: http://127.0.0.1:{client}\nlisten-peer-urls: http://127.0.0.1:{peer}\n"
                f"initial-advertise-peer-urls: http://127.0.0.1:{peer}\ninitial-cluster: filed=http://127.0.0.1:{peer}\n"
                "grpc-keepalive-min-time: 5000000000\nno-such-field: 1\nlog-outputs: [stderr]\n")
    # The same file for both: it is etcd's.
    for name, binary in (("kvstored", server), ("etcd", "/usr/bin/etcd")):
        with story.step(f"a configuration file is read by {name}, and flags are ignored"):
            with serving(binary, folder, "filed-" + name, ["--config-file", path, "--name=other"]):
                members = etcdctl(f"--endpoints=127.0.0.1:{client}", "member", "list").stdout
                expect(", filed, " in members, members)
            subprocess.run(["rm", "-rf", os.path.join(folder, "filed.data")], check=True)


def discovering(name, ports, way):
    """The flags of a member that is told only where to meet the others."""
    return [flag for flag in flags_of(name, *ports) if "initial-cluster" not in flag] + way


def discovery_steps(server, folder, stack, prefix, way, gone):
    """Three members meet in one way; a fourth is turned away; one that has data needs nobody."""
    ports = [free_ports(2) for _ in range(4)]
    servers = []
    for i in range(3):
        name = f"{prefix}{i}"
        servers.append(Server(server, folder, name, discovering(name, ports[i], way)))
        stack.callback(servers[-1].stop)
    for process in servers:
        process.wait_log("ready to serve client requests")
    members = etcdctl(f"--endpoints=127.0.0.1:{ports[0][0]}", "member", "list").stdout
    expect_equal(len(members.splitlines()), 3, members)
    fourth = Server(server, folder, prefix + "late", discovering(prefix + "late", ports[3], way))
    stack.callback(fourth.stop)
    wait_for("the fourth ends", lambda: fourth.process.poll() is not None)
    expect("discovery: cluster is full" in fourth.log(), fourth.log())
    servers[0].stop()
    again = Server(server, folder, prefix + "again", discovering(prefix + "0", ports[0], gone))
    stack.callback(again.stop)
    again.wait_log("ready to serve client requests")
    return servers, ports


def discovery_chapter(story, server, folder):
    client, peer = free_ports(2)
    with serving(server, folder, "service", flags_of("service", client, peer)) as _:
        with contextlib.ExitStack() as stack, \
                story.step("three members find each other by the discovery protocol, a fourth is turned away"):
            url = f"http://127.0.0.1:{client}/v2/keys/clusters/one"
            curl("-X", "PUT", f"{url}/_config/size", "-d", "value=3")
            discovery_steps(server, folder, stack, "d", [f"--discovery={url}"], ["--discovery=http://127.0.0.1:1/gone"])
        with contextlib.ExitStack() as stack, \
                story.step("they meet in version 3 keys too, and who has lost its disk since is refused"):
            endpoint = f"127.0.0.1:{client}"
            etcdctl(f"--endpoints={endpoint}", "put", "/_etcd/registry/tok/_config/size", "3")
            way = ["--discovery-token=tok", f"--discovery-endpoints={endpoint}"]
            gone = ["--discovery-token=tok", "--discovery-endpoints=127.0.0.1:1"]
            servers, ports = discovery_steps(server, folder, stack, "e", way, gone)
            servers[1].stop()
            subprocess.run(["rm", "-rf", os.path.join(folder, "e1.data")], check=True)
            empty = Server(server, folder, "e1-empty", discovering("e1", ports[1], way))
            stack.callback(empty.stop)
            wait_for("it ends", lambda: empty.process.poll() is not None)
            expect("discovery: found duplicate id" in empty.log(), empty.log())


def gateway_chapter(story, server, folder):
    with started_cluster(server, "etcdctl", members=3) as (cluster, _):
        port, = free_ports(1)
        endpoints = ",".join("http://" + member.endpoint for member in cluster.members)
        words = ["gateway", f"--endpoints={endpoints}", f"--listen-addr=127.0.0.1:{port}", "start"]
        with serving(server, folder, "gateway", words, "ready to proxy client requests"), \
                story.step("a gateway passes on, also when a member is gone"):
            for i in range(4):
                expect_equal(etcdctl(f"--endpoints=127.0.0.1:{port}", "put", "g", str(i)).stdout, "OK\n")
            cluster.members[0].kill()
            wait_for("a put after the death of a member",
                     lambda: etcdctl(f"--endpoints=127.0.0.1:{port}", "put", "g", "x").returncode == 0)
            for i in range(4):
                expect_equal(etcdctl(f"--endpoints=127.0.0.1:{port}", "get", "g", "--print-value-only").stdout, "x\n")


def alarm_chapter(story, server):
    flags = ["--strict-space-alarm", f"--quota-backend-bytes={64 << 10}"]
    with started_cluster(server, "etcdctl", members=1, extra_flags=flags) as (cluster, ctl), \
            story.step("with --strict-space-alarm NOSPACE stays until it is disarmed"):
        def full():
            return "space exceeded" in ctl.run("put", "k", "x" * 4096, check=False).stderr
        wait_for("the quota is reached", full)
        wait_for("the alarm", lambda: "NOSPACE" in ctl.run("alarm", "list").stdout)
        ctl.run("del", "k")
        revision = ctl.json("get", "k")["header"]["revision"]
        ctl.run("compaction", "--physical", str(revision))
        ctl.run("defrag")
        time.sleep(7)  # Longer than a shortage is waited out without the flag.
        expect("NOSPACE" in ctl.run("alarm", "list").stdout, "the alarm has gone by itself")
        expect("space exceeded" in ctl.run("put", "k", "1", check=False).stderr, "a put is accepted")
        expect("NOSPACE" in cluster.members[0].http("/health")[1], "health")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="kvstored")
    options = parser.parse_args()
    for program, package in (("etcdctl", "etcd-client"), ("etcd", "etcd-server"), ("openssl", "openssl"), ("curl", "curl")):
        require_program(program, package)
    server = os.path.abspath(options.server)
    story = Story("listeners")
    with scratch_folder() as folder:
        jwt_chapter(story, server, folder)
        certificate_chapter(story, server, folder)
        http_chapter(story, server, folder)
        version_chapter(story, server, folder)
        file_chapter(story, server, folder)
        discovery_chapter(story, server, folder)
        gateway_chapter(story, server, folder)
        alarm_chapter(story, server)
    return story.finish()


if __name__ == "__main__":
    sys.exit(main())
