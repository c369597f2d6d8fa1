"""tools/readme_test.py, which does what README.md says, notices when that is not so."""

import unittest

import readme_test
from readme_test import DocumentError, Step, mismatch, read_steps, run_step


def block(mark, body, kind="sh"):
    return f"text\n\n{mark}\n```{kind}\n{body}```\n"


class Reading(unittest.TestCase):
    def test_marks_say_what_to_do(self):
        steps = read_steps(block("<!-- test: run -->", "true\n") + block("<!-- test: output -->", "done\n", "text") +
                           block("<!-- test: with-demo -->", "a\nb\n") + block("<!-- test: instead: x --exit -->", "x\n") +
                           block("<!-- test: skip: too long -->", "y\n") + block("", "only a picture\n", "text"))
        self.assertEqual([(step.action, step.script, step.output) for step in steps],
                         [("run", "true\n", "done\n"), ("with-demo", "a\nb\n", ""), ("run", "x --exit", ""),
                          ("skip", "too long", "")])

    def test_a_block_without_a_known_mark_is_refused(self):
        for mark in ["", "<!-- test: skip -->", "<!-- test: walk -->", "<!-- test: instead: -->", "<!-- hello -->"]:
            with self.subTest(mark), self.assertRaisesRegex(DocumentError, "line 5"):
                read_steps(block(mark, "true\n"))

    def test_an_output_that_belongs_to_nothing_is_refused(self):
        with self.assertRaises(DocumentError):
            read_steps(block("<!-- test: output -->", "x\n", "text"))


class Matching(unittest.TestCase):
    def test_lines_must_appear_whole_and_in_order(self):
        printed = "one\ntwo 17 ms\nthree\n"
        self.assertIsNone(mismatch("one\nthree\n", printed))
        self.assertIsNone(mismatch("one\n...\ntwo ... ms\n\nthree\n", printed))
        self.assertEqual(mismatch("three\none\n", printed), "one")
        self.assertEqual(mismatch("two 18 ms\n", printed), "two 18 ms")
        self.assertEqual(mismatch("thre\n", printed), "thre")
        self.assertEqual(mismatch("one\none\n", printed), "one")


class Running(unittest.TestCase):
    def test_a_block_that_works_is_fine(self):
        self.assertEqual(run_step(Step(1, "run", "echo one\necho two\n", "two\n")), "")

    def test_a_command_in_the_middle_that_fails_is_noticed(self):
        self.assertIn("exit code 1", run_step(Step(1, "run", "echo before\nfalse\ntrue\n")))
        self.assertIn("exit code 1", run_step(Step(1, "run", "false | true\n")))

    def test_other_output_is_noticed(self):
        self.assertIn("lacks the line 'three'", run_step(Step(1, "run", "echo two\n", "three\n")))

    def test_a_block_that_does_not_end_is_noticed(self):
        before, readme_test.BLOCK_TIMEOUT_SECONDS = readme_test.BLOCK_TIMEOUT_SECONDS, 0.2
        try:
            self.assertIn("no end within", run_step(Step(1, "run", "echo started\nread -r < <(sleep 60)\n")))
        finally:
            readme_test.BLOCK_TIMEOUT_SECONDS = before


if __name__ == "__main__":
    unittest.main()
