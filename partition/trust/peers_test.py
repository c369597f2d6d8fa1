"""What `slotctl sign` makes against openssl, sbsign, sbverify and efitools, and what they make against us."""

import json
import os
import shutil
import struct
import subprocess
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
SLOTCTL = os.path.abspath("partition/cmd/slotctl")
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
PKCS11_ENGINE = "/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
TIME = "2026-01-02T03:04:05Z"
ROOT_HASH = "0123456789abcdef" * 4
OWNER = "11111111-2222-3333-4444-123456789abc"
PEERS = {"openssl": "openssl", "sbsign": "sbsigntool", "sbverify": "sbsigntool", "sbattach": "sbsigntool",
         "cert-to-efi-sig-list": "efitools", "sign-efi-sig-list": "efitools", "sig-list-to-certs": "efitools",
         "objcopy": "binutils", "objdump": "binutils"}

MISSING = sorted({package for program, package in PEERS.items() if not shutil.which(program)} |
                 ({"systemd-boot-efi"} if not os.path.exists(STUB) else set()))
if MISSING:
    print(f"SKIPPED ALL: needs the packages {', '.join(MISSING)}")


def run(*command, code=0, **options):
    """What the command prints. Its exit code must be `code`."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode != code:
        raise AssertionError(f"{' '.join(command)}: exit code {result.returncode}, wanted {code}\n{result.stdout}")
    return result.stdout


def slotctl(*arguments, code=0):
    return run(SLOTCTL, *arguments, code=code)


def path(name):
    return os.path.join(TMP, name)


def read(name):
    with open(name if name.startswith("/") else path(name), "rb") as file:
        return file.read()


def write(name, contents):
    with open(path(name), "wb") as file:
        file.write(contents)
    return path(name)


def certificates(pe):
    """(file offset of the entry in the data directory, offset and size of the certificate table)"""
    optional = struct.unpack_from("<I", pe, 0x3c)[0] + 24
    entry = optional + (112 if struct.unpack_from("<H", pe, optional)[0] == 0x20b else 96) + 32
    return entry, *struct.unpack_from("<II", pe, entry)


def pkcs7_of(pe):
    _, offset, _ = certificates(pe)
    return pe[offset + 8:offset + struct.unpack_from("<I", pe, offset)[0]]


def digest_of(pe, name):
    """The digest inside the first signature, as openssl finds it."""
    listing = run("openssl", "asn1parse", "-inform", "der", "-in", write(name + ".p7", pkcs7_of(pe)))
    return next(line.split("[HEX DUMP]:")[1].lower() for line in listing.splitlines() if "OCTET STRING" in line)


def gapped(name):
    """A program with a hole between two sections, as no linker makes it."""
    pe = bytearray(read(STUB)[:0x11400])
    table = struct.unpack_from("<I", pe, 0x3c)[0] + 24 + struct.unpack_from("<H", pe, 0x80 + 20)[0]
    struct.pack_into("<II", pe, 0x80 + 12, 0, 0)  # no symbols
    last = table + 40 * 7
    contents = bytes(pe[0x11200:0x11400])
    struct.pack_into("<I", pe, last + 20, 0x11600)
    return write(name, bytes(pe[:0x11200]) + b"\x5a" * 0x400 + contents)


@unittest.skipIf(MISSING, "peers are missing")
class TrustPeersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = path("keys")
        slotctl("keys", cls.keys, f"--time={TIME}")
        # A second identity, which nobody trusts, and which openssl made.
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path("other.key"), "-out",
            path("other.crt"), "-days", "3650", "-subj", "/CN=other")

    def signer(self, role):
        return f"--key={self.keys}/{role}.key", f"--certificate={self.keys}/{role}.crt"

    def key(self, name):
        return os.path.join(self.keys, name)

    def test_a_development_set_says_that_it_is_one(self):
        self.assertIn("DEVELOPMENT KEYS", read(self.key("README")).decode())
        for role in ("PK", "KEK", "db", "verity"):
            self.assertIn("DEVELOPMENT", run("openssl", "x509", "-in", self.key(f"{role}.crt"), "-noout", "-subject"))
            self.assertEqual(os.stat(self.key(f"{role}.key")).st_mode & 0o777, 0o600)
        self.assertIn("is not empty", slotctl("keys", self.keys, code=6))
        self.assertTrue(json.loads(slotctl("keys", path("never"), "--dry-run", "--output=json"))["development_only"])
        self.assertFalse(os.path.exists(path("never")))

    def test_openssl_accepts_our_root_hash_signature_and_we_accept_its(self):
        ours, content = path("ours.p7"), write("hash.txt", ROOT_HASH.encode())
        slotctl("sign", "root-hash", ROOT_HASH.upper(), *self.signer("verity"), f"--to={ours}")
        for tool in ("smime", "cms"):
            run("openssl", tool, "-verify", "-inform", "der", "-in", ours, "-content", content, "-binary", "-noverify",
                "-certfile", self.key("verity.crt"), "-nointern", "-out", "/dev/null")
        # The kernel's form: no certificates, no signed attributes.
        printed = run("openssl", "cms", "-cmsout", "-print", "-inform", "der", "-in", ours)
        self.assertIn("signedAttrs:\n          <ABSENT>", printed)
        self.assertIn("certificates:\n      <ABSENT>", printed)
        self.assertIn("algorithm: sha256", printed)

        theirs = path("theirs.p7")
        run("openssl", "smime", "-sign", "-nocerts", "-noattr", "-binary", "-inkey", self.key("verity.key"), "-signer",
            self.key("verity.crt"), "-outform", "der", "-in", content, "-out", theirs)
        self.assertEqual(read(theirs), read(ours))
        with_everything = path("everything.p7")
        run("openssl", "cms", "-sign", "-binary", "-inkey", self.key("verity.key"), "-signer", self.key("verity.crt"),
            "-outform", "der", "-in", content, "-out", with_everything)
        for signature in (ours, theirs, with_everything):
            answer = slotctl("verify-signature", "root-hash", f"@{content}", signature,
                             f"--trusted={self.key('verity.crt')}")
            self.assertIn("signer: CN=Keelson DEVELOPMENT verity", answer)

    def test_a_root_hash_signature_of_others_or_over_another_hash_is_refused(self):
        ours = path("refused.p7")
        slotctl("sign", "root-hash", ROOT_HASH, *self.signer("verity"), f"--to={ours}")
        trusted = f"--trusted={self.key('verity.crt')}"
        self.assertIn("not one over this content", slotctl("verify-signature", "root-hash", "f" * 64, ours, trusted, code=1))
        self.assertIn("no trusted certificate", slotctl("verify-signature", "root-hash", ROOT_HASH, ours,
                                                        f"--trusted={path('other.crt')}", code=1))
        answer = json.loads(slotctl("verify-signature", "root-hash", ROOT_HASH, ours, f"--trusted={path('other.crt')}",
                                    "--output=json", code=1))
        self.assertFalse(answer["valid"])
        self.assertIn("CN=Keelson DEVELOPMENT verity", answer["reason"])
        self.assertIn("no root hash", slotctl("sign", "root-hash", "xyz", *self.signer("verity"), "--to=/dev/null", code=2))

    def test_a_certificate_that_a_trusted_one_issued_is_trusted(self):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path("ca.key"), "-out",
            path("ca.crt"), "-subj", "/CN=authority")
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", path("leaf.key"), "-out", path("leaf.csr"),
            "-subj", "/CN=leaf")
        run("openssl", "x509", "-req", "-in", path("leaf.csr"), "-CA", path("ca.crt"), "-CAkey", path("ca.key"),
            "-out", path("leaf.crt"), "-days", "1", "-set_serial", "7")
        slotctl("sign", "pe", LOADER, f"--key={path('leaf.key')}", f"--certificate={path('leaf.crt')}",
                f"--to={path('chained.efi')}")
        self.assertIn("CN=leaf", slotctl("verify-signature", "pe", path("chained.efi"), f"--trusted={path('ca.crt')}"))

    def test_a_signature_partition_is_what_systemd_reads(self):
        out = path("verity-sig")
        slotctl("sign", "root-hash", ROOT_HASH, *self.signer("verity"), f"--to={out}", "--as-partition")
        data = read(out)
        self.assertEqual(len(data) % 4096, 0)
        parsed = json.loads(data.rstrip(b"\0"))
        fingerprint = run("openssl", "x509", "-in", self.key("verity.crt"), "-noout", "-fingerprint", "-sha256")
        self.assertEqual(parsed["rootHash"], ROOT_HASH)
        self.assertEqual(parsed["certificateFingerprint"], fingerprint.split("=")[1].strip().replace(":", "").lower())
        slotctl("verify-signature", "root-hash", ROOT_HASH, out, f"--trusted={self.key('verity.crt')}")

    def test_sbverify_accepts_what_we_sign(self):
        odd = write("odd.efi", read(LOADER) + b"trailing bytes that make its size odd")
        for i, program in enumerate((STUB, LOADER, gapped("gapped.efi"), odd)):
            with self.subTest(program=program):
                signed = path(f"ours{i}.efi")
                slotctl("sign", "pe", program, *self.signer("db"), f"--to={signed}")
                self.assertIn("Signature verification OK", run("sbverify", "--cert", self.key("db.crt"), signed))
                run("sbverify", "--cert", path("other.crt"), signed, code=1)

    def test_we_accept_what_sbsign_signs_and_agree_on_every_byte_outside_the_signature(self):
        odd = write("odd2.efi", read(LOADER) + b"12345")
        for i, program in enumerate((STUB, LOADER, gapped("gapped2.efi"), odd)):
            with self.subTest(program=program):
                theirs, ours = path(f"theirs{i}.efi"), path(f"mine{i}.efi")
                run("sbsign", "--key", self.key("db.key"), "--cert", self.key("db.crt"), "--output", theirs, program)
                slotctl("sign", "pe", program, *self.signer("db"), f"--to={ours}")
                self.assertIn("signer: CN=Keelson DEVELOPMENT db",
                              slotctl("verify-signature", "pe", theirs, f"--trusted={self.key('db.crt')}"))
                a, b = read(theirs), read(ours)
                self.assertEqual(digest_of(a, "a"), digest_of(b, "b"))
                entry, table, size = certificates(a)
                checksum = entry - 112 - 32 + 64
                self.assertEqual((certificates(b)[:2], size % 8), ((entry, table), 0))
                self.assertEqual(a[:checksum] + a[checksum + 4:entry + 4] + a[entry + 8:table],
                                 b[:checksum] + b[checksum + 4:entry + 4] + b[entry + 8:table])
                # objdump recomputes nothing, so the checksum is compared through sbsign: signed by it, then by us.
                self.assertEqual(struct.unpack_from("<IHH", b, table)[1:], struct.unpack_from("<IHH", a, table)[1:])

    def test_our_checksum_is_sbsigns(self):
        theirs = path("checksum.efi")
        run("sbsign", "--key", self.key("db.key"), "--cert", self.key("db.crt"), "--output", theirs, LOADER)
        run("sbattach", "--detach", path("checksum.p7"), theirs)
        ours = path("checksum-ours.efi")
        slotctl("sign", "pe", LOADER, *self.signer("db"), f"--to={ours}")
        # Take our signature out and put it in again by sbattach: it must come to the same file.
        again = path("checksum-again.efi")
        shutil.copy(ours, again)
        run("sbattach", "--detach", path("ours.sig"), "--remove", again)
        run("sbattach", "--attach", path("ours.sig"), again)
        self.assertEqual(read(again), read(ours))

    def test_several_signatures_lie_side_by_side(self):
        both = path("both.efi")
        slotctl("sign", "pe", LOADER, *self.signer("db"), f"--to={both}")
        slotctl("sign", "pe", both, f"--key={path('other.key')}", f"--certificate={path('other.crt')}")
        self.assertEqual(run("sbverify", "--list", both).count("image signature certificates"), 2)
        for certificate in (self.key("db.crt"), path("other.crt")):
            run("sbverify", "--cert", certificate, both)
        answer = json.loads(slotctl("verify-signature", "pe", both, f"--trusted={path('other.crt')}", "--output=json"))
        self.assertEqual((answer["signature"], answer["signatures"]), (2, 2))
        # And beside one of sbsign's.
        theirs = path("theirs-and-ours.efi")
        run("sbsign", "--key", path("other.key"), "--cert", path("other.crt"), "--output", theirs, LOADER)
        slotctl("sign", "pe", theirs, *self.signer("db"))
        for certificate in (self.key("db.crt"), path("other.crt")):
            run("sbverify", "--cert", certificate, theirs)

    def test_an_altered_byte_is_refused_with_the_section_named(self):
        signed = path("altered.efi")
        slotctl("sign", "pe", LOADER, *self.signer("db"), f"--to={signed}")
        pe = read(signed)
        rows = run("objdump", "-h", LOADER).splitlines()
        sections = [(row.split()[1], int(row.split()[5], 16)) for row in rows if len(row.split()) == 7 and row.split()[0].isdigit()]
        self.assertGreater(len(sections), 4)
        for name, offset in [*sections, ("[headers]", 0x50)]:
            with self.subTest(section=name):
                altered = bytearray(pe)
                altered[offset + 3] ^= 1
                answer = slotctl("verify-signature", "pe", write("altered2.efi", altered),
                                 f"--trusted={self.key('db.crt')}", code=1)
                self.assertIn(f"changed: '{name}';", answer)
                run("sbverify", "--cert", self.key("db.crt"), path("altered2.efi"), code=1)
        theirs = path("altered-theirs.efi")
        run("sbsign", "--key", self.key("db.key"), "--cert", self.key("db.crt"), "--output", theirs, LOADER)
        altered = bytearray(read(theirs))
        altered[sections[0][1]] ^= 1
        self.assertIn("the signature does not tell", slotctl("verify-signature", "pe", write("altered3.efi", altered),
                                                             f"--trusted={self.key('db.crt')}", code=1))

    def test_the_same_time_gives_the_same_bytes(self):
        for name in ("same1.efi", "same2.efi"):
            slotctl("sign", "pe", STUB, *self.signer("db"), f"--to={path(name)}", f"--time={TIME}")
        self.assertEqual(read("same1.efi"), read("same2.efi"))

    def test_signature_lists_are_those_of_efitools(self):
        theirs = path("theirs.esl")
        for role in ("PK", "KEK", "db"):
            ours = read(self.key(f"{role}.esl"))
            owner = list(struct.unpack_from("<IHH", ours, 28)) + list(ours[36:44])
            text = "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x" % tuple(owner)
            run("cert-to-efi-sig-list", "-g", text, self.key(f"{role}.crt"), theirs)
            self.assertEqual(read(theirs), ours)
            run("sig-list-to-certs", self.key(f"{role}.esl"), path(f"list-{role}"))
            der = run("openssl", "x509", "-in", self.key(f"{role}.crt"), "-outform", "der", "-out", path("der")) or read("der")
            self.assertEqual(read(f"list-{role}-0.der"), der)

    def test_signed_variables_are_those_of_efitools(self):
        for role, by in (("PK", "PK"), ("KEK", "PK"), ("db", "KEK")):
            with self.subTest(variable=role):
                theirs, ours = path("theirs.auth"), path("ours.auth")
                run("sign-efi-sig-list", "-t", "2026-01-02 03:04:05", "-k", self.key(f"{by}.key"), "-c",
                    self.key(f"{by}.crt"), role, self.key(f"{role}.esl"), theirs)
                slotctl("sign", "variable", role, self.key(f"{role}.esl"), *self.signer(by), f"--to={ours}",
                        f"--time={TIME}")
                self.assertEqual(read(ours), read(self.key(f"{role}.auth")))
                answer = slotctl("verify-signature", "variable", role, theirs, f"--trusted={self.key(f'{by}.crt')}")
                self.assertIn(f"DEVELOPMENT {by}", answer)
                self.assertEqual(read(ours), read(theirs))
                other = "dbx" if role == "db" else "db"
                self.assertIn("not one over this content", slotctl("verify-signature", "variable", other, ours,
                                                                   f"--trusted={self.key(f'{by}.crt')}", code=1))

    def test_openssl_accepts_the_signatures_of_a_manifest(self):
        manifest = path("release.json")
        write("usr.img", b"system")
        slotctl("manifest", "--product=keelson", "--release=1.2.3", "--rollback-index=4",
                "--expires=2027-01-01T00:00:00Z", f"--time={TIME}", f"--artifact=usr={path('usr.img')},{ROOT_HASH}",
                f"--to={manifest}")
        for n in (1, 3):
            slotctl("sign", "manifest", manifest, f"--key={self.key(f'release-{n}.key')}")
        document = json.loads(read(manifest))
        canonical = json.dumps(document["signed"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        write("canonical", canonical.encode())
        for n, signature in zip((1, 3), document["signatures"]):
            run("openssl", "base64", "-d", "-A", "-out", path("manifest.sig"), "-in",
                write("manifest.b64", signature["signature"].encode()))
            run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.key(f"release-{n}.pub"), "-rawin", "-in",
                path("canonical"), "-sigfile", path("manifest.sig"))
        verify = ("verify-signature", "manifest", manifest, f"--trusted={self.key('manifest-keys.json')}")
        answer = json.loads(slotctl(*verify, "--product=keelson", "--time=2026-05-01T00:00:00Z", "--output=json"))
        self.assertEqual((answer["version"], answer["artifacts"][0]["root_hash"]), ("1.2.3", ROOT_HASH))
        for arguments, reason in ((("--product=other", "--time=2026-05-01T00:00:00Z"), "expected product"),
                                  (("--product=keelson", "--time=2027-01-01T00:00:00Z"), "it expired"),
                                  (("--product=keelson", "--time=2026-05-01T00:00:00Z", "--rollback-index=5"),
                                   "rollback index of at least 5, found 4")):
            self.assertIn(reason, slotctl(*verify, *arguments, code=1))

    def test_a_key_in_a_token_signs_as_one_in_a_file(self):
        if not os.path.exists(PKCS11_ENGINE) or not os.path.exists(SOFTHSM) or not shutil.which("softhsm2-util"):
            print("SKIPPED: keys in tokens need the packages softhsm2 and libengine-pkcs11-openssl")
            return
        os.makedirs(path("tokens"), exist_ok=True)
        os.environ["SOFTHSM2_CONF"] = write("softhsm2.conf", f"directories.tokendir = {path('tokens')}\n".encode())
        run("softhsm2-util", "--init-token", "--free", "--label", "signing", "--so-pin", "12345678", "--pin", "4321")
        run("softhsm2-util", "--import", self.key("db.key"), "--token", "signing", "--label", "db", "--id", "01", "--pin",
            "4321")
        uri = "pkcs11:token=signing;object=db?pin-value=4321"
        for name, key in (("token.efi", uri), ("file.efi", self.key("db.key"))):
            slotctl("sign", "pe", STUB, f"--key={key}", f"--pkcs11-module={SOFTHSM}",
                    f"--certificate={self.key('db.crt')}", f"--time={TIME}", f"--to={path(name)}")
        self.assertEqual(read("token.efi"), read("file.efi"))
        answer = slotctl("sign", "pe", STUB, "--key=pkcs11:token=signing;object=none?pin-value=4321",
                         f"--pkcs11-module={SOFTHSM}", f"--certificate={self.key('db.crt')}", "--to=/dev/null", code=1)
        self.assertIn("'pkcs11:token=signing;object=none'", answer)
        self.assertNotIn("4321", answer)

    def test_nothing_is_written_in_a_dry_run(self):
        out = path("dry.efi")
        answer = json.loads(slotctl("sign", "pe", STUB, *self.signer("db"), f"--to={out}", "--dry-run", "--output=json"))
        self.assertEqual(answer["files"][0]["path"], out)
        self.assertFalse(os.path.exists(out))

    def test_a_certificate_of_another_key_is_refused(self):
        self.assertIn("is for key", slotctl("sign", "pe", STUB, f"--key={self.key('db.key')}",
                                            f"--certificate={path('other.crt')}", "--to=/dev/null", code=6))


if __name__ == "__main__":
    unittest.main()
