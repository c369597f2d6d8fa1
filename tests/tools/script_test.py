"""./keelson itself: what it prints and how it ends, without building anything."""

import pathlib
import re
import subprocess
import unittest

VERBS = "setup build test demo bench check fuzz install sim interop version help".split()


def keelson(*arguments):
    return subprocess.run(["./keelson", *arguments], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Help(unittest.TestCase):
    def test_every_verb_has_a_page_with_two_examples(self):
        for verb in VERBS:
            with self.subTest(verb):
                page = keelson(verb, "--help")
                self.assertEqual(page.returncode, 0)
                self.assertIn(f"Usage: ./keelson {verb}", page.stdout)
                examples = re.findall(r"^ {6}\./keelson ", page.stdout, re.MULTILINE)
                self.assertGreaterEqual(len(examples), 2)
                self.assertEqual(keelson("help", verb).stdout, page.stdout)

    def test_the_overview_names_every_verb_with_two_examples(self):
        overview = keelson("--help").stdout
        self.assertEqual(keelson().stdout, overview)
        self.assertEqual(re.findall(r"^ {2}([a-z]+) {2,}", overview, re.MULTILINE), VERBS)
        for verb in set(VERBS) - {"help", "version"}:
            self.assertGreaterEqual(len(re.findall(rf"^ {{6}}\./keelson {verb}\b", overview, re.MULTILINE)), 2, verb)


class BadArguments(unittest.TestCase):
    def test_each_gets_one_line_and_exit_code_2(self):
        for arguments, text in [
                (["tset"], "did you mean 'test'"),
                (["instal"], "did you mean 'install'"),
                (["--verbose"], "no verb '--verbose'"),
                (["help", "tset"], "no verb 'tset'"),
                (["bench"], "which one"),
                (["bench", "../setup"], "no '../setup'"),
        ]:
            with self.subTest(arguments):
                result = keelson(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertEqual(result.stdout, "")
                self.assertEqual(result.stderr.count("\n"), 1)
                self.assertIn(text, result.stderr)

    def test_the_python_verbs_refuse_unknown_options_without_building(self):
        for script, arguments in [("test.py", ["--nope"]), ("check.py", ["--nope"]), ("check.py", ["nope"]),
                                  ("fuzz.py", ["--seconds=soon"]), ("fuzz.py", ["--nope"]),
                                  ("install.py", []), ("install.py", ["--prefix="])]:
            with self.subTest(script=script, arguments=arguments):
                result = subprocess.run([f"tools/{script}", *arguments], stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(result.returncode, 2)
                self.assertEqual(result.stderr.count("\n"), 1)

    def test_setup_refuses_an_unknown_group(self):
        result = subprocess.run(["tools/setup", "everything"], text=True, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 2)
        self.assertIn("'everything'", result.stderr)


class PackageList(unittest.TestCase):
    def test_every_line_has_a_known_group_a_package_and_a_reason(self):
        rows = [line.split(None, 2) for line in pathlib.Path("tools/packages.txt").read_text().splitlines()
                if line and not line.startswith("#")]
        self.assertGreater(len(rows), 20)
        for row in rows:
            self.assertEqual(len(row), 3, row)
            self.assertIn(row[0], ("build", "peers", "checkers"))


if __name__ == "__main__":
    unittest.main()
