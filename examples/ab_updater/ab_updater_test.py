"""The example as its first lines show it: an update that works, and one that does not and is given up."""

import os
import subprocess
import unittest

TMP = os.environ.get("TEST_TMPDIR", "/tmp")
PROGRAM = os.path.abspath("examples/ab_updater/ab_updater")


def path(name):
    return os.path.join(TMP, name)


def run(*arguments, code=0):
    result = subprocess.run([PROGRAM, path("maps.img"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)
    assert result.returncode == code, (arguments, result)
    return result.stdout


def used():
    run("use", path("out"))
    with open(path("out"), "rb") as file:
        return file.read().rstrip(b"\0")


class AbUpdaterTest(unittest.TestCase):
    def test_an_update_that_is_never_called_good_is_given_up(self):
        run("create")
        self.assertIn("no data", run("use", path("out"), code=1))
        for name in ("one", "two"):
            with open(path(name), "wb") as file:
                file.write(name.encode() * 100000)
        self.assertIn("slot 1 has 'v1'", run("update", "v1", path("one")))
        self.assertEqual(used()[:6], b"oneone")
        run("good")

        self.assertIn("slot 2 has 'v2'", run("update", "v2", path("two")))
        self.assertEqual([used()[:3] for _ in range(5)], [b"two"] * 3 + [b"one"] * 2)

        self.assertIn("slot 2 has 'v3': 0 blocks were new", run("update", "v3", path("two")))
        self.assertEqual(used()[:3], b"two")
        run("good")
        self.assertEqual([used()[:3] for _ in range(5)], [b"two"] * 5)


if __name__ == "__main__":
    unittest.main()
