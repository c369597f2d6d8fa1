"""kvctl and etcdctl over TLS with client certificates, and what must be refused.

Builds: an authority, a server and a client certificate with openssl, and one server on loopback
that asks for client certificates.
"""

import argparse
import os
import subprocess
import sys

from interop import (Cluster, ClusterError, Ctl, Story, expect, expect_equal, free_ports,
                     require_peers, require_program, scratch_folder, wait_for)


def openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"openssl {' '.join(words)}: {done.stderr}")


def make_authority(folder, name):
    path = os.path.join(folder, name)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", path + ".key", "-out", path + ".crt")
    return path


def make_certificate(folder, name, authority, usage):
    path = os.path.join(folder, name)
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", path + ".key",
            "-out", path + ".csr")
    with open(path + ".ext", "w", encoding="ascii") as f:
        f.write(f"subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\n")
    openssl("x509", "-req", "-in", path + ".csr", "-CA", authority + ".crt", "-CAkey",
            authority + ".key", "-CAcreateserial", "-days", "2", "-extfile", path + ".ext", "-out",
            path + ".crt")
    return path


class SecureCluster(Cluster):
    """A cluster of one whose client port speaks TLS only."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for member in self.members:
            plain = member.command
            member.command = lambda plain=plain: [
                word.replace("http://", "https://") if "client-urls" in word else word
                for word in plain()]

    @property
    def endpoints(self):
        return "https://" + self.members[0].endpoint


def run(story, cluster, ctl, paths):
    known = [f"--cacert={paths['ca']}.crt"]
    identified = known + [f"--cert={paths['client']}.crt", f"--key={paths['client']}.key"]
    quick = ["--dial-timeout=2s", "--command-timeout=3s"]
    plain = cluster.members[0].endpoint

    with story.step("with the authority and our certificate: put, get, status"):
        cluster.members[0].start()
        wait_for("a put over TLS is acknowledged",
                 lambda: ctl.run(*identified, "put", "a", "1", check=False).returncode == 0)
        expect_equal(ctl.run(*identified, "get", "a").stdout, "a\n1\n")
        expect_equal(ctl.run(*identified, "get", "a", endpoints=plain).stdout, "a\n1\n",
                     "get of an endpoint without a scheme")
        expect_equal(len(ctl.json(*identified, "endpoint", "status")), 1)
    with story.step("without verification, but with our certificate"):
        expect_equal(ctl.run("--insecure-skip-tls-verify", *identified[1:], "get", "a").stdout,
                     "a\n1\n")
    for what, flags, endpoint in (
            ("without our certificate", known, None),
            ("with a certificate of somebody else's",
             known + [f"--cert={paths['stranger']}.crt", f"--key={paths['stranger']}.key"], None),
            ("when the server is not vouched for by the authority given",
             [f"--cacert={paths['other']}.crt"] + identified[1:], None),
            ("in plain text", [], "http://" + plain)):
        with story.step(f"refused: {what}"):
            done = ctl.run(*quick, *flags, "get", "a", endpoints=endpoint, check=False)
            expect(done.returncode != 0, "it was answered: " + done.stdout)
            expect("Error: " in done.stderr, done.stderr)
    with story.step("half a key pair, and a file that is not there, have exit code 128"):
        for flags in (identified[:2], ["--cacert=/nonexistent.crt"]):
            done = ctl.run(*flags, "get", "a", check=False)
            expect_equal(done.returncode, 128, "exit code; " + done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    require_program("openssl", "openssl")
    server = os.path.abspath(arguments.server) if os.path.sep in arguments.server else arguments.server
    with scratch_folder() as folder:
        ca = make_authority(folder, "authority")
        other = make_authority(folder, "other-authority")
        paths = {"ca": ca, "other": other,
                 "server": make_certificate(folder, "server", ca, "serverAuth"),
                 "client": make_certificate(folder, "client", ca, "clientAuth"),
                 "stranger": make_certificate(folder, "stranger", other, "clientAuth")}
        flags = [f"--cert-file={paths['server']}.crt", f"--key-file={paths['server']}.key",
                 "--client-cert-auth", f"--trusted-ca-file={ca}.crt"]
        with SecureCluster(server, members=1, ports=free_ports(2), extra_flags=flags) as cluster:
            story = Story("tls_test", cluster)
            run(story, cluster, Ctl(arguments.ctl, cluster), paths)
        return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
