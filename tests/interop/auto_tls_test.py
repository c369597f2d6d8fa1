"""Members with certificates that they made themselves: --auto-tls and --peer-auto-tls.

Builds: three servers on loopback whose ports all speak TLS, without a certificate given. Checks
what is made, who is let in, and that it outlives a restart. With --server=/usr/bin/etcd the same steps run
against etcd: that is the check of this test.
"""

import argparse
import os
import stat
import subprocess
import sys

from interop import (Cluster, ClusterError, Ctl, Story, expect, expect_equal, free_ports, require_peers,
                     require_program, wait_for)


class SecureCluster(Cluster):
    """A cluster with TLS on all ports."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for member in self.members:
            plain = member.command
            member.command = lambda plain=plain: [word.replace("http://", "https://") for word in plain()]

    @property
    def endpoints(self):
        return ",".join("https://" + member.endpoint for member in self.members)


def certificate(member, side):
    return os.path.join(member.data_dir, "fixtures", side, "cert.pem")


def openssl(path):
    done = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-text"], capture_output=True, text=True, check=True)
    return done.stdout


def run(story, cluster, ctl):
    any_certificate = ["--insecure-transport=false", "--insecure-skip-tls-verify"]
    quick = ["--dial-timeout=2s", "--command-timeout=3s"]
    first = cluster.members[0]

    with story.step("three members find each other and serve"):
        for member in cluster.members:
            member.start()
        wait_for("a put is acknowledged",
                 lambda: ctl.run(*any_certificate, *quick, "put", "a", "1", check=False).returncode == 0)
        for member in cluster.members:
            done = ctl.run(*any_certificate, "get", "a", endpoints="https://" + member.endpoint)
            expect_equal(done.stdout, "a\n1\n", "get of " + member.name)
    with story.step("the certificates are for the hosts listened on, over P-521; keys are private"):
        for side in ("client", "peer"):
            text = openssl(certificate(first, side))
            for part in ("IP Address:127.0.0.1", "secp521r1", "TLS Web Server Authentication", "O = etcd"):
                expect(part in text, f"'{part}' is not in the certificate:\n{text}")
            key = os.path.join(first.data_dir, "fixtures", side, "key.pem")
            expect_equal(oct(stat.S_IMODE(os.stat(key).st_mode)), "0o600", "mode of " + key)
    with story.step("who trusts the member's certificate is let in"):
        done = ctl.run(f"--cacert={certificate(first, 'client')}", "get", "a", endpoints="https://" + first.endpoint)
        expect_equal(done.stdout, "a\n1\n")
    for what, flags, scheme in (("who trusts another certificate", [f"--cacert={certificate(first, 'peer')}"], "https://"),
                                ("who trusts the system's authorities only", ["--insecure-transport=false"], "https://"),
                                ("plain text", [], "http://")):
        with story.step("refused: " + what):
            done = ctl.run(*quick, *flags, "get", "a", endpoints=scheme + first.endpoint, check=False)
            expect(done.returncode != 0, "it was answered: " + done.stdout)
    with story.step("a restart keeps the certificates"):
        before = open(certificate(first, "client"), encoding="ascii").read()
        first.stop()
        first.start()
        wait_for("a get is answered", lambda: ctl.run(
            f"--cacert={certificate(first, 'client')}", *quick, "get", "a", endpoints="https://" + first.endpoint,
            check=False).stdout == "a\n1\n")
        expect_equal(open(certificate(first, "client"), encoding="ascii").read(), before, "certificate")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="kvstored or etcd")
    parser.add_argument("--ctl", required=True, help="kvctl or etcdctl")
    arguments = parser.parse_args()
    require_peers(arguments.server, arguments.ctl)
    require_program("openssl", "openssl")
    server = os.path.abspath(arguments.server) if os.path.sep in arguments.server else arguments.server
    with SecureCluster(server, members=3, ports=free_ports(6), extra_flags=["--auto-tls", "--peer-auto-tls"]) as cluster:
        story = Story("auto_tls_test", cluster)
        run(story, cluster, Ctl(arguments.ctl, cluster))
        return story.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as failure:
        print(f"FAIL {failure}")
        sys.exit(1)
