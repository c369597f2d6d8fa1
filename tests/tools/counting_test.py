"""What counts as passed, failed and skipped, in `./keelson test` and in .ci/run."""

import contextlib
import io
import json
import os
import pathlib
import stat
import subprocess
import tempfile
import unittest

import importlib.util

RUN = pathlib.Path(".ci/run").resolve()
spec = importlib.util.spec_from_file_location("keelson_test", "tools/test.py")
keelson_test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keelson_test)


def quietly(function, *arguments):
    """(result, what was printed)."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = function(*arguments)
    return result, printed.getvalue()


class Events(unittest.TestCase):
    def read(self, *lines):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "events.json")
            path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
            return keelson_test.read_events(path)

    def test_outcomes_and_broken_targets_are_read(self):
        outcomes, broken = self.read(
            {"id": {"started": {}}, "started": {}},
            {"id": {"targetCompleted": {"label": "//a:ok"}}, "completed": {"success": True}},
            {"id": {"targetCompleted": {"label": "//a:broken"}}, "completed": {}},
            {"id": {"targetCompleted": {"label": "//a:aborted"}}, "aborted": {"reason": "ANALYSIS_FAILURE"}},
            {"id": {"testSummary": {"label": "//a:ok"}},
             "testSummary": {"overallStatus": "PASSED", "totalRunDurationMillis": "1500",
                             "passed": [{"uri": "file:///logs/a%20b/test.log"}]}},
            '{"id": {"testSum')
        self.assertEqual(outcomes, {"//a:ok": ("PASSED", 1.5, ["/logs/a b/test.log"])})
        self.assertEqual(broken, {"//a:broken", "//a:aborted"})

    def test_no_file_is_no_outcome(self):
        self.assertEqual(keelson_test.read_events(pathlib.Path("does/not/exist")), ({}, set()))


class Count(unittest.TestCase):
    def count(self, run, outcomes, broken=(), skipped=0):
        return quietly(keelson_test.count, run, skipped, outcomes, set(broken))

    def test_only_tests_that_said_so_have_passed(self):
        outcomes = {"//a:p": ("PASSED", 1, []), "//a:f": ("FAILED", 1, ["/log"]), "//a:t": ("TIMEOUT", 1, []),
                    "//a:n": ("NO_STATUS", 0, []), "//a:flaky": ("FLAKY", 1, [])}
        (passed, failed, skipped), printed = self.count(["//a:p", "//a:f", "//a:t", "//a:n", "//a:flaky"], outcomes)
        self.assertEqual((passed, failed, skipped), (2, 3, 0))
        self.assertIn("FAILED //a:f: FAILED, see /log", printed)

    def test_a_test_that_did_not_build_or_run_has_failed(self):
        (passed, failed, _), printed = self.count(["//a:b", "//a:silent"], {}, broken=["//a:b"])
        self.assertEqual((passed, failed), (0, 2))
        self.assertIn("//a:b: DID NOT BUILD", printed)
        self.assertIn("//a:silent: DID NOT RUN", printed)

    def test_a_program_that_did_not_build_is_a_failure_too(self):
        (_, failed, _), printed = self.count([], {}, broken=["//a:program"])
        self.assertEqual(failed, 1)
        self.assertIn("//a:program", printed)

    def test_what_a_test_says_it_left_out_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            part, whole = pathlib.Path(folder, "part"), pathlib.Path(folder, "whole")
            part.write_text("x\nSKIPPED: no tmpfs here\nnot SKIPPED: this\n")
            whole.write_text("SKIPPED ALL: no kernel module\n")
            outcomes = {"//a:part": ("PASSED", 1, [str(part)]), "//a:whole": ("PASSED", 1, [str(whole)])}
            counts, printed = self.count(["//a:part", "//a:whole"], outcomes, skipped=1)
        self.assertEqual(counts, (1, 0, 2))
        self.assertIn("SKIPPED a part of //a:part: no tmpfs here", printed)
        self.assertIn("SKIPPED //a:whole: no kernel module", printed)
        self.assertNotIn("this", printed)


class SortOut(unittest.TestCase):
    def setUp(self):
        self.needs = keelson_test.NEEDS
        keelson_test.NEEDS = {"has": (lambda: True, "has it"), "lacks": (lambda: False, "lacks it")}

    def tearDown(self):
        keelson_test.NEEDS = self.needs

    def test_needs_decide_and_manual_tests_wait_for_their_name(self):
        tests = {"//a:plain": set(), "//a:has": {"has", "manual"}, "//a:lacks": {"lacks", "has"},
                 "//a:manual": {"manual"}, "//a:named": {"manual"}}
        run, skip, manual = keelson_test.sort_out(tests, ["//a:named"])
        self.assertEqual(run, ["//a:has", "//a:named", "//a:plain"])
        self.assertEqual(skip, [("//a:lacks", "lacks it")])
        self.assertEqual(manual, ["//a:manual"])


class CiRun(unittest.TestCase):
    """.ci/run with a ./keelson that only prints."""

    def run_ci(self, test_lines, test_code, check_lines, check_code):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / ".ci").mkdir()
            (root / ".ci/run").write_bytes(RUN.read_bytes())
            (root / "bin").mkdir()
            scripts = {
                "bin/bazel": "exit 0\n",
                "keelson": f"if [ $1 = test ]; then printf '%b' '{test_lines}'; exit {test_code}; fi\n"
                           f"printf '%b' '{check_lines}'; exit {check_code}\n",
            }
            for name, body in scripts.items():
                (root / name).write_text("#!/bin/sh\n" + body)
                (root / name).chmod(stat.S_IRWXU)
            environment = dict(os.environ, PATH=f"{root}/bin:{os.environ['PATH']}")
            result = subprocess.run(["bash", str(root / ".ci/run")], stdout=subprocess.PIPE, text=True,
                                    stdin=subprocess.DEVNULL, env=environment)
            return result.returncode, result.stdout.splitlines()[-1]

    def test_the_last_line_sums_both(self):
        self.assertEqual(self.run_ci(r"x\n41 passed, 0 failed, 2 skipped\n", 0, r"check: 8 passed, 0 failed\n", 0),
                         (0, "49 passed, 0 failed, 2 skipped"))
        self.assertEqual(self.run_ci(r"5 passed, 1 failed\n", 1, r"check: 7 passed, 1 failed\n", 1),
                         (1, "12 passed, 2 failed"))

    def test_a_script_that_ends_without_counting_is_a_failure(self):
        self.assertEqual(self.run_ci(r"boom\n", 1, r"check: 8 passed, 0 failed\n", 0), (1, "8 passed, 1 failed"))
        self.assertEqual(self.run_ci(r"", 0, r"check: 8 passed, 0 failed\n", 0), (1, "8 passed, 1 failed"))

    def test_an_exit_code_counts_even_when_no_failure_was_counted(self):
        self.assertEqual(self.run_ci(r"5 passed, 0 failed\n", 1, r"check: 8 passed, 0 failed\n", 0),
                         (1, "13 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
